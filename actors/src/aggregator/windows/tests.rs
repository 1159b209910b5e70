use std::collections::BTreeMap;

use bytes::Bytes;
use messages::{
    Assessment, Credit, CutReason, EpochNumber, Form, Group, GroupOutcome, Position, RawRecord, Reason, Rows,
    SequenceNumber,
};
use proptest::prelude::*;

use super::*;

mod stored;

const HOUR_US: i64 = 3_600_000_000;
const MIDNIGHT_US: i64 = 20_000 * 24 * HOUR_US;
const TEMPERATURE: u16 = 0;

/// A reading as the sensors leave it.
#[derive(Clone, Debug)]
struct Row {
    sensor: usize,
    event_time_us: i64,
    values: [Option<f64>; 3],
    clean: bool,
}

fn row(sensor: usize, event_time_us: i64, value: f64) -> Row {
    Row { sensor, event_time_us, values: [Some(value), None, None], clean: true }
}

fn windows(lateness_hours: u64, windows_per_sensor_max: usize) -> Windows {
    let schema = Arc::new(EventSchema::built_in("climate").unwrap());
    let allowed_lateness = Duration::from_secs(3600 * lateness_hours);
    Windows::new(schema, WindowsConfig { allowed_lateness, windows_per_sensor_max })
}

/// The fields, as a state object names them.
fn names() -> Vec<String> {
    EventSchema::built_in("climate").unwrap().fields.into_iter().map(|field| field.name).collect()
}

fn sensor_id(sensor: usize) -> SensorId {
    SensorId::new(&format!("s{sensor}"))
}

fn in_flight(rows: &[Row]) -> InFlight {
    let n = rows.len();
    let floats = |field: usize| Column::Float(rows.iter().map(|row| row.values[field]).collect());
    let mut order = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    for sensor in rows.iter().map(|row| row.sensor) {
        if groups.iter().all(|group| group.sensor != sensor_id(sensor)) {
            let start = order.len();
            order.extend((0..n as u32).filter(|&at| rows[at as usize].sensor == sensor));
            groups.push(Group { sensor: sensor_id(sensor), hash_key: 0, rows: start..order.len() });
        }
    }
    let record = |row: &Row| RawRecord {
        sequence: SequenceNumber::parse("1").unwrap(),
        arrival_ms: 0,
        partition_key: format!("key{}", row.sensor).into(),
        data: Bytes::new(),
    };
    let columns = Rows {
        record: (0..n as u32).collect(),
        sub_sequence: vec![0; n],
        span: vec![0..0; n],
        event_time_us: rows.iter().map(|row| row.event_time_us).collect(),
        event_id: vec![None; n],
        device_sequence: vec![None; n],
        fields: vec![
            floats(0),
            floats(1),
            floats(2),
            Column::Text(vec![None; n]),
            Column::Text(vec![None; n]),
            Column::Float(vec![Some(1.0); n]),
            Column::Float(vec![Some(1.0); n]),
        ],
    };
    let records = rows.iter().map(record).collect();
    let (forms, rejects) = (vec![Form::Line; n], Vec::new());
    let batch = Batch { records, forms, rows: columns, rejects, order, groups, credit: Credit::none(), trace: None };
    let in_flight = InFlight::new(0, batch);
    for group in 0..in_flight.batch.groups.len() {
        let verdict = |at: &u32| match rows[*at as usize].clean {
            true => Verdict::Clean(Assessment::default()),
            false => Verdict::Quarantined { reason: Reason::OutOfRange, detail: String::new() },
        };
        let verdicts = in_flight.batch.group_rows(group).iter().map(verdict).collect();
        in_flight.settle(group, GroupOutcome { verdicts, ..GroupOutcome::default() });
    }
    in_flight
}

fn cut(reason: CutReason, full_state: bool) -> Cut {
    Cut {
        epoch: EpochNumber(1),
        from: Position::TrimHorizon,
        to: Position::TrimHorizon,
        reason,
        full_state,
        whole_aggregates: false,
        spread: false,
    }
}

/// Kind, hours since midnight, sensor, field, revision, count, sum of each row.
fn short(rows: &[AggregateRow]) -> Vec<(WindowKind, i64, String, u16, u32, u64, f64)> {
    let hours = |row: &AggregateRow| (row.start_us - MIDNIGHT_US) / HOUR_US;
    rows.iter().map(|r| (r.window, hours(r), r.sensor.to_string(), r.field, r.revision, r.count, r.sum)).collect()
}

