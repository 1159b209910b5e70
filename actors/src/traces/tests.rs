use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use messages::{Batch, Credit, Cut, CutReason, EpochNumber, EpochPlan, InFlight, Position, Rows, ShardId, Zone};
use proptest::prelude::*;

use super::*;
use crate::ports::aws::Failure;

const NOW_US: i64 = 1_700_000_000_000_000;

/// Time goes on by a millisecond with every look; ids count up.
fn traces(sample_ratio: f64, details_max: u32, queue_max: usize) -> (Traces, mpsc::Receiver<Span>) {
    let config = TracesConfig { sample_ratio, ids: IdFormat::Xray, details_max };
    let (ticks, ids) = (AtomicI64::new(NOW_US / 1_000), AtomicU64::new(0));
    let clock = Clock::from_fn(move || ticks.fetch_add(1, Ordering::Relaxed));
    let chance = Chance::from_fn(move || ids.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let (ended, queue) = mpsc::channel(queue_max);
    (Traces::new(config, clock, chance, ended), queue)
}

fn batch() -> Batch {
    let (records, rejects, order, groups) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let forms = Vec::new();
    Batch { records, forms, rows: Rows::default(), rejects, order, groups, credit: Credit::none(), trace: None }
}

fn plan(epoch: EpochNumber) -> EpochPlan {
    let (from, to) = (Position::TrimHorizon, Position::TrimHorizon);
    EpochPlan {
        format: EpochPlan::FORMAT,
        stream: None,
        shard: ShardId::new("shardId-000000000000"),
        cut: Cut { epoch, from, to, reason: CutReason::Age, full_state: false, whole_aggregates: false, spread: false },
        schema: String::new(),
        records: 3,
        readings: 3,
        clean: 3,
        quarantined: 0,
        duplicates: 0,
        reasons: Default::default(),
        alerts: 0,
        poisoned: Vec::new(),
        previous_state: None,
        objects: Vec::new(),
    }
}

/// What the actors do with a batch; where an alert of it stands.
fn pass(shard: &ShardTraces) -> Option<TraceParent> {
    let page = shard.page(shard.now_us(), 3);
    let mut batch = batch();
    batch.trace = shard.batch(page, shard.now_us(), &batch);
    let in_flight = InFlight::new(1, batch);
    shard.judged(&in_flight);
    let alert = shard.alert(in_flight.batch.trace);
    shard.folded(in_flight.batch.trace, shard.now_us(), 0);
    alert
}

/// What the actors do with an epoch of so many batches.
fn epoch(shard: &ShardTraces, number: u64, batches: usize) {
    let epoch = EpochNumber(number);
    for _ in 0..batches {
        pass(shard);
    }
    shard.cut(epoch);
    shard.collected(epoch, 2);
    shard.begin(epoch, "encode").end();
    shard.begin(epoch, "prepare").of_kind(SpanKind::Client).end();
    let upload = UploadTrace::begin(shard, epoch);
    for zone in [Zone::Raw, Zone::Cleansed, Zone::Cleansed, Zone::Manifest] {
        upload.object(zone, 10);
        upload.stored(zone);
    }
    upload.end(&Ok(()));
    shard.begin(epoch, "commit").end();
    shard.committed(&plan(epoch));
}

fn taken(queue: &mut mpsc::Receiver<Span>) -> Vec<Span> {
    std::iter::from_fn(|| queue.try_recv().ok()).collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn attribute<'a>(span: &'a Span, key: &str) -> &'a Attribute {
    &span.attributes.iter().find(|(known, _)| *known == key).unwrap_or_else(|| panic!("{span:?} lacks {key}")).1
}

#[test]
fn an_epoch_is_one_tree() {
    let (traces, mut queue) = traces(1.0, 64, 1_000);
    let shard = traces.of_shard("events", "shardId-000000000000");
    let alert = {
        let alert = pass(&shard);
        traces.begin(alert, "alert").since(NOW_US - 5_000).end();
        alert
    };
    epoch(&shard, 1, 2);
    let spans = taken(&mut queue);
    let ids: HashSet<_> = spans.iter().map(|span| span.at.span).collect();
    assert_eq!(ids.len(), spans.len(), "every span has an id of its own");
    assert_eq!(spans.iter().map(|span| span.at.trace).collect::<HashSet<_>>().len(), 1);
    let roots: Vec<_> = spans.iter().filter(|span| span.parent.is_none()).collect();
    assert_eq!(roots.len(), 1);
    assert_eq!((roots[0].name, &roots[0].error), ("epoch", &None));
    for span in &spans {
        assert!(span.parent.is_none_or(|parent| ids.contains(&parent)), "{span:?}");
        assert!(span.start_us <= span.end_us, "{span:?}");
        let inside = roots[0].start_us <= span.start_us && span.end_us <= roots[0].end_us;
        assert!(inside || span.name == "alert", "{span:?}");
    }
    for (name, n) in
        [("batch", 3), ("GetRecords", 3), ("decode", 3), ("sensors", 3), ("aggregate", 3), ("cut", 1), ("encode", 1)]
    {
        assert_eq!(named(&spans, name).len(), n, "{name}");
    }
    for name in ["prepare", "upload", "raw", "cleansed", "manifests", "commit", "alert"] {
        assert_eq!(named(&spans, name).len(), 1, "{name}");
    }
    assert_eq!(named(&spans, "alert")[0].parent, alert.map(|at| at.span));
    assert_eq!(attribute(named(&spans, "cleansed")[0], "mangrove.objects"), &Attribute::Integer(2));
    assert_eq!(attribute(roots[0], "mangrove.epoch"), &Attribute::Integer(1));
}

