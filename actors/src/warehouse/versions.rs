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

use super::literal::{self, Sql, Unquotable};
use super::service::STATEMENT_BYTES_MAX;
use super::sql::versions as sql;
use super::star::{self, StarSchema};
use super::tables::{Kind, TableColumn, names, names_of, qualified};
use crate::lake::columns;

/// Takes staged versions over: those that are known already change nothing.
pub(super) fn say(star: &StarSchema, statements: &mut Vec<Sql>) -> Result<(), Unquotable> {
    let zone = star.columns(star::SAID);
    statements.push(sql::Say { schema: star.schema()?, columns: names(zone)?, values: names_of("s", zone)? }.sql());
    Ok(())
}

/// Makes the intervals of every sensor in `touched` anew, from what it said and what metadata says of it.
pub(super) fn rebuild(star: &StarSchema, touched: &Sql, statements: &mut Vec<Sql>) -> Result<(), Unquotable> {
    let schema = star.schema()?;
    let columns = star.columns(star::SENSORS);
    let value = |column: &TableColumn| named(interval(star, &column.name)?, &column.name);
    let values = Sql::list(columns.iter().map(value).collect::<Result<_, _>>()?);
    let gone = sql::ForgetSensors { schema: schema.clone(), touched: touched.clone() };
    let all = sql::Sensors { schema, columns: names(columns)?, values: names_of("i", columns)? };
    statements.extend([said(star, touched)?, sql::Intervals { values }.sql(), gone.sql(), all.sql()]);
    Ok(())
}

/// What an interval has in a column.
fn interval(star: &StarSchema, column: &str) -> Result<Sql, Unquotable> {
    let name = literal::identifier(column)?;
    Ok(match column {
        star::VALID_TO => sql::ValidTo {}.sql(),
        star::IS_CURRENT => sql::IsCurrent {}.sql(),
        _ if star.attributes.iter().any(|attribute| attribute == column) => {
            sql::Attribute { mark: mark(column)?, name }.sql()
        }
        _ if star.declared.sensors.iter().any(|declared| declared.name == column) => sql::Declared { name }.sql(),
        _ => name,
    })
}

