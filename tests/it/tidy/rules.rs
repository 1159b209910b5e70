//! The rules: each takes sources and gives a line per violation, as `file:line: what: why not`.

use std::collections::BTreeSet;

use super::source::{Source, has};

pub(super) const LINES_MAX: usize = 600;

/// Where the logic of actors, and the engine of both fake clouds, is plain Rust; an actor's shell is the file of the same
/// name beside the folder, and the `facts.rs` in it, which says what happens.
const CORES: [&str; 22] = [
    "local/engine/src/",
    "actors/src/sensor/",
    "actors/src/aggregator/",
    "actors/src/sinks/",
    "actors/src/reader/",
    "actors/src/warehouse/",
    "actors/src/committer/protocol.rs",
    "actors/src/sensors/cuts.rs",
    "actors/src/sensors/idle.rs",
    "actors/src/sensors/journal.rs",
    "actors/src/sensors/known.rs",
    "actors/src/sensors/room.rs",
    "actors/src/sensors/roster.rs",
    "actors/src/sensors/slot.rs",
    "actors/src/agreement/rule.rs",
    "actors/src/loader/",
    "supervisor/src/leases/assignment.rs",
    "supervisor/src/leases/holdings.rs",
    "supervisor/src/leases/lineage.rs",
    "supervisor/src/leases/observer.rs",
    "supervisor/src/shard/beginning.rs",
    "supervisor/src/shards/",
];

/// What each member may depend on among the members. A new member makes somebody decide.
const ARROWS: [(&str, &[&str]); 9] = [
    ("messages", &[]),
    ("actors", &["messages"]),
    ("local", &["local/engine", "local/warehouse"]),
    ("local/engine", &[]),
    ("local/warehouse", &[]),
    ("fleet", &[]),
    ("supervisor", &["messages", "actors", "local", "fleet"]),
    ("chaos", &["messages", "actors", "supervisor", "local", "local/engine", "local/warehouse", "fleet"]),
    ("tests", &["messages", "actors", "supervisor", "local", "fleet", "chaos"]),
];

/// The tests of the binary belong to the package that builds it, and share the harness, as those of the oracle do: a
/// cycle of packages, not of builds. Cargo refuses it for anything but tests.
const HARNESS_OF: [(&str, &str); 3] = [("supervisor", "tests"), ("chaos", "tests"), ("fleet", "local")];

/// `local`, `fleet` and `chaos` stand apart: the services, the producer, and the services of the simulation.
pub(super) fn only_ports_name_the_sdk(sources: &[Source]) -> Vec<String> {
    let rule = "only actors/src/ports names an AWS SDK type";
    let apart =
        |path: &str| ["actors/src/ports", "local/", "fleet/", "chaos/"].iter().any(|prefix| path.starts_with(prefix));
    forbid(sources, |path| !apart(path), &["aws_"], rule)
}

pub(super) fn cores_are_plain(sources: &[Source]) -> Vec<String> {
    let rule = "a core is plain synchronous Rust: no actor, no task, no clock";
    let core = |path: &str| CORES.iter().any(|prefix| path.starts_with(prefix)) && !path.ends_with("/facts.rs");
    forbid(sources, core, &["ractor", "tokio", "SystemTime", "Instant", "Utc::now"], rule)
}

/// Where a mutant may lack a mechanism: plain Rust that is told so when it is made. Beside it, the mechanisms themselves,
/// and the worker, who makes what is known of keys.
const SWITCHES: [&str; 15] = [
    "actors/src/agreement/rule.rs",
    "actors/src/committer/protocol.rs",
    "actors/src/ports/faults.rs",
    "actors/src/ports/faults/mechanism.rs",
    "actors/src/ports/leases/guard.rs",
    "actors/src/ports/objects/creation.rs",
    "actors/src/ports/stream/beginning.rs",
    "actors/src/reader/bounds.rs",
    "actors/src/sensors/roster.rs",
    "actors/src/sinks/uploads.rs",
    "supervisor/src/leases/assignment.rs",
    "supervisor/src/leases/holdings.rs",
    "supervisor/src/leases/observer.rs",
    "supervisor/src/shard/beginning.rs",
    "supervisor/src/worker.rs",
];

pub(super) fn deliberate_bugs_are_switches_of_cores(sources: &[Source]) -> Vec<String> {
    let rule = "no deliberate bug stands in a shell: it is a switch of a core, set where the core is made";
    let ships = |path: &str| path.starts_with("actors/") || path.starts_with("supervisor/");
    forbid(sources, |path| ships(path) && !SWITCHES.contains(&path), &["Mechanism", "faults.lacks"], rule)
}

/// Names that stand for the same thing wherever they are: what a room says of what happens, the rule of one detector, and
/// faults in builds with and without them.
const SHARED: [&str; 3] = ["Facts", "Rule", "Faults"];

