//! Which room of a crate may name which other one: a room is a file of `src/` and the folder of its name.

use super::rules::finding;
use super::source::Source;

/// What each room may name of its own crate. A new room, or a new arrow, makes somebody decide; there is no circle among
/// them, which the test beside this one holds.
pub(super) const ROOMS: [(&str, &[(&str, &[&str])]); 3] = [
    (
        "messages",
        &[
            ("alerts", &["epoch"]),
            ("committer", &["epoch"]),
            ("epoch", &["schema"]),
            ("sensor", &["epoch"]),
            ("sensors", &["epoch"]),
        ],
    ),
    (
        "actors",
        &[
            ("aggregator", &["budget", "hash_key", "metrics", "node", "ports", "shard"]),
            ("agreement", &["lake", "ports", "recovery"]),
            ("alerts", &["metrics", "node", "ports", "ring", "traces"]),
            ("committer", &["hash_key", "keys", "metrics", "node", "ports", "shard", "traces", "verdict"]),
            ("loader", &["loading", "metrics", "node", "panics", "ports", "warehouse"]),
            ("loading", &["lake", "metrics", "panics", "ports", "sinks", "warehouse"]),
            ("metrics", &["ports"]),
            ("node", &["metrics"]),
            ("ports", &["keys", "panics", "verdict", "warehouse"]),
            ("reader", &["budget", "hash_key", "metrics", "node", "ports", "shard", "traces"]),
            ("recompute", &["aggregator", "lake", "loading", "ports", "sinks"]),
            ("recovery", &["lake", "ports", "verdict"]),
            ("sensor", &["node", "shard"]),
            ("sensors", &["keys", "metrics", "node", "ports", "sensor", "shard"]),
            ("shard", &["keys", "ports", "ring", "traces"]),
            ("sinks", &["lake", "metrics", "node", "panics", "ports", "shard", "traces", "verdict"]),
            ("traces", &["metrics", "ports"]),
            ("warehouse", &["lake"]),
        ],
    ),
    (
        "supervisor",
        &[
            ("cli", &["config", "cost", "demo", "exit", "inert", "log", "ops", "run", "tree_view"]),
            ("config", &["leases", "memory", "ops", "shard", "supervision", "worker"]),
            ("cost", &["config"]),
            ("demo", &["config", "exit", "lake", "run"]),
            ("exit", &["config", "inert"]),
            ("leases", &["owned", "protocol", "shard"]),
            ("log", &["config", "exit", "inert"]),
            ("ops", &["leases", "memory", "supervision"]),
            ("owned", &["shard"]),
            ("protocol", &["supervision"]),
            ("run", &["config", "exit", "ops", "worker"]),
            ("shard", &["supervision"]),
            ("shards", &["owned", "protocol", "shard", "supervision"]),
            ("tree_view", &["inert", "ops"]),
            ("worker", &["leases", "memory", "ops", "owned", "protocol", "shard", "shards", "supervision"]),
        ],
    ),
];

/// `lib.rs`, `main.rs` and tests may name everything.
pub(super) fn rooms_name_only_their_neighbours(sources: &[Source]) -> Vec<String> {
    let rule = "this arrow is not in the plan of the house (tests/it/tidy/rooms.rs)";
    let mut found = Vec::new();
    for source in sources {
        let Some((member, room)) = room(&source.path) else { continue };
        let Some((_, rooms)) = ROOMS.iter().find(|(name, _)| *name == member) else { continue };
        let may = rooms.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, may)| may);
        for (number, line) in source.code() {
            for named in named(line) {
                let is_room = sources.iter().any(|other| self::room(&other.path) == Some((member, named)))
                    || rooms.iter().any(|(name, may)| *name == named || may.contains(&named));
                if is_room && named != room && !may.contains(&named) {
                    found.push(finding(source, number, &format!("{room} -> {named}"), rule));
                }
            }
        }
    }
    found
}

/// The crate and the room that a file belongs to.
fn room(path: &str) -> Option<(&str, &str)> {
    let (member, rest) = path.split_once("/src/")?;
    let room = rest.split('/').next()?.trim_end_matches(".rs");
    (!["lib", "main"].contains(&room)).then_some((member, room))
}

/// The first names after `crate::`, also those in braces.
fn named(line: &str) -> Vec<&str> {
    let name = |text: &str| text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let mut found = Vec::new();
    for (at, mark) in line.match_indices("crate::") {
        let rest = &line[at + mark.len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list.split(", ").map(|item| &item[..name(item)])),
            None => found.push(&rest[..name(rest)]),
        }
    }
    found
}

/// Rooms that can be reached from themselves.
pub(super) fn circles(rooms: &[(&str, &[&str])]) -> Vec<String> {
    let reach = |from: &str| {
        let (mut seen, mut open) = (Vec::new(), vec![from]);
        while let Some(room) = open.pop() {
            let may = rooms.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, may)| may);
            for next in may.iter().filter(|next| !seen.contains(*next)).collect::<Vec<_>>() {
                seen.push(next);
                open.push(next);
            }
        }
        seen
    };
    rooms.iter().filter(|(name, _)| reach(name).contains(name)).map(|(name, _)| (*name).to_owned()).collect()
}
