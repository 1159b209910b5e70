//! From an epoch's readings to its objects.
//!
//! **Owns** the plan of an epoch: which objects there will be, with their row counts and digests.
//! **Promises** a pure function: the plan depends on records, state and pinned versions alone (RAW-ONCE, CLEAN-ONCE),
//! and its counts add up (COMPLETE).
//! **Fails** as a whole, or by a panic if the counts do not add up: then no epoch may be committed.
//! **Not here**: uploading, and the moment of the cut.

use std::collections::BTreeMap;

use messages::{
    AggregateRow, Assessed, Cut, EncodedEpoch, EncodedObject, EpochContent, EpochPlan, PlannedObject, ShardId, Zone,
};
use sha2::{Digest as _, Sha256};

use super::error::EncodeError;
use super::job::{EpochContext, Job};
use super::rows::EpochRows;
use super::{aggregates, alerts, cleansed, dimensions, duplicates, quarantine, raw, state};
use crate::lake::digest::hex;
use crate::lake::keys::{self, Names};

/// Encodes an epoch: its batches in stream order, and what the cut added.
///
/// # Panics
/// If a batch is not complete, or readings do not add up: both are mistakes in this program, and committing would
/// make them permanent.
pub fn encode_epoch(
    context: &EpochContext,
    batches: &[Assessed],
    content: &EpochContent,
) -> Result<EncodedEpoch, EncodeError> {
    let cut = &content.cut;
    let job = Job { context, cut, names: Names::new(&context.stream, &context.shard, cut, context.format) };
    let rows = EpochRows::sort_out(batches, context.schema.partition_by);

    // One zone after another, so that only one of them is held in both forms.
    let mut objects = raw::encode(&job, &rows)?;
    objects.extend(cleansed::encode(&job, &rows)?);
    objects.extend(quarantine::encode(&job, &rows)?);
    objects.extend(duplicates::encode(&job, &rows)?);
    objects.extend(dimensions::encode(&job, &rows)?);
    objects.extend(aggregates::encode(&job, &content.aggregates)?);
    objects.extend(alerts::encode(&job, &rows, &content.silences)?);
    objects.push(state::encode(&job, content)?);
    objects.sort_by(|a, b| a.planned.key.cmp(&b.planned.key));

    let plan = plan(&job, &rows, &objects, content.silences.len());
    assert_complete(&plan);
    let manifest = manifest(&job, &plan)?;
    let claim = claim(&job, &manifest);
    Ok(EncodedEpoch { plan, claim, objects, manifest })
}

/// Encodes windows that were made anew: an epoch of nothing else, whose rows say which shard has counted them. Each shard
/// has a cut of its own, whose end makes the names of its objects.
pub fn encode_windows(
    context: &EpochContext,
    cut: &Cut,
    windows: &[(ShardId, Cut, Vec<AggregateRow>)],
) -> Result<EncodedEpoch, EncodeError> {
    let mut objects = Vec::new();
    for (shard, own, rows) in windows {
        let counted = EpochContext { shard: shard.clone(), ..context.clone() };
        let names = Names::new(&context.stream, &context.shard, own, EpochPlan::NAMED_BY_END);
        objects.extend(aggregates::encode(&Job { context: &counted, cut: own, names }, rows)?);
    }
    objects.sort_by(|a, b| a.planned.key.cmp(&b.planned.key));
    let names = Names::new(&context.stream, &context.shard, cut, EpochPlan::NAMED_BY_END);
    let job = Job { context, cut, names };
    let plan = plan(&job, &EpochRows::default(), &objects, 0);
    let manifest = manifest(&job, &plan)?;
    let claim = claim(&job, &manifest);
    Ok(EncodedEpoch { plan, claim, objects, manifest })
}

fn plan(job: &Job<'_>, rows: &EpochRows<'_>, objects: &[EncodedObject], silences: usize) -> EpochPlan {
    let mut reasons = BTreeMap::new();
    for refused in &rows.refused {
        *reasons.entry(refused.reason.as_str().to_owned()).or_insert(0) += 1;
    }
    EpochPlan {
        format: job.context.format,
        stream: (job.context.format != EpochPlan::NAMED_BY_END).then(|| job.context.origin.clone()),
        shard: job.context.shard.clone(),
        cut: job.cut.clone(),
        schema: job.context.schema.fingerprint.clone(),
        records: rows.records().count() as u64,
        readings: rows.readings(),
        clean: rows.n_clean(),
        quarantined: rows.refused.len() as u64,
        duplicates: rows.duplicates.len() as u64,
        reasons,
        alerts: (rows.alerts.len() + silences) as u64,
        poisoned: rows.poisoned(),
        previous_state: job.context.previous_state.clone(),
        objects: objects.iter().map(|object| object.planned.clone()).collect(),
    }
}

/// COMPLETE, checked on what was written rather than on what was meant to be.
fn assert_complete(plan: &EpochPlan) {
    let written = |zones: &[Zone]| -> u64 {
        plan.objects.iter().filter(|object| zones.contains(&object.zone)).map(|object| object.rows).sum()
    };
    assert_eq!(written(&[Zone::Raw, Zone::RawEscaped]), plan.records, "every record is in the raw zone");
    assert_eq!(written(&[Zone::Cleansed]), plan.clean, "every valid reading is in the cleansed zone");
    assert_eq!(written(&[Zone::Quarantine]), plan.quarantined, "every refused reading is in quarantine");
    assert_eq!(written(&[Zone::Duplicates]), plan.duplicates, "every duplicate is listed");
    assert_eq!(plan.clean + plan.quarantined + plan.duplicates, plan.readings, "every reading has gone somewhere");
}

fn manifest(job: &Job<'_>, plan: &EpochPlan) -> Result<EncodedObject, EncodeError> {
    let zone = Zone::Manifest;
    let json = serde_json::to_vec_pretty(plan).map_err(|source| EncodeError::Json { zone, source })?;
    let digest = hex(&Sha256::digest(&json));
    Ok(EncodedObject::new(job.names.chained(zone), zone, plan.objects.len() as u64, digest, json))
}

fn claim(job: &Job<'_>, manifest: &EncodedObject) -> EncodedObject {
    let key = keys::claim_of(&job.context.stream, &job.context.shard, job.cut.epoch);
    EncodedObject { planned: PlannedObject { key, ..manifest.planned.clone() }, bytes: manifest.bytes.clone() }
}
