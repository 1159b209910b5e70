// The views, but for sensors: each a function of what the store holds.

import { order } from "./admin.js";
import { bytes, clock, h, number, rate, span, time } from "./dom.js";
import * as store from "./store.js";

const LEVELS = {
  running: "ok", reading: "ok", ended: "off", elsewhere: "off", stopped: "off", group: "off", starting: "notice",
  waiting: "notice", draining: "notice", restarting: "warning", held: "warning", lagging: "warning", given_up: "critical", refused: "critical",
  stuck: "critical", unowned: "critical", trimmed: "critical",
};
const WORDS = { given_up: "given up", unowned: "no owner", held: "held up", trimmed: "lost in part", refused: "not read" };

function state(name) {
  return h("span", { class: `state ${LEVELS[name] ?? "off"}` }, WORDS[name] ?? name);
}

export function to(view, at) {
  return `#/${view}${at ? "/" + at.split("/").map(encodeURIComponent).join("/") : ""}`;
}

function runbook(name) {
  return name ? h("a", { href: to("runbook", name) }, "What to do") : null;
}

function heading(text) {
  return h("h2", {}, text);
}

// ---- overview

export function overviewView() {
  const overview = store.one("overview");
  return [
    overview.findings.length ? [heading("Findings"), findings(overview.findings)] : null,
    heading("From stream to lake"),
    flow(overview.flow),
    heading("This worker"),
    facts(overview),
    heading("Shards"),
    shardTable(store.shards()),
  ];
}

function findings(list) {
  const words = { critical: "now", warning: "today", notice: "note" };
  return h("ul", { class: "findings" }, list.map((finding) =>
    h("li", { "data-key": `${finding.runbook} ${finding.at}` },
      h("span", { class: `state ${finding.level}` }, words[finding.level]),
      h("span", {}, finding.what, " ", h("span", { class: "soft" }, `since ${clock(finding.since_ms, store.now())}`)),
      h("span", { class: "links" }, h("a", { href: to(finding.view, finding.at) }, "Show"), runbook(finding.runbook)))));
}

function flow(stages) {
  return h("ol", { class: "flow" }, stages.map((stage) => {
    const busy = stage.busy === null ? null : Math.round(stage.busy * 100);
    // The stream and the lake do nothing by themselves: how far away they are is all there is to say.
    const ends = stage.name === "stream" || stage.name === "lake";
    return h("li", { class: stage.held ? "held" : "", "data-key": stage.name },
      h("b", {}, stage.name, stage.held ? " · held up" : ""),
      h("span", {}, h("span", { class: "big" }, ends ? stage.note : rate(stage.rate)), " ", h("span", { class: "unit" }, stage.unit)),
      ends ? null : h("span", { class: "note" }, stage.note, stage.queue ? `${stage.note ? ", " : ""}${number(stage.queue)} waiting` : ""),
      busy === null ? null : h("div", { class: `meter ${busy > 85 ? "hot" : ""}`, title: `${busy} % of its time in handlers` }, h("i", { css: { width: `${busy}%` } })));
  }));
}

function facts(overview) {
  const share = overview.budget_max ? Math.round((overview.budget_taken / overview.budget_max) * 100) : 0;
  const [median, slowest] = overview.alert_latency_ms;
  const fact = (name, value, more) => h("div", {}, h("dt", {}, name), h("dd", {}, value, " ", more ? h("small", {}, more) : null));
  return h("dl", { class: "facts" },
    fact("Up for", span(store.now() - overview.started_ms), `version ${overview.version}`),
    fact("Sensors", number(overview.sensors), `${number(overview.sensors_live)} live`),
    fact("Byte budget", `${share} %`, `${bytes(overview.budget_taken)} of ${bytes(overview.budget_max)}`),
    fact("Alerts raised", number(overview.alerts_raised), median === null ? null : `p50 ${span(median)}, p99 ${span(slowest)}`),
    fact("Restarts", number(store.all("restart").length), "of the last that are kept"));
}

// ---- tree

let filter = "";
const folded = new Set();

