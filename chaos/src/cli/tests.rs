//! The command line parses what its help shows.

use clap::{CommandFactory, Parser};

use super::Cli;

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_example_in_the_help_parses() {
    let mut commands: Vec<clap::Command> =
        Cli::command().get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    commands.push(Cli::command());
    for mut command in commands {
        let help = command.render_long_help().to_string();
        let examples: Vec<&str> = help.lines().filter_map(|line| line.trim().strip_prefix("chaos ")).collect();
        assert!(!examples.is_empty(), "{} has no example", command.get_name());
        for example in examples {
            let line = example.split("  ").next().unwrap();
            let words = ["chaos"].into_iter().chain(line.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }
}

#[test]
fn nonsense_is_refused() {
    for line in [
        "chaos processes --workers 1",
        "chaos processes --for never",
        "chaos oracle --data-dir d",
        "chaos oracle --ledger l",
        "chaos mangrove",
    ] {
        assert_eq!(Cli::try_parse_from(line.split(' ')).map(drop).unwrap_err().exit_code(), 2, "{line}");
    }
}
