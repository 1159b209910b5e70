//! `mangrove leases`: shows who holds which shard, and which workers live.
//!
//! **Owns** two looks at the lease table.
//! **Promises** read only. Whether a worker lives is seen by its beat moving between the looks, as workers see it of
//! each other: no clock but this process's own.
//! **Fails** where the table is missing or does not answer.
//! **Not here**: making rows anew (`leases/rebuild.rs`); deciding who should own what (`leases.rs` of the worker).

mod rebuild;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use actors::ports::aws::{self, AwsSettings};
use actors::ports::leases::{LeaseRows, LeaseTable, LeaseView, WorkerRow};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde::Serialize;

pub use self::rebuild::RebuildArgs;
use super::config::print;
use crate::config::{Config, Sources};
use crate::exit::CliError;
use crate::inert::{inert_json, inert_lines};

/// A little longer than the default time between two heartbeats.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1_200);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// The end of a sequence number tells more than its beginning.
const CHECKPOINT_CHARS: usize = 12;

/// Shows who holds which shard, and which workers live.
#[derive(Clone, Debug, Args)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  mangrove leases --config mangrove.toml
  mangrove leases rebuild --config mangrove.toml
  mangrove leases --table mangrove-events --endpoint-url http://127.0.0.1:4566
  mangrove leases --table mangrove-events --json | jq

