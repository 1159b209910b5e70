//! The zones of the lake as views, for readers that open the files themselves.
//!
//! **Promises** partition columns are numbers on every date, and windows are at their newest revision.
//! **Not here**: Redshift's tables (`star.rs`) and its external table (`external.rs`).

use messages::schema::PartitionBy;
use messages::{EventSchema, Zone};

use super::external::PARTS;
use super::literal::{self, Unquotable};
use super::star;

/// Views over a lake, a bucket's url or a folder, in DuckDB's SQL.
pub fn duckdb(schema: &EventSchema, lake: &str) -> Result<Vec<String>, Unquotable> {
    let readings = match schema.partition_by {
        PartitionBy::Hour => 4,
        PartitionBy::Day => 3,
    };
    let zones = [
        (star::READINGS, Zone::Cleansed, readings),
        (star::SAID, Zone::Dimensions, 4),
        (star::HOURLY, Zone::AggregatesHourly, 3),
        (star::DAILY, Zone::AggregatesDaily, 2),
        ("quarantine", Zone::Quarantine, 4),
        ("duplicates", Zone::Duplicates, 4),
    ];
    zones.into_iter().map(|(name, zone, parts)| view(lake, name, zone, &PARTS[..parts])).collect()
}

fn view(lake: &str, name: &str, zone: Zone, parts: &[&str]) -> Result<String, Unquotable> {
    let files = format!("{}/{}/**/*.{}", lake.trim_end_matches('/'), zone.folder(), zone.extension());
    let types: Vec<String> = parts.iter().map(|part| format!("'{part}': INTEGER")).collect();
    // Left to itself DuckDB takes folders for texts as soon as one of them begins with 0, and else for numbers.
    let read = format!(
        "SELECT * FROM read_parquet({}, hive_partitioning = true, hive_types = {{{}}}, union_by_name = true)",
        literal::plain_text(&files)?,
        types.join(", "),
    );
    let newest = match zone {
        Zone::AggregatesHourly | Zone::AggregatesDaily => NEWEST,
        _ => "",
    };
    Ok(format!("CREATE OR REPLACE VIEW {} AS\n{read}{newest}", literal::identifier(name)?))
}

/// A window has a row for each time that it was written; the highest revision holds.
const NEWEST: &str =
    "\nQUALIFY ROW_NUMBER() OVER (PARTITION BY sensor_id, field, window_start ORDER BY revision DESC, epoch DESC) = 1";