export function treeView(at, draw) {
  const nodes = store.nodes();
  const paths = new Set(nodes.map((node) => node.path));
  const wanted = (node) => !filter || `${node.path} ${node.state} ${node.last_error?.message ?? ""}`.toLowerCase().includes(filter);
  // A branch is shown with any of its leaves.
  const kept = new Set();
  for (const node of nodes.filter(wanted)) for (let path = node.path; path; path = above(path)) kept.add(path);
  const hidden = (path) => { for (let up = above(path); up; up = above(up)) if (folded.has(up)) return true; return false; };
  const rows = sorted(nodes).filter((node) => kept.has(node.path) && !hidden(node.path));
  const input = h("input", {
    type: "search", placeholder: "Filter by path, state or error", "aria-label": "Filter the tree",
    on: { input: (event) => { filter = event.target.value.trim().toLowerCase(); draw(); } },
  });
  const chosen = nodes.find((node) => node.path === at);
  const fold = (all) => () => { folded.clear(); if (all) paths.forEach((path) => above(path) === "shards" && folded.add(path)); draw(); };
  return [
    chosen ? nodeCard(chosen) : null,
    h("div", { class: "bar" }, input,
      h("button", { type: "button", class: "small", on: { click: fold(true) } }, "Fold shards"),
      h("button", { type: "button", class: "small", on: { click: fold(false) } }, "Unfold all")),
    h("table", { class: "rows tree" },
      h("thead", {}, h("tr", {}, ["Actor", "State"].map((name) => h("th", {}, name)),
        h("th", { class: "r" }, "Restarts"), h("th", { class: "r" }, "Queue"), h("th", { class: "r wide" }, "Rate/s"),
        h("th", { class: "r wide" }, "Busy"), h("th", { class: "r wide" }, "Up for"), h("th", { class: "wide" }, ""))),
      h("tbody", {}, rows.map((node) => treeRows(node, nodes, chosen, draw)))),
    rows.length ? null : h("p", { class: "empty" }, "Nothing matches."),
  ];
}

function above(path) {
  const end = path.lastIndexOf("/");
  return end < 0 ? "" : path.slice(0, end);
}

// Downstream first, as the worker lists them; what is below a node right after it.
function sorted(nodes) {
  const below = new Map();
  for (const node of nodes) below.set(above(node.path), [...(below.get(above(node.path)) ?? []), node]);
  const walk = (path) => (below.get(path) ?? []).flatMap((node) => [node, ...walk(node.path)]);
  return walk("");
}

function treeRows(node, nodes, chosen, draw) {
  const depth = node.path.split("/").length - 1;
  const parent = nodes.some((other) => above(other.path) === node.path);
  const open = !folded.has(node.path);
  const toggle = parent
    ? h("button", { class: "fold", type: "button", "aria-expanded": String(open), "aria-label": `${open ? "Fold" : "Unfold"} ${node.path}`,
        on: { click: () => { open ? folded.add(node.path) : folded.delete(node.path); draw(); } } }, open ? "▾" : "▸")
    : h("span", { class: "twig" }, "  ");
  const row = h("tr", { "data-key": node.path, class: chosen?.path === node.path ? "chosen" : null },
    h("td", {}, h("span", { class: "twig" }, "  ".repeat(depth)), toggle, h("a", { class: "row", href: to("tree", node.path) }, node.name)),
    h("td", {}, state(node.state)),
    h("td", { class: "r" }, spent(node)),
    h("td", { class: "r" }, number(node.queue)),
    h("td", { class: "r wide" }, rate(node.rate)),
    h("td", { class: "r wide" }, busy(node)),
    h("td", { class: "r wide" }, span(store.now() - node.since_ms)),
    h("td", { class: "wide" }, order("restart", { path: node.path })));
  const error = node.last_error && node.state !== "stopped"
    ? h("tr", { class: "err", "data-key": `${node.path} !` }, h("td", { colspan: 8 }, h("span", { class: "twig" }, "  ".repeat(depth + 1)), time(node.last_error.at, store.now()), " ", node.last_error.message))
    : null;
  return [row, error];
}

function busy(node) {
  if (node.busy_ms !== null && node.busy_ms > 1000) return `in hand ${span(node.busy_ms)}`;
  return node.busy === null ? "–" : `${Math.round(node.busy * 100)} %`;
}

