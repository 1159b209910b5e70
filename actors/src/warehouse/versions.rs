//! Versions of sensors: what was said of them, the intervals that follow, and which version a reading carries.
//!
//! **Promises**
//! - `dim_sensors`, `dim_locations` and the version of every reading are functions of what is in `sensor_versions`,
//!   `sensor_readings` and the metadata in force, in whatever order and batches it came: the intervals of a sensor are
//!   made anew from all its versions whenever one comes.
//! - A new version changes the readings of its own interval and no others: what lies outside had its version before.
//! - Every write is joined with the guard.
//!
//! **Not here**: what makes a version (`sensor/attributes.rs`), the rest of a load (`load.rs`).

use super::literal::{self, Unquotable};
use super::service::STATEMENT_BYTES_MAX;
use super::star::{self, Star};
use super::tables::Kind;
use super::transaction::{GUARD, list};
use crate::lake::columns;

/// Before every event.
pub(super) const BEGINNING: &str = "TIMESTAMP '0001-01-01 00:00:00'";
/// Behind every event.
const END: &str = "TIMESTAMP '9999-12-31 00:00:00'";
/// What was said of the sensors concerned, in order.
const SAID: &str = "\"load_said\"";
/// What follows from it.
const INTERVALS: &str = "\"load_intervals\"";
const PLACES: &str = "\"load_places\"";
/// Places that nothing names any more, or that are described otherwise.
const GONE: &str = "\"load_gone\"";

/// How many versions of a sensor have one number, at most: more than one says that several shards count them.
const SAME_NUMBER: &str = "same_number";
/// The condition that this is so, of a version that an event told.
const SPREAD: &str = "\"same_number\" > 1 AND \"source\" = 'event'";

/// The identity of a version: the reading that made it, which may have made several.
const IDENTITY: [&str; 4] = [columns::SHARD, columns::SEQUENCE, columns::SUB_SEQUENCE, columns::VERSION];

/// Takes staged versions over: those that are known already change nothing.
pub(super) fn say(star: &Star, stage: &str, sql: &mut Vec<String>) -> Result<(), Unquotable> {
    let (said, zone) = (star.at(star::SAID)?, &star.table(star::SAID).columns);
    sql.push(format!(
        "INSERT INTO {said} ({}) SELECT {} FROM {stage} \"s\" CROSS JOIN {GUARD} \"g\" LEFT JOIN {said} \"k\" ON {} \
         WHERE \"k\".\"shard\" IS NULL",
        list("", zone)?,
        list("\"s\".", zone)?,
        same("\"k\"", "\"s\"", &IDENTITY),
    ));
    Ok(())
}

/// Makes the intervals of every sensor in `touched` anew, from what it said and what metadata says of it.
///
/// What events say of an attribute holds from then on; before, and for what they never say, metadata holds. Of a version
/// of events counts what it says anew: the rest is what was in force when it came, and what came late is not in it.
pub(super) fn rebuild(star: &Star, touched: &str, sql: &mut Vec<String>) -> Result<(), Unquotable> {
    sql.push(said(star, touched)?);
    let by_place = "PARTITION BY \"sensor_id\" ORDER BY \"ordinal\"";
    // A version that leaves an attribute out says nothing about it.
    let last = |value: &str| format!("LAST_VALUE({value}) IGNORE NULLS OVER ({by_place} ROWS UNBOUNDED PRECEDING)");
    let columns = &star.table(star::SENSORS).columns;
    let mut values = Vec::new();
    for column in columns {
        let name = literal::identifier(&column.name)?;
        let value = match column.name.as_str() {
            star::VALID_TO => format!("LEAD(\"valid_from\") OVER ({by_place})"),
            star::IS_CURRENT => format!("LEAD(\"valid_from\") OVER ({by_place}) IS NULL"),
            _ if star.attributes.contains(&column.name) => {
                let anew = literal::text(&format!(",{},", column.name))?;
                let of = |said: &str| last(&format!("CASE WHEN {said} THEN {name} END"));
                format!("NVL({}, {})", of(&format!("STRPOS(\"anew\", {anew}) > 0")), of("\"source\" = 'metadata'"))
            }
            _ if star.declared.sensors.iter().any(|declared| declared.name == column.name) => last(&name),
            _ => name.clone(),
        };
        values.push(format!("{value} AS {name}"));
    }
    values.push(format!("\"{SAME_NUMBER}\""));
    // Once for all attributes: a schema may have hundreds, and a statement has an end.
    let anew = "CASE WHEN \"source\" = 'event' THEN ',' || \"changed\" || ',' ELSE '' END AS \"anew\"";
    sql.push(format!(
        "CREATE TEMP TABLE {INTERVALS} AS SELECT {} FROM (SELECT *, {anew} FROM {SAID}) \"a\"",
        values.join(", ")
    ));
    let (sensors, me) = (star.at(star::SENSORS)?, literal::identifier(star::SENSORS)?);
    sql.push(format!(
        "DELETE FROM {sensors} USING {touched} \"t\", {GUARD} \"g\" WHERE {me}.\"sensor_id\" = \"t\".\"sensor_id\""
    ));
    sql.push(format!(
        "INSERT INTO {sensors} ({}) SELECT {} FROM {INTERVALS} \"i\", {GUARD} \"g\"",
        list("", columns)?,
        list("\"i\".", columns)?,
    ));
    Ok(())
}

