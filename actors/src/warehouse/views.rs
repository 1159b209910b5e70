//! The zones of the lake as views, for readers that open the files themselves.
//!
//! **Promises** partition columns are numbers on every date, and windows are those of all shards, each at its
//! newest revision.
//! **Not here**: Redshift's tables (`star.rs`) and its external table (`external.rs`).

use messages::schema::PartitionBy;
use messages::{EventSchema, Zone};

use super::external::PARTS;
use super::literal::{self, Sql, Unquotable};
use super::sql::views as sql;
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
    let (files, name) = (literal::plain_text(&files)?, literal::identifier(name)?);
    // Left to itself DuckDB takes folders for texts as soon as one of them begins with 0, and else for numbers.
    let of_type = |part: &&str| Ok(sql::PartType { part: literal::plain_text(part)? }.sql());
    let types = Sql::list(parts.iter().map(of_type).collect::<Result<_, Unquotable>>()?);
    let files = sql::Files { files, types }.sql();
    let rows = match zone {
        Zone::AggregatesHourly | Zone::AggregatesDaily => {
            let part = |part: &&str| Ok(sql::PartOfWindow { part: literal::identifier(part)? }.sql());
            let parts = parts.iter().map(part).collect::<Result<_, Unquotable>>()?;
            sql::Windows { files, parts: Sql::lines(parts) }.sql()
        }
        _ => files,
    };
    Ok(sql::View { name, rows }.sql().laid_out())
}
