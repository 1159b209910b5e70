//! The command line parses what the help and the README show.

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use super::{Cli, Command, ConfigArgs, config};
use crate::exit::{CliError, ExitKind};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(words(line))
}

/// As a shell would split it.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        let word = words.last_mut().unwrap();
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (' ', None) => words.push(String::new()),
            (c, _) => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

/// Every line of every help text that begins with the program's name is tried.
#[test]
fn every_example_in_the_help_parses() {
    let mut commands: Vec<clap::Command> = Cli::command().get_subcommands().cloned().collect();
    commands.push(Cli::command());
    for mut command in commands {
        let help = command.render_long_help().to_string();
        let examples: Vec<&str> = help.lines().filter_map(|line| Some(&line[line.find("mangrove ")?..])).collect();
        let examples: Vec<&&str> = examples.iter().filter(|line| !line.contains('`') && line.contains(" --")).collect();
        assert!(!examples.is_empty(), "{} has no example", command.get_name());
        for example in examples {
            // What follows the command: an explanation, a redirection or a pipe.
            let end = [" > ", " | ", "   "].iter().filter_map(|end| example.find(end)).min();
            let line = &example[..end.unwrap_or(example.len())];
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }
}

#[cfg(feature = "local")]
#[test]
fn the_demo_line_that_others_call() {
    let line = "mangrove demo --for 30s --seed 7 --sensors 1000 --rate 5000 --shards 4 --data-dir DIR --json";
    let Command::Demo(demo) = parse(line).unwrap().command else { panic!("not a demo") };
    assert_eq!((demo.duration, demo.seed, demo.sensors), (Some(Duration::from_secs(30)), 7, 1000));
    assert_eq!((demo.rate, demo.shards, demo.json, demo.ops_port), (5000.0, 4, true, None));
    let replay = "mangrove demo --replay 'GLOB.csv.gz' --schema air-quality --data-dir DIR --json";
    let Command::Demo(demo) = parse(replay).unwrap().command else { panic!("not a demo") };
    assert_eq!(demo.replay.as_deref(), Some("GLOB.csv.gz"));
    assert!(demo.options().is_ok());
}

#[cfg(feature = "local")]
#[test]
fn a_demo_configures_itself_and_lets_flags_win() {
    let line = "mangrove demo --ops-port 0 --webhook https://hooks.example.org/a";
    let Command::Demo(demo) = parse(line).unwrap().command else { panic!("not a demo") };
    let effective = demo.configure("http://127.0.0.1:4566", "http://127.0.0.1:9/alerts").unwrap();
    let config = effective.config;
    assert_eq!(config.aws.endpoint_url.as_deref(), Some("http://127.0.0.1:4566"));
    assert_eq!(config.ops_bind.port(), 0);
    assert_eq!(config.receivers.webhooks, ["https://hooks.example.org/a", "http://127.0.0.1:9/alerts"]);
    assert_eq!(config.schema().name, "climate");
}

#[test]
fn run_needs_a_file_and_knows_its_flags() {
    let line =
        "mangrove run --config mangrove.toml --worker-id w-1 --endpoint-url http://127.0.0.1:4566 --faults a=panic";
    let Command::Run(run) = parse(line).unwrap().command else { panic!("not a run") };
    assert_eq!((run.worker_id.as_deref(), run.faults.as_deref()), (Some("w-1"), Some("a=panic")));
    assert_eq!(run.configure().map(drop).unwrap_err().kind, ExitKind::Usage);
}

#[test]
fn leases_needs_a_table_or_a_file() {
    let line = "mangrove leases --table mangrove-events --endpoint-url http://127.0.0.1:4566 --json";
    let Command::Leases(leases) = parse(line).unwrap().command else { panic!("not leases") };
    assert_eq!((leases.table.as_deref(), leases.json), (Some("mangrove-events"), true));
    let Command::Leases(leases) = parse("mangrove leases --config mangrove.toml").unwrap().command else {
        panic!("not leases")
    };
    assert_eq!(leases.config.as_deref(), Some(std::path::Path::new("mangrove.toml")));
}

#[test]
fn nonsense_is_refused_by_the_flags() {
    for line in [
        "mangrove demo --for never",
        "mangrove demo --rate -5",
        "mangrove demo --shards 0",
        "mangrove demo --replay *.csv",
        "mangrove fleet --stream s --ledger l --replay *.csv",
        "mangrove fleet --stream s",
        "mangrove tree --ops :::",
        "mangrove local --bind 4566",
        "mangrove leases",
        "mangrove leases --table t --config mangrove.toml",
    ] {
        assert_eq!(parse(line).map(drop).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn checking_a_file_tells_good_from_bad() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        let file = folder.path().join("mangrove.toml");
        std::fs::write(&file, text).unwrap();
        config(&ConfigArgs { config: None, check: Some(file), json: false, defaults: false })
    };
    assert_eq!(
        check("stream.name = \"s\"\nbucket.name = \"lake\"\nschema.use = \"climate\"\nworker.id = \"w\""),
        Ok(())
    );
    let error = check("stream.nam = \"s\"").unwrap_err();
    assert_eq!((error.kind, format!("{:?}", error.exit_code())), (ExitKind::Usage, format!("{:?}", ExitCode::from(2))));
    assert!(error.message.contains("stream.nam: ") && error.message.contains("did you mean name?"), "{error}");
}

#[test]
fn exit_codes_are_those_of_the_help() {
    for (error, code) in
        [(CliError::internal("x"), 1), (CliError::configuration("x"), 2), (CliError::environment("x"), 3)]
    {
        assert_eq!(format!("{:?}", error.exit_code()), format!("{:?}", ExitCode::from(code)));
    }
}
