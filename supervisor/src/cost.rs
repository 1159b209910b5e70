//! What a month on AWS costs: a model of the calls, bytes and hours that a load and a configuration lead to, by a table of
//! prices.
//!
//! **Promises** the same answer for the same input; every item names the key, or the property of the load, that drives it.
//! Sizes are those that the demo's sensors have; what AWS gives for free or at a discount is left out.
//!
//! **Not here**: the flags (`cli/cost.rs`); what a key means.

mod prices;
#[cfg(test)]
mod tests;

use std::time::Duration;

use actors::ports::objects::Encryption;
use actors::ports::warehouse::WarehousePlace;
use serde::Serialize;

pub use self::prices::{Prices, SHIPPED};
use crate::config::Config;

const MONTH_S: f64 = 30.0 * 86_400.0;
const MONTH_HOURS: f64 = 30.0 * 24.0;
const GB: f64 = 1e9;
const MILLION: f64 = 1e6;
const THOUSAND: f64 = 1e3;

/// Raw, cleansed, state, claim and manifest of every epoch; quarantine, duplicates, dimensions, aggregates and alerts of
/// some.
const OBJECTS_PER_EPOCH: f64 = 6.5;
/// What the loader and COPY read of an epoch: its manifest, and the files of it that are loaded.
const READS_PER_EPOCH: f64 = 6.0;
/// Bytes in the raw zone for a byte of an event: gzip on JSON.
const RAW_SHARE: f64 = 0.2;
/// Bytes of a reading in the cleansed zone, of its part of the aggregates, and in the warehouse.
const CLEANSED_BYTES: f64 = 34.0;
const AGGREGATE_BYTES: f64 = 1.0;
const WAREHOUSE_BYTES: f64 = 40.0;
/// Bytes that one sensor takes in a state object.
const STATE_BYTES: f64 = 485.0;
/// Write units of an epoch: its row is prepared and committed, two units each while it holds a plan.
const WRITES_PER_EPOCH: f64 = 4.0;
/// Kilobytes of a lease row.
const ROW_KB: f64 = 0.75;
/// A record in an answer of the stream is Base64.
const BASE64: f64 = 4.0 / 3.0;
/// Zones that interface endpoints stand in.
const ZONES: f64 = 3.0;
/// Bytes of one payload unit of the stream.
const UNIT_BYTES: f64 = 25_000.0;

/// Epochs that are shorter cost more in PUTs than they are worth to most.
const AGE_THRIFTY: Duration = Duration::from_secs(60);
/// The share of a month that a Serverless workgroup may be awake for loads without a word.
const AWAKE_THRIFTY: f64 = 0.25;

/// The load of the service.
#[derive(Clone, Debug, Serialize)]
pub struct Workload {
    /// Events a second, over all shards.
    pub events_per_second: f64,
    /// Bytes of an event.
    pub event_bytes: f64,
    /// Events that producers pack into one record.
    pub events_per_record: f64,
    /// Shards of the stream.
    pub shards: u32,
    /// Sensors, spread evenly over the shards.
    pub sensors: u64,
    /// Workers.
    pub workers: u32,
    /// Hours for which the stream keeps records.
    pub retention_hours: u32,
    /// Events without which there would be no alert: one alert in so many.
    pub events_per_alert: f64,
}

/// One line of the bill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BillItem {
    /// What is paid for.
    pub name: &'static str,
    /// Dollars a month.
    pub usd_month: f64,
    /// The configuration key, or the property of the load, that it grows with.
    pub driven_by: &'static str,
    /// Whether it is storage: each further month adds as much again, until something is deleted.
    pub accumulates: bool,
}

