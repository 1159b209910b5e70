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

/// Kinesis takes no longer partition key.
pub(super) const KEY_CHARS_MAX: usize = 256;

/// Which columns feed which JSON names.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayMapping {
    /// What it is selected by.
    pub name: String,
    /// What separates the columns of the files, one character of ASCII.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// The tokens of a value that is missing, or one of them; it becomes `null`.
    #[serde(default)]
    pub null: Nulls,
    /// The sensor; also the partition key.
    pub id: IdColumn,
    /// The event time.
    pub time: TimeColumns,
    /// Everything else, in this order after id and time.
    pub fields: Vec<Field>,
}

fn comma() -> char {
    ','
}

/// The tokens of missing values, beside an empty cell.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Nulls {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Default for Nulls {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Nulls {
    /// Whether the token stands for a missing value.
    pub(super) fn contains(&self, token: &str) -> bool {
        match self {
            Self::One(null) => null == token,
            Self::Several(nulls) => nulls.iter().any(|null| null == token),
        }
    }
}

/// Where the sensor's id comes from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdColumn {
    /// The column in the file.
    pub column: Option<String>,
    /// Or the id itself, of files of one sensor.
    pub value: Option<String>,
    /// In the JSON.
    pub name: String,
}

/// One of the two ways to write the id, checked.
#[derive(Clone, Copy, Debug)]
pub(super) enum IdSource<'a> {
    Column(&'a str),
    Value,
}

/// Where the event time comes from. Without a zone it is UTC.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeColumns {
    /// In the JSON.
    pub name: String,
    /// One column and its chrono format, such as `%Y-%m-%d %H:%M:%S`.
    pub column: Option<String>,
    /// Or several, that are joined by a blank each: a date and a time.
    pub columns: Option<Vec<String>>,
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
    /// See `year`; 0 without it.
    pub minute: Option<String>,
    /// See `year`; 0 without it.
    pub second: Option<String>,
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
    /// A JSON number, copied token by token. The names of the event schema mean the same.
    #[serde(alias = "float", alias = "integer")]
    Number,
    /// Text.
    Text,
    /// `true` or `false`.
    Boolean,
}

/// One of the two ways to write the time, checked.
#[derive(Clone, Copy, Debug)]
pub(super) enum TimeSource<'a> {
    Columns {
        columns: &'a [String],
        format: &'a str,
    },
    /// Year, month and day; hour, minute and second, if there are columns for them.
    Parts {
        date: [&'a str; 3],
        time: [Option<&'a str>; 3],
    },
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
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(wrong(format!(
                "{} does not exist: this file says which columns of the CSV feed which keys of an event; \
                 docs/schema.md has its keys",
                path.display()
            ))),
            Err(source) => Err(FleetError::Source { path: path.to_owned(), source }),
        }
    }

    /// A mapping from TOML text.
    pub fn parse(text: &str) -> Result<Self, FleetError> {
        let mapping: Self = toml::from_str(text).map_err(|problem| wrong(problem.to_string()))?;
        mapping.time_source()?;
        mapping.id_source()?;
        if !mapping.delimiter.is_ascii() || matches!(mapping.delimiter, '\n' | '\r' | '"') {
            return Err(wrong(format!("`delimiter` must be one character of ASCII, not {:?}", mapping.delimiter)));
        }
        let mut names = HashSet::from([mapping.id.name.as_str()]);
        let others = mapping.fields.iter().map(|field| field.name.as_str());
        if let Some(name) = others.chain([mapping.time.name.as_str()]).find(|name| !names.insert(name)) {
            return Err(wrong(format!("the name `{name}` is used twice")));
        }
        Ok(mapping)
    }

    pub(super) fn time_source(&self) -> Result<TimeSource<'_>, FleetError> {
        let time = &self.time;
        let date = [&time.year, &time.month, &time.day].map(|part| part.as_deref());
        let of_day = [&time.hour, &time.minute, &time.second].map(|part| part.as_deref());
        let no_parts = date.iter().chain(&of_day).all(Option::is_none);
        let columns = match (&time.column, &time.columns) {
            (Some(column), None) => Some(std::slice::from_ref(column)),
            (None, Some(columns)) if !columns.is_empty() => Some(columns.as_slice()),
            _ => None,
        };
        match (columns, time.format.as_deref(), date) {
            (Some(columns), Some(format), _) if no_parts => Ok(TimeSource::Columns { columns, format }),
            (None, None, [Some(year), Some(month), Some(day)]) if time.column.is_none() && time.columns.is_none() => {
                Ok(TimeSource::Parts { date: [year, month, day], time: of_day })
            }
            _ => Err(wrong("`time` needs either column (or columns) and format, or year, month and day".to_owned())),
        }
    }

    pub(super) fn id_source(&self) -> Result<IdSource<'_>, FleetError> {
        match (self.id.column.as_deref(), self.id.value.as_deref()) {
            (Some(column), None) => Ok(IdSource::Column(column)),
            (None, Some(value)) if is_key(value) => Ok(IdSource::Value),
            (None, Some(_)) => Err(wrong(format!("the `value` of `id` must have 1 to {KEY_CHARS_MAX} characters"))),
            _ => Err(wrong("`id` needs either column or value".to_owned())),
        }
    }
}

/// Whether the stream takes it as a partition key.
pub(super) fn is_key(sensor: &str) -> bool {
    !sensor.is_empty() && sensor.chars().count() <= KEY_CHARS_MAX
}

fn wrong(problem: String) -> FleetError {
    FleetError::Mapping { problem }
}
