//! How the columns of a recorded file become an event.
//!
//! **Owns** the mapping as it is written in TOML, and the mappings that come with the crate.
//! **Promises** that a mapping that was accepted gives well-formed JSON for every row that parses.
//! **Fails** with [`FleetError::Mapping`].
//! **Not here**: files and rows (`source`).

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;

use crate::FleetError;

/// The mappings that come with the crate.
const EMBEDDED: [(&str, &str); 1] = [("air-quality", include_str!("../../../schemas/air-quality.replay.toml"))];

/// Which columns feed which JSON names.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayMapping {
    /// What it is selected by.
    pub name: String,
    /// The token of a value that is missing; it becomes `null`.
    pub null: Option<String>,
    /// The sensor; also the partition key.
    pub id: IdColumn,
    /// The event time.
    pub time: TimeColumns,
    /// Everything else, in this order after id and time.
    pub fields: Vec<Field>,
}

/// The column with the sensor's id.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdColumn {
    /// In the file.
    pub column: String,
    /// In the JSON.
    pub name: String,
}

/// Where the event time comes from. Without a zone it is UTC.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeColumns {
    /// In the JSON.
    pub name: String,
    /// One column and its chrono format, such as `%Y-%m-%d %H:%M:%S`.
    pub column: Option<String>,
    /// See `column`.
    pub format: Option<String>,
    /// Or one column for each part.
    pub year: Option<String>,
    /// See `year`.
    pub month: Option<String>,
    /// See `year`.
    pub day: Option<String>,
    /// See `year`; without it the event is at midnight.
    pub hour: Option<String>,
}

/// A column that is copied.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// In the file.
    pub column: String,
    /// In the JSON.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: FieldKind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// A JSON number, copied token by token.
    Number,
    /// Text.
    Text,
}

/// One of the two ways to write the time, checked.
#[derive(Clone, Copy, Debug)]
pub(super) enum TimeSource<'a> {
    Column { column: &'a str, format: &'a str },
    Parts { year: &'a str, month: &'a str, day: &'a str, hour: Option<&'a str> },
}

impl ReplayMapping {
    /// The names that [`named`](Self::named) knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        EMBEDDED.into_iter().map(|(name, _)| name)
    }

    /// A mapping that comes with the crate.
    pub fn named(name: &str) -> Result<Self, FleetError> {
        let found = EMBEDDED.into_iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| {
            let known: Vec<_> = Self::names().collect();
            wrong(format!("`{name}` is unknown; there is {}", known.join(", ")))
        })?;
        Self::parse(text)
    }

    /// A mapping from a file.
    pub fn load(path: &Path) -> Result<Self, FleetError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| FleetError::Source { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// A mapping from TOML text.
    pub fn parse(text: &str) -> Result<Self, FleetError> {
        let mapping: Self = toml::from_str(text).map_err(|problem| wrong(problem.to_string()))?;
        mapping.time_source()?;
        let mut names = HashSet::from([mapping.id.name.as_str()]);
        let others = mapping.fields.iter().map(|field| field.name.as_str());
        if let Some(name) = others.chain([mapping.time.name.as_str()]).find(|name| !names.insert(name)) {
            return Err(wrong(format!("the name `{name}` is used twice")));
        }
        Ok(mapping)
    }

    pub(super) fn time_source(&self) -> Result<TimeSource<'_>, FleetError> {
        let time = &self.time;
        let parts = (time.year.as_deref(), time.month.as_deref(), time.day.as_deref());
        match (time.column.as_deref(), time.format.as_deref(), parts) {
            (Some(column), Some(format), (None, None, None)) if time.hour.is_none() => {
                Ok(TimeSource::Column { column, format })
            }
            (None, None, (Some(year), Some(month), Some(day))) => {
                Ok(TimeSource::Parts { year, month, day, hour: time.hour.as_deref() })
            }
            _ => Err(wrong("`time` needs either column and format, or year, month and day".to_owned())),
        }
    }
}

fn wrong(problem: String) -> FleetError {
    FleetError::Mapping { problem }
}
