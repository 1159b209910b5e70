//! `chaos oracle`: judges what a run has left in a folder.
//!
//! **Owns** a local cloud on that folder, for as long as it is read; then the file of its warehouse, if there is one.
//! **Promises** nothing in the folder is changed by the reading.
//! **Fails** where the folder, the ledger or the stream is missing.
//! **Not here**: the judging (`oracle.rs`).

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use actors::ports::aws::{self, AwsSettings};
use clap::Args;
use comfy_table::{Table, presets};
use local::{LocalCloud, LocalOptions};
use messages::EventSchema;
use supervisor::exit::CliError;

use crate::evidence::{Gathered, Places, gather, warehouse};
use crate::oracle::{Verdict, judge};

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Judges what a run has left in a folder of the local cloud.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  chaos oracle --ledger run-1/ledger.jsonl --data-dir run-1/cloud
  chaos oracle --ledger mangrove-data/ledger/run-1.jsonl --data-dir mangrove-data --bucket mangrove-demo --json

What can be judged depends on what is there: see the promises under \"checked\".")]
pub(super) struct Flags {
    /// What a producer wrote down; can be repeated
    #[arg(long, value_name = "FILE", required = true)]
    ledger: Vec<PathBuf>,
    /// The folder of the local cloud; nobody else may have it open
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The bucket
    #[arg(long, value_name = "NAME", default_value = "lake")]
    bucket: String,
    /// The stream
    #[arg(long, value_name = "NAME", default_value = "events")]
    stream: String,
    /// The lease table [default: mangrove-<stream>]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// A record that killed its sensor or its worker, so that it may be quarantined as poison: its sequence number; can
    /// be repeated
    #[arg(long, value_name = "SEQUENCE")]
    deadly: Vec<String>,
    /// A built-in schema, or a file of one
    #[arg(long, value_name = "NAME|FILE", default_value = "climate")]
    schema: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs it to its verdict.
pub(super) fn run(flags: Flags) -> Result<ExitCode, CliError> {
    let schema = schema(&flags.schema)?;
    if !flags.data_dir.is_dir() {
        return Err(CliError::environment(format!("--data-dir {}: no such folder", flags.data_dir.display())));
    }
    let mut gathered = super::runtime()?.block_on(load(&flags))?;
    let tables = warehouse(&flags.data_dir, &flags.stream, &schema).map_err(CliError::environment)?;
    gathered.evidence.warehouse = tables;
    let mut verdict = judge(&gathered.evidence, &schema);
    gathered.add_to(&mut verdict);
    match flags.json {
        true => println!("{}", serde_json::to_string(&verdict).map_err(CliError::internal)?),
        false => println!("{}", table(&verdict)),
    }
    Ok(super::verdict(verdict.is_clean()))
}

fn schema(name: &str) -> Result<EventSchema, CliError> {
    if let Some(schema) = EventSchema::built_in(name) {
        return Ok(schema);
    }
    let text = std::fs::read_to_string(name).map_err(|error| {
        CliError::configuration(format!("--schema {name}: no built-in schema and no file: {error}"))
    })?;
    EventSchema::parse(&text).map_err(|error| CliError::configuration(format!("--schema {name}: {error}")))
}

async fn load(flags: &Flags) -> Result<Gathered, CliError> {
    let bind = "127.0.0.1:0".parse().expect("a literal address");
    let options = LocalOptions::new(bind, flags.data_dir.clone());
    let cloud = LocalCloud::start(options).await?;
    let endpoint_url = Some(cloud.endpoint_url());
    let sdk = aws::load(&AwsSettings { region: None, endpoint_url, attempt_timeout: ATTEMPT_TIMEOUT }).await;
    let places = Places {
        stream: flags.stream.clone(),
        table: flags.table.clone().unwrap_or_else(|| format!("mangrove-{}", flags.stream)),
        bucket: flags.bucket.clone(),
        ledgers: flags.ledger.clone(),
        // Which limits the workers had is not known here.
        limits: None,
    };
    let gathered = gather(&sdk, &places).await.map_err(CliError::environment);
    cloud.stop().await?;
    let mut gathered = gathered?;
    gathered.evidence.deadly = flags.deadly.iter().cloned().collect();
    Ok(gathered)
}

/// What there is to tell of the warehouse; nothing if nobody looked.
fn warehouse_figures(verdict: &Verdict) -> Vec<(&'static str, u64)> {
    let Some(figures) = verdict.warehouse else { return Vec::new() };
    vec![
        ("readings", figures.readings),
        ("versions", figures.versions),
        ("windows", figures.windows),
        ("windows recomputed by SQL", figures.recomputed),
        ("alerts", figures.alerts),
        ("epochs", figures.epochs),
        ("loads", figures.loads),
        ("epochs put aside", figures.put_aside),
        ("missing", figures.missing),
        ("doubled", figures.doubled),
        ("unexpected", figures.unexpected),
        ("altered", figures.altered),
    ]
}

fn table(verdict: &Verdict) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(["what", "figure"]);
    for (what, figure) in [
        ("records", verdict.records),
        ("raw lines", verdict.raw),
        ("rows cleansed", verdict.cleansed),
        ("rows quarantined", verdict.quarantined),
        ("rows that were duplicates", verdict.duplicates),
        ("epochs", verdict.epochs),
        ("objects", verdict.objects),
        ("missing", verdict.missing),
        ("doubled", verdict.doubled),
        ("unexpected", verdict.unexpected),
        ("altered", verdict.altered),
        ("out of order", verdict.out_of_order),
    ] {
        table.add_row([what.to_owned(), figure.to_string()]);
    }
    for (what, figure) in warehouse_figures(verdict) {
        table.add_row([format!("warehouse: {what}"), figure.to_string()]);
    }
    for (promise, n) in &verdict.found {
        table.add_row([format!("violations of {promise}"), n.to_string()]);
    }
    let checked: Vec<&str> = verdict.checked.iter().copied().collect();
    let mut text = format!("{table}\nchecked: {}", checked.join(", "));
    for violation in &verdict.violations {
        text.push_str(&format!("\n{}: {}", violation.invariant, violation.what));
    }
    text
}
