//! Versions by event time: whatever the order of arrival, they lay out what the readings said when.

use std::collections::BTreeSet;

use messages::DimensionChange;
use messages::schema::Value;
use proptest::prelude::*;

use super::*;

/// Places of the attributes that are compared exactly: all but the height, which has a tolerance.
const EXACT: [usize; 3] = [0, 2, 3];
const NAMES: [&str; 4] = ["firmware", "height", "serial", "mains"];

fn site(second: i64, firmware: &str) -> Row {
    Row { firmware: Some(firmware.to_owned()), ..at(second, noise(second, 1.0)) }
}

fn remembering(history_max: usize) -> SensorCore {
    let schema = EventSchema::parse(SCHEMA).unwrap_or_else(|problems| panic!("{problems}"));
    SensorCore::new(id(), Arc::new(SensorRules::new(Arc::new(schema), 4).remembering(history_max)))
}

/// Second, what it says anew, and the firmware that holds.
fn told(rows: &[Row]) -> Vec<(i64, String, String)> {
    feed(&mut sensor(), rows).changes.iter().map(shown).collect()
}

fn shown(change: &DimensionChange) -> (i64, String, String) {
    let firmware = match &change.attributes[0] {
        Some(Value::Text(text)) => text.clone(),
        _ => "-".to_owned(),
    };
    ((change.valid_from_us - START_US) / SECOND_US, change.changed.join(","), firmware)
}

fn expected(rows: &[(i64, &str, &str)]) -> Vec<(i64, String, String)> {
    rows.iter().map(|(second, changed, firmware)| (*second, (*changed).to_owned(), (*firmware).to_owned())).collect()
}

#[test]
fn attributes_that_come_late_split_the_interval() {
    let rows = [site(10, "a"), site(12, "c"), site(11, "b"), Row { heat: Some(21.0), ..site(11, "b") }];
    let versions = [(10, "firmware", "a"), (12, "firmware", "c"), (11, "firmware", "b")];
    assert_eq!(told(&rows), expected(&versions), "the second b says nothing new");
}

#[test]
fn what_was_confirmed_holds_again_behind_a_late_version() {
    let rows = [site(10, "a"), site(20, "a"), site(15, "b"), site(16, "b"), site(18, "a")];
    let versions = [(10, "firmware", "a"), (15, "firmware", "b"), (20, "firmware", "a"), (18, "firmware", "a")];
    assert_eq!(told(&rows), expected(&versions));
}

#[test]
fn what_is_like_a_neighbour_makes_no_version() {
    let rows = [site(10, "a"), site(20, "b"), site(12, "a"), site(25, "b"), site(22, "b"), site(5, "a"), site(7, "a")];
    assert_eq!(told(&rows), expected(&[(10, "firmware", "a"), (20, "firmware", "b")]));
}

#[test]
fn a_buffer_that_is_read_backwards_makes_as_many_versions_as_there_are() {
    let rows: Vec<Row> = (0..40).rev().map(|n| site(n, if n < 20 { "a" } else { "b" })).collect();
    let versions = told(&rows);
    assert_eq!(versions[..2], expected(&[(39, "firmware", "b"), (19, "firmware", "a")]));
    // The readings of b before the first that came must not be taken for a's.
    assert_eq!(versions[2..], expected(&[(20, "firmware", "b")]));
}

#[test]
fn an_attribute_left_out_goes_on_behind_a_late_version_too() {
    let mains = |second, mains| Row { mains: Some(mains), ..at(second, 20.0) };
    let rows = [site(10, "a"), site(20, "c"), mains(15, true), mains(12, false)];
    let versions = [(10, "firmware", "a"), (20, "firmware", "c"), (15, "mains", "a"), (12, "mains", "a")];
    assert_eq!(told(&rows), expected(&versions));
}

#[test]
fn the_later_arrival_of_one_time_holds() {
    let rows = [site(10, "a"), site(20, "b"), site(20, "a"), site(20, "c"), site(10, "b")];
    let versions = [
        (10, "firmware", "a"),
        (20, "firmware", "b"),
        (20, "firmware", "a"),
        (20, "firmware", "c"),
        (10, "firmware", "b"),
    ];
    assert_eq!(told(&rows), expected(&versions));
}

