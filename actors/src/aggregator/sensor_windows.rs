//! The windows of one sensor.
//!
//! **Owns** which windows are open, what changed in them since they were last written, and their stored form.
//! **Promises** what is read back continues exactly like what was stored (STATE).
//! **Fails** with [`WindowStateError`] on bytes that it did not write.
//! **Not here**: the watermark, which belongs to the whole shard.

use std::borrow::Cow;

use messages::{AggregateRow, SensorId, WindowKind};
use serde::{Deserialize, Serialize};

use super::stats::Stats;

/// The first byte of the stored form.
const FORMAT: u8 = 1;

/// Why the stored windows of a sensor cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WindowStateError {
    /// Another version wrote them.
    #[error("the windows of {sensor} have format {found}; this build reads {FORMAT}")]
    Format {
        /// The sensor.
        sensor: SensorId,
        /// The format they have.
        found: u8,
    },
    /// They are not what their format says.
    #[error("read the windows of {sensor}")]
    Content {
        /// The sensor.
        sensor: SensorId,
        /// What the decoder says.
        #[source]
        source: postcard::Error,
    },
    /// They speak of a field that their schema does not have.
    #[error("the windows of {sensor} have a field number {field}, which their schema does not have")]
    Field {
        /// The sensor.
        sensor: SensorId,
        /// The number.
        field: u16,
    },
}

/// Which windows to write at a cut, and which to forget.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    /// The shard's watermark.
    pub(super) watermark_us: i64,
    /// How long after its end a window still takes readings.
    pub(super) lateness_us: i64,
    /// Whether open windows are written too.
    pub(super) provisional: bool,
}

impl Closing {
    fn is_due(&self, window: &Window) -> bool {
        let closed = window.start_us.saturating_add(window.kind.length_us()) <= self.watermark_us;
        window.changed && (closed || self.provisional)
    }
}

/// Whether a window of this kind and start takes no more readings.
pub(super) fn is_forgotten(kind: WindowKind, start_us: i64, watermark_us: i64, lateness_us: i64) -> bool {
    watermark_us >= start_us.saturating_add(kind.length_us()).saturating_add(lateness_us)
}

/// One window, with statistics per aggregated field that has a value in it.
#[derive(Clone, Debug, PartialEq)]
struct Window {
    kind: WindowKind,
    start_us: i64,
    /// The last revision written; 0 before the first.
    revision: u32,
    /// Whether it holds readings that no revision counts yet.
    changed: bool,
    /// By place among the aggregated fields, up to the last that has had a value: many devices send the first few only.
    stats: Box<[FieldValues]>,
}

/// Makes room for the values of the fields up to this place.
fn widen(stats: &mut Box<[FieldValues]>, len: usize) {
    if stats.len() < len {
        let mut wider = Vec::with_capacity(len);
        wider.append(&mut std::mem::take(stats).into_vec());
        wider.resize(len, FieldValues::None);
        *stats = wider.into_boxed_slice();
    }
}

/// The values of one field in a window. Most devices send some of the fields only, and of very many devices a window
/// holds one reading.
#[derive(Clone, Debug, Default, PartialEq)]
enum FieldValues {
    #[default]
    None,
    One {
        event_time_us: i64,
        value: f64,
    },
    Many(Box<Stats>),
}

impl FieldValues {
    fn add(&mut self, event_time_us: i64, value: f64) {
        match self {
            Self::None => *self = Self::One { event_time_us, value },
            Self::One { event_time_us: first_us, value: first } => {
                let mut stats = Box::new(Stats::of(*first_us, *first));
                stats.add(event_time_us, value);
                *self = Self::Many(stats);
            }
            Self::Many(stats) => stats.add(event_time_us, value),
        }
    }

    fn stats(&self) -> Option<Cow<'_, Stats>> {
        match self {
            Self::None => None,
            Self::One { event_time_us, value } => Some(Cow::Owned(Stats::of(*event_time_us, *value))),
            Self::Many(stats) => Some(Cow::Borrowed(stats)),
        }
    }

    fn of(stats: Stats) -> Self {
        match stats.count() {
            1 => Self::One { event_time_us: stats.first_us(), value: stats.first() },
            _ => Self::Many(Box::new(stats)),
        }
    }
}

/// The windows of one sensor that are not forgotten yet, ordered by kind and start.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SensorWindows {
    pub(super) hash_key: u128,
    /// Whether its stored form differs from that of the last cut.
    pub(super) touched: bool,
    windows: Vec<Window>,
}

impl SensorWindows {
    /// With room for one window of each kind: most sensors have no more.
    pub(super) fn new(hash_key: u128) -> Self {
        Self { hash_key, touched: false, windows: Vec::with_capacity(WindowKind::ALL.len()) }
    }

