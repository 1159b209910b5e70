//! `mangrove tree`: asks a running worker for its supervision tree.

use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, ValueEnum};
use reqwest::Url;

use super::CliError;
use super::config::print;
use crate::ops::TreeReply;
use crate::tree_view::{Colour, render};

/// The worker's tree is bounded by its configuration; this is beyond any.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const ANSWER_CHARS_SHOWN: usize = 200;

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

/// `host:port` is enough.
fn ops_address(text: &str) -> Result<Url, String> {
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    Url::parse(&full).ok().filter(Url::has_host).ok_or_else(|| "write an address, such as 127.0.0.1:8080".to_owned())
}

/// Runs the command.
pub async fn tree(args: &TreeArgs) -> Result<(), CliError> {
    let text = ask(args).await?;
    if args.json {
        return print(&format!("{}\n", text.trim_end()));
    }
    let not_a_tree = |error| CliError::environment(format!("{} is not a worker's ops endpoint: {error}", args.ops));
    let reply: TreeReply = serde_json::from_str(&text).map_err(not_a_tree)?;
    print(&render(&reply, args.colour.decide()))
}

async fn ask(args: &TreeArgs) -> Result<String, CliError> {
    let silent = |error: reqwest::Error| {
        // The last cause is the one that says what to do: refused, timed out, no such host.
        let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
        let cause = causes.last().map(|cause| format!(" ({cause})")).unwrap_or_default();
        CliError::environment(format!(
            "no answer from {}{cause}: is a worker running there? --ops takes another address",
            args.ops
        ))
    };
    let http = reqwest::Client::builder().timeout(args.timeout).build().map_err(CliError::internal)?;
    let url = args.ops.join("tree").map_err(CliError::configuration)?;
    let mut answer = http.get(url).send().await.map_err(silent)?;
    let status = answer.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(silent)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(CliError::environment(format!("{} answers with too much to be a tree", args.ops)));
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if !status.is_success() {
        let shown: String = text.chars().take(ANSWER_CHARS_SHOWN).collect();
        return Err(CliError::environment(format!("{} answers {status}: {}", args.ops, shown.trim())));
    }
    Ok(text)
}
