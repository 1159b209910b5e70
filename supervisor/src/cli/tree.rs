//! `mangrove tree`: asks a running worker for its supervision tree.

use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, ValueEnum};
use reqwest::Url;

use super::ask::{ask, ops_address, shown, unexpected};
use super::config::print;
use crate::exit::CliError;
use crate::inert::inert_json;
use crate::ops::TreeReply;
use crate::tree_view::{Colour, render};

/// Shows the supervision tree of a running worker.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  mangrove tree
  mangrove tree --ops http://127.0.0.1:9090 --colour never
  mangrove tree --json | jq")]
pub struct TreeArgs {
    /// The worker's ops endpoint
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = ops_address)]
    pub ops: Url,
    /// Print the answer as it is
    #[arg(long)]
    pub json: bool,
    /// When to colour
    #[arg(long, alias = "color", value_enum, default_value_t = ColourChoice::Auto)]
    pub colour: ColourChoice,
    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = super::duration)]
    pub timeout: Duration,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColourChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColourChoice {
    fn decide(self) -> Colour {
        match self {
            Self::Always => Colour::Ansi,
            Self::Never => Colour::Never,
            Self::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                if std::io::stdout().is_terminal() && !refused { Colour::Ansi } else { Colour::Never }
            }
        }
    }
}

/// Runs the command.
pub async fn tree(args: &TreeArgs) -> Result<(), CliError> {
    let (status, text) = ask(&args.ops, "tree", args.timeout).await?;
    if !status.is_success() {
        return Err(unexpected(&args.ops, status, &text));
    }
    if args.json {
        return print(&format!("{}\n", inert_json(text.trim_end())));
    }
    let not_a_tree =
        |error| CliError::environment(format!("{} is not a worker's ops endpoint: {error}", shown(&args.ops)));
    let reply: TreeReply = serde_json::from_str(&text).map_err(not_a_tree)?;
    print(&render(&reply, args.colour.decide()))
}