/// Within what ships a name is one type: a reader who looks for it finds it.
pub(super) fn a_name_is_one_type(sources: &[Source]) -> Vec<String> {
    let rule = "another type has this name already";
    let ships = ["messages/src/", "actors/src/", "supervisor/src/"];
    let mut known = BTreeSet::from(SHARED);
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| ships.iter().any(|prefix| source.path.starts_with(prefix))) {
        for (number, line) in source.code() {
            let again = named(line).filter(|name| !known.insert(name) && !SHARED.contains(name));
            found.extend(again.map(|name| finding(source, number, name, rule)));
        }
    }
    found
}

/// The type that a line defines. An alias that is indented belongs to an implementation.
fn named(line: &str) -> Option<&str> {
    let words: Vec<&str> =
        line.split_whitespace().skip_while(|word| word.starts_with("pub") || *word == "crate)").collect();
    let defines = match words.first()? {
        &"type" => !line.starts_with(' '),
        word => ["struct", "enum", "trait"].contains(word),
    };
    let name = words.get(1).filter(|_| defines)?;
    Some(&name[..name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len())])
}

pub(super) fn messages_know_no_service(sources: &[Source]) -> Vec<String> {
    let rule = "messages knows no SDK, no HTTP, no clock";
    let words = ["aws_", "reqwest", "hyper", "axum", "tokio", "SystemTime", "Instant", "Utc::now"];
    forbid(sources, |path| path.starts_with("messages/"), &words, rule)
}

pub(super) fn only_supervisors_spawn(sources: &[Source]) -> Vec<String> {
    let rule = "only the supervisor, and the router for its sensors, spawn actors";
    let may = |path: &str| path.starts_with("supervisor/") || path == "actors/src/sensors.rs";
    forbid(sources, |path| !may(path), &["spawn_linked", "Actor::spawn", "spawn_instant"], rule)
}

pub(super) fn only_the_committer_moves_a_checkpoint(sources: &[Source]) -> Vec<String> {
    let rule = "only the committer prepares and commits";
    // The embedded warehouse prepares and commits SQL, the oracle that reads its file prepares it, and neither knows a
    // checkpoint.
    let sql = ["local/warehouse/", "chaos/src/oracle/warehouse/"];
    let may = |path: &str| path == "actors/src/committer.rs" || sql.iter().any(|prefix| path.starts_with(prefix));
    forbid(sources, |path| !may(path), &[".prepare(", ".commit("], rule)
}

pub(super) fn nothing_is_process_wide(sources: &[Source]) -> Vec<String> {
    let rule = "no process-wide mutable state";
    let mut found = forbid(sources, |_| true, &["static mut", "lazy_static", "thread_local!"], rule);
    let mutable = ["OnceLock", "LazyLock", "OnceCell", "LazyCell", "Mutex", "RwLock", "Atomic", "RefCell"];
    for source in sources {
        for (number, line) in source.code().filter(|(_, line)| is_static(line)) {
            let word = mutable.iter().find(|word| has(line, word));
            found.extend(word.map(|word| finding(source, number, word, rule)));
        }
    }
    found
}

fn is_static(line: &str) -> bool {
    let visibility = |word: &&str| word.starts_with("pub") || word.ends_with(')');
    line.split_whitespace().find(|word| !visibility(word)) == Some("static")
}

pub(super) fn queues_have_an_end(sources: &[Source]) -> Vec<String> {
    let rule = "no unbounded channel outside ractor's own mailboxes";
    forbid(sources, |_| true, &["unbounded", "mpsc::channel()"], rule)
}

/// In tests as well.
pub(super) fn nothing_is_left_undone(sources: &[Source]) -> Vec<String> {
    let rule = "what is in the repository is done, and every test runs";
    let words = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in source.all_code() {
            let word = words.iter().find(|word| has(line, word));
            found.extend(word.map(|word| finding(source, number, word, rule)));
        }
    }
    found
}

pub(super) fn files_say_what_they_are(sources: &[Source]) -> Vec<String> {
    let rule = "a file begins with `//!` and says what it is";
    let named_tests = |path: &str| path.contains("/src/") && (path.contains("/tests/") || path.ends_with("/tests.rs"));
    let silent = |source: &&Source| !named_tests(&source.path) && !source.text.starts_with("//! ");
    sources.iter().filter(silent).map(|source| finding(source, 1, "no module docs", rule)).collect()
}

/// Beginnings that veil what a comment is about.
const VEILS: [&str; 8] = ["Who ", "Whoever ", "Whom ", "Whose ", "Nobody ", "Of ", "Said ", "What is said "];