#[test]
fn a_reading_that_contradicts_a_stretch_holds_at_its_moment() {
    let mut core = sensor();
    feed(&mut core, &(0..100).map(|n| site(n, "a")).collect::<Vec<_>>());
    let changes = feed(&mut core, &[site(50, "b")]).changes;
    let from: Vec<i64> = changes.iter().map(|change| change.valid_from_us - START_US).collect();
    assert_eq!(from, [50 * SECOND_US, 50 * SECOND_US + 1]);
    assert_eq!(shown(&changes[1]).2, "a");
}

#[test]
fn the_longest_silences_are_remembered() {
    let mut core = sensor();
    // A device that reports every second was away for an hour, 7 times.
    let live = (0..8).flat_map(|away| (0..100).map(move |n| site(away * 3_700 + n, "a")));
    feed(&mut core, &live.collect::<Vec<_>>());
    for away in 0..7 {
        let buffered: Vec<Row> = (0..60).map(|n| site(away * 3_700 + 200 + n * 10, "b")).collect();
        let versions: Vec<_> = feed(&mut core, &buffered).changes.iter().map(shown).collect();
        let (from, to) = (away * 3_700 + 200, (away + 1) * 3_700);
        assert_eq!(versions, expected(&[(from, "firmware", "b"), (to, "firmware", "a")]));
    }
}

#[test]
fn what_is_out_of_memory_makes_a_version_of_its_own() {
    let mut core = remembering(4);
    feed(&mut core, &(0..20).map(|n| site(n * 10, &n.to_string())).collect::<Vec<_>>());
    let changes: Vec<_> = feed(&mut core, &[site(35, "x"), site(36, "x")]).changes.iter().map(shown).collect();
    assert_eq!(changes, expected(&[(35, "firmware", "x"), (36, "firmware", "x")]));
    assert_eq!(core.view(SHARD).fields["firmware"]["tracked"], "19");
}

#[test]
fn a_state_of_the_first_format_goes_on() {
    let bytes = stored::bytes(stored::stored("one-version"));
    let mut core = SensorCore::decode(id(), rules(), &bytes).unwrap();
    let view = core.view(SHARD);
    assert_eq!((view.version, view.version_since_us), (3, START_US + 10 * SECOND_US));
    assert_eq!(view.fields["firmware"]["tracked"], "a");
    let rows = [site(20, "a"), site(40, "b"), site(35, "a"), site(5, "z")];
    let changes = feed(&mut core, &rows).changes;
    assert_eq!(changes.iter().map(|change| change.version).collect::<Vec<_>>(), [4, 5]);
    let told: Vec<_> = changes.iter().map(shown).collect();
    assert_eq!(told, expected(&[(40, "firmware", "b"), (5, "firmware", "z")]));
}

/// What a reading says, and when; the place in the list is the order of arrival.
fn drawn() -> impl Strategy<Value = Vec<Row>> {
    let firmware = prop::option::weighted(0.7, prop_oneof![Just("a"), Just("b"), Just("c")]);
    let others = (prop::option::weighted(0.3, 0..3_i64), prop::option::weighted(0.3, any::<bool>()));
    let height = prop::option::weighted(0.3, (0..5_i64).prop_map(|n| n as f64 * 0.3));
    let row = (0..40_i64, firmware, others, height);
    prop::collection::vec(row, 1..60).prop_map(|rows| {
        let row = |(n, (second, firmware, (serial, mains), height)): (usize, (i64, Option<&str>, _, _))| Row {
            firmware: firmware.map(str::to_owned),
            serial,
            mains,
            height,
            arrival_ms: START_US / 1000 + n as i64,
            ..at(second, noise(n as i64, 1.0))
        };
        rows.into_iter().enumerate().map(row).collect()
    })
}

fn said(row: &Row) -> [Option<Value>; 4] {
    [
        row.firmware.clone().map(Value::Text),
        row.height.map(Value::Float),
        row.serial.map(Value::Integer),
        row.mains.map(Value::Boolean),
    ]
}

/// What versions say of an attribute at a time, as the warehouse reads them: each by what it says anew, in order of the
/// time from which they hold and of their numbers; what is older than all belongs to the first.
fn laid_out(changes: &[DimensionChange], attribute: usize, time_us: i64) -> Option<Value> {
    let mut ordered: Vec<&DimensionChange> = changes.iter().collect();
    ordered.sort_by_key(|change| (change.valid_from_us, change.version));
    let holds = ordered.partition_point(|change| change.valid_from_us <= time_us).max(1);
    let anew = |change: &&DimensionChange| change.changed.iter().any(|name| name == NAMES[attribute]);
    ordered[..holds].iter().rev().copied().find(anew).and_then(|change| change.attributes[attribute].clone())
}

