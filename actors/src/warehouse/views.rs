//! The zones of the lake as views, for readers that open the files themselves.
//!
//! **Promises** partition columns are numbers on every date, and windows are those of all shards, each at its
//! newest revision.
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
    let rows = match zone {
        Zone::AggregatesHourly | Zone::AggregatesDaily => {
            let parts: Vec<String> = parts.iter().map(|part| format!(", any_value(p.{part}) AS {part}")).collect();
            format!("WITH parts AS (\n{read}{NEWEST}\n), whole AS ({WHOLE})\n{SUM}{}{BY_WINDOW}", parts.concat())
        }
        _ => read,
    };
    Ok(format!("CREATE OR REPLACE VIEW {} AS\n{rows}", literal::identifier(name)?))
}

/// What a shard has counted of a window has a row for each time that it was written; the highest revision holds.
const NEWEST: &str = "\nQUALIFY ROW_NUMBER() OVER (PARTITION BY sensor_id, field, window_start, shard ORDER BY revision DESC, epoch DESC) = 1";
const WHOLE: &str = "SELECT *, CASE WHEN count(*) OVER w = 1 THEN mean ELSE sum(count * (mean * 5.421010862427522e-20)) OVER w / sum(count) OVER w * 1.8446744073709552e19 END AS whole_mean \
    FROM parts WINDOW w AS (PARTITION BY sensor_id, field, window_start)";
/// The shards add up. The squared deviations are those within each part, and of the parts' means from the mean of all
/// (Chan, Golub and LeVeque 1979).
const SUM: &str = "SELECT p.sensor_id, p.field, p.window_start, CAST(sum(p.revision) AS INTEGER) AS revision, \
    CAST(sum(p.count) AS BIGINT) AS count, least(greatest(sum(p.sum), -1.7976931348623157e308), 1.7976931348623157e308) AS sum, min(p.min) AS min, max(p.max) AS max, any_value(p.whole_mean) AS mean, \
    CASE WHEN count(*) = 1 THEN any_value(p.stddev) WHEN bool_or(p.count > 1 AND p.stddev IS NULL OR coalesce(p.stddev, 0) >= 1e145 \
    OR abs(p.mean * 0.5 - p.whole_mean * 0.5) >= 1e145) THEN NULL WHEN sum(p.count) > 1 THEN sqrt(sum(coalesce(p.stddev * p.stddev * (p.count - 1), 0) \
    + p.count * (p.mean - p.whole_mean) * (p.mean - p.whole_mean)) / (sum(p.count) - 1)) END AS stddev, \
    first(p.first ORDER BY p.first_time, p.shard) AS first, last(p.last ORDER BY p.last_time, p.shard) AS last, \
    min(p.shard) AS shard, max(p.epoch) AS epoch, min(p.first_time) AS first_time, max(p.last_time) AS last_time, count(*) AS shards";
const BY_WINDOW: &str = " FROM whole p GROUP BY p.sensor_id, p.field, p.window_start";
