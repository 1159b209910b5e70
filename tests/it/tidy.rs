//! GOAL    The structure is what the architecture says: who may name what, who may start whom, what is absent. And
//!         every promise of SEMANTICS.md is cited by a test, and what CONTRIBUTING.md names exists.
//! METHOD  Rules over the source text, one test each. Each is shown a text that breaks it as well: a rule that cannot
//!         fail says nothing.

mod doors;
mod rooms;
mod rules;
mod source;

use std::fs;

use self::doors::House;
use self::source::{Source, has, members, root};

/// The repository follows the rule, and each of the samples breaks it in its line.
fn holds(rule: fn(&[Source]) -> Vec<String>, samples: &[(&str, &str, usize)]) {
    for (path, text, line) in samples {
        let found = rule(&[Source::new(path, text)]);
        assert_eq!(found.len(), 1, "{path}: {text:?} gives {found:?}");
        assert!(found[0].starts_with(&format!("{path}:{line}: ")), "{found:?}");
    }
    let sources = Source::all();
    assert!(sources.len() > 100, "only {} files were found", sources.len());
    none(&rule(&sources));
}

fn none(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn only_ports_name_the_sdk() {
    let text = "//! Doc.\nuse aws_sdk_s3::Client;\n";
    let elsewhere = |path: &str| rules::only_ports_name_the_sdk(&[Source::new(path, text)]);
    none(&elsewhere("actors/src/ports/objects.rs"));
    none(&elsewhere("fleet/src/target.rs"));
    none(&elsewhere("supervisor/src/ops/tests/world.rs"));
    let field = ("supervisor/src/run.rs", "fn f(sdk: &aws_config::SdkConfig) {}\n", 1);
    holds(rules::only_ports_name_the_sdk, &[("actors/src/sinks.rs", text, 2), field]);
}

#[test]
fn cores_are_plain() {
    none(&rules::cores_are_plain(&[Source::new("actors/src/sensor.rs", "use ractor::Actor;\n")]));
    none(&rules::cores_are_plain(&[Source::new("actors/src/sensor/core.rs", "let extractor = 1; // no tokio\n")]));
    none(&rules::cores_are_plain(&[Source::new("actors/src/reader/facts.rs", "let asked = Instant::now();\n")]));
    let samples = [
        ("actors/src/reader/bounds.rs", "let now = tokio::time::Instant::now();\n", 1),
        ("actors/src/sensor/judge.rs", "//! Doc.\n\nuse ractor::ActorRef;\n", 3),
        ("actors/src/aggregator/windows.rs", "async fn f() { tokio::task::yield_now().await }\n", 1),
        ("actors/src/reader/decode/event.rs", "let now = std::time::SystemTime::now();\n", 1),
        ("actors/src/sinks/raw.rs", "let now = Instant::now();\n", 1),
    ];
    holds(rules::cores_are_plain, &samples);
}

#[test]
fn rooms_name_only_their_neighbours() {
    let inside = [
        ("actors/src/sinks.rs", "use crate::lake::columns;\n"),
        ("actors/src/lib.rs", "pub use crate::sinks::encode_epoch;\n"),
        ("supervisor/src/cli/run.rs", "use crate::{config, exit};\n"),
    ];
    for (path, text) in inside {
        none(&rooms::rooms_name_only_their_neighbours(&[Source::new(path, text)]));
    }
    let samples = [
        ("actors/src/lake/keys.rs", "//! Doc.\nuse crate::sinks::Encoding;\n", 2),
        ("actors/src/ports/objects.rs", "fn f(span: &crate::traces::Span) {}\n", 1),
        ("supervisor/src/config/bounds.rs", "use crate::{exit, leases};\n", 1),
        ("messages/src/schema/parse.rs", "use crate::epoch::Cut;\n", 1),
    ];
    holds(rooms::rooms_name_only_their_neighbours, &samples);
    for (member, rooms) in rooms::ROOMS {
        none(&rooms::circles(rooms).iter().map(|room| format!("{member}: {room}")).collect::<Vec<_>>());
    }
    let round: [(&str, &[&str]); 3] = [("a", &["b"]), ("b", &["c"]), ("c", &["a"])];
    assert_eq!(rooms::circles(&round), ["a", "b", "c"]);
}

#[test]
fn deliberate_bugs_are_switches_of_cores() {
    let text = "//! Doc.\nprepares: !faults.lacks(Mechanism::Prepare),\n";
    none(&rules::deliberate_bugs_are_switches_of_cores(&[Source::new("actors/src/committer/protocol.rs", text)]));
    none(&rules::deliberate_bugs_are_switches_of_cores(&[Source::new("chaos/src/sim.rs", text)]));
    let imported = "use crate::ports::faults::{Faults, Mechanism};\n";
    let samples = [
        ("actors/src/committer.rs", text, 2),
        ("actors/src/ports/stream.rs", imported, 1),
        ("supervisor/src/shards.rs", "if self.faults.lacks(bug) {\n", 1),
    ];
    holds(rules::deliberate_bugs_are_switches_of_cores, &samples);
}

#[test]
fn a_name_is_one_type() {
    let text = "struct Open(u8);\nimpl Actor for A {\n    type Open = u8;\n}\npub(super) struct Open<T> {\n";
    holds(rules::a_name_is_one_type, &[("actors/src/sinks.rs", text, 5)]);
    none(&rules::a_name_is_one_type(&[Source::new("chaos/src/sim.rs", text)]));
}

#[test]
fn messages_know_no_service() {
    let samples = [
        ("messages/src/alert.rs", "use reqwest::Url;\n", 1),
        ("messages/src/epoch.rs", "//! Doc.\nlet now = SystemTime::now();\n", 2),
        ("messages/src/ids.rs", "use aws_sdk_kinesis::types::Record;\n", 1),
    ];
    holds(rules::messages_know_no_service, &samples);
}

#[test]
fn only_supervisors_spawn() {
    let text = "let (actor, _) = SensorActor::spawn_linked(None, a, b, c).await?;\n";
    none(&rules::only_supervisors_spawn(&[Source::new("actors/src/sensors.rs", text)]));
    let unlinked = "Actor::spawn(None, behaviour, args).await\n";
    holds(rules::only_supervisors_spawn, &[("actors/src/reader.rs", text, 1), ("actors/src/sinks.rs", unlinked, 1)]);
}

#[test]
fn only_the_committer_moves_a_checkpoint() {
    let text = "//! Doc.\nself.lease.commit(&plan, through).await?;\n";
    none(&rules::only_the_committer_moves_a_checkpoint(&[Source::new("actors/src/committer.rs", text)]));
    let prepare = ("supervisor/src/shard.rs", "lease.prepare(&plan).await?;\n", 1);
    holds(rules::only_the_committer_moves_a_checkpoint, &[("actors/src/sinks.rs", text, 2), prepare]);
}

#[test]
fn nothing_is_process_wide() {
    let fine =
        "static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;\nfn f(_: &'static str, _: OnceLock<u8>) {}\n";
    none(&rules::nothing_is_process_wide(&[Source::new("supervisor/src/main.rs", fine)]));
    let samples = [
        ("actors/src/metrics.rs", "static mut COUNT: u64 = 0;\n", 1),
        ("actors/src/metrics.rs", "//! Doc.\npub(crate) static TABLE: OnceLock<Table> = OnceLock::new();\n", 2),
        ("local/src/lib.rs", "pub(in crate::a) static N: AtomicU64 = AtomicU64::new(0);\n", 1),
        ("fleet/src/rng.rs", "thread_local! {\n", 1),
    ];
    holds(rules::nothing_is_process_wide, &samples);
}

#[test]
fn queues_have_an_end() {
    none(&rules::queues_have_an_end(&[Source::new("actors/src/sinks.rs", "let (a, b) = mpsc::channel(4);\n")]));
    let samples = [
        ("actors/src/sinks.rs", "let (a, b) = mpsc::unbounded_channel();\n", 1),
        ("supervisor/src/run.rs", "let (a, b) = std::sync::mpsc::channel();\n", 1),
    ];
    holds(rules::queues_have_an_end, &samples);
}

#[test]
fn nothing_is_left_undone() {
    let samples = [
        ("actors/src/sinks.rs", "fn f() { todo!() }\n", 1),
        ("actors/src/sinks/tests.rs", "#[test]\n#[ignore]\nfn f() {}\n", 2),
        ("local/src/lib.rs", "dbg!(x);\n", 1),
        ("local/src/lib.rs", "unimplemented!()\n", 1),
    ];
    holds(rules::nothing_is_left_undone, &samples);
}

#[test]
fn files_say_what_they_are() {
    none(&rules::files_say_what_they_are(&[Source::new("actors/src/sinks/tests/keys.rs", "use super::*;\n")]));
    let samples = [("actors/src/sinks.rs", "use super::*;\n", 1), ("fleet/tests/emulator.rs", "use super::*;\n", 1)];
    holds(rules::files_say_what_they_are, &samples);
}

#[test]
fn comments_name_their_subject() {
    let fine = "/// The committer, which cuts epochs.\n/// Who asks twice is refused.\n// Of these, none.\n";
    none(&rules::comments_name_their_subject(&[Source::new("actors/src/sinks.rs", fine)]));
    let samples = [
        ("actors/src/sinks.rs", "struct A {\n    /// Who cuts epochs.\n", 2),
        ("chaos/src/sim.rs", "//! Whose rows these are.\n", 1),
        ("local/src/lib.rs", "/// Of these, the last.\n", 1),
    ];
    holds(rules::comments_name_their_subject, &samples);
}

#[test]
fn files_are_short() {
    let line = "let x = 1;\n";
    let (fits, long) = (line.repeat(rules::LINES_MAX), line.repeat(rules::LINES_MAX + 1));
    none(&rules::files_are_short(&[Source::new("actors/src/sinks.rs", &fits)]));
    holds(rules::files_are_short, &[("actors/src/sinks.rs", &long, rules::LINES_MAX + 1)]);
}

#[test]
fn arrows_point_one_way() {
    let broken = |member: &str, text: &str| {
        rules::arrows_point_one_way(&[Source::new(&format!("{member}/Cargo.toml"), text)]).len()
    };
    assert_eq!(broken("actors", "[dependencies]\nmessages.workspace = true\naws-sdk-s3 = \"1\"\n"), 0);
    assert_eq!(broken("actors", "[dependencies]\nsupervisor.workspace = true\n"), 1);
    assert_eq!(broken("fleet", "[dev-dependencies]\nx = { package = \"mangrove-actors\", path = \"../actors\" }\n"), 1);
    assert_eq!(broken("messages", "[target.'cfg(unix)'.dependencies]\nactors.workspace = true\n"), 1);
    assert_eq!(broken("supervisor", "[dependencies]\naws-config.workspace = true\n"), 1);
    assert_eq!(broken("another", "[dependencies]\n"), 1);

    let text = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let manifest = |member: String| {
        let path = format!("{member}/Cargo.toml");
        Source::new(&path, &text(&path))
    };
    let manifests: Vec<Source> = members(&text("Cargo.toml")).into_iter().map(manifest).collect();
    none(&rules::arrows_point_one_way(&manifests));
    // What ships must be buildable without the local cloud.
    let supervisor: toml::Table = text("supervisor/Cargo.toml").parse().unwrap();
    assert_eq!(supervisor["dependencies"]["local"]["optional"].as_bool(), Some(true));
}

#[test]
fn promises_are_tested() {
    let table = "| id | promise | shown by |\n|---|---|---|\n| RAW-ONCE | once | a |\n| LIVE | soon | not yet |\n";
    let semantics = Source::new("SEMANTICS.md", table);
    let untested = |path: &str, text: &str| rules::promises_are_tested(&semantics, &[Source::new(path, text)]).len();
    assert_eq!(rules::promises(table), ["RAW-ONCE"]);
    assert_eq!(untested("tests/it/a.rs", "//! RAW-ONCE\n"), 0);
    assert_eq!(untested("actors/src/a.rs", "//! Doc.\n#[cfg(test)]\nmod tests {\n    // RAW-ONCE\n}\n"), 0);
    assert_eq!(untested("actors/src/a.rs", "//! RAW-ONCE\n"), 1);
    assert_eq!(untested("tests/it/a.rs", "//! RAW-ONCES\n"), 1);

    let text = fs::read_to_string(root().join("SEMANTICS.md")).expect("SEMANTICS.md lies at the root");
    assert!(!rules::promises(&text).is_empty(), "SEMANTICS.md has no table of promises");
    none(&rules::promises_are_tested(&Source::new("SEMANTICS.md", &text), &Source::all()));
}

#[test]
fn words_begin_where_identifiers_do() {
    assert!(has("use ractor::Actor;", "ractor") && has("(tokio::time)", "tokio"));
    assert!(!has("let extractor = 1;", "ractor"));
}

#[test]
fn what_people_are_told_to_use_exists() {
    let house = House::read();
    let page = |path: &str| Source::new(path, &fs::read_to_string(root().join(path)).unwrap());
    for path in [doors::CONTRIBUTING, "README.md", "justfile"] {
        none(&house.lacks(&page(path)));
    }
    let fine = "`actors/src/metrics.rs`: `epoch_committed`, `Family` in `actors/src/metrics/<name>.rs`.\n\
                ```\nUPDATE=1 cargo test --release -p mangrove-tests --test it -- tidy   # all\n\
                cargo run --bin mangrove -- demo --for 30s\n```\n`just quick actors`, `deploy/check --only refuses`\n";
    none(&house.lacks(&Source::new(doors::CONTRIBUTING, fine)));
    let samples = [
        "Open `actors/src/nowhere.rs`.",
        "`actors/src/metrics.rs`: `no_such_fact`",
        "One of `nowhere/<name>.rs`",
        "[the docs](docs/nowhere.md)",
        "`cargo test -p mangrove-nobody`",
        "`cargo test -p mangrove-tests --test that`",
        "`cargo test -p mangrove-actors nobody_tests_this`",
        "`cargo run --release --bin mangroves`",
        "`cargo test --profile slow`",
        "`just wait`",
        "`deploy/check --only nothing`",
    ];
    for sample in samples {
        let found = house.lacks(&Source::new(doors::CONTRIBUTING, &format!("# A page\n{sample}\n")));
        assert_eq!(found.len(), 1, "{sample}: {found:?}");
        assert!(found[0].starts_with("CONTRIBUTING.md:2: "), "{found:?}");
    }
    let recipe = |command: &str| house.lacks(&Source::new("justfile", &format!("one two:\n    {command}\n"))).len();
    assert_eq!(recipe("cargo test -p mangrove-nobody"), 1);
    assert_eq!(recipe("cargo test -p {{ if one == \"a\" { \"b\" } else { two } }} {{ two }}"), 0);
    let readme = Source::new("README.md", "`raw/nowhere/` is the lake's; `just wait` is ours\n");
    assert_eq!(house.lacks(&readme).len(), 1);
}