/// The same by the readings themselves: the last of those up to that time that says anything.
fn read(rows: &[Row], attribute: usize, time_us: i64) -> Option<Value> {
    let mut ordered: Vec<&Row> = rows.iter().filter(|row| row.time_us <= time_us).collect();
    // Stable: of one time the later arrival is the last.
    ordered.sort_by_key(|row| row.time_us);
    ordered.iter().rev().find_map(|row| said(row)[attribute].clone())
}

fn near(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Float(a)), Some(Value::Float(b))) => (a - b).abs() <= 0.5,
        (a, b) => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// With enough memory, versions say at any time what the readings say.
    #[test]
    fn versions_are_the_readings_by_event_time(rows in drawn()) {
        let mut core = remembering(256);
        let mut changes: Vec<DimensionChange> = Vec::new();
        for row in &rows {
            changes.extend(feed(&mut core, std::slice::from_ref(row)).changes);
        }
        let numbers: Vec<u32> = changes.iter().map(|change| change.version).collect();
        prop_assert_eq!(numbers, (1..=changes.len() as u32).collect::<Vec<_>>());
        let first_us = changes.iter().map(|change| change.valid_from_us).min().unwrap();
        for half in 0..82 {
            let time_us = START_US + half * SECOND_US / 2;
            for attribute in EXACT.into_iter().filter(|_| time_us >= first_us) {
                let (found, expected) = (laid_out(&changes, attribute, time_us), read(&rows, attribute, time_us));
                prop_assert_eq!(found, expected, "{} at {}", NAMES[attribute], half as f64 / 2.0);
            }
        }
    }

    /// With little memory they still say at each reading what it said, as long as nothing is out of memory; and in any
    /// case when it comes.
    #[test]
    fn every_reading_finds_what_it_said(rows in drawn(), history_max in 2..20_usize, restarts in any::<u64>()) {
        let mut core = remembering(history_max);
        let mut changes: Vec<DimensionChange> = Vec::new();
        for (n, row) in rows.iter().enumerate() {
            changes.extend(feed(&mut core, std::slice::from_ref(row)).changes);
            if restarts >> (n % 64) & 1 == 1 {
                core = SensorCore::decode(id(), core.rules.clone(), &core.encode()).unwrap();
            }
            for (attribute, value) in said(row).iter().enumerate().filter(|(_, value)| value.is_some()) {
                let found = laid_out(&changes, attribute, row.time_us);
                prop_assert!(near(found.as_ref(), value.as_ref()), "{} of reading {}: {:?}", NAMES[attribute], n, found);
            }
        }
        if core.state.attributes.has_forgotten() {
            return Ok(());
        }
        for row in &rows {
            for attribute in EXACT {
                let last = rows.iter().rfind(|other| other.time_us == row.time_us && said(other)[attribute].is_some());
                let Some(last) = last else { continue };
                prop_assert_eq!(laid_out(&changes, attribute, row.time_us), said(last)[attribute].clone());
            }
        }
    }

    /// In order, a version for each change and no other.
    #[test]
    fn readings_in_order_make_a_version_for_each_change(rows in drawn(), history_max in 2..20_usize) {
        let mut rows = rows;
        rows.sort_by_key(|row| row.time_us);
        rows.iter_mut().for_each(|row| row.height = None);
        let changes = feed(&mut remembering(history_max), &rows).changes;
        let mut known: [Option<Value>; 4] = Default::default();
        let mut expected = 0;
        for (n, row) in rows.iter().enumerate() {
            let mut is_new = n == 0;
            for (known, value) in known.iter_mut().zip(said(row)).filter(|(_, value)| value.is_some()) {
                is_new |= *known != value;
                *known = value;
            }
            expected += usize::from(is_new);
        }
        prop_assert_eq!(changes.len(), expected);
        let distinct: BTreeSet<u32> = changes.iter().map(|change| change.row).collect();
        prop_assert_eq!(distinct.len(), expected);
    }
}
