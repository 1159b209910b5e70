//! `mangrove leases rebuild`: makes rows of the lease table from the manifests in the bucket.
//!
//! **Owns** one look at the stream, the table and the bucket, and what follows for each shard.
//! **Promises** nothing is written without `--yes`, and with it no row while a worker lives; every write is on condition
//! that the row is still as it was read, or still missing; a shard whose manifests are no unbroken chain is left alone,
//! and named.
//! **Not here**: what a worker does by itself when a row is behind (`actors/src/agreement.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use actors::agreement::{AgreementError, Whole, newest};
use actors::lake::{manifests_of, manifests_of_stream};
use actors::ports::aws::{self, CallError, Failure};
use actors::ports::chance::Chance;
use actors::ports::leases::{Advance, Home, LeaseError, LeaseRow, LeaseTable, OtherHome};
use actors::ports::objects::Objects;
use actors::ports::stream::{ShardInfo, Stream};
use actors::recovery::Reads;
use clap::Args;
use comfy_table::{Table, presets};
use messages::{EpochNumber, ShardId, StreamId};
use serde::Serialize;

use super::super::config::print;
use super::shortened;
use crate::config::{Config, Sources};
use crate::exit::CliError;

/// Time for every living worker to beat.
const BEATS: f64 = 1.5;

/// Makes rows of the lease table from the manifests in the bucket.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  mangrove leases rebuild --config mangrove.toml           what it would write
  mangrove leases rebuild --config mangrove.toml --yes     writes it

For a lease table that was lost, restored as of a time too long ago, or has lost a row. Looking disturbs nobody; before
--yes stop all workers: it refuses while one lives. A row gets the end of the shard's newest whole epoch; what was claimed
behind it is finished by the worker that takes the shard. Alerts of the last epoch are sent again, with the ids that they
had.")]
pub struct RebuildArgs {
    /// The configuration file of the workers
    #[arg(long, value_name = "FILE", env = "MANGROVE_CONFIG")]
    pub config: PathBuf,
    /// Another endpoint than AWS
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Write it
    #[arg(long)]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What becomes of a shard's row.
#[derive(Clone, Debug, PartialEq)]
enum RowStep {
    /// It says what the manifests say.
    Keep,
    /// There is none.
    Create(Box<LeaseRow>),
    /// It says something else.
    Move(Box<LeaseRow>, Advance),
    /// The shard has neither manifests nor a row, or the row of a shard that nobody has read: the workers make it.
    Leave,
    /// The manifests cannot be followed.
    Refuse(String),
}

#[derive(Debug, Serialize)]
struct PlanLine {
    shard: String,
    row_epoch: Option<u64>,
    row_checkpoint: Option<String>,
    manifest_epoch: Option<u64>,
    manifest_end: Option<String>,
    claimed_epoch: Option<u64>,
    /// `keep`, `create`, `move`, `leave` or `refuse`.
    step: &'static str,
    /// Why it is refused.
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct Reply {
    table: String,
    bucket: String,
    stream: String,
    /// Whether it was written.
    written: bool,
    shards: Vec<PlanLine>,
}

/// Everything that is looked at.
struct Rebuild {
    stream: Stream,
    table: LeaseTable,
    objects: Objects,
    reads: Reads,
    home: Home,
    /// What the table says of itself.
    settled: Option<Home>,
}

/// Runs the command.
pub(super) async fn rebuild(args: &RebuildArgs) -> Result<(), CliError> {
    let sources = Sources::of_process(Some(args.config.clone()));
    let sources = sources.flag("--endpoint-url", "aws.endpoint_url", args.endpoint_url.as_deref());
    let config = Config::load(&sources)?.config;
    let rebuild = Rebuild::open(&config, args.yes).await?;
    if args.yes {
        rebuild.nobody_lives(config.worker().leases.heartbeat_interval).await?;
    }
    let steps = rebuild.steps().await?;
    if args.yes {
        rebuild.write(&steps).await?;
    }
    let shards: Vec<PlanLine> = steps.iter().map(|(shard, (row, whole, step))| line(shard, row, whole, step)).collect();
    let refused = shards.iter().filter(|line| line.step == "refuse").count();
    let reply = Reply {
        table: rebuild.table.name().to_owned(),
        bucket: rebuild.home.bucket.clone(),
        stream: rebuild.home.stream.to_string(),
        written: args.yes,
        shards,
    };
    print(&match args.json {
        true => format!("{}\n", serde_json::to_string(&reply).map_err(CliError::internal)?),
        false => reply.text(),
    })?;
    match refused {
        0 => Ok(()),
        n => Err(CliError::environment(format!("{n} shards cannot be rebuilt from their manifests; the rest can"))),
    }
}

type Steps = BTreeMap<ShardId, (Option<LeaseRow>, Option<Whole>, RowStep)>;

impl Rebuild {
    async fn open(config: &Config, yes: bool) -> Result<Self, CliError> {
        let sdk = aws::load(&config.aws).await;
        let stream = Stream::new(&sdk, &config.stream_name).at(config.stream_arn.clone());
        let objects = Objects::new(&sdk, &config.bucket_name);
        let table = LeaseTable::new(&sdk, &config.leases_table);
        objects.check().await?;
        if yes {
            // One that is gone is made, as a worker would.
            table.ensure().await?;
        }
        let described = stream.describe().await?;
        let now = StreamId { arn: described.arn, created_ms: described.created_ms };
        let home = Home { stream: now, bucket: config.bucket_name.clone() };
        let settled = if_there(table.home().await)?.flatten();
        match settled.as_ref().map(|settled| home.is_of(&format!("the lease table {:?}", table.name()), settled)) {
            // Objects can be moved on purpose.
            None | Some(Ok(()) | Err(OtherHome::Bucket { .. })) => {}
            Some(Err(other)) => return Err(CliError::configuration(other)),
        }
        let reads = Reads::new(&objects, &Chance::system());
        Ok(Self { stream, table, objects, reads, home, settled })
    }