#[test]
fn details_have_a_limit_of_which_the_epoch_tells() {
    let (traces, mut queue) = traces(1.0, 2, 1_000);
    let shard = traces.of_shard("events", "shard");
    let alerts: Vec<_> = (0..3).map(|_| pass(&shard)).collect();
    assert_eq!(alerts.iter().flatten().count(), 2);
    epoch(&shard, 1, 4);
    let spans = taken(&mut queue);
    assert_eq!((named(&spans, "batch").len(), named(&spans, "GetRecords").len()), (2, 2));
    // Five batches; their alerts are left out with them.
    assert_eq!(attribute(named(&spans, "epoch")[0], "mangrove.details_left_out"), &Attribute::Integer(5));
}

#[test]
fn a_failed_read_is_told_in_the_epoch_that_it_held_up() {
    let (traces, mut queue) = traces(1.0, 64, 1_000);
    let shard = traces.of_shard("events", "shard");
    shard.page_failed(shard.now_us(), Failure::Throttled);
    assert_eq!(taken(&mut queue), [], "no epoch has begun");
    pass(&shard);
    shard.page_failed(shard.now_us(), Failure::Throttled);
    let spans = taken(&mut queue);
    assert_eq!(spans.last().unwrap().error.as_deref(), Some("throttled"));
}

#[test]
fn what_a_restart_cuts_off_says_so() {
    let (traces, mut queue) = traces(1.0, 64, 1_000);
    let shard = traces.of_shard("events", "shard");
    pass(&shard);
    shard.cut(EpochNumber(1));
    let step = shard.begin(EpochNumber(1), "prepare");
    pass(&shard);
    shard.rewound();
    drop(step);
    let spans = taken(&mut queue);
    let given_up: Vec<_> = spans.iter().filter(|span| span.error.as_deref() == Some("given up")).collect();
    assert_eq!(given_up.iter().map(|span| span.name).collect::<Vec<_>>(), ["epoch", "epoch", "prepare"]);
    // What is read again has a trace of its own.
    pass(&shard);
    assert!(
        spans.iter().all(|span| span.at.trace != taken(&mut queue).first().map_or(TraceId([0; 16]), |s| s.at.trace))
    );
}

#[test]
fn nothing_is_made_when_nothing_is_wanted() {
    let off = Traces::off().of_shard("events", "shard");
    assert_eq!((off.now_us(), pass(&off)), (None, None));
    let (traces, mut queue) = traces(0.0, 64, 1_000);
    let shard = traces.of_shard("events", "shard");
    epoch(&shard, 1, 3);
    assert_eq!(taken(&mut queue), []);
    assert!(traces.begin(None, "alert").at().is_none());
}

#[test]
fn a_full_queue_costs_spans_and_no_time() {
    let (traces, mut queue) = traces(1.0, 64, 2);
    let shard = traces.of_shard("events", "shard");
    epoch(&shard, 1, 3);
    assert_eq!(taken(&mut queue).len(), 2);
}

#[test]
fn errors_are_short_and_of_one_line() {
    let (traces, mut queue) = traces(1.0, 64, 100);
    let parent = TraceParent { trace: TraceId([1; 16]), span: SpanId([1; 8]) };
    traces.begin(Some(parent), "step").fail(&"a\nb\u{1b}".repeat(500));
    let error = taken(&mut queue).remove(0).error.unwrap();
    assert_eq!((error.chars().count(), error.chars().any(char::is_control)), (200, false));
}

#[test]
fn xray_ids_begin_with_the_time_and_none_is_empty() {
    let nothing = Chance::from_fn(|| 0);
    let id = ids::trace_id(IdFormat::Xray, &nothing, NOW_US);
    assert_eq!(id.0[..4], 1_700_000_000u32.to_be_bytes());
    assert_eq!(id.to_string(), "6553f100000000000000000000000001");
    assert_ne!(ids::trace_id(IdFormat::W3c, &nothing, NOW_US), TraceId([0; 16]));
    assert_ne!(ids::span_id(&nothing), SpanId([0; 8]));
}

#[test]
fn the_share_that_is_sampled_is_the_share_that_was_asked_for() {
    let state = Arc::new(AtomicU64::new(1));
    // SplitMix64.
    let chance = Chance::from_fn(move || {
        let z = state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    });
    for format in [IdFormat::W3c, IdFormat::Xray] {
        for ratio in [0.01, 0.1, 0.5] {
            let n = (0..20_000).filter(|_| is_sampled(ids::trace_id(format, &chance, NOW_US), ratio)).count();
            let share = n as f64 / 20_000.0;
            assert!((share - ratio).abs() < 4.0 * (ratio * (1.0 - ratio) / 20_000.0).sqrt(), "{share} of {ratio}");
        }
    }
}

proptest! {
    /// Sampling by the id is the same everywhere, and a larger ratio has all that a smaller one has.
    #[test]
    fn sampling_follows_from_the_id(id: [u8; 16], a in 0.0f64..=1.0, b in 0.0f64..=1.0) {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        let id = TraceId(id);
        prop_assert_eq!(is_sampled(id, low), is_sampled(id, low));
        prop_assert!(!is_sampled(id, low) || is_sampled(id, high));
        prop_assert!(is_sampled(id, 1.0) && !is_sampled(id, 0.0));
    }
}