// The budget is shared with the siblings; the restarts are the actor's own.
function spent(node) {
  if (!node.budget) return number(node.restarts);
  const { spent, restarts_max, within_s } = node.budget;
  if (!node.restarts && !spent) return "0";
  const hot = spent > 0 ? "spent hot" : "spent";
  return h("span", { class: hot, title: `With its siblings, ${spent} of ${restarts_max} restarts within ${within_s} s. One more than that goes to the level above.` },
    number(node.restarts), spent ? ` · ${spent} of ${restarts_max} in ${within_s} s` : "");
}

function nodeCard(node) {
  const { budget } = node;
  return h("section", { class: `card ${node.last_error && node.state !== "running" ? "warning" : ""}`, "data-key": "card" },
    h("h3", { class: "mono" }, node.path),
    h("p", {}, state(node.state), ` for ${span(store.now() - node.since_ms)}, ${number(node.handled)} messages handled, ${number(node.queue)} waiting`, node.busy_ms > 1000 ? `, in one handler for ${span(node.busy_ms)}` : ""),
    budget ? h("p", {}, h("span", { class: "pips" }, "■".repeat(budget.spent) + "□".repeat(Math.max(0, budget.restarts_max - budget.spent))),
      ` ${budget.spent} of ${budget.restarts_max} restarts in ${budget.within_s} s; one more than that goes to the level above.`) : null,
    node.last_error ? h("p", {}, h("b", {}, "Last error, "), time(node.last_error.at, store.now()), `: ${node.last_error.message}`) : h("p", { class: "soft" }, "No error since the worker began."),
    h("div", { class: "bar" }, order("restart", { path: node.path }), order("kill", { path: node.path }), runbook(node.busy_ms > 5000 ? "MangroveShardStuck" : node.last_error ? "MangroveActorRestarting" : null)));
}

// ---- shards

const epochs = { shard: null, lines: [], error: null, at: 0 };

export function shardsView(at, draw) {
  const lines = store.shards();
  const chosen = lines.find((line) => line.shard === at);
  if (chosen?.here) fetchEpochs(at, draw);
  return [chosen ? shardCard(chosen) : null, heading("All shards"), shardTable(lines, at)];
}

function shardTable(lines, chosen) {
  if (!lines.length) return h("p", { class: "empty" }, "The stream has not been listed yet.");
  return h("table", { class: "rows" },
    h("thead", {}, h("tr", {}, h("th", {}, "Shard"), h("th", {}, "State"), h("th", { class: "r" }, "Lag"), h("th", { class: "r" }, "Records/s"),
      h("th", { class: "r wide" }, "In flight"), h("th", { class: "r wide" }, "Epoch"), h("th", { class: "wide" }, "Owner"), h("th", { class: "r wide" }, "Sensors"))),
    h("tbody", {}, lines.map((line) => [
      h("tr", { "data-key": line.shard, class: line.shard === chosen ? "chosen" : null },
        h("td", {}, h("a", { class: "row mono", href: to("shards", line.shard) }, line.shard)),
        h("td", {}, state(line.state)),
        h("td", { class: "r" }, span(line.lag_ms)),
        h("td", { class: "r" }, rate(line.rate)),
        h("td", { class: "r wide" }, line.here ? `${number(line.in_flight)} · ${bytes(line.bytes_in_flight)}` : "–"),
        h("td", { class: "r wide" }, number(line.epoch)),
        h("td", { class: "wide" }, line.owner ?? "–"),
        h("td", { class: "r wide" }, number(line.sensors))),
      line.holds ? h("tr", { class: "err", "data-key": `${line.shard} !` }, h("td", { colspan: 8 }, line.holds)) : null,
    ])));
}