#[test]
fn a_window_is_written_when_the_watermark_passes_its_end() {
    let mut windows = windows(24, 100);
    windows.fold(&in_flight(&[row(0, MIDNIGHT_US + 1, 2.0), row(0, MIDNIGHT_US + 2, 4.0)]));
    assert_eq!(windows.cut(&cut(CutReason::Age, false)).aggregates, []);

    // Another sensor moves the watermark of the shard.
    windows.fold(&in_flight(&[row(1, MIDNIGHT_US + HOUR_US, 1.0)]));
    let first = windows.cut(&cut(CutReason::Age, false));
    assert_eq!(short(&first.aggregates), [(WindowKind::Hourly, 0, "s0".to_owned(), TEMPERATURE, 1, 2, 6.0)]);
    assert_eq!(first.aggregates[0].stddev, Some(2f64.sqrt()));
    assert_eq!(first.watermark_us, MIDNIGHT_US + HOUR_US);

    // A straggler revises it; nothing else is written again.
    assert_eq!(windows.fold(&in_flight(&[row(0, MIDNIGHT_US, 1.0)])), [false]);
    let second = windows.cut(&cut(CutReason::Age, false));
    assert_eq!(short(&second.aggregates), [(WindowKind::Hourly, 0, "s0".to_owned(), TEMPERATURE, 2, 3, 7.0)]);
    assert_eq!(second.aggregates[0].first, 1.0);
    assert_eq!(second.aggregates[0].last, 4.0);
    assert_eq!(windows.cut(&cut(CutReason::Age, false)).aggregates, []);
}

#[test]
fn who_gives_a_shard_up_leaves_open_windows_as_provisional_revisions() {
    for reason in [CutReason::Shutdown, CutReason::ShardEnd] {
        let mut windows = windows(24, 100);
        windows.fold(&in_flight(&[row(0, MIDNIGHT_US, 2.0)]));
        let left = windows.cut(&cut(reason, false));
        let rows = [
            (WindowKind::Hourly, 0, "s0".to_owned(), 0, 1, 1, 2.0),
            (WindowKind::Daily, 0, "s0".to_owned(), 0, 1, 1, 2.0),
        ];
        assert_eq!(short(&left.aggregates), rows);
        assert_eq!(windows.cut(&cut(reason, false)).aggregates, [], "nothing has changed since");
        assert_eq!(windows.open_windows(), 2, "they still take readings");
    }
}

#[test]
fn a_reading_is_late_once_its_hour_is_forgotten() {
    let mut windows = windows(2, 100);
    let at = |hours: i64, rest: i64| MIDNIGHT_US + hours * HOUR_US + rest;
    // The hour from 0 ends at 1 and is forgotten at 3; the row that reaches 3 is not late, nor does it wait for a cut.
    let rows = [
        row(0, at(3, -1), 1.0),
        row(0, at(0, 5), 1.0),
        row(1, at(3, 0), 1.0),
        row(0, at(1, -1), 9.0),
        row(0, at(1, 0), 1.0),
    ];
    assert_eq!(windows.fold(&in_flight(&rows)), [false, false, false, true, false]);
    let left = windows.cut(&cut(CutReason::Shutdown, false));
    let daily: Vec<_> = left.aggregates.iter().filter(|r| r.window == WindowKind::Daily).map(|r| r.count).collect();
    assert_eq!(daily, [4, 1], "the day is open still, and judges by itself");
    // The day is forgotten two hours after midnight.
    let rows = [row(1, at(26, -1), 1.0), row(0, at(23, 0), 1.0), row(1, at(26, 0), 1.0), row(0, at(23, 0), 1.0)];
    assert_eq!(windows.fold(&in_flight(&rows)), [false, false, false, true]);
    let left = windows.cut(&cut(CutReason::Shutdown, false));
    let of_day: Vec<(u64, u32)> = left
        .aggregates
        .iter()
        .filter(|r| (r.window, r.start_us) == (WindowKind::Daily, MIDNIGHT_US) && r.sensor == sensor_id(0))
        .map(|r| (r.count, r.revision))
        .collect();
    assert_eq!(of_day, [(5, 2)], "what is late for both is in none");
}

