use messages::{Cut, CutReason, EpochNumber, EpochPlan, Form, Position, SequenceNumber, ShardId, Zone};
use proptest::prelude::*;

use super::fixture::{NOW_MS, cut, sequence};
use crate::lake::keys::{Names, Partition, behind, claim_of, epoch_of_claim, epoch_of_manifest};
use crate::lake::{KEY_BYTES_MAX, manifest_of_state};

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
    Names::new(stream, &ShardId::new(shard), &cut(to), EpochPlan::FORMAT)
}

#[test]
fn a_key_says_where_when_and_what() {
    let names = names("climate", "shardId-000000000003", Position::At(sequence(99)));
    let us = NOW_MS * 1000;
    assert_eq!(
        names.dated(Zone::Raw, Partition::Hour(us), 0),
        "raw/year=2026/month=11/day=22/hour=15/climate-000000000003-00000007-0.jsonl.gz"
    );
    let of_form = |form| names.lines(Partition::Hour(us), form).split_once("hour=15/").unwrap().1.to_owned();
    assert_eq!(of_form(Form::Line), "climate-000000000003-00000007-0.jsonl.gz");
    assert_eq!(of_form(Form::LineFeed), "climate-000000000003-00000007-0.lf.jsonl.gz");
    assert_eq!(of_form(Form::CarriageReturn), "climate-000000000003-00000007-0.crlf.jsonl.gz");
    assert_eq!(of_form(Form::Other), "_climate-000000000003-00000007-0.ndjson.gz");
    assert_eq!(
        names.dated(Zone::AggregatesHourly, Partition::Day(us), 0),
        "aggregates/hourly/year=2026/month=11/day=22/climate-000000000003-00000007-0.parquet"
    );
    assert_eq!(
        names.dated(Zone::AggregatesDaily, Partition::Month(us), 1),
        "aggregates/daily/year=2026/month=11/climate-000000000003-00000007-1.parquet"
    );
    assert_eq!(names.chained(Zone::Manifest), "manifests/climate/000000000003/00000007.json");
    assert_eq!(manifest_of_state(&names.chained(Zone::State)), names.chained(Zone::Manifest));
}

#[test]
fn an_epoch_that_was_pinned_by_an_earlier_version_keeps_its_names() {
    let shard = ShardId::new("shardId-000000000003");
    let names = Names::new("climate", &shard, &cut(Position::At(sequence(99))), EpochPlan::NAMED_BY_END);
    assert_eq!(
        names.dated(Zone::Raw, Partition::Hour(NOW_MS * 1000), 0),
        "raw/year=2026/month=11/day=22/hour=15/climate-000000000003-00000007-99-0.jsonl.gz"
    );
    assert_eq!(names.chained(Zone::Manifest), "manifests/climate/000000000003/00000007-99.json");
    assert_eq!(manifest_of_state(&names.chained(Zone::State)), names.chained(Zone::Manifest));
}

/// RAW-ONCE: two epochs of one number collide, wherever they end.
#[test]
fn where_an_epoch_ends_is_not_in_its_names() {
    let of = |to| names("climate", "shardId-000000000003", to);
    let (one, other) = (of(Position::At(sequence(99))), of(Position::ShardEnd));
    let us = Partition::Hour(NOW_MS * 1000);
    assert_eq!(one.dated(Zone::Cleansed, us, 0), other.dated(Zone::Cleansed, us, 0));
    assert_eq!(one.chained(Zone::State), other.chained(Zone::State));
}

#[test]
fn manifests_and_claims_of_both_versions_sort_by_their_epoch() {
    let prefix = "manifests/climate/000000000003/";
    let of = |names: &[&str]| names.iter().map(|name| format!("{prefix}{name}")).collect::<Vec<_>>();
    let sorted = of(&["00000006-99.json", "00000006-end.json", "00000006.claim", "00000006.json", "00000007-1.json"]);
    assert!(sorted.is_sorted());
    let after = behind(prefix, EpochNumber(6));
    assert!(sorted[3] < after && after < sorted[4]);
    assert_eq!(sorted.iter().filter(|key| epoch_of_manifest(key) == Some(EpochNumber(6))).count(), 3);
    assert_eq!(epoch_of_claim(&sorted[2]), Some(EpochNumber(6)));
    assert_eq!(claim_of("climate", &ShardId::new("shardId-000000000003"), EpochNumber(6)), sorted[2]);
    assert_eq!(epoch_of_manifest(&format!("{prefix}readme.json")), None);
}

#[test]
fn the_end_of_a_shard_and_times_before_1970_have_keys() {
    let names = names("climate", "shardId-000000000003", Position::ShardEnd);
    assert_eq!(
        names.dated(Zone::Cleansed, Partition::Hour(-1), 0),
        "cleansed/year=1969/month=12/day=31/hour=23/climate-000000000003-00000007-0.parquet"
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
        let formats = [EpochPlan::NAMED_BY_END, EpochPlan::FORMAT];
        let names = formats.map(|format| Names::new(&stream, &ShardId::new(&shard), &cut, format));
        for names in &names {
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
}

fn state_of(stream: &str, shard: &str) -> String {
    names(stream, shard, Position::ShardEnd).chained(Zone::State)
}
