//! GOAL    ARCHITECTURE.md shows the protocol as it is (CHECKPOINT).
//! METHOD  Every event meets a machine in every stage; what follows is written as a table and held against the document.
//!         `UPDATE=1` writes it.

use std::time::Duration;
use std::{env, fs};

use messages::{CutReason, EpochNumber, Position, Receipts};

use super::super::protocol::{Effect, Event, Protocol, Stage};
use super::{REFRESH_AFTER, ROWS_MAX, after_one_epoch, at, plan};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md");
const BEGIN: &str = "<!-- the epoch protocol, as `committer/tests/table.rs` writes it -->\n";
const END: &str = "<!-- the end of the epoch protocol -->\n";

fn planned(to: u64) -> Event {
    Event::Planned(Box::new(plan(2, at(5), at(to), CutReason::Rows)), Receipts::default())
}

fn progress(rows: u64) -> Event {
    Event::Progress { bytes: 1, rows, partitions: 1 }
}

/// A machine that these events have met, in order.
fn met(mut machine: Protocol, events: Vec<Event>) -> Protocol {
    for event in events {
        machine.on(event, Duration::ZERO).unwrap();
    }
    machine
}

fn stages() -> Vec<Protocol> {
    let cut = || vec![Event::Attached, progress(ROWS_MAX), Event::WasCut];
    let then = |more: Vec<Event>| met(after_one_epoch(None), cut().into_iter().chain(more).collect());
    vec![
        met(after_one_epoch(None), vec![Event::Attached]),
        then(vec![]),
        met(after_one_epoch(Some(plan(2, at(5), at(9), CutReason::Rows))), vec![Event::Attached]),
        then(vec![planned(9)]),
        then(vec![planned(9), Event::Prepared]),
        then(vec![planned(9), Event::Prepared, Event::Uploaded(EpochNumber(2))]),
        met(after_one_epoch(None), vec![Event::Attached, Event::Wanted(CutReason::Shutdown)]),
    ]
}

fn events() -> Vec<(&'static str, Vec<Event>)> {
    let ended = plan(2, at(5), Position::ShardEnd, CutReason::ShardEnd);
    vec![
        ("records, and the epoch is full", vec![progress(ROWS_MAX)]),
        ("records, and the epoch is not full", vec![progress(1)]),
        ("records, and a commit is waited for", vec![progress(1), Event::Hurried]),
        ("nothing, and the states are old", vec![Event::Tick]),
        ("the shard's end", vec![Event::Wanted(CutReason::ShardEnd)]),
        ("a drain, and nothing was read", vec![Event::Wanted(CutReason::Shutdown)]),
        ("a drain, and records were read", vec![progress(1), Event::Wanted(CutReason::Shutdown)]),
        ("planned", vec![planned(9)]),
        ("planned with other content", vec![planned(8)]),
        ("planned up to the shard's end", vec![Event::Planned(Box::new(ended), Receipts::default())]),
        ("prepared", vec![Event::Prepared]),
        ("uploaded", vec![Event::Uploaded(EpochNumber(2))]),
        ("another epoch uploaded", vec![Event::Uploaded(EpochNumber(7))]),
        ("committed", vec![Event::Committed]),
    ]
}

fn name(stage: &Stage) -> &'static str {
    match stage {
        Stage::Idle => "idle",
        Stage::Cut => "cut",
        Stage::Preparing(..) => "preparing",
        Stage::Uploading(..) => "uploading",
        Stage::Committing(..) => "committing",
        Stage::Released => "released",
    }
}

fn cell(mut machine: Protocol, events: Vec<Event>) -> String {
    let before = name(machine.stage());
    let mut last = None;
    for event in events {
        let now = if matches!(event, Event::Tick) { REFRESH_AFTER } else { Duration::ZERO };
        match machine.on(event, now) {
            Ok(effect) => last = last.or(effect),
            Err(_) => return "*refused*".to_owned(),
        }
    }
    let effect = match last {
        None => String::new(),
        Some(Effect::Cut { .. }) => "`Cut` ".to_owned(),
        Some(Effect::Prepare { .. }) => "`Prepare` ".to_owned(),
        Some(Effect::Finish(_)) => "`Finish` ".to_owned(),
        Some(Effect::Upload(_)) => "`Upload` ".to_owned(),
        Some(Effect::Commit(_)) => "`Commit` ".to_owned(),
        Some(Effect::Release { .. }) => "`Release` ".to_owned(),
    };
    match name(machine.stage()) {
        after if after == before && effect.is_empty() => "–".to_owned(),
        after if after == before => effect.trim_end().to_owned(),
        after => format!("{effect}→ {after}"),
    }
}

fn table() -> String {
    let pinned = |n: usize| if n == 2 { ", pinned" } else { "" };
    let heads = stages()
        .iter()
        .enumerate()
        .map(|(n, machine)| format!("{}{}", name(machine.stage()), pinned(n)))
        .collect::<Vec<_>>();
    let mut lines = vec![format!("| event | {} |", heads.join(" | ")), format!("|---|{}", "---|".repeat(heads.len()))];
    for n in 0..events().len() {
        let (title, _) = &events()[n];
        let cells: Vec<String> = stages().into_iter().map(|machine| cell(machine, events().remove(n).1)).collect();
        lines.push(format!("| {title} | {} |", cells.join(" | ")));
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_architecture_shows_this_table() {
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("it has a place for the table");
    let (shown, after) = rest.split_once(END).expect("the table has an end");
    let table = table();
    if env::var_os("UPDATE").is_some() {
        fs::write(DOCUMENT, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(shown, table, "UPDATE=1 writes it anew");
}
