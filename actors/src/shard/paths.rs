//! Paths of the schema that events do not have, for people.

/// A path of the schema that no event had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnseenPath {
    /// What it is for: a field's name, or `sensor_id`, `time`, `event_id`, `sequence`.
    pub of: String,
    /// The path, as the schema would have it.
    pub path: String,
    /// A path that events have and that resembles it.
    pub closest: Option<String>,
    /// Whether no event is valid without it.
    pub required: bool,
}

impl std::fmt::Display for UnseenPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { of, path, closest, .. } = self;
        write!(f, "no event of the last epoch has {path}, where the event schema looks for {of}")?;
        match closest {
            Some(closest) => write!(f, "; events have {closest}"),
            None => Ok(()),
        }
    }
}
