//! The raw zone: every record, byte for byte.
//!
//! **Owns** the choice between the two forms of a record. What is a line of text stands as it is in a file of lines;
//! what is not (other bytes, line breaks, nothing at all) stands in Base64 in a companion file, with its identity.
//! **Promises** RAW-ONCE: both files together give back every record exactly, each in stream order.
//! **Fails** as a whole.
//! **Not here**: any look at what the bytes mean.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use messages::{EncodedObject, RawRecord, Zone};
use serde::Serialize;

use super::epoch::Job;
use super::error::EncodeError;
use super::keys::Partition;
use super::lines::Lines;
use super::rows::{EpochRows, by_arrival_hour};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line of the companion file.
#[derive(Serialize)]
struct Escaped<'a> {
    sequence: &'a str,
    arrival_ms: i64,
    partition_key: &'a str,
    data: String,
}

pub(super) fn encode(job: &Job<'_>, rows: &EpochRows<'_>) -> Result<Vec<EncodedObject>, EncodeError> {
    let (lines, others): (Vec<&RawRecord>, Vec<&RawRecord>) = rows.records().partition(|record| is_line(&record.data));
    let mut objects = Vec::new();
    for (hour, records) in by_hour(lines) {
        let mut file = Lines::create(job, Zone::Raw);
        for record in records {
            file.push(record.sequence.as_str(), &record.data)?;
        }
        objects.push(file.finish(job.names.dated(Zone::Raw, Partition::Hour(hour), 0))?);
    }
    for (hour, records) in by_hour(others) {
        let mut file = Lines::create(job, Zone::RawEscaped);
        for record in records {
            file.push(record.sequence.as_str(), &escape(record)?)?;
        }
        objects.push(file.finish(job.names.dated(Zone::RawEscaped, Partition::Hour(hour), 0))?);
    }
    Ok(objects)
}

fn by_hour(records: Vec<&RawRecord>) -> BTreeMap<i64, Vec<&RawRecord>> {
    by_arrival_hour(records, |record| record.arrival_ms)
}

/// Whether readers of lines give the record back as it is: they split at line breaks, some also at a carriage return,
/// skip empty lines, drop a byte order mark and may refuse what is not UTF-8.
fn is_line(data: &[u8]) -> bool {
    !data.is_empty()
        && !data.starts_with(BYTE_ORDER_MARK)
        && !data.contains(&b'\n')
        && !data.contains(&b'\r')
        && std::str::from_utf8(data).is_ok()
}

fn escape(record: &RawRecord) -> Result<Vec<u8>, EncodeError> {
    let line = Escaped {
        sequence: record.sequence.as_str(),
        arrival_ms: record.arrival_ms,
        partition_key: &record.partition_key,
        data: STANDARD.encode(&record.data),
    };
    serde_json::to_vec(&line).map_err(|source| EncodeError::Json { zone: Zone::RawEscaped, source })
}