    pub(super) fn len(&self) -> usize {
        self.windows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Whether the window of this kind that the reading falls into is there.
    pub(super) fn has(&self, kind: WindowKind, event_time_us: i64) -> bool {
        self.find(kind, kind.start_of(event_time_us)).is_ok()
    }

    /// How many windows still take readings. Those that do not are dropped at the next cut only, and must not make a
    /// difference until then: where cuts fall depends on the clock.
    pub(super) fn n_open(&self, watermark_us: i64, lateness_us: i64) -> usize {
        self.windows.iter().filter(|w| !is_forgotten(w.kind, w.start_us, watermark_us, lateness_us)).count()
    }

    /// Counts a reading in its window of this kind; one value (or none) per aggregated field.
    pub(super) fn add(&mut self, kind: WindowKind, event_time_us: i64, values: impl Iterator<Item = Option<f64>>) {
        self.touched = true;
        let start_us = kind.start_of(event_time_us);
        let at = self.find(kind, start_us).unwrap_or_else(|at| {
            self.windows.insert(at, Window { kind, start_us, revision: 0, changed: false, stats: Box::default() });
            at
        });
        let window = &mut self.windows[at];
        window.changed = true;
        for (place, value) in values.enumerate() {
            if let Some(value) = value {
                widen(&mut window.stats, place + 1);
                window.stats[place].add(event_time_us, value);
            }
        }
    }

    /// Whether a window holds readings that no revision counts yet.
    pub(super) fn has_unwritten(&self) -> bool {
        self.windows.iter().any(|window| window.changed)
    }

    /// Rows that [`Self::write_due`] will write.
    pub(super) fn n_due(&self, closing: Closing) -> usize {
        let due = self.windows.iter().filter(|window| closing.is_due(window));
        due.map(|window| window.stats.iter().filter(|values| **values != FieldValues::None).count()).sum()
    }

    /// Writes the next revision of every window that is due. `fields` are the schema's numbers of the aggregated ones.
    pub(super) fn write_due(
        &mut self,
        sensor: &SensorId,
        fields: &[u16],
        closing: Closing,
        rows: &mut Vec<AggregateRow>,
    ) {
        for window in self.windows.iter_mut().filter(|window| closing.is_due(window)) {
            window.changed = false;
            window.revision = window.revision.saturating_add(1);
            self.touched = true;
            let with_values = fields.iter().zip(&window.stats).filter_map(|(f, stats)| Some((*f, stats.stats()?)));
            rows.extend(with_values.map(|(field, stats)| window.row(sensor, field, &stats)));
        }
    }

    /// Drops the windows that take no more readings.
    pub(super) fn forget(&mut self, closing: Closing) {
        let before = self.windows.len();
        let Closing { watermark_us, lateness_us, .. } = closing;
        self.windows.retain(|window| !is_forgotten(window.kind, window.start_us, watermark_us, lateness_us));
        self.touched |= self.windows.len() < before;
    }

    fn find(&self, kind: WindowKind, start_us: i64) -> Result<usize, usize> {
        self.windows.binary_search_by_key(&(kind, start_us), |window| (window.kind, window.start_us))
    }

    /// The stored form; nothing if there is no window.
    pub(super) fn encode(&self, fields: &[u16]) -> Vec<u8> {
        if self.windows.is_empty() {
            return Vec::new();
        }
        let stored: Vec<Stored<'_>> = self.windows.iter().map(|window| Stored::from_window(window, fields)).collect();
        postcard::to_extend(&stored, vec![FORMAT]).expect("plain values into memory always encode")
    }

    /// Reads the stored form. `places` gives the place of each field of the schema that it was written with; none if
    /// this schema does not aggregate it any more.
    pub(super) fn decode(
        sensor: &SensorId,
        hash_key: u128,
        bytes: &[u8],
        places: &[Option<usize>],
    ) -> Result<Self, WindowStateError> {
        let (&found, content) = bytes.split_first().unwrap_or((&0, &[]));
        if found != FORMAT {
            return Err(WindowStateError::Format { sensor: sensor.clone(), found });
        }
        let stored: Vec<Stored<'_>> = postcard::from_bytes(content)
            .map_err(|source| WindowStateError::Content { sensor: sensor.clone(), source })?;
        let mut windows = Vec::with_capacity(stored.len());
        for window in stored {
            let window = window.into_window(places);
            windows.push(window.map_err(|field| WindowStateError::Field { sensor: sensor.clone(), field })?);
        }
        windows.sort_by_key(|window| (window.kind, window.start_us));
        Ok(Self { hash_key, touched: false, windows })
    }
}

impl Window {
    fn row(&self, sensor: &SensorId, field: u16, stats: &Stats) -> AggregateRow {
        AggregateRow {
            window: self.kind,
            start_us: self.start_us,
            sensor: sensor.clone(),
            field,
            revision: self.revision,
            count: stats.count(),
            sum: stats.sum(),
            min: stats.min(),
            max: stats.max(),
            mean: stats.mean(),
            stddev: stats.stddev(),
            first: stats.first(),
            last: stats.last(),
            first_us: stats.first_us(),
            last_us: stats.last_us(),
        }
    }
}

/// A window as stored: statistics by the schema's field number, so that a schema may gain and lose fields.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    kind: WindowKind,
    start_us: i64,
    revision: u32,
    changed: bool,
    stats: Vec<(u16, Cow<'a, Stats>)>,
}

impl<'a> Stored<'a> {
    fn from_window(window: &'a Window, fields: &[u16]) -> Self {
        let Window { kind, start_us, revision, changed, ref stats } = *window;
        let present = fields.iter().zip(stats).filter_map(|(field, stats)| Some((*field, stats.stats()?)));
        let stats = present.collect();
        Self { kind, start_us, revision, changed, stats }
    }

    fn into_window(self, places: &[Option<usize>]) -> Result<Window, u16> {
        let mut stats = Box::default();
        for (field, stored) in self.stats {
            if let Some(place) = places.get(usize::from(field)).ok_or(field)? {
                widen(&mut stats, place + 1);
                stats[*place] = FieldValues::of(stored.into_owned());
            }
        }
        let Self { kind, start_us, revision, changed, .. } = self;
        Ok(Window { kind, start_us, revision, changed, stats })
    }
}
