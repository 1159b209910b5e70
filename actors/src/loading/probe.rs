//! Has the warehouse read a file of known rows before it is given anything that matters.
//!
//! **Promises** it is done once for each file that the configuration makes and each version of the warehouse; until it came
//! back right, nothing is loaded.
//! **Fails** without blaming an epoch.

use tracing::info;

use super::{LoadError, Loading};
use crate::lake::probe::ROWS;
use crate::ports::objects::Put;
use crate::warehouse::batch::content_of;
use crate::warehouse::probe::Probe;

const NAME: &str = "mangrove: probe";

impl Loading {
    /// What is tried on a warehouse before its first load.
    pub fn probe(&self) -> Result<Probe, LoadError> {
        let file = crate::sinks::probe_file(&self.config.encoding)?;
        Ok(Probe::of(self.ports.objects.bucket(), file))
    }

    /// Copies the probe and reads it back, unless this warehouse is known to read it right.
    pub(super) async fn ensure_probe(&self) -> Result<(), LoadError> {
        let probe = self.probe()?;
        let warehouse = &self.ports.warehouse;
        let version = warehouse.query(&Probe::version_query(), NAME, 1).await?;
        let version = version.first().and_then(|row| row.first()?.as_str()).unwrap_or_default();
        if !warehouse.query(&probe.known(&self.star, version)?, NAME, 1).await?.is_empty() {
            return Ok(());
        }
        self.put_probe(&probe.key, probe.file.clone(), &probe.digest).await?;
        self.put_probe(&probe.manifest_key, probe.manifest.clone(), &content_of(&probe.manifest)).await?;
        let statements = probe.statements(&self.config.iam_role)?;
        let done = warehouse.batch(&statements, NAME).await.map_err(LoadError::ProbeRefused)?;
        let rows = match done.parts.last().filter(|part| part.has_result) {
            Some(read) => warehouse.pages(&read.id).all(ROWS.len() + 1).await?,
            None => Vec::new(),
        };
        probe.judge(&rows)?;
        warehouse.execute(&probe.remember(&self.star, version)?, NAME).await?;
        info!(key = probe.key, "the warehouse reads the files of this configuration as they are written");
        Ok(())
    }

    async fn put_probe(&self, key: &str, body: Vec<u8>, digest: &str) -> Result<(), LoadError> {
        match self.ports.objects.put_new(key, body.into(), digest, ROWS.len() as u64).await? {
            Put::Created | Put::Same => Ok(()),
            Put::Different => Err(LoadError::Lake {
                key: key.to_owned(),
                problem: "exists with other content: remove it, it is written again".to_owned(),
            }),
        }
    }
}