#[test]
fn what_is_not_valid_moves_nothing() {
    let mut windows = windows(1, 100);
    let refused = Row { clean: false, ..row(0, MIDNIGHT_US + 100 * HOUR_US, 1.0) };
    assert_eq!(windows.fold(&in_flight(&[refused, row(0, MIDNIGHT_US, 1.0)])), [false, false]);
    let left = windows.cut(&cut(CutReason::Shutdown, false));
    assert_eq!(left.watermark_us, MIDNIGHT_US);
    assert_eq!(left.aggregates.len(), 2);
}

#[test]
fn a_sensor_that_would_open_too_many_windows_is_late_for_them() {
    let mut windows = windows(1000, 3);
    let rows: Vec<Row> = (0..4).map(|hour| row(0, MIDNIGHT_US + hour * HOUR_US, 1.0)).collect();
    assert_eq!(windows.fold(&in_flight(&rows)), [false, false, true, true]);
    assert_eq!(windows.fold(&in_flight(&rows[..1])), [false], "its open windows still take readings");
    assert_eq!(windows.open_windows(), 3);
    let left = windows.cut(&cut(CutReason::Shutdown, false));
    let daily: Vec<u64> = left.aggregates.iter().filter(|r| r.window == WindowKind::Daily).map(|r| r.count).collect();
    assert_eq!(daily, [5], "the day is open, and counts them all");
}

#[test]
fn a_forgotten_sensor_leaves_nothing_behind() {
    let mut windows = windows(1, 100);
    windows.fold(&in_flight(&[row(0, MIDNIGHT_US, 1.0)]));
    let first = windows.cut(&cut(CutReason::Age, false));
    assert_eq!(first.states.len(), 1);
    assert_eq!(first.states[0].hash_key, hash_key("key0"));
    windows.fold(&in_flight(&[row(1, MIDNIGHT_US + 100 * HOUR_US, 1.0)]));
    let second = windows.cut(&cut(CutReason::Age, false));
    assert_eq!(short(&second.aggregates).len(), 2, "its windows are written before they are forgotten");
    let lengths: Vec<bool> = second.states.iter().map(|entry| entry.bytes.is_empty()).collect();
    assert_eq!(lengths, [true, false]);
    assert_eq!(windows.sensors(), 1);
    assert_eq!(windows.cut(&cut(CutReason::Age, false)).states, [], "nothing was touched");
    assert_eq!(windows.cut(&cut(CutReason::Age, true)).states.len(), 1);
}

#[test]
fn stored_windows_find_their_fields_in_a_schema_that_changed() {
    let mut old = windows(24, 100);
    old.fold(&in_flight(&[Row { values: [Some(1.0), Some(2.0), Some(3.0)], ..row(0, MIDNIGHT_US, 1.0) }]));
    let stored = old.cut(&cut(CutReason::Age, true));
    let entries = || stored.states.iter().map(|e| (e.sensor.clone(), e.hash_key, e.bytes.clone()));

    let mut new = windows(24, 100);
    let fields = ["battery", "gone", "temperature"].map(str::to_owned);
    new.restore(&fields, stored.watermark_us, entries()).unwrap();
    let rows = new.cut(&cut(CutReason::Shutdown, false)).aggregates;
    let hourly: Vec<(u16, f64)> =
        rows.iter().filter(|r| r.window == WindowKind::Hourly).map(|r| (r.field, r.sum)).collect();
    assert_eq!(hourly, [(TEMPERATURE, 3.0), (2, 1.0)]);
}

#[test]
fn bytes_that_are_not_windows_are_refused() {
    let restore = |bytes: &[u8]| windows(1, 9).restore(&names(), 0, [(sensor_id(0), 1, Arc::from(bytes))]);
    assert!(matches!(restore(&[9, 0]), Err(WindowStateError::Format { found: 9, .. })));
    assert!(matches!(restore(&[1, 255]), Err(WindowStateError::Content { .. })));
    assert!(restore(&[]).is_ok(), "no bytes: the sensor was forgotten");

    let mut windows = windows(1, 9);
    windows.fold(&in_flight(&[row(0, MIDNIGHT_US, 1.0)]));
    let bytes = windows.cut(&cut(CutReason::Age, false)).states[0].bytes.clone();
    for n in 1..bytes.len() {
        assert!(restore(&bytes[..n]).is_err(), "cut after {n} bytes");
    }
    let too_few = self::windows(1, 9).restore(&[], 0, [(sensor_id(0), 1, bytes)]);
    assert!(matches!(too_few, Err(WindowStateError::Field { field: 0, .. })));
}

