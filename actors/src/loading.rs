//! Loads epochs into the warehouse: looks what waits, sends a batch, says what became of it.
//!
//! **Owns** nothing that lasts: what is loaded stands in the ledger, what waits lies in the lake. A step may be cut off
//! anywhere, and be taken twice, or by two at once.
//!
//! **Promises**
//! - An epoch is in the warehouse whole and once, or not at all (CLEAN-ONCE); after a step whose outcome is unknown the
//!   ledger is asked, and nothing else is believed.
//! - At most one batch is held, and of it only keys and lengths (BOUNDED).
//!
//! **Fails** with a [`LoadError`], which says whether waiting helps.
//!
//! **Not here**: when, and by whom (`loader.rs`); the SQL (`warehouse/`).

mod backfill;
mod error;
mod figures;
mod lake;
mod metadata;
mod probe;
mod proven;
mod refusals;
mod spectrum;

use std::sync::Arc;
use std::time::Duration;

use messages::EventSchema;
use tokio::time::Instant;
use tracing::info;

pub use self::backfill::Backfilled;
pub(crate) use self::backfill::origin_of;
pub use self::error::LoadError;
pub use self::figures::{FailingLoads, LoaderFigures, LoaderStatus, MetadataFailure, Stopped};
pub use self::metadata::{MetadataConfig, MetadataWatch};
use self::proven::Proven;
use self::spectrum::Spectrum;
pub use self::spectrum::SpectrumConfig;
use crate::ports::backoff::doubled;
use crate::ports::clock::Clock;
use crate::ports::faults::Faults;
use crate::ports::objects::{Objects, Put};
use crate::ports::warehouse::Warehouse;
use crate::sinks::Encoding;
use crate::warehouse::batch::{CopyManifest, Feed, LoadBatch};
use crate::warehouse::external::{SpectrumMode, Taken};
use crate::warehouse::ledger::{self, RefusedEpoch, RowCounts, ShardStatus, Tips};
use crate::warehouse::load_policy::LoadPolicy;
pub use crate::warehouse::load_policy::RefusalPatience;
use crate::warehouse::tables::StarSchema;
use crate::warehouse::{AGES_MAX, Load, Mode, Unquotable, age_ms, diff, transaction};

/// The shortest pause after a failure, and before an epoch that was refused is tried again.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause of a load by hand.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Shards that a stream may have had; a bound on the ledger's answer.
const SHARDS_MAX: usize = 100_000;
/// Columns of all tables in the warehouse's schema.
const COLUMNS_MAX: usize = 100_000;
/// Refused epochs that are shown, or loaded again, at once.
const REFUSED_MAX: usize = 1_000;

/// Fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct LoadingConfig {
    /// The warehouse's schema that holds the tables.
    pub namespace: String,
    /// The role by which the warehouse reads the bucket; empty for its default role.
    pub iam_role: String,
    /// Epochs in one transaction.
    pub epochs_max: usize,
    /// Bytes of files in one transaction; an epoch that is larger goes alone.
    pub bytes_max: u64,
    /// When an epoch counts as refused.
    pub patience: RefusalPatience,
    /// What people know of sensors and places.
    pub metadata: MetadataConfig,
    /// How the files are written that are loaded.
    pub encoding: Encoding,
    /// Whether the cleansed zone is asked where it lies.
    pub spectrum: Option<SpectrumConfig>,
}

/// What a load reaches.
#[derive(Clone, Debug)]
pub struct LoadingPorts {
    /// The bucket.
    pub objects: Objects,
    /// The warehouse.
    pub warehouse: Warehouse,
    /// The wall clock.
    pub clock: Clock,
    /// Crash points to trigger; none outside tests.
    pub faults: Faults,
    /// Where loads are counted.
    pub figures: Arc<LoaderFigures>,
}

/// Loads one stream into one warehouse. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Loading {
    config: LoadingConfig,
    stream: String,
    schema: Arc<EventSchema>,
    star: Arc<StarSchema>,
    spectrum: Option<Arc<Spectrum>>,
    proven: Proven,
    ports: LoadingPorts,
}

