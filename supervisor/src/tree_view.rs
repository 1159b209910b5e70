//! The supervision tree for a terminal.
//!
//! **Promises** INERT: no control character of an error, a name or a state reaches the terminal.
//! **Not here**: fetching it (`mangrove tree`).

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use crate::inert::inert;
use crate::ops::{TreeNode, TreeReply};

/// Whether states are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// ANSI colours.
    Ansi,
}

/// Longer names are cut, so that one cannot push the columns away.
const LABEL_CHARS_MAX: usize = 60;

struct Row {
    label: String,
    state: String,
    numbers: [String; 4],
    notes: Vec<String>,
}

/// Renders the reply of `/tree` as an indented list, one line a node, with the last error below.
pub fn render(reply: &TreeReply, colour: Colour) -> String {
    let mut rows = Vec::new();
    push_rows(&reply.children, "", &mut rows);
    let label_width = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
    let state_width = rows.iter().map(|row| row.state.chars().count()).max().unwrap_or(0).max("state".len());

    let mut text = format!("worker {}, up {}\n", inert(&reply.worker), duration(reply.uptime_s));
    let mut line = |label: &str, state: &str, [restarts, queue, uptime, busy]: [&str; 4]| {
        let state = painted(&format!("{state:state_width$}"), colour);
        let columns = format!("{label:label_width$}  {state}  {restarts:>8}  {queue:>7}  {uptime:<10}  {busy}");
        writeln!(text, "{}", columns.trim_end()).expect("a string takes everything");
    };
    line("", "state", ["restarts", "queue", "uptime", "busy"]);
    for row in &rows {
        line(&row.label, &row.state, row.numbers.each_ref().map(String::as_str));
        for note in &row.notes {
            line(note, "", [""; 4]);
        }
    }
    text
}

fn push_rows(nodes: &[TreeNode], indent: &str, rows: &mut Vec<Row>) {
    for (index, node) in nodes.iter().enumerate() {
        let is_last = index + 1 == nodes.len();
        let (branch, below) = if is_last { ("└── ", "    ") } else { ("├── ", "│   ") };
        let below = format!("{indent}{below}");
        let label = format!("{indent}{branch}{}", inert(&node.name)).chars().take(LABEL_CHARS_MAX).collect();
        rows.push(Row {
            label,
            state: inert(&node.state).into_owned(),
            numbers: numbers(node),
            notes: notes(node, &below),
        });
        push_rows(&node.children, &below, rows);
    }
}

fn numbers(node: &TreeNode) -> [String; 4] {
    if node.kind == "group" {
        return Default::default();
    }
    let busy = node.busy_ms.map(|ms| format!("{ms} ms")).unwrap_or_default();
    [node.restarts.to_string(), node.queue.to_string(), duration(node.uptime_s), busy]
}

fn notes(node: &TreeNode, indent: &str) -> Vec<String> {
    // The children's line goes on beside the notes.
    let indent = format!("{indent}{}", if node.children.is_empty() { "    " } else { "│   " });
    let sensors = node.sensors.map(|sensors| {
        format!("{indent}{} sensors, {} live, {} restarting", sensors.total, sensors.live, sensors.restarting)
    });
    let error = node.last_error.as_ref().map(|error| format!("{indent}! {} {}", time(error.at), inert(&error.message)));
    sensors.into_iter().chain(error).collect()
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86_400 => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

fn time(at_ms: i64) -> String {
    let since = Duration::from_millis(u64::try_from(at_ms).unwrap_or(0));
    // Beyond the year 9999 humantime has no words.
    const LATEST: Duration = Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since.min(LATEST)).to_string()
}

fn painted(state: &str, colour: Colour) -> String {
    let code = match state.trim_end() {
        "running" => 32,
        "starting" | "draining" | "restarting" => 33,
        "given_up" => 31,
        _ => return state.to_owned(),
    };
    match colour {
        Colour::Never => state.to_owned(),
        Colour::Ansi => format!("\x1b[{code}m{state}\x1b[0m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{NodeFailure, ShardSensors};

    fn node(path: &str, state: &str, uptime_s: u64, children: Vec<TreeNode>) -> TreeNode {
        let name = path.rsplit('/').next().unwrap().to_owned();
        let (path, kind, state) = (path.to_owned(), name.clone(), state.to_owned());
        TreeNode { path, name, kind, state, uptime_s, children, ..TreeNode::default() }
    }

    fn example() -> TreeReply {
        let mut committer = node("shards/000000000003/committer", "restarting", 0, vec![]);
        committer.restarts = 2;
        committer.last_error =
            Some(NodeFailure { message: "S3 says \"no\"\u{1b}[2J\n\u{202e}x".into(), at: 1_700_000_000_000 });
        let mut reader = node("shards/000000000003/reader", "running", 7322, vec![]);
        reader.queue = 12;
        reader.busy_ms = Some(35);
        let mut shard = node("shards/000000000003", "running", 90_061, vec![committer, reader]);
        shard.sensors = Some(ShardSensors { total: 1200, live: 1100, restarting: 2 });
        let mut shards = node("shards", "group", 0, vec![shard]);
        shards.kind = "group".into();
        TreeReply {
            worker: "w\u{7}1".into(),
            uptime_s: 90_061,
            children: vec![node("alerts", "running", 59, vec![]), shards],
        }
    }

    #[test]
    fn a_tree_reads_like_this() {
        assert_eq!(render(&example(), Colour::Never), EXPECTED);
    }

    const EXPECTED: &str = "\
worker w\\u{7}1, up 1d 1h
                       state       restarts    queue  uptime      busy
├── alerts             running            0        0  59s
└── shards             group
    └── 000000000003   running            0        0  1d 1h
        │   1200 sensors, 1100 live, 2 restarting
        ├── committer  restarting         2        0  0s
        │       ! 2023-11-14T22:13:20Z S3 says \"no\"\\u{1b}[2J\\n\\u{202e}x
        └── reader     running            0       12  2h 2m       35 ms
";

    #[test]
    fn colour_only_if_asked() {
        assert!(!render(&example(), Colour::Never).contains('\u{1b}'));
        assert!(render(&example(), Colour::Ansi).contains("\u{1b}[33mrestarting\u{1b}[0m"));
    }
}