type Key = (WindowKind, i64, SensorId, u16);

/// The values of a row but its revision, by bits.
fn bits(row: &AggregateRow) -> Vec<u64> {
    let stddev = row.stddev.map_or(u64::MAX, f64::to_bits);
    let floats = [row.sum, row.min, row.max, row.mean, row.first, row.last].map(f64::to_bits);
    [&[row.count, stddev], floats.as_slice()].concat()
}

/// Everything that a run leaves behind, as a reader of the lake sees it: the latest revision of each window.
#[derive(Debug, Default, PartialEq)]
struct Lake {
    late: Vec<bool>,
    latest: BTreeMap<Key, Vec<u64>>,
    revisions: BTreeMap<Key, u32>,
    states: BTreeMap<SensorId, StateEntry>,
}

impl Lake {
    fn take(&mut self, cut: WindowsCut) -> i64 {
        for row in &cut.aggregates {
            let key = (row.window, row.start_us, row.sensor.clone(), row.field);
            let revision = self.revisions.entry(key.clone()).or_default();
            assert!(row.revision > *revision, "revisions grow");
            *revision = row.revision;
            self.latest.insert(key, bits(row));
        }
        for entry in cut.states {
            if entry.bytes.is_empty() {
                self.states.remove(&entry.sensor);
            } else {
                self.states.insert(entry.sensor.clone(), entry);
            }
        }
        cut.watermark_us
    }
}

/// What happens after a batch.
#[derive(Clone, Copy, Debug)]
enum After {
    Nothing,
    Cut { full_state: bool },
    CutAndRestart,
}

#[derive(Clone, Debug)]
struct Setting {
    lateness_hours: u64,
    windows_per_sensor_max: usize,
}

impl Setting {
    fn windows(&self) -> Windows {
        windows(self.lateness_hours, self.windows_per_sensor_max)
    }