/// The tables cannot be made of the configuration and the event schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmakeable {
    /// A name cannot be quoted.
    #[error(transparent)]
    Unquotable(#[from] Unquotable),
    /// A field has the name of a partition's column.
    #[error(transparent)]
    Taken(#[from] Taken),
}

/// What a turn did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing waits.
    Idle,
    /// A batch was loaded, by this turn or, as the ledger says, by an earlier one.
    Loaded {
        /// Whether more waits.
        more: bool,
    },
    /// The warehouse refused a batch. What follows from it has been done.
    Refused {
        /// How often the epoch at fault was tried; 0 while it is looked for, and when it was put aside.
        tries: u32,
    },
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Whether this load brought it; else the ledger knew one of its epochs, and nothing was changed.
    pub fresh: bool,
}

impl Loading {
    /// Loads this stream, whose events look like this.
    pub fn new(
        config: LoadingConfig,
        stream: &str,
        schema: Arc<EventSchema>,
        ports: LoadingPorts,
    ) -> Result<Self, Unmakeable> {
        let star = Arc::new(StarSchema::new(&schema, &config.namespace, &config.metadata.columns)?);
        let spectrum = match &config.spectrum {
            Some(spectrum) => Some(Arc::new(Spectrum::new(spectrum, &schema, ports.objects.bucket())?)),
            None => None,
        };
        Ok(Self { config, stream: stream.to_owned(), schema, star, spectrum, proven: Proven::default(), ports })
    }

    /// A policy to begin with.
    pub fn policy(&self) -> LoadPolicy {
        LoadPolicy::new(self.config.epochs_max, self.config.patience)
    }

    /// What loads are counted in.
    pub fn figures(&self) -> &Arc<LoaderFigures> {
        &self.ports.figures
    }

    /// A turn failed.
    pub(crate) fn failed(&self, error: &LoadError) {
        self.ports.figures.failed(error.failure(), &error.to_string(), self.ports.clock.now_ms());
    }

    /// Where loads go.
    pub fn warehouse(&self) -> &Warehouse {
        &self.ports.warehouse
    }