/// The bill of a month of 30 days.
#[derive(Clone, Debug, Serialize)]
pub struct Bill {
    /// All items together, in dollars.
    pub total_usd_month: f64,
    /// The part of it that every further month adds: storage.
    pub accumulates_usd_month: f64,
    /// The lines, the dearest first.
    pub items: Vec<BillItem>,
    /// The date of the prices.
    pub prices_of: String,
    /// Where they hold.
    pub region: String,
    /// The load that was assumed.
    pub load: Workload,
    /// How long an epoch lasts under this load, in seconds.
    pub epoch_s: f64,
    /// What makes the bill another one than it seems.
    pub notes: Vec<String>,
}

/// Makes the bill of a load under a configuration.
pub fn bill(load: &Workload, config: &Config, prices: &Prices) -> Bill {
    let model = Model::new(load, config, prices);
    let mut items = [model.stream(), model.objects(), model.leases(), model.rest(), model.warehouse()].concat();
    items.retain(|item| item.usd_month > 0.0);
    items.sort_by(|a, b| b.usd_month.total_cmp(&a.usd_month));
    items.iter_mut().for_each(|item| item.usd_month = cents(item.usd_month));
    let sum = |items: &mut dyn Iterator<Item = &BillItem>| cents(items.map(|item| item.usd_month).sum());
    Bill {
        total_usd_month: sum(&mut items.iter()),
        accumulates_usd_month: sum(&mut items.iter().filter(|item| item.accumulates)),
        items,
        prices_of: prices.as_of.clone(),
        region: prices.region.clone(),
        load: load.clone(),
        epoch_s: (model.epoch_s * 10.0).round() / 10.0,
        notes: load
            .shards_needed()
            .map(|n| format!("{} shards do not take that: it needs {n}", load.shards))
            .into_iter()
            .collect(),
    }
}

impl Workload {
    /// How many shards it takes, at a megabyte and a thousand records a second each; none if it has as many.
    fn shards_needed(&self) -> Option<f64> {
        let bytes = self.events_per_second * self.event_bytes / MILLION;
        let records = self.events_per_second / self.events_per_record / THOUSAND;
        let needed = bytes.max(records).ceil();
        (needed > f64::from(self.shards)).then_some(needed)
    }
}

fn cents(usd: f64) -> f64 {
    (usd * 100.0).round() / 100.0
}

struct Model<'a> {
    load: &'a Workload,
    config: &'a Config,
    prices: &'a Prices,
    epoch_s: f64,
    /// Epochs of all shards in a month.
    epochs: f64,
    events: f64,
}

impl<'a> Model<'a> {
    fn new(load: &'a Workload, config: &'a Config, prices: &'a Prices) -> Self {
        let committer = config.worker().shard.committer;
        let per_shard = load.events_per_second / f64::from(load.shards);
        let by = |most: f64, per_second: f64| if per_second > 0.0 { most / per_second } else { f64::INFINITY };
        let by_bytes = by(committer.bytes_max as f64, per_shard * load.event_bytes);
        let by_rows = by(committer.rows_max as f64, per_shard);
        let epoch_s = committer.age_max.as_secs_f64().min(by_bytes).min(by_rows);
        // An epoch begins with a record: a shard with less than one an epoch has one for each.
        let epochs = (MONTH_S / epoch_s).min(per_shard * MONTH_S) * f64::from(load.shards);
        Self { load, config, prices, epoch_s, epochs, events: load.events_per_second * MONTH_S }
    }

    fn stream(&self) -> Vec<BillItem> {
        let Workload { shards, retention_hours, events_per_record, event_bytes, .. } = self.load;
        let prices = &self.prices.kinesis;
        let hours = f64::from(*shards) * MONTH_HOURS;
        let units = self.events / events_per_record * (events_per_record * event_bytes / UNIT_BYTES).ceil();
        let kept = if *retention_hours > 24 { hours * prices.retention_shard_hour } else { 0.0 };
        vec![
            item("Kinesis: shards", hours * prices.shard_hour, "shards of the stream"),
            item("Kinesis: PUT payload units", units / MILLION * prices.put_million, "events in one record (KPL)"),
            item("Kinesis: retention beyond a day", kept, "the stream's retention"),
        ]
    }