/// Every version of the sensors in `touched`, in the order of its sensor's.
fn said(star: &StarSchema, touched: &Sql) -> Result<Sql, Unquotable> {
    let derived = [star::VALID_TO, star::IS_CURRENT, star::ORDINAL];
    let columns = star.columns(star::SENSORS).iter().filter(|column| !derived.contains(&column.name.as_str()));
    let (mut events, mut metadata, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for column in columns {
        events.push(named(of_event(star, column)?, &column.name)?);
        metadata.push(named(of_metadata(&column.name)?, &column.name)?);
        all.push(column.name.as_str());
    }
    let (events, metadata) = (Sql::list(events), Sql::list(metadata));
    let every = sql::Every { schema: star.schema()?, events, metadata, touched: touched.clone() }.sql();
    let whole = over_shards(star, &all, every.clone())?;
    if whole.sent().len() <= STATEMENT_BYTES_MAX {
        return Ok(whole);
    }
    Ok(sql::ReportedAsCounted { columns: names(&all)?, every }.sql())
}

/// What a version that an event told has in a column of `dim_sensors`.
fn of_event(star: &StarSchema, column: &TableColumn) -> Result<Sql, Unquotable> {
    match column.name.as_str() {
        star::SOURCE => Ok(sql::Source { source: literal::text("event")? }.sql()),
        name if star.table(star::SAID).column(name).is_some() => literal::identifier(name),
        _ => Ok(sql::NoValue { kind: literal::kind(column.kind) }.sql()),
    }
}

/// The same of one that metadata told.
fn of_metadata(column: &str) -> Result<Sql, Unquotable> {
    match column {
        star::SOURCE => Ok(sql::Source { source: literal::text("metadata")? }.sql()),
        columns::SHARD => literal::text("metadata"),
        columns::SEQUENCE => Ok(sql::NumberAsSequence {}.sql()),
        columns::SUB_SEQUENCE => Ok(literal::number(0)),
        columns::ARRIVAL_TIME => literal::identifier(columns::VALID_FROM),
        name => literal::identifier(name),
    }
}

/// The versions of a sensor that several shards have counted, as one would have counted them.
fn over_shards(star: &StarSchema, all: &[&str], every: Sql) -> Result<Sql, Unquotable> {
    let (mut told, mut heard, mut known, mut news, mut new_names) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (n, attribute) in star.attributes.iter().enumerate() {
        let column = star.table(star::SENSORS).column(attribute).expect("every tracked attribute is a column of its");
        let name = literal::identifier(attribute)?;
        let (now, was) = (literal::identifier(&format!("now_{n}"))?, literal::identifier(&format!("was_{n}"))?);
        let same = equal(was.clone(), now.clone(), column.kind)?;
        told.push(sql::Told { mark: mark(attribute)?, name: name.clone() }.sql());
        heard.push(sql::Heard { name, now: now.clone() }.sql());
        known.push(sql::KnownBefore { now, was }.sql());
        news.push(sql::News { same: same.clone() }.sql());
        new_names.push(sql::NameIfNew { same, text: literal::plain_text(&format!(",{attribute}"))? }.sql());
    }
    let rest = all.iter().filter(|column| !star.attributes.iter().any(|attribute| attribute == **column));
    told.extend(rest.map(|column| qualified("e", column)).collect::<Result<Vec<_>, _>>()?);
    let names = (!new_names.is_empty()).then(|| Sql::joined(new_names, "||"));
    let kept = |column: &&str| {
        let name = literal::identifier(column)?;
        Ok(match (*column, &names) {
            (columns::VERSION, _) => sql::NumberKept { name }.sql(),
            (columns::CHANGED, Some(names)) => sql::ChangedKept { names: names.clone(), name }.sql(),
            _ => name,
        })
    };
    let kept = Sql::list(all.iter().map(kept).collect::<Result<_, Unquotable>>()?);
    let (known, heard, told) = (Sql::lines(known), Sql::lines(heard), Sql::list(told));
    Ok(sql::Reported { kept, known, heard, told, every, news: Sql::lines(news) }.sql())
}

/// By which an attribute is found in the list of those that a version changes.
fn mark(attribute: &str) -> Result<Sql, Unquotable> {
    literal::text(&format!(",{attribute},"))
}

fn named(value: Sql, name: &str) -> Result<Sql, Unquotable> {
    Ok(sql::As { value, name: literal::identifier(name)? }.sql())
}

/// The condition that two values are equal, or both missing.
fn equal(left: Sql, right: Sql, kind: Kind) -> Result<Sql, Unquotable> {
    Ok(sql::Equal { left, right, none: none(kind)? }.sql())
}

/// Gives the readings that are stored already the versions that hold since [`rebuild`], as the staged versions are new.
pub(super) fn reassign_new(star: &StarSchema, statements: &mut Vec<Sql>) -> Result<(), Unquotable> {
    statements.push(sql::ReassignNew { schema: star.schema()?, fresh: sql::FreshIntervals {}.sql() }.sql());
    Ok(())
}

/// The same for all intervals of the sensors in `touched`, each of which stands there once.
pub(super) fn reassign_all(star: &StarSchema, touched: &Sql, statements: &mut Vec<Sql>) -> Result<(), Unquotable> {
    statements.push(sql::ReassignAll { schema: star.schema()?, touched: touched.clone() }.sql());
    Ok(())
}

/// Brings the places up to what versions name: adds, corrects and takes away.
pub(super) fn places(star: &StarSchema, statements: &mut Vec<Sql>) -> Result<(), Unquotable> {
    if star.place.is_empty() {
        return Ok(());
    }
    let has_site = star.place.iter().any(|name| name == star::SITE);
    let described = if has_site { &star.declared.locations[..] } else { &[] };
    let described: Vec<&str> = described.iter().map(|column| column.name.as_str()).collect();
    statements.push(places_named(star, &described)?);
    let place = star.place.iter().map(String::as_str);
    let all: Vec<&str> = place.chain([star::FIRST_SEEN]).chain(described).collect();
    let alike = |left: &str, right: &str| {
        let term = |name: &&str| {
            let column = star.table(star::LOCATIONS).column(name).expect("the columns of a place are in the table");
            equal(qualified(left, name)?, qualified(right, name)?, column.kind)
        };
        Ok(Sql::joined(all.iter().map(term).collect::<Result<_, Unquotable>>()?, "AND"))
    };
    let (schema, old, new) = (star.schema()?, names_of("l", &all)?, names_of("p", &all)?);
    let gone = sql::Gone { schema: schema.clone(), values: old, alike: alike("l", "p")? };
    let forget = sql::ForgetPlaces { schema: schema.clone(), alike: alike(star::LOCATIONS, "o")? };
    let locations = sql::Locations { schema, columns: names(&all)?, values: new, alike: alike("l", "p")? };
    statements.extend([gone.sql(), forget.sql(), locations.sql()]);
    Ok(())
}

/// The places that versions name, with what metadata says of them.
fn places_named(star: &StarSchema, described: &[&str]) -> Result<Sql, Unquotable> {
    let named = |name: &String| Ok(sql::Named { name: qualified("d", name)? }.sql());
    let value = |name: &&str| Ok(sql::Described { name: literal::identifier(name)? }.sql());
    let schema = star.schema()?;
    let join = match described.is_empty() {
        true => Sql::default(),
        false => sql::DescribedPlaces { schema: schema.clone() }.sql(),
    };
    let some = star.place.iter().map(named).collect::<Result<_, Unquotable>>()?;
    let values = described.iter().map(value).collect::<Result<_, Unquotable>>()?;
    let (place, values, some) = (names_of("d", &star.place)?, Sql::lines(values), Sql::joined(some, "OR"));
    Ok(sql::Places { schema, place, values, join, some }.sql())
}

/// What stands for no value of this kind.
fn none(kind: Kind) -> Result<Sql, Unquotable> {
    match kind {
        Kind::Text(_) => literal::text(""),
        Kind::Timestamp => Ok(sql::Beginning {}.sql()),
        Kind::BigInt | Kind::Integer | Kind::Real | Kind::Double => Ok(literal::number(0)),
        Kind::Boolean => Ok(sql::False {}.sql()),
    }
}
