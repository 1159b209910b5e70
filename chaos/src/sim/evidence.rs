//! What the oracle is shown of a simulated run: everything, for the simulation knows all that was stored and written.

use std::collections::BTreeSet;
use std::io::Read;

use sha2::{Digest, Sha256};

use super::schedule::Habit;
use super::settings;
use super::world::{World, name_of, violation};
use crate::cloud::{Cloud, Item, PutOutcome, RESTORER};
use crate::oracle::{Evidence, LeaseWrite, ObjectWrite, Places, Record, Row, ShardNode, Tables, Violation, tables_of};

/// Epochs that stand in the ledger, however often; none without tables.
pub(super) fn ledger(cloud: &Cloud) -> u64 {
    let Some(connection) = cloud.warehouse() else { return 0 };
    let sql = format!("SELECT count(DISTINCT (shard, epoch)) FROM {}.load_ledger", settings::NAMESPACE);
    connection.query_row(&sql, [], |row| row.get(0)).unwrap_or(0)
}

/// What lies in the warehouse; a violation if it is not what anybody could read, or not there.
pub(super) fn warehouse(world: &World) -> Result<Tables, Violation> {
    let unread = |problem: String| violation("WAREHOUSE", problem);
    let connection = world.cloud.warehouse().ok_or_else(|| unread("nobody has loaded anything".to_owned()))?;
    let tables = tables_of(connection, settings::NAMESPACE, settings::STREAM, &settings::schema());
    tables.map_err(unread)?.ok_or_else(|| unread("there are no tables".to_owned()))
}

pub(super) fn collect(world: &World) -> Evidence {
    let cloud = &world.cloud;
    let record = |stored: crate::cloud::StoredRecord| Record {
        shard: stored.shard.to_string(),
        sequence: stored.sequence,
        arrival_ms: Some(stored.arrival_ms),
        sha256: Sha256::digest(&stored.data).into(),
        sensor: Some(stored.partition_key.to_string()),
        n: None,
        data: Some(stored.data),
    };
    let node =
        |shard: crate::cloud::ShardView| ShardNode { shard: shard.id, parents: shard.parents, hash_range: shard.range };
    let lease_write = |write: crate::cloud::RowWrite| LeaseWrite {
        at_ms: write.at_ms,
        client: write.client.0,
        key: write.key.clone(),
        before: write.before.as_ref().and_then(|item| row(&write.key, item)),
        after: write.after.as_ref().and_then(|item| row(&write.key, item)),
        restored: write.client == RESTORER,
    };
    let object_write = |write: crate::cloud::ObjectWrite| ObjectWrite {
        at_ms: write.at_ms,
        client: write.client.0,
        key: write.key,
        created: write.outcome == PutOutcome::Created,
        replaced: write.outcome == PutOutcome::Replaced,
    };
    let leases = cloud.lease_history().into_iter().filter(|write| write.key.starts_with("shardId-"));
    Evidence {
        records: cloud.records().into_iter().map(record).collect(),
        exact: true,
        drained: true,
        objects: cloud
            .objects()
            .into_iter()
            .chain(world.expired.clone())
            .map(|(key, object)| (key, object.bytes))
            .collect(),
        lineage: cloud.shards().into_iter().map(node).collect(),
        leases: Some(leases.map(lease_write).collect()),
        names: world.clients.iter().map(|(client, (n, _))| (client.0, name_of(*n))).collect(),
        writes: Some(cloud.object_history().into_iter().map(object_write).collect()),
        final_rows: cloud.rows().iter().filter_map(|(key, item)| row(key, item)).collect(),
        limits: Some(settings::limits()),
        places: match world.habit() {
            Habit::Sensor => Places::Sensor,
            Habit::Random | Habit::Switching => Places::Any,
            Habit::Spread => Places::Anywhere,
        },
        ..Evidence::default()
    }
}

/// A lease, as DynamoDB's JSON has it; none for other rows.
fn row(key: &str, item: &Item) -> Option<Row> {
    let text = |name: &str| Some(item.get(name)?.get("S")?.as_str()?.to_owned());
    let number = |name: &str| item.get(name).and_then(|value| value["N"].as_str()?.parse().ok()).unwrap_or(0);
    let parents = || {
        let parents = item.get("parentShardId").and_then(|value| value["SS"].as_array());
        parents.into_iter().flatten().filter_map(|parent| parent.as_str().map(str::to_owned)).collect()
    };
    key.starts_with("shardId-").then(|| Row {
        key: key.to_owned(),
        owner: text("leaseOwner"),
        counter: number("leaseCounter"),
        checkpoint: text("checkpoint").unwrap_or_default(),
        epoch: number("mangroveEpoch"),
        pending_to: text("pendingCheckpoint"),
        parents: parents(),
        state_key: text("mangroveState"),
    })
}

/// ALERT: every alert that was stored was sent at least once.
pub(super) fn unsent_alerts(world: &World, evidence: &Evidence) -> Vec<Violation> {
    let id = |text: &str| Some(serde_json::from_str::<serde_json::Value>(text).ok()?["id"].as_str()?.to_owned());
    let sent: BTreeSet<String> = world.cloud.published().iter().filter_map(|message| id(message)).collect();
    let mut violations = Vec::new();
    for (key, bytes) in evidence.objects.iter().filter(|(key, _)| key.starts_with("alerts/")) {
        let mut lines = String::new();
        if let Err(error) = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut lines) {
            violations.push(violation("ALERT", format!("{key}: {error}")));
        }
        for alert in lines.lines() {
            match id(alert) {
                Some(id) if sent.contains(&id) => {}
                Some(id) => violations.push(violation("ALERT", format!("alert {id} of {key} was never sent"))),
                None => violations.push(violation("ALERT", format!("{key}: an alert without an id"))),
            }
        }
    }
    violations
}
