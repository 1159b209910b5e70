//! Versions of the tracked attributes.

use messages::DimensionChange;
use messages::schema::Value;

use super::*;

fn changes(rows: &[Row]) -> Vec<DimensionChange> {
    feed(&mut sensor(), rows).changes
}

fn versions(rows: &[Row]) -> Vec<(u32, u32, Vec<String>)> {
    changes(rows).into_iter().map(|change| (change.row, change.version, change.changed)).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn with(second: i64, firmware: &str, height: f64) -> Row {
    Row { firmware: Some(firmware.to_owned()), height: Some(height), ..at(second, noise(second, 1.0)) }
}

#[test]
fn the_first_reading_makes_version_one() {
    let change = changes(&[with(3, "1.0", 5.0)]).remove(0);
    assert_eq!((change.version, change.row, change.valid_from_us), (1, 0, START_US + 3 * SECOND_US));
    assert_eq!(change.changed, ["firmware", "height"]);
    assert_eq!(change.attributes, [Some(Value::Text("1.0".to_owned())), Some(Value::Float(5.0)), None, None]);
    assert_eq!(versions(&[at(0, 20.0)]), [(0, 1, names(&[]))], "a sensor without attributes exists all the same");
}

#[test]
fn what_is_left_out_or_within_the_tolerance_changes_nothing() {
    let rows = [with(0, "1.0", 5.0), at(1, 21.0), with(2, "1.0", 5.5), with(3, "1.0", 4.5), with(4, "1.0", -0.0)];
    assert_eq!(versions(&rows), [(0, 1, names(&["firmware", "height"])), (4, 2, names(&["height"]))]);
}

#[test]
fn drift_counts_from_the_version_in_force() {
    let rows: Vec<Row> = (0..10).map(|n| with(n, "1.0", n as f64 * 0.2)).collect();
    assert_eq!(versions(&rows).iter().map(|v| v.0).collect::<Vec<_>>(), [0, 3, 6, 9]);
}

#[test]
fn a_change_keeps_the_others_and_names_itself() {
    let rows = [with(0, "1.0", 5.0), Row { mains: Some(true), height: Some(5.4), ..at(1, 21.0) }, with(2, "1.1", 5.4)];
    let changes = changes(&rows);
    assert_eq!(changes[1].changed, ["mains"]);
    assert_eq!(changes[2].changed, ["firmware"]);
    assert_eq!(
        changes[2].attributes,
        [Some(Value::Text("1.1".to_owned())), Some(Value::Float(5.0)), None, Some(Value::Boolean(true))]
    );
}

#[test]
fn large_integers_are_compared_exactly() {
    let numbered = |second, serial| Row { serial: Some(serial), ..at(second, 20.0) };
    let rows = [numbered(0, i64::MAX), numbered(1, i64::MAX - 1), numbered(2, i64::MAX - 1), numbered(3, i64::MIN)];
    assert_eq!(versions(&rows).len(), 3);
}

#[test]
fn a_reading_from_before_the_version_in_force_is_not_news() {
    let rows = [with(10, "1.0", 5.0), with(20, "1.1", 5.0), with(15, "1.0", 5.0), with(20, "1.2", 5.0)];
    let mut core = sensor();
    let (assessments, _) = assess(&mut core, &rows);
    assert_eq!(assessments.iter().map(|a| a.sensor_version).collect::<Vec<_>>(), [1, 2, 2, 3]);
    assert_eq!(versions(&rows).iter().map(|v| v.0).collect::<Vec<_>>(), [0, 1, 3]);
}

#[test]
fn invalid_readings_and_duplicates_make_no_version() {
    let named = |row: Row| Row { event_id: Some("a".to_owned()), ..row };
    let rows = [named(with(0, "1.0", 5.0)), named(with(1, "1.1", 5.0)), Row { heat: None, ..with(2, "1.2", 5.0) }];
    assert_eq!(versions(&rows).len(), 1);
}