    async fn nobody_lives(&self, beat: Duration) -> Result<(), CliError> {
        // Of a table that was only now made anew, those who live have still to write their rows.
        let first = self.table.scan().await?;
        tokio::time::sleep(beat.mul_f64(BEATS)).await;
        let second = self.table.scan().await?;
        let lives = second.workers.values().find(|now| {
            first.workers.get(&now.id).is_none_or(|then| (then.beat, &then.incarnation) != (now.beat, &now.incarnation))
        });
        match lives {
            Some(worker) => Err(CliError::environment(format!(
                "worker {} lives: stop all workers first, they write the rows that this makes",
                worker.id
            ))),
            None => Ok(()),
        }
    }

    async fn steps(&self) -> Result<Steps, CliError> {
        let listed = self.stream.shards().await?;
        let listed: BTreeMap<ShardId, ShardInfo> = listed.into_iter().map(|info| (info.shard.clone(), info)).collect();
        let rows = if_there(self.table.scan().await)?.unwrap_or_default();
        let mut steps = Steps::new();
        let mut prefixes: BTreeSet<String> =
            self.objects.folders(&manifests_of_stream(self.stream.name())).await?.into_iter().collect();
        for shard in listed.keys().chain(rows.leases.keys()).cloned().collect::<BTreeSet<_>>() {
            let prefix = manifests_of(self.stream.name(), &shard);
            prefixes.remove(&prefix);
            let found = self.found(&prefix).await?;
            steps.insert(shard.clone(), self.step(&shard, found, listed.get(&shard)).await?);
        }
        // Shards that the stream has forgotten, and the table too: their children may still begin with their states.
        for prefix in prefixes {
            match self.found(&prefix).await? {
                Ok(None) => {}
                Ok(Some(whole)) => {
                    let shard = whole.shard.clone();
                    let step = self.step(&shard, Ok(Some(whole)), listed.get(&shard)).await?;
                    steps.insert(shard, step);
                }
                Err(why) => drop(steps.insert(ShardId::new(&prefix), (None, None, RowStep::Refuse(why)))),
            }
        }
        Ok(steps)
    }

    /// What the manifests say; the inner error is of this shard alone.
    async fn found(&self, prefix: &str) -> Result<Result<Option<Whole>, String>, CliError> {
        match newest(&self.reads, &self.home, self.stream.name(), prefix).await {
            Ok(whole) => Ok(Ok(whole)),
            Err(AgreementError::Disagrees(disagreement)) => Ok(Err(disagreement.to_string())),
            Err(AgreementError::Call(error)) => Err(error.into()),
        }
    }

