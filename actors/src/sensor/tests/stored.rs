//! States as builds have stored them (`stored.txt`): each is read, goes on as it went on then, and is written again as
//! it was, byte for byte. So a rollout, a rollback, and an epoch that the other build has prepared, all hold.

use std::fmt::Write as _;

use messages::DimensionChange;

use super::codec::climate;
use super::*;

const STORED: &str = include_str!("stored.txt");

/// Rows between cuts. Each detector goes through all it can do, and cuts fall inside every excursion.
fn chapters() -> Vec<Vec<Row>> {
    let full = |n: i64, heat: f64| Row {
        event_id: (n % 5 != 3).then(|| (n - n % 4 / 3).to_string()),
        ticks: (n % 3 != 0).then_some(n * 3 % 7),
        firmware: Some(if n < 20 { "1.0" } else { "1.1" }.to_owned()),
        height: (n % 2 == 0).then_some(n as f64 / 20.0),
        serial: Some(n / 16),
        mains: (n % 7 == 0).then_some(n > 20),
        ..at(n, heat)
    };
    let usual = |range: std::ops::Range<i64>| range.map(|n| full(n, noise(n, 1.0))).collect::<Vec<_>>();
    let mut chapters = vec![usual(0..5), usual(5..44), vec![full(44, 61.0), full(45, 62.5)]];
    chapters.push((46..53).map(|n| full(n, 20.0)).collect());
    let late = |n: i64, to: i64| Row { time_us: START_US + to * SECOND_US, ..full(n, 70.0) };
    chapters.push(vec![late(53, 20), late(54, 1), Row { heat: Some(120.0), ..full(55, 0.0) }]);
    // The last reading of the second of these makes the score begin to learn anew, in the middle of its excursion.
    chapters.extend([56..62, 62..64, 64..65, 65..70].map(|range| range.map(|n| full(n, 55.0)).collect::<Vec<_>>()));
    chapters.push((70..90).map(|n| full(n, 55.0 + noise(n, 0.7))).collect());
    chapters
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn told(core: &SensorCore, outcome: &GroupOutcome) -> String {
    let mut text =
        format!("state {}\nview {}\n", hex(&core.encode()), serde_json::to_string(&core.view(SHARD)).unwrap());
    for verdict in &outcome.verdicts {
        match verdict {
            Verdict::Clean(Assessment { score, anomalies, sensor_version }) => {
                writeln!(text, "clean {score} {} {sensor_version}", anomalies.names().join(","))
            }
            Verdict::Duplicate => writeln!(text, "duplicate"),
            Verdict::Quarantined { reason, detail } => writeln!(text, "{}: {detail}", reason.as_str()),
        }
        .unwrap();
    }
    for alert in &outcome.alerts {
        writeln!(text, "alert {}", serde_json::to_string(alert).unwrap()).unwrap();
    }
    for change in &outcome.changes {
        let DimensionChange { version, valid_from_us, row, changed, .. } = change;
        writeln!(text, "version {version} from {valid_from_us} by row {row}: {}", changed.join(",")).unwrap();
    }
    text
}

/// The rest of the line that begins so.
pub(in crate::sensor) fn stored(label: &str) -> &'static str {
    STORED.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(' ')).expect("there is such a line")
}

pub(in crate::sensor) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn what_was_stored_goes_on_as_it_went_on_then() {
    let mut core = sensor();
    let mut told = String::new();
    for rows in chapters() {
        let outcome = feed(&mut core, &rows);
        told.push_str(&self::told(&core, &outcome));
        // From the bytes alone.
        core = SensorCore::decode(id(), rules(), &core.encode()).unwrap();
    }
    let then: Vec<&str> = STORED.lines().take_while(|line| !line.starts_with("one ")).collect();
    assert_eq!(told.lines().count(), then.len());
    for (number, (now, then)) in told.lines().zip(then).enumerate() {
        assert_eq!(now, then, "line {} of stored.txt", number + 1);
    }
}

#[test]
fn full_memories_are_stored_as_they_were() {
    for readings in [0, 14, 500] {
        let label = format!("climate-{readings}");
        assert_eq!(hex(&climate(readings).encode()), stored(&label), "{label}");
    }
}

#[test]
fn a_state_of_format_1_is_taken_over() {
    let core = SensorCore::decode(id(), rules(), &bytes(stored("one"))).unwrap();
    assert_eq!(hex(&core.encode()), stored("one-then"));
}
