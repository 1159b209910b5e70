//! Keeps the external table what the lake is: its columns, and a partition for every folder of readings.
//!
//! **Promises** what the ledger calls loaded lies in registered partitions. A table whose columns changed is made anew
//! over the same files: it holds no row of its own.
//! **Fails** without blaming an epoch: what is refused here is the table's fault, or the role's.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::info;

use super::{LoadError, Loading};
use crate::ports::warehouse::Warehouse;
use crate::warehouse::batch::{Feed, LoadBatch};
use crate::warehouse::diff;
use crate::warehouse::external::{self, External, SpectrumMode, Taken};

/// Folders that are known to be registered; beyond, all are forgotten and registered again.
const KNOWN_MAX: usize = 10_000;
/// Statements that may have made external tables, as the warehouse remembers them.
const MADE_MAX: usize = 10_000;

/// How Spectrum is used.
#[derive(Clone, Debug)]
pub struct SpectrumConfig {
    /// Beside the table of readings, or instead of it.
    pub mode: SpectrumMode,
    /// The warehouse's schema that holds the external table.
    pub namespace: String,
    /// The database of the data catalog behind it; made if missing.
    pub database: String,
}

/// The external table, and what is known of it.
#[derive(Debug)]
pub(super) struct Spectrum {
    table: External,
    pub(super) mode: SpectrumMode,
    known: Mutex<BTreeSet<String>>,
}

impl Spectrum {
    pub(super) fn new(config: &SpectrumConfig, schema: &messages::EventSchema, bucket: &str) -> Result<Self, Taken> {
        let table = External::new(schema, &config.namespace, &config.database, bucket)?;
        Ok(Self { table, mode: config.mode, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn register(&self, warehouse: &Warehouse, folders: BTreeSet<String>) -> Result<(), LoadError> {
        let unknown: BTreeSet<String> = folders.difference(&self.known()).cloned().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let statements = self.table.add(&unknown)?.ok_or_else(|| LoadError::Lake {
            key: unknown.iter().next().cloned().unwrap_or_default(),
            problem: "is no folder of the cleansed zone: was partition_by of the event schema changed?".to_owned(),
        })?;
        for statement in statements {
            warehouse.execute(&statement, "mangrove: partitions").await.map_err(LoadError::External)?;
        }
        let mut known = self.known();
        if known.len() + unknown.len() > KNOWN_MAX {
            known.clear();
        }
        known.extend(unknown);
        Ok(())
    }
}

impl Loading {
    /// Makes the external table if it is missing or has other columns, with all folders that there are.
    pub(super) async fn ensure_external(&self) -> Result<(), LoadError> {
        let Some(spectrum) = &self.spectrum else { return Ok(()) };
        let (table, warehouse) = (&spectrum.table, &self.ports.warehouse);
        if warehouse.query(&table.has_namespace()?, "mangrove: external schema", 1).await?.is_empty() {
            let namespace = table.create_namespace(&self.config.iam_role)?;
            warehouse.execute(&namespace, "mangrove: external schema").await.map_err(LoadError::External)?;
        }
        let create = table.create()?;
        let there = warehouse.query(&table.exists_query()?, "mangrove: external table", 1).await?;
        let made = warehouse.query(&table.made_query(&self.star)?, "mangrove: external table", MADE_MAX).await?;
        if !there.is_empty() && table.is_made(&made, &create)? {
            return Ok(());
        }
        spectrum.known().clear();
        for statement in [table.drop()?, create.clone()] {
            warehouse.execute(&statement, "mangrove: external table").await.map_err(LoadError::External)?;
        }
        let folders = self.folders_of_readings(table.depth()).await?;
        let n = folders.len();
        spectrum.register(warehouse, folders).await?;
        // Only now: whoever dies before begins again.
        warehouse.execute(&diff::record(&self.star, &create)?, "mangrove: schema version").await?;
        info!(statement = create, partitions = n, "made the external table");
        Ok(())
    }

    /// Registers the folders that a batch's readings lie in.
    pub(super) async fn register(&self, batch: &LoadBatch) -> Result<(), LoadError> {
        let Some(spectrum) = &self.spectrum else { return Ok(()) };
        let files = batch.epochs.iter().flat_map(|epoch| &epoch.files).filter(|(feed, _)| *feed == Feed::Readings);
        let folders = files.filter_map(|(_, file)| Some(file.key.rsplit_once('/')?.0.to_owned())).collect();
        spectrum.register(&self.ports.warehouse, folders).await
    }

    async fn folders_of_readings(&self, depth: usize) -> Result<BTreeSet<String>, LoadError> {
        let mut folders = vec![external::folder()];
        for _ in 0..depth {
            let mut below = Vec::new();
            for folder in &folders {
                below.extend(self.ports.objects.folders(folder).await?);
            }
            folders = below;
        }
        Ok(folders.into_iter().map(|folder| folder.trim_end_matches('/').to_owned()).collect())
    }
}