A worker is alive if its heartbeat moved between two looks, 1.2 s apart: one with a longer leases.heartbeat_interval may
be shown as silent.")]
pub struct LeasesCommandArgs {
    /// What else can be done with them.
    #[command(subcommand)]
    pub command: Option<LeasesCommand>,
    /// The configuration file of the workers
    #[arg(long, value_name = "FILE", env = "MANGROVE_CONFIG", required_unless_present = "table")]
    pub config: Option<PathBuf>,
    /// The lease table, instead of a configuration
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub table: Option<String>,
    /// Another endpoint than AWS
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// The region [default: as every AWS tool]
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub region: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What can be done with leases.
#[derive(Clone, Debug, Subcommand)]
pub enum LeasesCommand {
    /// Makes rows of the lease table from the manifests in the bucket
    Rebuild(RebuildArgs),
}

/// The lease table as it was seen.
#[derive(Clone, Debug, Serialize)]
struct LeasesReply {
    table: String,
    shards: Vec<LeaseShardLine>,
    workers: Vec<LeaseWorkerLine>,
    /// Rows that cannot be read.
    bad: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct LeaseShardLine {
    shard: String,
    owner: Option<String>,
    counter: u64,
    checkpoint: String,
    epoch: u64,
    pending: bool,
    parents: Vec<String>,
    given_up_by: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct LeaseWorkerLine {
    worker: String,
    address: String,
    beat: u64,
    alive: bool,
    leaving: bool,
}

impl LeasesCommandArgs {
    fn table(&self) -> Result<(AwsSettings, String), CliError> {
        let aws = AwsSettings {
            region: self.region.clone(),
            endpoint_url: self.endpoint_url.clone(),
            attempt_timeout: ATTEMPT_TIMEOUT,
        };
        match &self.table {
            Some(table) => Ok((aws, table.clone())),
            None => {
                let sources = Sources::of_process(self.config.clone());
                let sources = sources.flag("--endpoint-url", "aws.endpoint_url", self.endpoint_url.as_deref());
                let config = Config::load(&sources)?.config;
                Ok((config.aws, config.leases_table))
            }
        }
    }
}

/// Runs the command.
pub async fn leases(args: &LeasesCommandArgs) -> Result<(), CliError> {
    if let Some(LeasesCommand::Rebuild(args)) = &args.command {
        return rebuild::rebuild(args).await;
    }
    let (aws, name) = args.table()?;
    let table = LeaseTable::new(&aws::load(&aws).await, &name);
    let first = table.scan().await?;
    if !first.workers.is_empty() {
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    let second = table.scan().await?;
    let reply = LeasesReply::new(name, &first, &second);
    print(&match args.json {
        // Other programs write that table too, and what they write is shown.
        true => format!("{}\n", inert_json(&serde_json::to_string(&reply).map_err(CliError::internal)?)),
        false => inert_lines(&reply.tables()).into_owned(),
    })
}

impl LeasesReply {
    fn new(table: String, first: &LeaseRows, second: &LeaseRows) -> Self {
        let worker = |row: &WorkerRow| LeaseWorkerLine {
            worker: row.id.clone(),
            address: row.address.clone(),
            beat: row.beat,
            // One that has only now begun has moved too.
            alive: first
                .workers
                .get(&row.id)
                .is_none_or(|before| (before.beat, &before.incarnation) != (row.beat, &row.incarnation)),
            leaving: row.leaving,
        };
        let shard = |row: &LeaseView| LeaseShardLine {
            shard: row.shard.short().to_owned(),
            owner: row.owner.clone(),
            counter: row.counter,
            checkpoint: row.checkpoint.to_string(),
            epoch: row.epoch.0,
            pending: row.pending,
            parents: row.parents.iter().map(|parent| parent.short().to_owned()).collect(),
            given_up_by: row.given_up_by.clone(),
        };
        Self {
            table,
            shards: second.leases.values().map(shard).collect(),
            workers: second.workers.values().map(worker).collect(),
            bad: second.bad.iter().map(ToString::to_string).collect(),
        }
    }

    fn tables(&self) -> String {
        let yes = |is: bool, word: &str| if is { word.to_owned() } else { String::new() };
        let mut shards = Table::new();
        shards.load_preset(presets::UTF8_FULL_CONDENSED);
        shards.set_header(["shard", "owner", "counter", "checkpoint", "epoch", "pending", "parents", "given up by"]);
        for line in &self.shards {
            shards.add_row([
                line.shard.clone(),
                line.owner.clone().unwrap_or_default(),
                line.counter.to_string(),
                shortened(&line.checkpoint),
                line.epoch.to_string(),
                yes(line.pending, "pending"),
                line.parents.join(" "),
                line.given_up_by.clone().unwrap_or_default(),
            ]);
        }
        let mut workers = Table::new();
        workers.load_preset(presets::UTF8_FULL_CONDENSED).set_header(["worker", "address", "beat", "state", ""]);
        for line in &self.workers {
            let state = if line.alive { "alive" } else { "silent" };
            workers.add_row([
                line.worker.clone(),
                line.address.clone(),
                line.beat.to_string(),
                state.to_owned(),
                yes(line.leaving, "leaving"),
            ]);
        }
        let mut text = format!("{}\n{shards}\n{workers}\n", self.table);
        for bad in &self.bad {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{bad}");
        }
        text
    }
}

fn shortened(checkpoint: &str) -> String {
    let n_chars = checkpoint.chars().count();
    if n_chars <= 2 * CHECKPOINT_CHARS || !checkpoint.starts_with(|c: char| c.is_ascii_digit()) {
        return checkpoint.to_owned();
    }
    let end: String = checkpoint.chars().skip(n_chars - CHECKPOINT_CHARS).collect();
    format!("..{end}")
}

#[cfg(test)]
mod tests {
    use actors::ports::leases::Standing;
    use messages::{EpochNumber, Position, ShardId};

    use super::*;

    fn rows(beat: u64) -> LeaseRows {
        let mut rows = LeaseRows::default();
        let shard = ShardId::new("shardId-000000000002");
        let lease = LeaseView {
            shard: shard.clone(),
            owner: Some("w-1".into()),
            checkpoint_owner: None,
            counter: 7,
            checkpoint: Position::parse("49590338271490256608559692538361571095921575989136588898").unwrap(),
            parents: vec![ShardId::new("shardId-000000000000")],
            pending: true,
            epoch: EpochNumber(3),
            alerts_through: EpochNumber(3),
            given_up_by: Some("w-2".into()),
            sample: None,
            state_key: None,
        };
        rows.leases.insert(shard, lease);
        for (id, beat) in [("w-1", beat), ("w-2", 5)] {
            let (incarnation, address) = ("a".into(), format!("http://{id}"));
            let row = WorkerRow {
                id: id.into(),
                incarnation,
                beat,
                address,
                leaving: id == "w-2",
                standing: Standing::Proven,
            };
            rows.workers.insert(id.into(), row);
        }
        rows
    }

    #[test]
    fn a_beat_that_moves_is_a_life() {
        let reply = LeasesReply::new("mangrove-events".into(), &rows(1), &rows(2));
        let alive: Vec<_> = reply.workers.iter().map(|line| (line.worker.as_str(), line.alive, line.leaving)).collect();
        assert_eq!(alive, [("w-1", true, false), ("w-2", false, true)]);
    }

    #[test]
    fn the_tables_show_what_there_is() {
        let text = LeasesReply::new("mangrove-events".into(), &rows(1), &rows(2)).tables();
        for word in
            ["000000000002", "..989136588898", "pending", "000000000000", "silent", "alive", "leaving", "http://w-1"]
        {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}
