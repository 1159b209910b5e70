//! The encoded state: size, damage, other formats and other schemas; and what people see of it.

use super::*;
use crate::sensor::StateError;

fn fed() -> SensorCore {
    let mut core = sensor();
    let full = |n: i64| Row {
        event_id: Some(n.to_string()),
        firmware: Some("1.0".to_owned()),
        mains: Some(true),
        ..at(n, noise(n, 1.0))
    };
    feed(&mut core, &(0..40).map(full).collect::<Vec<_>>());
    core
}

#[test]
fn damage_is_found() {
    let bytes = fed().encode();
    let corrupt = |bytes: &[u8]| matches!(SensorCore::decode(id(), rules(), bytes), Err(StateError::Corrupt { .. }));
    for cut in 0..bytes.len() {
        assert!(corrupt(&bytes[..cut]), "cut off at {cut}");
    }
    for at in 1..bytes.len() {
        let mut bent = bytes.to_vec();
        bent[at] ^= 0x10;
        assert!(corrupt(&bent), "bent at {at}");
    }
    assert!(corrupt(&[bytes.as_ref(), b"x"].concat()));
}

#[test]
fn a_newer_format_is_named() {
    let mut bytes = fed().encode().to_vec();
    bytes[0] = 9;
    let error = SensorCore::decode(id(), rules(), &bytes).unwrap_err();
    assert_eq!(error, StateError::NewerFormat { sensor: id(), found: 9 });
    assert_eq!(error.to_string(), "state of sensor s-1 has format 9; this build reads up to 3");
}

fn rules_of(schema: &str) -> Arc<SensorRules> {
    let schema = EventSchema::parse(schema).unwrap_or_else(|problems| panic!("{problems}"));
    Arc::new(SensorRules::new(Arc::new(schema), 4))
}

#[test]
fn fields_that_changed_are_refused() {
    let renamed = rules_of(&SCHEMA.replace("\"ticks\"", "\"tocks\""));
    let refused = SensorCore::decode(id(), renamed, &fed().encode()).unwrap_err();
    assert_eq!(refused, StateError::OtherLayout { sensor: id() });
}

#[test]
fn a_detector_on_a_tracked_number_comes_and_goes_and_every_state_stays() {
    let height = "tolerance = 0.5\n[fields.detectors]\nrange = [0.0, 9.0]";
    let with =
        rules_of(&SCHEMA.replacen("[fields.tracked]\ntolerance = 0.5", &format!("[fields.tracked]\n{height}"), 1));
    let before = fed();
    let mut after = SensorCore::decode(id(), with.clone(), &before.encode()).unwrap();
    assert_eq!(after.state.watched.len(), 3);
    for name in ["heat", "ticks", "firmware"] {
        assert_eq!(before.view(SHARD).fields[name], after.view(SHARD).fields[name], "{name}");
    }
    let rows: Vec<Row> = (41..44).map(|n| Row { height: Some(9.5), ..at(n, noise(n, 1.0)) }).collect();
    assert_eq!(kinds(&assess(&mut after, &rows).1), [AlertKind::Range]);
    SensorCore::decode(id(), with, &after.encode()).unwrap();
    let mut without = before.clone();
    feed(&mut without, &rows);
    let back = SensorCore::decode(id(), rules(), &after.encode()).unwrap();
    let (back, without) = (back.view(SHARD), without.view(SHARD));
    assert_eq!((back.fields, back.clean), (without.fields, without.clean));
}

#[test]
fn people_see_the_latest_values_the_baseline_and_the_attributes() {
    let view = fed().view(SHARD);
    assert_eq!((view.sensor_id.as_str(), view.shard.as_str(), view.state), ("s-1", SHARD, "live"));
    assert_eq!((view.readings, view.clean, view.version), (40, 40, 1));
    assert_eq!(view.fields["heat"]["latest"], noise(39, 1.0));
    assert_eq!(view.fields["heat"]["unit"], "Cel");
    assert_eq!(view.fields["heat"]["baseline"]["readings"], 40);
    assert_eq!(view.fields["firmware"]["tracked"], "1.0");
}

/// A climate sensor with full memories, as the demo's fleet has them.
pub(super) fn climate(readings: i64) -> SensorCore {
    let schema = Arc::new(EventSchema::built_in("climate").unwrap());
    let mut core = SensorCore::new(id(), Arc::new(SensorRules::new(schema, SensorRules::EVENT_IDS)));
    let rows: Vec<Row> =
        (0..readings).map(|n| Row { event_id: Some(n.to_string()), ..at(n, noise(n, 1.37)) }).collect();
    let text = |text: &str| Column::Text(vec![Some(text.into()); rows.len()]);
    let mut batch = batch(&rows, 0);
    batch.rows.fields = vec![
        Column::Float(rows.iter().map(|row| row.heat).collect()),
        Column::Float(rows.iter().map(|row| row.heat.map(|heat| heat * 2.1)).collect()),
        Column::Float(vec![Some(87.3); rows.len()]),
        text("2.14.1-rc3"),
        text("warehouse-north-17"),
        Column::Float(vec![Some(53.551_1); rows.len()]),
        Column::Float(vec![Some(9.993_7); rows.len()]),
    ];
    core.apply(&ShardId::new(SHARD), &batch, 0, &[], &mut |_| {});
    core
}

#[test]
fn a_climate_sensor_stays_below_a_kilobyte() {
    for (what, readings) in [("new", 0), ("still learning", 14), ("full", 500)] {
        let bytes = climate(readings).encode().len();
        println!("climate state, {what}: {bytes} bytes");
        assert!(bytes < 1024, "{what}: {bytes} bytes");
    }
}