/// Every version of the sensors in `touched`, with its place in the order of its sensor's: by the time from which they
/// hold, metadata before events, then as they came. Numbers grow with arrival.
fn said(star: &Star, touched: &str) -> Result<String, Unquotable> {
    let of_metadata = &star.table(star::DESCRIBED).columns;
    let (mut events, mut metadata, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for column in &star.table(star::SENSORS).columns {
        let name = literal::identifier(&column.name)?;
        let said = star.table(star::SAID).column(&column.name).is_some();
        let (event, described) = match column.name.as_str() {
            star::VALID_TO | star::IS_CURRENT | star::ORDINAL => continue,
            star::SOURCE => ("CAST('event' AS VARCHAR(8))".to_owned(), "CAST('metadata' AS VARCHAR(8))".to_owned()),
            columns::SHARD => (name.clone(), "'metadata'".to_owned()),
            columns::SEQUENCE => (name.clone(), "CAST(ABS(\"version\") AS VARCHAR(129))".to_owned()),
            columns::SUB_SEQUENCE => (name.clone(), "0".to_owned()),
            columns::ARRIVAL_TIME => (name.clone(), "\"valid_from\"".to_owned()),
            _ if said => (name.clone(), name.clone()),
            _ => (format!("CAST(NULL AS {})", column.kind.sql()), name.clone()),
        };
        debug_assert!(described != name || of_metadata.iter().any(|known| known.name == column.name));
        events.push(format!("{event} AS {name}"));
        metadata.push(format!("{described} AS {name}"));
        all.push(column.name.as_str());
    }
    let every = format!(
        "SELECT \"c\".*, COUNT(*) OVER (PARTITION BY \"sensor_id\", \"source\", \"version\") AS \"namesakes\", \
         ROW_NUMBER() OVER (PARTITION BY \"sensor_id\" ORDER BY \"valid_from\", \
         CASE WHEN \"source\" = 'metadata' THEN 0 ELSE 1 END, \"version\", \"arrival_time\", \"shard\", LEN(\"sequence\"), \
         \"sequence\", \"sub_sequence\") AS \"place\" FROM (\
         SELECT {} FROM {} WHERE \"sensor_id\" IN (SELECT \"sensor_id\" FROM {touched}) UNION ALL \
         SELECT {} FROM {} WHERE \"sensor_id\" IN (SELECT \"sensor_id\" FROM {touched})) \"c\"",
        events.join(", "),
        star.at(star::SAID)?,
        metadata.join(", "),
        star.at(star::DESCRIBED)?,
    );
    let whole = over_shards(star, &all, &every)?;
    if whole.len() <= STATEMENT_BYTES_MAX {
        return Ok(whole);
    }
    // So many attributes that the service would not take it: then versions stand as each shard has counted them.
    let columns = all.iter().map(|column| literal::identifier(column)).collect::<Result<Vec<_>, _>>()?.join(", ");
    Ok(format!(
        "CREATE TEMP TABLE {SAID} AS SELECT {columns}, \"namesakes\" AS \"{SAME_NUMBER}\", \"place\" AS \"ordinal\" FROM ({every}) \"d\""
    ))
}

/// Of a sensor that several shards have counted versions of, each for itself, the versions as one would have counted
/// them: what a shard says that another has said already is no version, what it says only because it has not heard the
/// last of it is not said, and numbers follow the order. Versions of all other sensors are as they came.
fn over_shards(star: &Star, all: &[&str], every: &str) -> Result<String, Unquotable> {
    const BY_SOURCE: &str = "PARTITION BY \"sensor_id\", \"source\" ORDER BY \"place\"";
    let (mut told, mut heard, mut known, mut news, mut names) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (n, attribute) in star.attributes.iter().enumerate() {
        let column = star.table(star::SENSORS).column(attribute).expect("every tracked attribute is a column of its");
        let (name, mark) = (literal::identifier(attribute)?, literal::plain_text(&format!(",{attribute},"))?);
        told.push(format!(
            "CASE WHEN {SPREAD} AND STRPOS(',' || \"e\".\"changed\" || ',', {mark}) = 0 THEN NULL ELSE \"e\".{name} END AS {name}"
        ));
        heard.push(format!(
            ", LAST_VALUE({name}) IGNORE NULLS OVER ({BY_SOURCE} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS \"now_{n}\""
        ));
        known.push(format!(", LAG(\"now_{n}\") OVER ({BY_SOURCE}) AS \"was_{n}\""));
        let same = equal(&format!("\"was_{n}\""), &format!("\"now_{n}\""), column.kind);
        news.push(format!(" OR NOT ({same})"));
        names.push(format!("CASE WHEN {same} THEN '' ELSE {} END", literal::plain_text(&format!(",{attribute}"))?));
    }
    let rest = |column: &&&str| !star.attributes.iter().any(|attribute| attribute == **column);
    let rest = all.iter().filter(rest).map(|column| Ok(format!("\"e\".{}", literal::identifier(column)?)));
    let rest = rest.collect::<Result<Vec<_>, Unquotable>>()?;
    told.extend(rest);
    let mut kept = Vec::new();
    for column in all {
        let name = literal::identifier(column)?;
        kept.push(match *column {
            columns::VERSION => format!(
                "CASE WHEN {SPREAD} THEN CAST(ROW_NUMBER() OVER ({BY_SOURCE}) AS INTEGER) ELSE {name} END AS {name}"
            ),
            columns::CHANGED if !names.is_empty() => {
                format!("CASE WHEN {SPREAD} THEN SUBSTRING({}, 2, 65535) ELSE {name} END AS {name}", names.join(" || "))
            }
            _ => name,
        });
    }
    Ok(format!(
        "CREATE TEMP TABLE {SAID} AS SELECT {}, \"{SAME_NUMBER}\", \
         ROW_NUMBER() OVER (PARTITION BY \"sensor_id\" ORDER BY \"place\") AS \"ordinal\" FROM (\
         SELECT \"h\".*{}, LAG(\"place\") OVER ({BY_SOURCE}) AS \"before\" FROM (\
         SELECT \"t\".*{} FROM (\
         SELECT {}, \"e\".\"place\", \"e\".\"{SAME_NUMBER}\" FROM (\
         SELECT \"d\".*, MAX(\"namesakes\") OVER (PARTITION BY \"sensor_id\") AS \"{SAME_NUMBER}\" FROM ({every}) \"d\"\
         ) \"e\") \"t\") \"h\") \"k\" WHERE NOT ({SPREAD}) OR \"before\" IS NULL{}",
        kept.join(", "),
        known.concat(),
        heard.concat(),
        told.join(", "),
        news.concat(),
    ))
}

/// The condition that two values are equal, or both missing.
fn equal(left: &str, right: &str, kind: Kind) -> String {
    let none = none(kind);
    format!("NVL({left}, {none}) = NVL({right}, {none}) AND NVL2({left}, 1, 0) = NVL2({right}, 1, 0)")
}

/// Gives the readings that are stored already the versions that hold since [`rebuild`]: in the intervals of the staged
/// versions, because only there another one held before; in all of a sensor that several shards count, because numbers
/// of the others may have moved.
pub(super) fn reassign_new(star: &Star, stage: &str, sql: &mut Vec<String>) -> Result<(), Unquotable> {
    let since = since("\"i\".\"ordinal\"", "\"i\".\"valid_from\"");
    let fresh = format!(
        "{INTERVALS} \"i\" LEFT JOIN {stage} \"s\" ON {} WHERE (\"s\".\"shard\" IS NOT NULL OR \"i\".\"{SAME_NUMBER}\" > 1)",
        same("\"i\"", "\"s\"", &IDENTITY)
    );
    let intervals = format!(
        "SELECT \"i\".\"sensor_id\", \"i\".\"version\", {since} AS \"since\", NVL(\"i\".\"valid_to\", {END}) AS \"until\" FROM {fresh}"
    );
    // Lets the warehouse skip the blocks of earlier readings.
    let bound = format!(" AND \"sensor_readings\".\"event_time\" >= (SELECT MIN({since}) FROM {fresh})");
    sql.push(reassign(star, &intervals, &bound)?);
    Ok(())
}

/// The same for all intervals of the sensors in `touched`, each of which stands there once: also where nothing holds
/// any more.
pub(super) fn reassign_all(star: &Star, touched: &str, sql: &mut Vec<String>) -> Result<(), Unquotable> {
    let since = since("\"i\".\"ordinal\"", "\"i\".\"valid_from\"");
    let intervals = format!(
        "SELECT \"t\".\"sensor_id\", NVL(\"i\".\"version\", 0) AS \"version\", NVL({since}, {BEGINNING}) AS \"since\", \
         NVL(\"i\".\"valid_to\", {END}) AS \"until\" FROM {touched} \"t\" LEFT JOIN {INTERVALS} \"i\" \
         ON \"i\".\"sensor_id\" = \"t\".\"sensor_id\""
    );
    sql.push(reassign(star, &intervals, "")?);
    Ok(())
}

fn reassign(star: &Star, intervals: &str, bound: &str) -> Result<String, Unquotable> {
    let (readings, me) = (star.at(star::READINGS)?, literal::identifier(star::READINGS)?);
    Ok(format!(
        "UPDATE {readings} SET \"sensor_version\" = \"n\".\"version\" FROM ({intervals}) \"n\", {GUARD} \"g\" \
         WHERE {me}.\"sensor_id\" = \"n\".\"sensor_id\" AND {me}.\"event_time\" >= \"n\".\"since\" \
         AND {me}.\"event_time\" < \"n\".\"until\" AND {me}.\"sensor_version\" <> \"n\".\"version\"{bound}",
    ))
}

/// The intervals of the sensors in `stage`, as something to join with: `sensor_id`, `version`, `since`, `until`. What is
/// older than every version belongs to the first.
pub(super) fn intervals(star: &Star, stage: &str) -> Result<String, Unquotable> {
    Ok(format!(
        "(SELECT \"sensor_id\", \"version\", {} AS \"since\", NVL(\"valid_to\", {END}) AS \"until\" FROM {} \
         WHERE \"sensor_id\" IN (SELECT \"sensor_id\" FROM {stage}))",
        since("\"ordinal\"", "\"valid_from\""),
        star.at(star::SENSORS)?,
    ))
}

/// Brings the places up to what versions name: adds, corrects and takes away.
pub(super) fn places(star: &Star, sql: &mut Vec<String>) -> Result<(), Unquotable> {
    if star.place.is_empty() {
        return Ok(());
    }
    let (sensors, locations) = (star.at(star::SENSORS)?, star.at(star::LOCATIONS)?);
    let me = literal::identifier(star::LOCATIONS)?;
    let table = star.table(star::LOCATIONS);
    let place = quoted(&star.place)?;
    let some: Vec<String> = place.iter().map(|name| format!("\"d\".{name} IS NOT NULL")).collect();
    let taken: Vec<String> = place.iter().map(|name| format!("\"d\".{name}")).collect();
    let described: Vec<&str> = match star.place.iter().any(|name| name == star::SITE) {
        true => star.declared.locations.iter().map(|column| column.name.as_str()).collect(),
        false => Vec::new(),
    };
    let (mut values, mut join) = (String::new(), String::new());
    if !described.is_empty() {
        // Any of them: a site stands there once.
        values = quoted(&described)?.iter().map(|name| format!(", ANY_VALUE(\"m\".{name}) AS {name}")).collect();
        let metadata = star.at(star::DESCRIBED_PLACES)?;
        join = format!(" LEFT JOIN {metadata} \"m\" ON \"m\".\"site\" = \"d\".\"site\"");
    }
    let taken = taken.join(", ");
    sql.push(format!(
        "CREATE TEMP TABLE {PLACES} AS SELECT {taken}, MIN(\"d\".\"valid_from\") AS \"first_seen\"{values} FROM {sensors} \"d\"{join} \
         WHERE {} GROUP BY {taken}",
        some.join(" OR "),
    ));
    let mut names: Vec<&str> = star.place.iter().map(String::as_str).collect();
    names.push(star::FIRST_SEEN);
    names.extend(described);
    let all = |left: &str, right: &str| -> Result<String, Unquotable> {
        let mut terms = Vec::new();
        for name in &names {
            let column = table.column(name).expect("the columns of a place are in the table");
            terms.push(alike(left, right, name, column.kind)?);
        }
        Ok(terms.join(" AND "))
    };
    let columns = quoted(&names)?;
    let of = |alias: &str| columns.iter().map(|name| format!("{alias}.{name}")).collect::<Vec<_>>().join(", ");
    // A table of its own, because DELETE takes tables alone.
    sql.push(format!(
        "CREATE TEMP TABLE {GONE} AS SELECT {} FROM {locations} \"l\" LEFT JOIN {PLACES} \"p\" ON {} \
         WHERE \"p\".\"first_seen\" IS NULL",
        of("\"l\""),
        all("\"l\"", "\"p\"")?,
    ));
    sql.push(format!("DELETE FROM {locations} USING {GONE} \"o\", {GUARD} \"g\" WHERE {}", all(&me, "\"o\"")?));
    sql.push(format!(
        "INSERT INTO {locations} ({}) SELECT {} FROM {PLACES} \"p\" CROSS JOIN {GUARD} \"g\" \
         LEFT JOIN {locations} \"l\" ON {} WHERE \"l\".\"first_seen\" IS NULL",
        columns.join(", "),
        of("\"p\""),
        all("\"l\"", "\"p\"")?,
    ));
    Ok(())
}

fn quoted<N: AsRef<str>>(names: &[N]) -> Result<Vec<String>, Unquotable> {
    names.iter().map(|name| literal::identifier(name.as_ref())).collect()
}

/// The time from which readings carry a version.
fn since(ordinal: &str, valid_from: &str) -> String {
    format!("CASE WHEN {ordinal} = 1 THEN {BEGINNING} ELSE {valid_from} END")
}

/// The condition that rows agree in columns that are never empty.
pub(super) fn same(left: &str, right: &str, columns: &[&str]) -> String {
    let equal = |column: &&str| format!("{left}.\"{column}\" = {right}.\"{column}\"");
    columns.iter().map(equal).collect::<Vec<_>>().join(" AND ")
}

/// The condition that rows agree in a column that may be empty, without OR: so it can be a key of a hash join.
fn alike(left: &str, right: &str, name: &str, kind: Kind) -> Result<String, Unquotable> {
    let name = literal::identifier(name)?;
    Ok(equal(&format!("{left}.{name}"), &format!("{right}.{name}"), kind))
}

/// What stands for no value of this kind.
fn none(kind: Kind) -> &'static str {
    match kind {
        Kind::Text(_) => "''",
        Kind::Timestamp => BEGINNING,
        Kind::BigInt | Kind::Integer | Kind::Real | Kind::Double => "0",
        Kind::Boolean => "FALSE",
    }
}
