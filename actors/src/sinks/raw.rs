//! The raw zone: every record, byte for byte.
//!
//! **Owns** which file a record stands in. What is one object of JSON in one line stands as it is in a file of lines:
//! every reader of JSON lines opens it. Whether the line's end is the record's own is said by the file's name. What is
//! no such line (other bytes, several lines or objects, what is no JSON, nothing at all) stands in Base64 in a companion
//! file, with its identity.
//! **Promises** RAW-ONCE: all files together give back every record exactly, each in stream order.
//! **Fails** as a whole.
//! **Not here**: what a record can stand as (`messages/src/batch.rs`, `Form`): who has read it knows.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use messages::{EncodedObject, Form, RawRecord, Zone};
use serde::Serialize;

use super::error::EncodeError;
use super::job::Job;
use super::lines::LinesObject;
use super::rows::{EpochRows, by_arrival_hour};
use crate::lake::keys::Partition;

/// A line of the companion file.
#[derive(Serialize)]
struct Escaped<'a> {
    sequence: &'a str,
    arrival_ms: i64,
    partition_key: &'a str,
    data: String,
}

pub(super) fn encode(job: &Job<'_>, rows: &EpochRows<'_>) -> Result<Vec<EncodedObject>, EncodeError> {
    let mut by_form: BTreeMap<Form, Vec<&RawRecord>> = BTreeMap::new();
    for (form, record) in rows.forms() {
        by_form.entry(form).or_default().push(record);
    }
    let mut objects = Vec::new();
    for (form, records) in by_form {
        for (hour, records) in by_arrival_hour(records, |record| record.arrival_ms) {
            let key = job.names.lines(Partition::Hour(hour), form);
            objects
                .push(if form == Form::Other { escaped(job, &records)? } else { lines(job, &records)? }.finish(key)?);
        }
    }
    Ok(objects)
}

fn lines(job: &Job<'_>, records: &[&RawRecord]) -> Result<LinesObject, EncodeError> {
    let mut file = LinesObject::create(job, Zone::Raw);
    for record in records {
        file.push_record(record.sequence.as_str(), &record.data)?;
    }
    Ok(file)
}

fn escaped(job: &Job<'_>, records: &[&RawRecord]) -> Result<LinesObject, EncodeError> {
    let mut file = LinesObject::create(job, Zone::RawEscaped);
    for record in records {
        file.push(record.sequence.as_str(), &escape(record)?)?;
    }
    Ok(file)
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
