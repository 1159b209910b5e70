//! Windows over shards: what each has counted, and the sum of it.
//!
//! **Promises**
//! - The rows of `sensor_hourly` and `sensor_daily` are functions of the parts alone: of what each shard has counted, in
//!   its latest revision, in whatever order and batches the parts came. A window of one shard is its part, bit by bit.
//! - Count, least and largest value are those of all values; mean and deviation differ from theirs by rounding alone
//!   (Chan, Golub and LeVeque 1979).
//! - Every write is joined with the guard.
//!
//! **Not here**: what a shard counts (`aggregator/`).

use super::literal::{self, Unquotable};
use super::star::{self, Star};
use super::transaction::{GUARD, list};
use super::versions::same;
use crate::lake::columns;

/// What names a window.
const WINDOW: [&str; 3] = [columns::SENSOR_ID, columns::FIELD, columns::WINDOW_START];
/// What names a part of one.
const PART: [&str; 4] = [columns::SENSOR_ID, columns::FIELD, columns::WINDOW_START, columns::SHARD];

/// Takes staged parts over, and adds up anew the windows that they belong to.
pub(super) fn merge(
    star: &Star,
    (windows, parts): (&str, &str),
    stage: &str,
    sql: &mut Vec<String>,
) -> Result<(), Unquotable> {
    take(star, parts, stage, sql)?;
    let (at, me) = (star.at(windows)?, literal::identifier(windows)?);
    sql.push(format!("DELETE FROM {at} USING {stage} \"s\", {GUARD} \"g\" WHERE {}", same(&me, "\"s\"", &WINDOW)));
    let columns = &star.table(windows).columns;
    let mut values = Vec::new();
    for column in columns {
        values.push(format!("{} AS {}", sum(&column.name)?, literal::identifier(&column.name)?));
    }
    let keys = WINDOW.map(|key| format!("\"p\".\"{key}\"")).join(", ");
    sql.push(format!(
        "INSERT INTO {at} ({}) SELECT {} FROM ({}) \"p\" CROSS JOIN {GUARD} \"g\" GROUP BY {keys}",
        list("", columns)?,
        values.join(", "),
        touched(star, parts, stage)?,
    ));
    Ok(())
}

/// The latest revision of each part takes the place of an earlier one.
fn take(star: &Star, parts: &str, stage: &str, sql: &mut Vec<String>) -> Result<(), Unquotable> {
    let (at, me, zone) = (star.at(parts)?, literal::identifier(parts)?, &star.table(parts).columns);
    sql.push(format!(
        "DELETE FROM {at} USING {stage} \"s\", {GUARD} \"g\" WHERE {} AND ({me}.\"revision\" < \"s\".\"revision\" \
         OR ({me}.\"revision\" = \"s\".\"revision\" AND {me}.\"epoch\" < \"s\".\"epoch\"))",
        same(&me, "\"s\"", &PART),
    ));
    let keys = PART.map(|key| format!("\"{key}\"")).join(", ");
    sql.push(format!(
        "INSERT INTO {at} ({}) SELECT {} FROM (SELECT {}, ROW_NUMBER() OVER (PARTITION BY {keys} \
         ORDER BY \"revision\" DESC, \"epoch\" DESC) AS \"place\" FROM {stage}) \"t\" CROSS JOIN {GUARD} \"g\" \
         LEFT JOIN {at} \"w\" ON {} WHERE \"t\".\"place\" = 1 AND \"w\".\"sensor_id\" IS NULL",
        list("", zone)?,
        list("\"t\".", zone)?,
        list("", zone)?,
        same("\"w\"", "\"t\"", &PART),
    ));
    Ok(())
}