    /// Which warehouse, stream apart: at most one loader is to work on it.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.ports.warehouse.target(), self.config.namespace, self.stream)
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.ports.faults
    }

    /// Brings the tables up to the event schema, and has the warehouse show that it reads the lake's files. Returns what it took: nothing, if they are as they should be.
    pub async fn ensure_tables(&self) -> Result<Vec<String>, LoadError> {
        let warehouse = &self.ports.warehouse;
        if warehouse.query(&self.star.has_namespace()?, "mangrove: schema", 1).await?.is_empty() {
            warehouse.execute(&self.star.create_namespace()?, "mangrove: schema").await?;
        }
        let changes = self.missing().await?;
        for statement in &changes {
            // Rows that are copied between tables are copied once: a load by hand may begin at the same moment.
            match statement.starts_with("INSERT ") {
                true => drop(
                    warehouse.batch(&[transaction::lock(&self.star)?, statement.clone()], "mangrove: tables").await?,
                ),
                false => drop(warehouse.execute(statement, "mangrove: tables").await?),
            }
        }
        for statement in changes.iter().filter(|statement| !statement.starts_with("COMMENT")) {
            warehouse.execute(&diff::record(&self.star, statement)?, "mangrove: schema version").await?;
            info!(statement, "changed the warehouse's tables");
        }
        self.ensure_probe().await?;
        self.ensure_external().await?;
        Ok(changes)
    }

    /// The statements that would bring the tables up to the event schema.
    pub async fn missing(&self) -> Result<Vec<String>, LoadError> {
        let query = diff::columns_query(&self.star)?;
        let rows = self.ports.warehouse.query(&query, "mangrove: columns", COLUMNS_MAX).await?;
        Ok(diff::changes(&self.star, &diff::found(&rows))?)
    }

    /// The statements that make an empty warehouse, in order.
    pub fn ddl(&self) -> Result<Vec<String>, LoadError> {
        Ok(self.star.ddl()?)
    }

    /// Loads the next batch, if anything waits.
    pub async fn turn(&self, policy: &mut LoadPolicy) -> Result<Turn, LoadError> {
        // A warehouse that bills while it answers is not asked while the lake has nothing new; and what waits is told
        // while it does not answer.
        let now_ms = self.ports.clock.now_ms();
        if let Some(tips) = policy.tips(now_ms) {
            let backlog = self.backlog(tips, 1).await?;
            self.ports.figures.waits(backlog.waiting());
            if backlog.waiting() == 0 {
                self.ports.figures.stopped(&backlog.stops, now_ms);
                self.look_back(policy).await;
                return Ok(Turn::Idle);
            }
        }
        let tips = self.tips().await?;
        let next = self.batch_after(&tips, policy.epochs()).await?;
        policy.asked(tips, now_ms);
        let Some((batch, left)) = next else {
            self.look_back(policy).await;
            return Ok(Turn::Idle);
        };
        self.ports.faults.reach("loader.listed", "").await;
        match self.load(&batch, Mode::New).await {
            Ok(loaded) => {
                policy.loaded();
                if loaded.fresh {
                    policy.reached(&batch);
                    self.proven.reached(&batch);
                    self.ports.figures.waits(left);
                }
                self.look_back(policy).await;
                Ok(Turn::Loaded { more: left > 0 })
            }
            Err(error) => self.not_loaded(&batch, policy, error).await,
        }
    }

    /// The epochs that come next, at most so many, and how many are known to wait behind them; none if nothing waits.
    pub async fn next_batch(&self, epochs_max: usize) -> Result<Option<(LoadBatch, u64)>, LoadError> {
        self.batch_after(&self.tips().await?, epochs_max).await
    }

    async fn batch_after(&self, tips: &Tips, epochs_max: usize) -> Result<Option<(LoadBatch, u64)>, LoadError> {
        let mut backlog = self.backlog(tips, epochs_max).await?;
        self.ports.figures.waits(backlog.waiting());
        let chosen = self.choose(&mut backlog, epochs_max).await?;
        self.ports.figures.stopped(&backlog.stops, self.ports.clock.now_ms());
        let left = backlog.waiting() - chosen.len() as u64;
        Ok((!chosen.is_empty()).then(|| (LoadBatch::new(&self.stream, chosen), left)))
    }

    /// Loads a batch, all of it or nothing.
    pub async fn load(&self, batch: &LoadBatch, mode: Mode) -> Result<Loaded, LoadError> {
        let began = Instant::now();
        self.register(batch).await?;
        let mut manifests = batch.manifests(self.ports.objects.bucket());
        if self.spectrum.as_ref().is_some_and(|spectrum| spectrum.mode == SpectrumMode::Instead) {
            manifests.retain(|manifest| manifest.feed != Feed::Readings);
        }
        for manifest in &manifests {
            self.put(manifest).await?;
        }
        let now_ms = self.ports.clock.now_ms();
        let statements = self.load_of(batch, &manifests, mode, now_ms).statements()?;
        self.ports.faults.reach("loader.sending", "").await;
        let name = format!("mangrove: load {}", batch.id);
        let done = self.ports.warehouse.batch(&statements.sql, &name).await?;
        self.ports.faults.reach("loader.sent", "").await;
        let took = began.elapsed();
        let part = |n: usize| done.parts.get(n).filter(|part| part.has_result).map(|part| part.id.clone());
        // The load stands, whatever becomes of these questions.
        let fresh = match part(statements.guard) {
            Some(id) => {
                self.ports.warehouse.pages(&id).all(1).await?.first().and_then(|row| row[0].as_i64()) == Some(1)
            }
            None => true,
        };
        let ages = match statements.ages.and_then(part).filter(|_| fresh) {
            Some(id) => self.ports.warehouse.pages(&id).all(AGES_MAX).await?,
            None => Vec::new(),
        };
        let since_ms = self.ports.clock.now_ms().saturating_sub(now_ms).max(0) as f64;
        let ages =
            ages.iter().filter_map(|row| Some((age_ms(row.first()?.as_i64()?) + since_ms, row.get(1)?.as_i64()?)));
        if fresh {
            self.ports.figures.loaded(batch, took, done.took, ages.map(|(ms, n)| (ms, n.max(0) as u64)).collect());
        }
        let (epochs, readings, bytes) = (batch.epochs.len(), batch.readings(), batch.bytes());
        info!(batch = batch.id, epochs, readings, bytes, ?took, in_warehouse = ?done.took, fresh, "batch loaded");
        Ok(Loaded { fresh })
    }

    async fn put(&self, manifest: &CopyManifest) -> Result<(), LoadError> {
        self.ports.faults.reach("loader.manifest", manifest.feed.as_str()).await;
        let body = manifest.body.clone().into();
        match self.ports.objects.put_new(&manifest.key, body, &manifest.digest, manifest.rows).await? {
            Put::Created | Put::Same => Ok(()),
            Put::Different => Err(LoadError::Lake {
                key: manifest.key.clone(),
                problem: "exists with other content: a broken promise, look before going on".to_owned(),
            }),
        }
    }

    fn load_of<'a>(&'a self, batch: &'a LoadBatch, manifests: &'a [CopyManifest], mode: Mode, now_ms: i64) -> Load<'a> {
        Load {
            star: &self.star,
            schema: &self.schema,
            batch,
            manifests,
            bucket: self.ports.objects.bucket(),
            iam_role: &self.config.iam_role,
            mode,
            now_ms,
        }
    }

    /// How far every shard is loaded.
    pub async fn tips(&self) -> Result<Tips, LoadError> {
        let query = ledger::tips_query(&self.star, &self.stream)?;
        let rows = self.ports.warehouse.query(&query, "mangrove: ledger", SHARDS_MAX).await?;
        Ok(ledger::tips(&rows)?)
    }

    /// What the ledger has of every shard.
    pub async fn status(&self) -> Result<Vec<ShardStatus>, LoadError> {
        let query = ledger::status_query(&self.star, &self.stream)?;
        let rows = self.ports.warehouse.query(&query, "mangrove: status", SHARDS_MAX).await?;
        Ok(ledger::status(&rows)?)
    }

    /// The first epochs that were put aside.
    pub async fn refusals(&self) -> Result<Vec<RefusedEpoch>, LoadError> {
        let query = ledger::refused_query(&self.star, &self.stream, REFUSED_MAX)?;
        let rows = self.ports.warehouse.query(&query, "mangrove: refused", REFUSED_MAX).await?;
        Ok(ledger::refused(&rows)?)
    }

    /// How much is in the tables, and how many transactions have brought this stream's part.
    pub async fn counts(&self) -> Result<(RowCounts, u64), LoadError> {
        let query = ledger::counts_query(&self.star, &self.stream)?;
        Ok(ledger::counts(&self.ports.warehouse.query(&query, "mangrove: counts", 1).await?)?)
    }

    /// Loads an epoch that was put aside.
    pub async fn load_again(&self, manifest: &str) -> Result<Loaded, LoadError> {
        let epochs = self.read(&[manifest.to_owned()], u64::MAX).await?;
        self.load(&LoadBatch::new(&self.stream, epochs), Mode::Again).await
    }

    /// Loads until nothing waits; fails at the first failure but a refusal.
    pub async fn load_all(&self, patience: Duration) -> Result<(), LoadError> {
        let deadline = Instant::now() + patience;
        let mut policy = self.policy();
        self.refresh(&mut MetadataWatch::default()).await;
        loop {
            match self.turn(&mut policy).await? {
                Turn::Idle => return Ok(()),
                Turn::Loaded { .. } => {}
                Turn::Refused { tries } => tokio::time::sleep(pause_after(tries, PAUSE_MAX)).await,
            }
            if Instant::now() > deadline {
                return Err(LoadError::OutOfTime(patience));
            }
        }
    }
}

/// How long to wait after the n-th failure in a row, from 0.
pub(crate) fn pause_after(n: u32, most: Duration) -> Duration {
    doubled(n, PAUSE_MIN, most)
}