    async fn step(
        &self,
        shard: &ShardId,
        found: Result<Option<Whole>, String>,
        info: Option<&ShardInfo>,
    ) -> Result<(Option<LeaseRow>, Option<Whole>, RowStep), CliError> {
        let row = match self.table.get(shard).await {
            Ok(row) => row,
            Err(LeaseError::Call(error)) => if_there(Err(error))?,
            Err(LeaseError::Row(bad)) => {
                return Ok((None, None, RowStep::Refuse(format!("{bad}: delete the row first"))));
            }
            Err(error) => return Err(CliError::environment(error)),
        };
        let step = match &found {
            Err(why) => RowStep::Refuse(why.clone()),
            Ok(whole) => decide(&self.home, shard, row.as_ref(), whole.as_ref(), info),
        };
        Ok((row, found.unwrap_or_default(), step))
    }

    async fn write(&self, steps: &Steps) -> Result<(), CliError> {
        if self.settled.as_ref() != Some(&self.home) && !self.table.set_home(&self.home, self.settled.as_ref()).await? {
            return Err(CliError::environment("somebody else has written the lease table meanwhile: look again"));
        }
        for (shard, (_, _, step)) in steps {
            let written = match step {
                RowStep::Keep | RowStep::Leave | RowStep::Refuse(_) => Ok(true),
                RowStep::Create(row) => self.table.create_if_absent(row).await,
                RowStep::Move(row, to) => {
                    self.table.rebuild(row.as_ref().clone(), &self.home, to.clone()).await.map(|()| true)
                }
            };
            match written.map_err(CliError::environment)? {
                true => {}
                false => {
                    let why = format!("somebody else has made the row of {shard} meanwhile: look again");
                    return Err(CliError::environment(why));
                }
            }
        }
        Ok(())
    }
}

/// Without `--yes` the table is not made, and need not be there.
fn if_there<T>(answer: Result<T, CallError>) -> Result<Option<T>, CliError> {
    match answer {
        Err(error) if error.failure == Failure::NotFound => Ok(None),
        answer => Ok(Some(answer?)),
    }
}

fn decide(
    home: &Home,
    shard: &ShardId,
    row: Option<&LeaseRow>,
    whole: Option<&Whole>,
    info: Option<&ShardInfo>,
) -> RowStep {
    let Some(whole) = whole else {
        return match row {
            Some(row) if row.epoch > EpochNumber(0) => RowStep::Refuse(format!(
                "the row says that epoch {} is committed, and the bucket has no manifest of the shard at all: restore them \
                 from their versions, or name the right bucket",
                row.epoch
            )),
            Some(row) if row.home.as_ref().is_some_and(|theirs| theirs != home) => {
                let (checkpoint, epoch, state_key) = (row.checkpoint.clone(), row.epoch, row.state_key.clone());
                RowStep::Move(Box::new(row.clone()), Advance { checkpoint, epoch, state_key, pending: None })
            }
            _ => RowStep::Leave,
        };
    };
    let at = &whole.at;
    let Some(row) = row else {
        let (parents, hash_range) =
            info.map_or_else(Default::default, |info| (info.parents.clone(), info.hash_range.clone()));
        return RowStep::Create(Box::new(LeaseRow {
            checkpoint: at.checkpoint.clone(),
            epoch: at.epoch,
            state_key: at.state_key.clone(),
            // Of a shard that the stream has forgotten they left long ago.
            alerts_through: EpochNumber(at.epoch.0 - u64::from(info.is_some())),
            ..LeaseRow::fresh(shard.clone(), parents, hash_range).at(home)
        }));
    };
    // A KCL application may have gone on behind the last epoch.
    let reached = row.epoch == at.epoch && row.checkpoint >= at.checkpoint && row.state_key == at.state_key;
    let pinned = row.pending.as_ref().map(|pending| &pending.plan) == at.pending.as_ref().map(|pending| &pending.plan);
    let claimed = at.pending.is_some() && !pinned;
    match reached && !claimed && row.home.as_ref().is_none_or(|theirs| theirs == home) {
        true => RowStep::Keep,
        false => RowStep::Move(Box::new(row.clone()), at.clone()),
    }
}

fn line(shard: &ShardId, row: &Option<LeaseRow>, whole: &Option<Whole>, step: &RowStep) -> PlanLine {
    let (step, why) = match step {
        RowStep::Keep => ("keep", None),
        RowStep::Create(_) => ("create", None),
        RowStep::Move(..) => ("move", None),
        RowStep::Leave => ("leave", None),
        RowStep::Refuse(why) => ("refuse", Some(why.clone())),
    };
    PlanLine {
        shard: shard.short().to_owned(),
        row_epoch: row.as_ref().map(|row| row.epoch.0),
        row_checkpoint: row.as_ref().map(|row| row.checkpoint.to_string()),
        manifest_epoch: whole.as_ref().map(|whole| whole.at.epoch.0),
        manifest_end: whole.as_ref().map(|whole| whole.at.checkpoint.to_string()),
        claimed_epoch: whole.as_ref().and_then(|whole| Some(whole.at.pending.as_ref()?.plan.cut.epoch.0)),
        step,
        why,
    }
}

impl Reply {
    fn text(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(["shard", "row: epoch", "ends at", "manifests: epoch", "end at", "claimed", "step"]);
        let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
        for line in &self.shards {
            table.add_row([
                line.shard.clone(),
                number(line.row_epoch),
                line.row_checkpoint.as_deref().map(shortened).unwrap_or_default(),
                number(line.manifest_epoch),
                line.manifest_end.as_deref().map(shortened).unwrap_or_default(),
                number(line.claimed_epoch),
                line.step.to_owned(),
            ]);
        }
        let mut text = format!("{} of {} and bucket {}\n{table}\n", self.table, self.stream, self.bucket);
        for line in &self.shards {
            text.extend(line.why.iter().map(|why| format!("{}: {why}\n", line.shard)));
        }
        let changes = self.shards.iter().filter(|line| ["create", "move"].contains(&line.step)).count();
        text.push_str(&match (changes, self.written) {
            (0, _) => "Every row is as its manifests say.\n".to_owned(),
            (n, true) => format!("{n} rows written. Start the workers.\n"),
            (n, false) => format!("{n} rows would be written; --yes writes them.\n"),
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use messages::Position;

    use super::*;

    fn home() -> Home {
        Home { stream: StreamId { arn: "arn".into(), created_ms: 1 }, bucket: "lake".into() }
    }

    fn at(epoch: u64) -> Advance {
        let checkpoint = Position::parse(&(epoch * 100).to_string()).unwrap();
        Advance { checkpoint, epoch: EpochNumber(epoch), state_key: Some(format!("state/{epoch}")), pending: None }
    }

    fn row(epoch: u64) -> LeaseRow {
        let Advance { checkpoint, epoch, state_key, .. } = at(epoch);
        LeaseRow { checkpoint, epoch, state_key, ..LeaseRow::fresh(shard(), vec![], Default::default()).at(&home()) }
    }

    fn shard() -> ShardId {
        ShardId::new("shardId-000000000001")
    }

    #[test]
    fn a_row_becomes_what_the_manifests_say() {
        let whole = |epoch| Whole { shard: shard(), first: EpochNumber(1), at: at(epoch) };
        let step = |row: Option<&LeaseRow>, whole: Option<&Whole>| decide(&home(), &shard(), row, whole, None);
        assert_eq!(step(Some(&row(5)), Some(&whole(5))), RowStep::Keep);
        assert_eq!(step(None, None), RowStep::Leave);
        for epoch in [2, 9] {
            assert_eq!(step(Some(&row(epoch)), Some(&whole(5))), RowStep::Move(Box::new(row(epoch)), at(5)));
        }
        // KCL has gone on behind it.
        let further = LeaseRow { checkpoint: at(7).checkpoint, ..row(5) };
        assert_eq!(step(Some(&further), Some(&whole(5))), RowStep::Keep);
        let moved = row(5).at(&Home { bucket: "old".into(), ..home() });
        assert!(matches!(step(Some(&moved), Some(&whole(5))), RowStep::Move(..)));
        let quiet = LeaseRow::fresh(shard(), vec![], Default::default());
        assert_eq!(step(Some(&quiet.clone().at(&home())), None), RowStep::Leave);
        let elsewhere = quiet.at(&Home { bucket: "old".into(), ..home() });
        assert!(matches!(step(Some(&elsewhere), None), RowStep::Move(_, to) if to.epoch == EpochNumber(0)));
        // The stream has forgotten it: its last alerts left long ago.
        let RowStep::Create(made) = step(None, Some(&whole(5))) else { panic!("no row is made") };
        let expected = (at(5).checkpoint, EpochNumber(5), EpochNumber(5), Some(home()));
        assert_eq!((made.checkpoint, made.epoch, made.alerts_through, made.home), expected);
        assert!(matches!(step(Some(&row(5)), None), RowStep::Refuse(_)));
    }
}