/// All parts of the windows in `stage`, each with the mean of its whole window, and its place in the order of time.
fn touched(star: &Star, parts: &str, stage: &str) -> Result<String, Unquotable> {
    let window = format!("PARTITION BY {}", WINDOW.map(|key| format!("\"w\".\"{key}\"")).join(", "));
    let keys = WINDOW.map(|key| format!("\"{key}\"")).join(", ");
    // A window of one part keeps that one's very mean.
    let mean = format!(
        "CASE WHEN COUNT(*) OVER ({window}) = 1 THEN \"w\".\"mean\" ELSE SUM(\"w\".\"count\" * (\"w\".\"mean\" * {SMALL})) \
         OVER ({window}) / CAST(SUM(\"w\".\"count\") OVER ({window}) AS DOUBLE PRECISION) * {LARGE} END"
    );
    // Parts that were written before they said when have no time of their own.
    let place = |time: &str, order: &str| {
        format!(
            "ROW_NUMBER() OVER ({window} ORDER BY NVL(\"w\".\"{time}\", \"w\".\"window_start\"){order}, \"w\".\"shard\"{order})"
        )
    };
    Ok(format!(
        "SELECT \"w\".*, {mean} AS \"whole_mean\", {} AS \"from_first\", {} AS \"from_last\" FROM {} \"w\" \
         JOIN (SELECT DISTINCT {keys} FROM {stage}) \"s\" ON {}",
        place(columns::FIRST_TIME, ""),
        place(columns::LAST_TIME, " DESC"),
        star.at(parts)?,
        same("\"w\"", "\"s\"", &WINDOW),
    ))
}

/// A power of two, by which sums are kept within the range of doubles without rounding, and its inverse: a warehouse
/// refuses the whole load for one number beyond it.
const SMALL: &str = "5.421010862427522e-20";
const LARGE: &str = "1.8446744073709552e19";
/// Where a sum stands that is beyond the range, and what it is times the small one.
const END: &str = "1.7976931348623157e308";
const SMALL_END: &str = "9.745314011399998e288";
/// A part whose deviations, or whose distance from the mean of all, have squares beyond the range.
const FAR: &str = "(\"p\".\"count\" > 1 AND \"p\".\"stddev\" IS NULL) OR \"p\".\"stddev\" >= 1e145 \
                   OR ABS(\"p\".\"mean\" * 0.5 - \"p\".\"whole_mean\" * 0.5) >= 1e145";

/// What a column of a window is, from those of its parts.
fn sum(column: &str) -> Result<String, Unquotable> {
    let name = format!("\"p\".{}", literal::identifier(column)?);
    const COUNT: &str = "CAST(SUM(\"p\".\"count\") AS DOUBLE PRECISION)";
    Ok(match column {
        columns::REVISION => format!("CAST(SUM({name}) AS INTEGER)"),
        columns::COUNT => format!("CAST(SUM({name}) AS BIGINT)"),
        columns::SUM => format!(
            "CASE WHEN COUNT(*) = 1 THEN MAX({name}) WHEN SUM({name} * {SMALL}) >= {SMALL_END} THEN {END} \
             WHEN SUM({name} * {SMALL}) <= -{SMALL_END} THEN -{END} ELSE SUM({name} * {SMALL}) * {LARGE} END"
        ),
        columns::MIN | columns::SHARD | columns::FIRST_TIME => format!("MIN({name})"),
        columns::MAX | columns::EPOCH | columns::LAST_TIME => format!("MAX({name})"),
        columns::MEAN => "MAX(\"p\".\"whole_mean\")".to_owned(),
        // The squared deviations within each part, and those of the parts' means from the mean of all.
        columns::STDDEV => format!(
            "CASE WHEN COUNT(*) = 1 THEN MAX({name}) WHEN SUM(CASE WHEN {FAR} THEN 1 ELSE 0 END) > 0 THEN NULL \
             WHEN {COUNT} > 1 THEN SQRT(SUM(CASE WHEN {FAR} THEN 0 ELSE NVL({name} * {name} * (\"p\".\"count\" - 1), 0) \
             + \"p\".\"count\" * (\"p\".\"mean\" - \"p\".\"whole_mean\") * (\"p\".\"mean\" - \"p\".\"whole_mean\") END) \
             / ({COUNT} - 1)) END"
        ),
        columns::FIRST => format!("MAX(CASE WHEN \"p\".\"from_first\" = 1 THEN {name} END)"),
        columns::LAST => format!("MAX(CASE WHEN \"p\".\"from_last\" = 1 THEN {name} END)"),
        star::SHARDS => "COUNT(*)".to_owned(),
        _ => name,
    })
}