    fn objects(&self) -> Vec<BillItem> {
        let (prices, load) = (&self.prices.s3, self.load);
        let puts = self.epochs * OBJECTS_PER_EPOCH;
        let reads = if self.config.warehouse.is_some() { self.epochs * READS_PER_EPOCH } else { 0.0 };
        let kms = match &self.config.encryption {
            Encryption::Kms { bucket_key: false, .. } => puts + reads,
            // A bucket key is good for all objects of some minutes.
            Encryption::Kms { bucket_key: true, .. } => (puts + reads) / 100.0,
            Encryption::Default | Encryption::Aes256 => 0.0,
        };
        let lake = self.events * (load.event_bytes * RAW_SHARE + CLEANSED_BYTES + AGGREGATE_BYTES);
        let storage = |bytes: f64| bytes / GB * prices.gb_month;
        vec![
            item("S3: PUT", puts / THOUSAND * prices.put_thousand, "epoch.age_max"),
            item("S3: GET and HEAD of loads", reads / THOUSAND * prices.get_thousand, "epoch.age_max"),
            item("KMS", kms / THOUSAND * self.prices.kms.call_thousand, "bucket.kms_bucket_key, epoch.age_max"),
            grows("S3: storage of raw, cleansed, aggregates", storage(lake), "events, the bucket's lifecycle"),
            item("S3: storage of states", storage(self.state_bytes()), "epoch.age_max, epoch.refresh_after, lifecycle"),
        ]
    }

    /// Bytes of states that are held at once, if they expire when they may: sensors that an epoch touches, and now and
    /// then all.
    fn state_bytes(&self) -> f64 {
        let Workload { sensors, shards, .. } = self.load;
        let here = *sensors as f64 / f64::from(*shards);
        let events = self.load.events_per_second / f64::from(*shards) * self.epoch_s;
        // The expected number of different sensors among so many events, each of a sensor by chance.
        let touched = here * (1.0 - (-events / here).exp());
        let committer = self.config.worker().shard.committer;
        let (full, held_s) = (committer.full_state_every as f64, 2.0 * committer.refresh_after.as_secs_f64());
        let written = self.epochs * (touched * (full - 1.0) + here) / full * STATE_BYTES;
        written / MONTH_S * held_s
    }

    fn leases(&self) -> Vec<BillItem> {
        let (leases, prices) = (self.config.worker().leases, &self.prices.dynamodb);
        let workers = f64::from(self.load.workers);
        let rows = f64::from(self.load.shards) + workers;
        // Half a unit for each 4 KB, eventually consistent.
        let units = (rows * ROW_KB / 4.0).ceil() * 0.5;
        let looks = (1.0 / leases.scan_interval.as_secs_f64()).min(leases.read_units_max / units);
        let (scans, beats) = (looks * units * workers * MONTH_S, workers * every(leases.heartbeat_interval));
        let writes = |units: f64| units / MILLION * prices.write_million;
        vec![
            item("DynamoDB: epochs", writes(self.epochs * WRITES_PER_EPOCH), "epoch.age_max"),
            item("DynamoDB: heartbeats", writes(beats), "workers, leases.heartbeat_interval"),
            item("DynamoDB: looks at the leases", scans / MILLION * prices.read_million, "leases.scan_interval"),
        ]
    }

    fn rest(&self) -> Vec<BillItem> {
        let alerts = match self.config.receivers.sns_topics.len() {
            0 => 0.0,
            topics => self.events / self.load.events_per_alert * topics as f64,
        };
        let read = self.events * self.load.event_bytes * BASE64 / GB;
        let network = &self.prices.network;
        let workers = f64::from(self.load.workers) * MONTH_HOURS * self.prices.compute.worker_hour;
        vec![
            item("Workers", workers, "workers"),
            item(
                "Interface endpoint for the stream",
                ZONES * MONTH_HOURS * network.endpoint_hour + read * network.endpoint_gb,
                "bytes of events",
            ),
            item("SNS", alerts / MILLION * self.prices.sns.publish_million, "alerts.sns_topics"),
        ]
    }

