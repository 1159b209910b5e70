//! Windows as builds have stored them (`stored.txt`): each is read, goes on as it went on then, and is written again as
//! it was, byte for byte.

use std::fmt::Write as _;

use super::*;

const STORED: &str = include_str!("stored.txt");

/// Rows between cuts: empty windows, one value, many; late readings, and windows that are forgotten.
fn chapters() -> Vec<(Vec<Row>, CutReason)> {
    let full = |sensor: usize, n: i64| Row {
        values: [Some(n as f64 * 0.37 - 3.0), (n % 2 == 0).then_some(n as f64), (n % 5 == 0).then_some(1e9 - n as f64)],
        ..row(sensor, MIDNIGHT_US + n * HOUR_US / 7, 0.0)
    };
    let late = |n: i64| Row { event_time_us: MIDNIGHT_US + n * HOUR_US / 7, ..full(1, n + 100) };
    vec![
        (vec![full(0, 1), full(1, 2)], CutReason::Age),
        ((3..30).map(|n| full((n % 3) as usize, n)).collect(), CutReason::Bytes),
        (vec![late(8), Row { clean: false, ..full(0, 31) }, late(1)], CutReason::Age),
        ((60..90).map(|n| full((n % 2) as usize, n)).collect(), CutReason::Shutdown),
        ((300..310).map(|n| full(0, n)).collect(), CutReason::Age),
    ]
}

fn told(late: &[bool], cut: &WindowsCut) -> String {
    let mut text = format!("watermark {}\n", cut.watermark_us);
    for entry in &cut.states {
        let hex: String = entry.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "state {} {} {hex}", entry.sensor, entry.hash_key).unwrap();
    }
    let late: Vec<usize> = (0..late.len()).filter(|row| late[*row]).collect();
    writeln!(text, "late {late:?}").unwrap();
    for row in &cut.aggregates {
        let AggregateRow { window, start_us, sensor, field, revision, count, .. } = row;
        writeln!(text, "{window:?} {start_us} {sensor} {field} {revision} {count}").unwrap();
    }
    text
}

#[test]
fn what_was_stored_goes_on_as_it_went_on_then() {
    let mut windows = self::windows(2, 6);
    let mut told = String::new();
    for (rows, reason) in chapters() {
        let late = windows.fold(&in_flight(&rows));
        let cut = windows.cut(&cut(reason, true));
        writeln!(told, "{}", self::told(&late, &cut)).unwrap();
        // From the bytes alone.
        windows = self::windows(2, 6);
        let entries = cut.states.into_iter().map(|entry| (entry.sensor, entry.hash_key, entry.bytes));
        windows.restore(&names(), cut.watermark_us, entries).unwrap();
    }
    for (number, (now, then)) in told.lines().zip(STORED.lines()).enumerate() {
        assert_eq!(now, then, "line {} of stored.txt", number + 1);
    }
    assert_eq!(told.lines().count(), STORED.lines().count());
}
