use messages::{Cut, CutReason, EpochNumber, Form, Position, SequenceNumber, ShardId, Zone};
use proptest::prelude::*;

use super::fixture::{NOW_MS, cut, sequence};
use crate::sinks::keys::{Names, Partition};
use crate::sinks::{KEY_BYTES_MAX, manifest_of_state};

const ZONES: [Zone; 11] = [
    Zone::Raw,
    Zone::RawEscaped,
    Zone::Cleansed,
    Zone::Quarantine,
    Zone::Duplicates,
    Zone::Dimensions,
    Zone::AggregatesHourly,
    Zone::AggregatesDaily,
    Zone::Alerts,
    Zone::State,
    Zone::Manifest,
];

fn names(stream: &str, shard: &str, to: Position) -> Names {
    Names::new(stream, &ShardId::new(shard), &cut(to))
}

#[test]
fn a_key_says_where_when_and_what() {
    let names = names("climate", "shardId-000000000003", Position::At(sequence(99)));
    let us = NOW_MS * 1000;
    assert_eq!(
        names.dated(Zone::Raw, Partition::Hour(us), 0),
        "raw/year=2026/month=11/day=22/hour=15/climate-000000000003-00000007-99-0.jsonl.gz"
    );
    let of_form = |form| names.lines(Partition::Hour(us), form).split_once("hour=15/").unwrap().1.to_owned();
    assert_eq!(of_form(Form::Line), "climate-000000000003-00000007-99-0.jsonl.gz");
    assert_eq!(of_form(Form::LineFeed), "climate-000000000003-00000007-99-0.lf.jsonl.gz");
    assert_eq!(of_form(Form::CarriageReturn), "climate-000000000003-00000007-99-0.crlf.jsonl.gz");
    assert_eq!(of_form(Form::Other), "_climate-000000000003-00000007-99-0.ndjson.gz");
    assert_eq!(
        names.dated(Zone::AggregatesHourly, Partition::Day(us), 0),
        "aggregates/hourly/year=2026/month=11/day=22/climate-000000000003-00000007-99-0.parquet"
    );
    assert_eq!(
        names.dated(Zone::AggregatesDaily, Partition::Month(us), 1),
        "aggregates/daily/year=2026/month=11/climate-000000000003-00000007-99-1.parquet"
    );
    assert_eq!(names.chained(Zone::Manifest), "manifests/climate/000000000003/00000007-99.json");
    assert_eq!(manifest_of_state(&names.chained(Zone::State)), names.chained(Zone::Manifest));
}

#[test]
fn the_end_of_a_shard_and_times_before_1970_have_keys() {
    let names = names("climate", "shardId-000000000003", Position::ShardEnd);
    assert_eq!(
        names.dated(Zone::Cleansed, Partition::Hour(-1), 0),
        "cleansed/year=1969/month=12/day=31/hour=23/climate-000000000003-00000007-end-0.parquet"
    );
}

#[test]
fn names_that_people_chose_cannot_leave_their_folder() {
    for stream in ["..", ".", "", "../../x", "a/b", "%2e%2e", "\0", ".hidden", "-"] {
        let folder = state_of(stream, "shardId-000000000003");
        let parts: Vec<&str> = folder.split('/').collect();
        assert_eq!(parts.len(), 4, "{stream:?} gives {folder}");
        assert!(!parts[1].is_empty() && !parts[1].starts_with('.'), "{stream:?} gives {folder}");
    }
}

#[test]
fn names_that_look_alike_after_cleaning_stay_apart() {
    let streams = ["iot", "IOT", "iot_", "iot-", "iot.", "iot-events-of-all-sites", "iot-events-of-all-devices", ""];
    let shards = ["shardId-000000000003", "000000000003", "shardid-000000000003", "shardId-3", "shardId-00000000000A"];
    let mut folders: Vec<String> = Vec::new();
    for stream in streams {
        folders.extend(shards.iter().map(|shard| state_of(stream, shard)));
    }
    let n_names = folders.len();
    folders.sort();
    folders.dedup();
    assert_eq!(folders.len(), n_names);
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        Just(Position::TrimHorizon),
        Just(Position::ShardEnd),
        "[1-9][0-9]{0,128}".prop_map(|digits| Position::At(SequenceNumber::parse(&digits).unwrap())),
        "[1-9][0-9]{55}".prop_map(|digits| Position::At(SequenceNumber::parse(&digits).unwrap())),
    ]
}

fn hostile_name() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-zA-Z0-9_.-]{0,128}", "[./]{0,20}", "shardId-[0-9]{12}", "[a-z]{16}"]
}

proptest! {
    #[test]
    fn every_key_is_plain_and_short(
        stream in hostile_name(),
        shard in hostile_name(),
        epoch in 0..1_000_000_000_u64,
        to in position(),
        us in any::<i64>(),
        n in 0..10_usize,
    ) {
        let cut = Cut {
            epoch: EpochNumber(epoch), from: Position::TrimHorizon, to, reason: CutReason::Age, full_state: false,
            whole_aggregates: false, spread: false,
        };
        let names = Names::new(&stream, &ShardId::new(&shard), &cut);
        let forms = [Form::Line, Form::LineFeed, Form::CarriageReturn, Form::Other];
        let raw = forms.map(|form| names.lines(Partition::Hour(us), form));
        let others = ZONES.into_iter().filter(|zone| !matches!(zone, Zone::Raw | Zone::RawEscaped));
        let others = others.map(|zone| {
            // The finest prefix that the zone uses.
            match zone {
                Zone::State | Zone::Manifest => names.chained(zone),
                Zone::AggregatesHourly => names.dated(zone, Partition::Day(us), n),
                Zone::AggregatesDaily => names.dated(zone, Partition::Month(us), n),
                _ => names.dated(zone, Partition::Hour(us), n),
            }
        });
        for key in raw.into_iter().chain(others) {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"=_/.-".contains(&b);
            prop_assert!(key.bytes().all(plain), "{}", key);
            prop_assert!(key.len() <= KEY_BYTES_MAX, "{} takes {} bytes", key, key.len());
            prop_assert!(!key.split('/').any(|part| part.is_empty() || part.starts_with('.')), "{}", key);
        }
    }
}

fn state_of(stream: &str, shard: &str) -> String {
    names(stream, shard, Position::ShardEnd).chained(Zone::State)
}
