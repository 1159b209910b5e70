// The frame: which view is shown, the sentence above it, the state of the connection.

import { orders, unlockButton } from "./admin.js";
import { clock, h, show, span } from "./dom.js";
import { sensorsView } from "./sensors.js";
import * as store from "./store.js";
import { alertsView, clusterView, configView, overviewView, restartsView, runbookView, shardsView, treeView } from "./views.js";

const VIEWS = [
  ["overview", "Overview", overviewView, () => null],
  ["tree", "Tree", treeView, () => null],
  ["shards", "Shards", shardsView, () => store.all("shard").length],
  ["sensors", "Sensors", sensorsView, () => store.one("overview")?.sensors],
  ["alerts", "Alerts", alertsView, () => store.one("overview")?.alerts_raised],
  ["restarts", "Restarts", restartsView, () => store.all("restart").length],
  ["cluster", "Cluster", clusterView, () => store.all("worker").length],
  ["config", "Config", configView, () => null],
];
const HIDDEN_VIEWS = [["runbook", "Runbook", runbookView, () => null]];

const main = document.getElementById("main");

/** `#/shards/000000000003` is the view `shards` at `000000000003`. */
function place() {
  const [, name, ...rest] = location.hash.split("/");
  const at = rest.map(decodeURIComponent).join("/");
  const view = [...VIEWS, ...HIDDEN_VIEWS].find(([known]) => known === name) ?? VIEWS[0];
  return { view, at };
}

function draw() {
  const { view, at } = place();
  const overview = store.one("overview");
  document.getElementById("worker").textContent = overview ? overview.worker : "";
  drawNav(view);
  drawLink();
  drawVerdict(overview, view[0]);
  document.title = overview && overview.level !== "ok" ? `${mark(overview.level)} Mangrove` : "Mangrove";
  if (overview) show(main, view[2](at, draw));
  else show(main, h("p", { class: "empty" }, "Waiting for the worker."));
  unlockButton(draw);
}

function mark(level) {
  return { critical: "■", warning: "▲", notice: "◆" }[level] ?? "";
}

function drawNav(current) {
  const link = ([name, title, , count]) => {
    const n = count();
    return h("a", { href: `#/${name}`, "aria-current": current[0] === name ? "page" : null, "data-key": name }, title,
      n ? h("span", { class: "count num" }, compact(n)) : null);
  };
  show(document.getElementById("nav"), VIEWS.map(link));
}

function compact(n) {
  return n < 10_000 ? String(n) : `${Math.round(n / 1000)}k`;
}

function drawLink() {
  const { status, silent } = store.link();
  const lost = status === "lost" || (silent !== null && silent > 5000);
  const element = document.getElementById("link");
  element.className = lost ? "lost" : "";
  const text = lost ? `connection lost, what is shown is ${span(silent)} old` : status === "live" ? "live" : "connecting";
  if (element.textContent !== text) element.textContent = text;
}

function drawVerdict(overview, view) {
  const element = document.getElementById("verdict");
  if (!overview || view === "runbook") return show(element);
  element.className = overview.level;
  const worst = overview.findings[0];
  // The age of a finding would be read out every second.
  const since = worst ? h("p", {}, `Since ${clock(worst.since_ms, store.now())}.`, overview.bottleneck ? ` ${overview.bottleneck}` : "") : null;
  show(element, h("p", {}, overview.sentence), since ?? (overview.bottleneck ? h("p", {}, overview.bottleneck) : null));
}

let drawn = false;
function soon() {
  if (drawn) return;
  drawn = true;
  requestAnimationFrame(() => {
    drawn = false;
    draw();
  });
}

addEventListener("hashchange", () => {
  draw();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
store.onChange(soon);
// Ages go on while nothing comes; and a tab in the background gets no frames.
setInterval(() => (document.hidden ? draw() : soon()), 1000);
orders.onDone = soon;
store.connect();
draw();