    fn warehouse(&self) -> Vec<BillItem> {
        let Some(warehouse) = &self.config.warehouse else { return Vec::new() };
        let prices = &self.prices.redshift;
        let interval_s = warehouse.loader.load_interval.as_secs_f64();
        // Lists the folder of every shard, and those of the shards.
        let lists = every(warehouse.loader.load_interval) * 2.0 * (1.0 + f64::from(self.load.shards));
        let (name, usd, driven_by) = match &warehouse.target.place {
            WarehousePlace::Workgroup(_) => {
                let awake = (prices.billed_s_min / interval_s).min(1.0);
                let usd = awake * MONTH_HOURS * prices.base_rpus * prices.rpu_hour;
                ("Redshift Serverless", usd, "warehouse.load_interval")
            }
            WarehousePlace::Cluster(_) => ("Redshift cluster", MONTH_HOURS * prices.node_hour, "warehouse.cluster"),
        };
        let stored = self.events * WAREHOUSE_BYTES / GB * prices.gb_month;
        vec![
            item(name, usd, driven_by),
            item("S3: LIST of the loader", lists / THOUSAND * self.prices.s3.put_thousand, "warehouse.load_interval"),
            grows("Redshift: storage", stored, "events"),
        ]
    }
}

/// How often in a month.
fn every(interval: Duration) -> f64 {
    MONTH_S / interval.as_secs_f64()
}

fn item(name: &'static str, usd_month: f64, driven_by: &'static str) -> BillItem {
    BillItem { name, usd_month, driven_by, accumulates: false }
}

fn grows(name: &'static str, usd_month: f64, driven_by: &'static str) -> BillItem {
    BillItem { accumulates: true, ..item(name, usd_month, driven_by) }
}

/// Defaults, and values like them, that are the expensive ones: each with what it costs and what to change.
pub fn hints(config: &Config, prices: &Prices) -> Vec<String> {
    let mut hints = Vec::new();
    let age = config.worker().shard.committer.age_max;
    let puts = every(age) * OBJECTS_PER_EPOCH / THOUSAND * prices.s3.put_thousand;
    if age < AGE_THRIFTY {
        hints.push(format!(
            "epoch.age_max ({age:?}) costs up to ${puts:.2} a shard and month for PUTs alone; {AGE_THRIFTY:?} costs \
             ${:.2}, and alerts are as fast",
            puts * age.as_secs_f64() / AGE_THRIFTY.as_secs_f64()
        ));
    }
    if matches!(config.encryption, Encryption::Kms { bucket_key: false, .. }) {
        let calls = every(age) * OBJECTS_PER_EPOCH / THOUSAND * prices.kms.call_thousand;
        hints.push(format!(
            "bucket.kms_bucket_key (false) costs up to ${calls:.2} a shard and month for a call of KMS for every object; \
             with true there is one for many"
        ));
    }
    if let Some(warehouse) = &config.warehouse {
        let (interval, redshift) = (warehouse.loader.load_interval, &prices.redshift);
        let awake = (redshift.billed_s_min / interval.as_secs_f64()).min(1.0);
        let usd = MONTH_HOURS * redshift.base_rpus * redshift.rpu_hour;
        if matches!(warehouse.target.place, WarehousePlace::Workgroup(_)) && awake > AWAKE_THRIFTY {
            hints.push(format!(
                "warehouse.load_interval ({interval:?}) keeps a Serverless workgroup awake: ${:.0} a month at {} RPU; \
                 10m costs ${:.0}",
                usd * awake,
                redshift.base_rpus,
                usd * redshift.billed_s_min / 600.0
            ));
        }
    }
    hints
}
