//! A table as it is saved: what builds before the engine have written is read too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::keys::{Definition, Element, Key, grouped};
use super::value::{Item, checked};
use super::{Index, Table, Throughput};

#[derive(Deserialize)]
pub(super) struct SavedTable {
    name: String,
    arn: String,
    key_schema: Vec<Element>,
    attribute_definitions: Vec<Definition>,
    billing_mode: String,
    provisioned_throughput: Option<Throughput>,
    #[serde(default)]
    created_ms: Option<i64>,
    /// As builds before the engine have it, in RFC 3339.
    #[serde(default)]
    creation_date_time: String,
    #[serde(default)]
    global_secondary_index: Vec<Index>,
    #[serde(default)]
    local_secondary_index: Vec<Index>,
    /// By hash key, then by range key.
    #[serde(default)]
    items: BTreeMap<String, BTreeMap<String, Item>>,
}

impl TryFrom<SavedTable> for Table {
    type Error = String;

    fn try_from(saved: SavedTable) -> Result<Self, String> {
        let mut table = Self {
            name: saved.name,
            arn: saved.arn,
            key_schema: saved.key_schema,
            attribute_definitions: saved.attribute_definitions,
            billing_mode: saved.billing_mode,
            provisioned_throughput: saved.provisioned_throughput,
            created_ms: saved.created_ms.or_else(|| unix_ms(&saved.creation_date_time)).ok_or("a table has no date")?,
            global_secondary_index: saved.global_secondary_index,
            local_secondary_index: saved.local_secondary_index,
            rows: BTreeMap::new(),
            active_at_ms: 0,
            history: Vec::new(),
        };
        for row in saved.items.into_values().flat_map(BTreeMap::into_values) {
            let attribute = |(name, value)| Ok((name, checked(&value)?));
            let row: Item = row.into_iter().map(attribute).collect::<Result<_, crate::Refusal>>().map_err(told)?;
            let key = table.schema().key(&row).map_err(told)?;
            table.rows.insert(key, row);
        }
        Ok(table)
    }
}

fn told(refusal: crate::Refusal) -> String {
    refusal.message.into_owned()
}

pub(super) fn rows<S: Serializer>(rows: &BTreeMap<Key, Item>, serializer: S) -> Result<S::Ok, S::Error> {
    grouped(rows).serialize(serializer)
}

/// The beginning of a time in RFC 3339, to the second, in UTC; days are counted as in Howard Hinnant's
/// `days_from_civil`.
fn unix_ms(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_era = year.rem_euclid(400);
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1;
    let days = year.div_euclid(400) * 146_097 + day_of_era - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_builds_before_are_read() {
        assert_eq!(unix_ms("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix_ms("2024-02-29T12:30:15.5+00:00"), Some(1_709_209_815_000));
        assert_eq!(unix_ms("soon"), None);
    }
}
