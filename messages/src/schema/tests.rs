use super::*;

#[test]
fn every_built_in_schema_parses() {
    for (name, text) in BUILT_IN {
        let schema = EventSchema::parse(text).unwrap_or_else(|problems| panic!("{name}: {problems}"));
        assert_eq!(schema.name, name);
        assert!(schema.aggregated().count() > 0);
    }
}

#[test]
fn all_problems_are_reported_at_once_and_each_names_its_key() {
    let problems = EventSchema::parse(
        r#"
        name = 7
        colour = "red"
        [sensor_id]
        path = "a..b"
        [time]
        path = "ts"
        format = "sundial"
        past_max = "soon"
        [[fields]]
        name = "temperature"
        type = "floaty"
        range = [3, 1]
        [[fields]]
        name = "Shard"
        type = "text"
        [fields.detectors]
        rate_per_second_max = 1
        [[fields]]
        name = "temperature"
        type = "float"
        requierd = true
        "#,
    )
    .unwrap_err()
    .0;

    for key in [
        "name",
        "colour",
        "sensor_id.path",
        "time.format",
        "time.past_max",
        "fields[temperature].type",
        "fields[temperature].range",
        "fields[Shard].detectors",
        "fields[temperature].requierd",
    ] {
        assert!(problems.iter().any(|p| p.starts_with(&format!("{key}:"))), "{key} in {problems:#?}");
    }
}

#[test]
fn broken_toml_is_one_clear_problem() {
    let problems = EventSchema::parse("name = ").unwrap_err();
    assert_eq!(problems.0.len(), 1);
    assert!(problems.to_string().contains("line 1"), "{problems}");
}

#[test]
fn partitions_start_where_the_clock_says_also_before_1970() {
    assert_eq!(PartitionBy::Hour.start_of(-1), -3_600_000_000);
    assert_eq!(PartitionBy::Day.start_of(86_400_000_001), 86_400_000_000);
}