    fn run(&self, rows: &[Row], steps: &[(usize, After)]) -> Lake {
        let mut lake = Lake::default();
        let mut windows = self.windows();
        let mut rest = rows;
        for (n_rows, after) in steps {
            let (batch, others) = rest.split_at((*n_rows).min(rest.len()));
            rest = others;
            lake.late.extend(windows.fold(&in_flight(batch)));
            match after {
                After::Nothing => (),
                After::Cut { full_state } => {
                    lake.take(windows.cut(&cut(CutReason::Age, *full_state)));
                }
                After::CutAndRestart => {
                    let watermark_us = lake.take(windows.cut(&cut(CutReason::Shutdown, false)));
                    let entries = lake.states.values().map(|e| (e.sensor.clone(), e.hash_key, e.bytes.clone()));
                    windows = self.windows();
                    windows.restore(&names(), watermark_us, entries).unwrap();
                }
            }
        }
        lake.late.extend(windows.fold(&in_flight(rest)));
        lake.take(windows.cut(&cut(CutReason::Shutdown, false)));
        lake
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let value = || prop::option::weighted(0.8, -100.0..100.0_f64);
    // Time goes on by up to half an hour per reading; readings lag behind it by up to half a day.
    let row = (0..3_usize, 0..HOUR_US / 2, 0..12 * HOUR_US, [value(), value(), value()], prop::bool::weighted(0.9));
    prop::collection::vec(row, 0..120).prop_map(|rows| {
        let mut now_us = MIDNIGHT_US;
        let place = |(sensor, step_us, lag_us, values, clean)| {
            now_us += step_us;
            Row { sensor, event_time_us: now_us - lag_us, values, clean }
        };
        rows.into_iter().map(place).collect()
    })
}

fn steps() -> impl Strategy<Value = Vec<(usize, After)>> {
    let after = prop_oneof![
        Just(After::Nothing),
        any::<bool>().prop_map(|full_state| After::Cut { full_state }),
        Just(After::CutAndRestart),
    ];
    prop::collection::vec((0..20_usize, after), 0..20)
}

fn setting() -> impl Strategy<Value = Setting> {
    (0..8_u64, prop_oneof![Just(1000), 2..9_usize])
        .prop_map(|(lateness_hours, windows_per_sensor_max)| Setting { lateness_hours, windows_per_sensor_max })
}

proptest! {
    #[test]
    fn batches_cuts_and_restarts_change_no_value_and_no_flag(rows in rows(), steps in steps(), setting in setting()) {
        let once = setting.run(&rows, &[]);
        let often = setting.run(&rows, &steps);
        prop_assert_eq!(once.late, often.late);
        prop_assert_eq!(once.latest, often.latest);
    }

    /// CLEAN-ONCE for aggregates: a second program that keeps every reading comes to the same result.
    #[test]
    fn windows_are_what_the_readings_that_are_not_late_for_them_add_up_to(rows in rows(), steps in steps(), hours in 0..8_u64) {
        let lake = Setting { lateness_hours: hours, windows_per_sensor_max: 1000 }.run(&rows, &steps);
        let mut watermark_us = i64::MIN;
        let mut kept: BTreeMap<Key, Vec<f64>> = BTreeMap::new();
        for (row, late) in rows.iter().zip(&lake.late).filter(|(row, _)| row.clean) {
            // Each window by itself.
            let is_late = |kind: WindowKind| {
                let end_us = kind.start_of(row.event_time_us) + kind.length_us();
                watermark_us >= end_us + hours as i64 * HOUR_US
            };
            prop_assert_eq!(*late, is_late(WindowKind::Hourly));
            for kind in WindowKind::ALL.into_iter().filter(|kind| !is_late(*kind)) {
                for (field, value) in row.values.iter().enumerate() {
                    let key = (kind, kind.start_of(row.event_time_us), sensor_id(row.sensor), field as u16);
                    value.iter().for_each(|x| kept.entry(key.clone()).or_default().push(*x));
                }
            }
            watermark_us = watermark_us.max(row.event_time_us);
        }
        let unclean = rows.iter().zip(&lake.late).filter(|(row, _)| !row.clean);
        prop_assert!(unclean.map(|(_, late)| *late).all(|late| !late));
        prop_assert!(kept.keys().eq(lake.latest.keys()));
        for (values, found) in kept.values().zip(lake.latest.values()) {
            prop_assert_eq!(found[0], values.len() as u64);
            let sum = f64::from_bits(found[2]);
            prop_assert!((sum - values.iter().sum::<f64>()).abs() <= 1e-9 * 100.0 * values.len() as f64);
        }
    }

    /// The heart of a redo: whoever begins from the state of the last cut comes to the same next cut, revisions and
    /// states included.
    #[test]
    fn a_redo_from_the_last_state_gives_the_same_epoch(rows in rows(), steps in steps(), setting in setting()) {
        let mut windows = setting.windows();
        let mut lake = Lake::default();
        let mut watermark_us = i64::MIN;
        let mut rest = rows.as_slice();
        for (n_rows, after) in steps {
            let (batch, others) = rest.split_at(n_rows.min(rest.len()));
            rest = others;
            let mut successor = setting.windows();
            let entries = lake.states.values().map(|e| (e.sensor.clone(), e.hash_key, e.bytes.clone()));
            successor.restore(&names(), watermark_us, entries).unwrap();
            let cut = match after {
                After::Nothing => cut(CutReason::Age, false),
                After::Cut { full_state } => cut(CutReason::Bytes, full_state),
                After::CutAndRestart => cut(CutReason::Shutdown, false),
            };
            prop_assert_eq!(windows.fold(&in_flight(batch)), successor.fold(&in_flight(batch)));
            let found = windows.cut(&cut);
            prop_assert_eq!(&found, &successor.cut(&cut));
            watermark_us = lake.take(found);
        }
    }

    /// A full state needs nothing before it.
    #[test]
    fn a_full_state_stands_for_all_states_before_it(rows in rows(), steps in steps(), setting in setting()) {
        let mut windows = setting.windows();
        let mut lake = Lake::default();
        let mut rest = rows.as_slice();
        for (n_rows, _) in &steps {
            let (batch, others) = rest.split_at((*n_rows).min(rest.len()));
            rest = others;
            windows.fold(&in_flight(batch));
            lake.take(windows.cut(&cut(CutReason::Age, false)));
        }
        let full = windows.cut(&cut(CutReason::Age, true)).states;
        prop_assert!(full.iter().eq(lake.states.values()));
    }
}