function shardCard(line) {
  const wrong = line.holds && line.runbook;
  const grave = ["stuck", "unowned", "given_up", "trimmed", "refused"].includes(line.state);
  return h("section", { class: `card ${wrong ? (grave ? "critical" : "warning") : ""}`, "data-key": `card ${line.shard}` },
    h("h3", {}, "Shard ", h("span", { class: "mono" }, line.shard), " ", state(line.state)),
    h("p", { class: "why", id: "why" }, line.holds ? `What holds it: ${line.holds}.` : "Nothing holds it up."),
    line.since_ms ? h("p", { class: "soft" }, `Since ${clock(line.since_ms, store.now())}, for ${span(store.now() - line.since_ms)}.`) : null,
    wrong ? h("div", { class: "bar" }, line.culprit ? h("a", { href: to("tree", line.culprit), id: "culprit" }, `Look at its ${line.culprit.split("/").pop()}`) : null, runbook(line.runbook)) : null,
    h("dl", { class: "facts" },
      [["Lag", span(line.lag_ms)], ["Read", line.read_at_ms ? `${span(store.now() - line.read_at_ms)} ago` : "–"], ["Records/s", rate(line.rate)],
        ["In flight", `${number(line.in_flight)} records`], ["Committed", line.committed_ms ? `${span(store.now() - line.committed_ms)} ago` : "–"], ["Owner", line.owner ?? "nobody"]]
        .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    line.here ? epochProgress(line) : null,
    lineage(line),
    h("p", { class: "soft mono" }, `checkpoint ${line.checkpoint ?? "–"}${line.pending ? ", an epoch is prepared" : ""}`),
    h("div", { class: "bar" }, line.here ? order("hand-over", { shard: line.shard }) : null, line.closed ? null : [order("split", { shard: line.shard }), order("merge", { shard: line.shard })]),
    line.here ? epochTable(line.shard) : null);
}

function epochProgress(line) {
  const open = line.open;
  const age = open.since_ms ? store.now() - open.since_ms : 0;
  const meter = (name, part, text) => h("div", { "data-key": name }, h("span", { class: "soft" }, `${name} ${text}`),
    h("div", { class: "meter" }, h("i", { css: { width: `${Math.min(100, Math.max(0, part * 100))}%` } })));
  const step = { cut: "is being encoded", prepared: "is being stored", uploaded: "is being committed", committed: "is committed" }[line.step];
  return h("div", {}, heading(`Epoch ${line.epoch + (line.step && line.step !== "committed" ? 2 : 1)}, being read`),
    meter("Age", age / open.age_max_ms, `${span(age)} of ${span(open.age_max_ms)}`),
    meter("Bytes", open.bytes / open.bytes_max, `${bytes(open.bytes)} of ${bytes(open.bytes_max)}`),
    meter("Readings", open.rows / open.rows_max, `${open.rows} of ${open.rows_max}`),
    meter("Partitions", open.partitions / open.partitions_max, `${open.partitions} of ${open.partitions_max}`),
    step ? h("p", { class: "soft" }, `The epoch before it ${step}.`) : null);
}

function lineage(line) {
  if (!line.parents.length && !line.children.length) return null;
  const chip = (id) => h("a", { class: "chip", href: to("shards", id) }, id);
  return [heading("Lineage"), h("div", { class: "lineage" }, line.parents.map(chip), line.parents.length ? "→" : null,
    h("span", { class: "chip here" }, line.shard), line.children.length ? "→" : null, line.children.map(chip))];
}

function fetchEpochs(shard, draw) {
  if (epochs.shard === shard && Date.now() - epochs.at < 2000) return;
  if (epochs.shard !== shard) epochs.lines = [];
  Object.assign(epochs, { shard, at: Date.now() });
  store.get(`/epochs?shard=${encodeURIComponent(shard)}`).then(
    (reply) => { if (epochs.shard === shard) Object.assign(epochs, { lines: reply.shards[0]?.epochs ?? [], error: null }); draw(); },
    (error) => { epochs.error = error.message; draw(); });
}

function epochTable(shard) {
  if (epochs.shard !== shard || epochs.error) return epochs.error ? h("p", { class: "soft" }, epochs.error) : null;
  const took = (from, till) => (from && till ? span(till - from) : "–");
  return [heading("Last epochs"), h("table", { class: "rows" },
    h("thead", {}, h("tr", {}, h("th", {}, "Epoch"), h("th", {}, "Cut"), h("th", {}, "By"), h("th", { class: "r" }, "Records"), h("th", { class: "r wide" }, "Bytes"),
      h("th", { class: "r wide" }, "Quarantine"), h("th", { class: "r" }, "Encode"), h("th", { class: "r" }, "Store"), h("th", { class: "r wide" }, "Commit"))),
    h("tbody", {}, epochs.lines.map((line) => h("tr", { "data-key": line.epoch },
      h("td", {}, line.epoch), h("td", {}, time(line.cut_ms, store.now())), h("td", {}, line.reason.replace("_", " ")), h("td", { class: "r" }, number(line.records)),
      h("td", { class: "r wide" }, bytes(line.bytes)), h("td", { class: "r wide" }, number(line.quarantined)),
      h("td", { class: "r" }, took(line.cut_ms, line.prepared_ms)), h("td", { class: "r" }, took(line.prepared_ms, line.uploaded_ms)),
      h("td", { class: "r wide" }, took(line.uploaded_ms, line.committed_ms))))))];
}

// ---- alerts, restarts

export function alertsView() {
  const lines = store.all("alert").sort((a, b) => b.raised_ms - a.raised_ms);
  if (!lines.length) return h("p", { class: "empty" }, "No alert since the worker began.");
  const level = { sent: "ok", waiting: "notice", retrying: "warning", given_up: "critical", shed: "critical" };
  const words = { given_up: "given up, stored", shed: "no room, stored" };
  return [heading(`The last ${lines.length}`), h("table", { class: "rows" },
    h("thead", {}, h("tr", {}, ["Raised", "Sensor", "What", "Became"].map((name) => h("th", {}, name)))),
    h("tbody", {}, lines.map(({ alert, outcome, raised_ms, done_ms, error }) => h("tr", { "data-key": alert.id },
      h("td", {}, time(raised_ms, store.now())),
      h("td", {}, h("a", { class: "row mono", href: to("sensors", alert.sensor_id) }, alert.sensor_id)),
      h("td", {}, h("span", { class: `state ${alert.severity === "critical" ? "critical" : "warning"}` }, alert.kind), " ", alert.message, error ? h("div", { class: "soft" }, error) : null),
      h("td", {}, h("span", { class: `state ${level[outcome]}` }, words[outcome] ?? outcome), done_ms ? h("span", { class: "soft" }, ` ${span(done_ms - alert.arrival_ms)}`) : null)))))];
}

export function restartsView() {
  const lines = store.all("restart").sort((a, b) => b.at_ms - a.at_ms || b.id - a.id);
  if (!lines.length) return h("p", { class: "empty" }, "Nothing has failed since the worker began.");
  return [heading(`The last ${lines.length} failures`), h("ol", { class: "line" }, lines.map((line) => {
    const sensor = line.kind === "sensor";
    const where = sensor ? to("sensors", line.path.split("/").slice(3).join("/")) : to("tree", line.path);
    const how = line.outcome === "given_up" ? "given up: the level above decides" : line.outcome === "ended" ? "failed while it was to end" : `restarted${line.delay_ms === null ? "" : ` after ${span(line.delay_ms)}`}`;
    const budget = line.restarts_max === null ? (line.attempt > 1 ? `, ${line.attempt} times on this reading` : "") : `, ${line.attempt} of ${line.restarts_max} in ${line.within_s} s`;
    return h("li", { "data-key": line.id, class: `${line.outcome} ${sensor ? "sensor" : ""}` },
      h("div", {}, time(line.at_ms, store.now()), h("a", { class: "mono", href: where }, line.path), h("span", { class: "soft" }, ` ${how}${budget}`)),
      h("div", {}, line.cause));
  }))];
}

// ---- cluster, config, runbook

const fetched = {};

function fetchSometimes(path, every, draw) {
  const it = (fetched[path] ??= { at: 0, reply: null, error: null });
  if (Date.now() - it.at > every) {
    it.at = Date.now();
    store.get(path).then((reply) => { it.reply = reply; it.error = null; draw(); }, (error) => { it.error = error.message; draw(); });
  }
  return it;
}

export function clusterView(at, draw) {
  const { reply, error } = fetchSometimes("/cluster", 3000, draw);
  const workers = reply?.workers ?? store.all("worker");
  return [
    h("p", { class: "soft" }, "Workers share nothing but the lease table; each is asked by this one."),
    error ? h("p", { class: "soft" }, error) : null,
    h("table", { class: "rows" },
      h("thead", {}, h("tr", {}, h("th", {}, "Worker"), h("th", {}, "State"), h("th", { class: "r" }, "Shards"), h("th", { class: "r" }, "Records/s"), h("th", { class: "r wide" }, "Restarts"), h("th", { class: "wide" }, "Where"), h("th", {}, ""))),
      h("tbody", {}, workers.map((worker) => [workerRow(worker), at === worker.worker || worker.why ? workerMore(worker) : null]))),
  ];
}

function workerRow(worker) {
  const mine = worker.me ? store.shards().filter((line) => line.here) : (worker.shards?.shards ?? []).filter((line) => line.here);
  const name = !worker.alive ? "critical" : worker.leaving ? "notice" : worker.answered === false || worker.standing !== "proven" ? "warning" : "ok";
  const words = !worker.alive ? `silent for ${span(worker.silent_ms)}` : worker.leaving ? "leaving" : worker.answered === false ? "lives, does not answer" : worker.standing === "proven" ? "lives" : worker.standing;
  const count = (nodes) => nodes.reduce((sum, node) => sum + node.restarts + count(node.children ?? []), 0);
  const restarts = worker.me ? count(store.nodes()) : worker.tree ? count(worker.tree.children) : null;
  const known = worker.me || worker.shards;
  return h("tr", { "data-key": worker.worker },
    h("td", {}, h("span", { class: "mono" }, worker.worker), worker.me ? h("span", { class: "soft" }, " this one") : null),
    h("td", {}, h("span", { class: `state ${name}` }, words)),
    h("td", { class: "r" }, number(worker.owns)),
    h("td", { class: "r" }, known ? rate(mine.reduce((sum, line) => sum + (line.rate ?? 0), 0)) : "–"),
    h("td", { class: "r wide" }, number(restarts)),
    h("td", { class: "wide mono" }, worker.address || "–"),
    h("td", {}, worker.me ? order("drain", { worker: worker.worker }) : null));
}

function workerMore(worker) {
  const age = worker.age_ms === null || worker.age_ms === undefined ? "it has never answered" : `what is shown is ${span(worker.age_ms)} old`;
  return h("tr", { class: "err", "data-key": `${worker.worker} !` }, h("td", { colspan: 7 }, worker.why ? `${worker.why}; ${age}` : age));
}

export function configView(at, draw) {
  const { reply, error } = fetchSometimes("/config", 60_000, draw);
  if (!reply) return h("p", { class: "empty" }, error ?? "Asking.");
  return Object.entries(reply.sections).map(([section, keys]) => [heading(section), h("table", { class: "rows config" },
    h("tbody", {}, Object.entries(keys).map(([key, { value, source }]) => h("tr", { "data-key": `${section}.${key}` },
      h("td", { class: "mono" }, key), h("td", {}, JSON.stringify(value)), h("td", { class: source.startsWith("default") ? "soft" : "" }, source)))))]);
}

const runbooks = new Map();

export function runbookView(name, draw) {
  if (!runbooks.has(name)) {
    runbooks.set(name, null);
    fetch(`/runbooks/${encodeURIComponent(name)}`).then((answer) => (answer.ok ? answer.text() : Promise.reject(answer.status)))
      .then((text) => runbooks.set(name, text), () => runbooks.set(name, `# ${name}\n\nThere is no runbook of this name.`)).then(draw);
  }
  const text = runbooks.get(name);
  return h("article", { class: "card", id: "runbook" }, text === null ? "Asking." : prose(text));
}

/** Enough of Markdown for our own texts: headings, lists, blocks, code, and links, which are shown as their words. */
function prose(text) {
  const blocks = text.split(/\n(?=#)|\n\n+|\n(?=[-*] |\d+\. )/).filter((block) => block.trim());
  return blocks.map((block) => {
    if (block.startsWith("```")) return h("pre", {}, h("code", {}, block.replace(/^```\w*\n?|```\s*$/g, "")));
    if (block.startsWith("# ")) return h("h3", {}, block.slice(2));
    if (block.startsWith("#")) return h("h2", {}, block.replace(/^#+ /, ""));
    const item = block.match(/^([-*]|\d+\.) ([\s\S]*)/);
    return item ? h("p", {}, `${item[1] === "*" ? "-" : item[1]} `, inline(item[2])) : h("p", {}, inline(block));
  });
}

function inline(text) {
  const plain = text.replace(/\*\*([^*]+)\*\*/g, "$1").replace(/\[([^\]]+)\]\(([^)]*)\)/g, (_, words, target) => {
    return /^Mangrove\w+\.md$/.test(target) ? `\u0001${words}\u0001` : words;
  });
  return plain.split(/(`[^`]+`|\u0001[^\u0001]+\u0001)/).map((part) =>
    part.startsWith("`") ? h("code", {}, part.slice(1, -1)) : part.startsWith("\u0001") ? h("a", { href: to("runbook", part.slice(1, -1)) }, part.slice(1, -1)) : part);
}
