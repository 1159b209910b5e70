//! A batch: whole epochs that are loaded in one transaction, and the manifests that COPY reads.
//!
//! **Promises** the same epochs make the same batch, with the same id, under the same keys, on every worker.
//! **Not here**: choosing epochs (`backlog.rs`), SQL (`load.rs`).

use std::collections::BTreeMap;

use messages::{EpochNumber, EpochPlan, Position, ShardId, Zone};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Where the manifests of batches lie.
const FOLDER: &str = "warehouse";
/// Bytes of the hash that names a batch.
const ID_BYTES: usize = 12;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feed {
    /// Versions of sensors.
    Dimensions,
    /// Valid readings.
    Readings,
    /// Hourly windows.
    Hourly,
    /// Daily windows.
    Daily,
    /// Alerts, as lines of JSON.
    Alerts,
}

impl Feed {
    /// All, in the order in which they are loaded: versions before the readings that carry them.
    pub const ALL: [Self; 5] = [Self::Dimensions, Self::Readings, Self::Hourly, Self::Daily, Self::Alerts];

    /// What a zone's objects are for; none if the warehouse has no use for them.
    pub fn of_zone(zone: Zone) -> Option<Self> {
        match zone {
            Zone::Cleansed => Some(Self::Readings),
            Zone::Dimensions => Some(Self::Dimensions),
            Zone::AggregatesHourly => Some(Self::Hourly),
            Zone::AggregatesDaily => Some(Self::Daily),
            Zone::Alerts => Some(Self::Alerts),
            Zone::Raw | Zone::RawEscaped | Zone::Quarantine | Zone::Duplicates | Zone::State | Zone::Manifest => None,
        }
    }

    /// The stable name, in keys and in names of temporary tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Readings => "readings",
            Self::Dimensions => "dimensions",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Alerts => "alerts",
        }
    }
}

/// A file that is to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadFile {
    /// Its key.
    pub key: String,
    /// Its length; COPY refuses a file of another one. 0 if it is not there.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
}

/// An epoch that is to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadEpoch {
    /// The shard.
    pub shard: ShardId,
    /// Its number.
    pub epoch: EpochNumber,
    /// Where it ends.
    pub to: Position,
    /// Valid readings in it.
    pub readings: u64,
    /// The key of its manifest.
    pub manifest: String,
    /// SHA-256 of its manifest, in hex: of two epochs of one number, which.
    pub content: String,
    /// Its files.
    pub files: Vec<(Feed, LoadFile)>,
}

impl LoadEpoch {
    /// What a manifest says, with its digest and the lengths of the files, which `length_of` knows.
    pub fn new(
        (manifest, content): (&str, String),
        plan: &EpochPlan,
        length_of: impl Fn(&str) -> Option<u64>,
    ) -> Option<Self> {
        let mut files = Vec::new();
        for object in &plan.objects {
            if let Some(feed) = Feed::of_zone(object.zone) {
                let bytes = length_of(&object.key)?;
                files.push((feed, LoadFile { key: object.key.clone(), bytes, rows: object.rows }));
            }
        }
        Some(Self {
            shard: plan.shard.clone(),
            epoch: plan.cut.epoch,
            to: plan.cut.to.clone(),
            readings: plan.clean,
            manifest: manifest.to_owned(),
            content,
            files,
        })
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, file)| file.bytes).sum()
    }
}

/// Whole epochs that are loaded together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBatch {
    /// Made of what is in it.
    pub id: String,
    /// The stream.
    pub stream: String,
    /// The epochs, by shard and number.
    pub epochs: Vec<LoadEpoch>,
}

/// A manifest, as it is put into the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyManifest {
    /// What its files are for.
    pub feed: Feed,
    /// Where it goes.
    pub key: String,
    /// What it says.
    pub body: Vec<u8>,
    /// SHA-256 of the body, in hex.
    pub digest: String,
    /// Rows of all its files.
    pub rows: u64,
}

impl LoadBatch {
    /// A batch of these epochs, in whatever order they are given.
    pub fn new(stream: &str, mut epochs: Vec<LoadEpoch>) -> Self {
        epochs.sort_by(|a, b| (&a.shard, a.epoch).cmp(&(&b.shard, b.epoch)));
        let mut hash = Sha256::new();
        hash.update(stream);
        for epoch in &epochs {
            hash.update(format!("\n{}\t{}", epoch.manifest, epoch.bytes()));
        }
        let id = hex(&hash.finalize()[..ID_BYTES]);
        Self { id, stream: stream.to_owned(), epochs }
    }

    /// Valid readings in it.
    pub fn readings(&self) -> u64 {
        self.epochs.iter().map(|epoch| epoch.readings).sum()
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.epochs.iter().map(LoadEpoch::bytes).sum()
    }

    /// A file that is named and is not in the lake.
    pub fn lost(&self) -> Option<&str> {
        let mut files = self.epochs.iter().flat_map(|epoch| &epoch.files);
        files.find(|(_, file)| file.bytes == 0).map(|(_, file)| file.key.as_str())
    }

    /// Epochs that follow each other, by shard: first and last.
    pub(super) fn ranges(&self) -> Vec<(&ShardId, EpochNumber, EpochNumber)> {
        let mut ranges: Vec<(&ShardId, EpochNumber, EpochNumber)> = Vec::new();
        for epoch in &self.epochs {
            match ranges.last_mut() {
                Some((shard, _, last)) if **shard == epoch.shard && last.next() == epoch.epoch => *last = epoch.epoch,
                _ => ranges.push((&epoch.shard, epoch.epoch, epoch.epoch)),
            }
        }
        ranges
    }

    /// The manifests for COPY, one for each feed that has files.
    pub fn manifests(&self, bucket: &str) -> Vec<CopyManifest> {
        let mut feeds: BTreeMap<Feed, Vec<&LoadFile>> = BTreeMap::new();
        for (feed, file) in self.epochs.iter().flat_map(|epoch| &epoch.files) {
            feeds.entry(*feed).or_default().push(file);
        }
        let manifest = |(feed, files): (Feed, Vec<&LoadFile>)| {
            let entry = |file: &&LoadFile| {
                let url = format!("s3://{bucket}/{}", file.key);
                json!({ "url": url, "mandatory": true, "meta": { "content_length": file.bytes } })
            };
            let entries: Vec<serde_json::Value> = files.iter().map(entry).collect();
            let body = serde_json::to_vec(&json!({ "entries": entries })).expect("it is plain data with text keys");
            let key = format!("{FOLDER}/{}/{}.manifest", self.id, feed.as_str());
            let rows = files.iter().map(|file| file.rows).sum();
            CopyManifest { feed, key, digest: hex(&Sha256::digest(&body)), body, rows }
        };
        feeds.into_iter().map(manifest).collect()
    }
}

/// What a manifest of this content is known by in the ledger.
pub fn content_of(manifest: &[u8]) -> String {
    hex(&Sha256::digest(manifest))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