pub(super) fn comments_name_their_subject(sources: &[Source]) -> Vec<String> {
    let rule = "a comment names its subject first: \"The committer, which ...\", not \"Who ...\"";
    let doc =
        |line: &str| ["/// ", "//! "].iter().find_map(|mark| line.trim_start().strip_prefix(mark).map(str::to_owned));
    let of = |source: &Source| {
        let lines: Vec<Option<String>> = source.text.lines().map(doc).collect();
        let begins = |at: &usize| lines[*at].is_some() && (*at == 0 || lines[*at - 1].is_none());
        let veil =
            |at: usize| VEILS.iter().find(|veil| lines[at].as_ref().is_some_and(|text| text.starts_with(**veil)));
        let found = (0..lines.len()).filter(begins).filter_map(|at| veil(at).map(|veil| (at + 1, veil.trim_end())));
        found.map(|(number, veil)| finding(source, number, veil, rule)).collect::<Vec<_>>()
    };
    sources.iter().flat_map(of).collect()
}

pub(super) fn files_are_short(sources: &[Source]) -> Vec<String> {
    let too_long = |source: &Source| {
        let lines = source.text.lines().count();
        let what = format!("{lines} lines");
        (lines > LINES_MAX).then(|| finding(source, lines, &what, "no file has more than 600 lines"))
    };
    sources.iter().filter_map(too_long).collect()
}

/// Takes manifests: `messages/Cargo.toml` and so on.
pub(super) fn arrows_point_one_way(manifests: &[Source]) -> Vec<String> {
    let rule = "dependencies point one way, and the SDK is behind the ports";
    let mut found = Vec::new();
    for manifest in manifests {
        let member = manifest.path.trim_end_matches("/Cargo.toml");
        let Some((_, may)) = ARROWS.iter().find(|(name, _)| *name == member) else {
            found.push(finding(manifest, 1, member, "a new member needs its place in the order of dependencies"));
            continue;
        };
        let mut names = BTreeSet::new();
        dependencies(&manifest.text.parse().unwrap(), &mut names);
        for name in &names {
            let ours = match name.trim_start_matches("mangrove-") {
                "local-engine" => "local/engine",
                "local-warehouse" => "local/warehouse",
                name => name,
            };
            let allowed = may.contains(&ours) || HARNESS_OF.contains(&(member, ours));
            let inward = ARROWS.iter().any(|(name, _)| *name == ours) && !allowed;
            let sdk = name.starts_with("aws-") && ["messages", "supervisor"].contains(&member);
            if inward || sdk {
                let line = manifest.text.lines().position(|line| line.contains(name.as_str())).map_or(1, |at| at + 1);
                found.push(finding(manifest, line, name, rule));
            }
        }
    }
    found
}

/// The names of all dependencies: of the build, of tests and of single targets too.
fn dependencies(table: &toml::Table, names: &mut BTreeSet<String>) {
    for (key, value) in table {
        let Some(inner) = value.as_table() else { continue };
        if key.ends_with("dependencies") {
            for (name, details) in inner {
                let package = details.get("package").and_then(toml::Value::as_str);
                names.insert(package.unwrap_or(name).to_owned());
            }
        } else {
            dependencies(inner, names);
        }
    }
}

/// The promises of a table `| id | promise | ... |` that hold already.
pub(super) fn promises(semantics: &str) -> Vec<String> {
    let rows = semantics.lines().filter(|line| line.starts_with('|') && !line.contains("not yet"));
    let ids = rows.filter_map(|row| row.split('|').nth(1)).map(|id| id.trim().trim_matches(['`', '*']).to_owned());
    let is_id = |id: &String| id.len() > 3 && id.chars().all(|c| c.is_ascii_uppercase() || c == '-');
    ids.filter(|id| is_id(id) && !id.starts_with('-')).collect()
}

pub(super) fn promises_are_tested(semantics: &Source, sources: &[Source]) -> Vec<String> {
    let cited = |id: &str| sources.iter().any(|source| cites(source.split().1, id));
    let line = |id: &str| semantics.text.lines().position(|line| cites(line, id)).map_or(1, |at| at + 1);
    let ids = promises(&semantics.text).into_iter().filter(|id| !cited(id));
    ids.map(|id| finding(semantics, line(&id), &id, "every promise is cited by at least one test")).collect()
}

/// The id as a word of its own: `ORDER` is not in `BORDER` or `RE-ORDER`.
fn cites(text: &str, id: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(id).any(|(at, _)| !text[..at].ends_with(part) && !text[at + id.len()..].starts_with(part))
}

fn forbid(sources: &[Source], applies: impl Fn(&str) -> bool, words: &[&str], rule: &str) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| applies(&source.path)) {
        for (number, line) in source.code() {
            let word = words.iter().find(|word| has(line, word));
            found.extend(word.map(|word| finding(source, number, word, rule)));
        }
    }
    found
}

pub(super) fn finding(source: &Source, line: usize, what: &str, rule: &str) -> String {
    format!("{}:{line}: {what}: {rule}", source.path)
}
