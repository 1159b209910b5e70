// Search sensors by the beginning of their id; one sensor with its state, its last readings as a curve, its anomalies.

import { order } from "./admin.js";
import { clock, h, number, span, time } from "./dom.js";
import * as store from "./store.js";

const found = { q: "", reply: null, error: null, timer: null, asked: 0, at: 0 };
const one = { id: null, view: null, error: null, asked: 0, busy: false };
let field = null;

export function sensorsView(at, draw) {
  // Who restarts and who is new shows after a while.
  if (!found.timer && Date.now() - found.at > 5000) search(draw);
  if (at && (one.id !== at || Date.now() - one.asked > 1000)) look(at, draw);
  return [
    h("div", { class: "bar" }, h("input", {
      type: "search", placeholder: "Sensor ids that begin with", "aria-label": "Sensor ids that begin with",
      on: { input: (event) => { found.q = event.target.value; clearTimeout(found.timer); found.timer = setTimeout(() => search(draw), 200); } },
    }), found.reply ? h("span", { class: "soft" }, `${number(found.reply.total)} sensors in this worker's shards${found.reply.unanswered.length ? `; no answer from ${found.reply.unanswered.join(", ")}` : ""}`) : null),
    h("div", { class: "split" }, list(at), h("div", { id: "sensor" }, at ? sensor(at, draw) : h("p", { class: "empty" }, "Choose a sensor."))),
  ];
}

function search(draw) {
  found.timer = null;
  found.at = Date.now();
  const asked = ++found.asked;
  store.get(`/sensors?limit=100&q=${encodeURIComponent(found.q)}`).then(
    (reply) => { if (asked === found.asked) Object.assign(found, { reply, error: null }); draw(); },
    (error) => { found.error = error.message; draw(); });
}

function list(at) {
  if (!found.reply) return h("p", { class: "empty" }, found.error ?? "Asking.");
  if (!found.reply.sensors.length) return h("p", { class: "empty" }, "No id begins with that.");
  return h("ul", { class: "found" }, found.reply.sensors.map((line) => h("li", { "data-key": `${line.shard}/${line.sensor_id}` },
    h("a", { href: `#/sensors/${encodeURIComponent(line.sensor_id)}`, "aria-current": line.sensor_id === at ? "true" : null },
      h("span", { class: "mono" }, line.sensor_id), h("span", { class: `state ${line.restarts ? "warning" : line.state === "live" ? "ok" : "off"}` }, line.restarts ? `${line.restarts} restarts` : line.state)))));
}

function look(id, draw) {
  if (one.id !== id) Object.assign(one, { id, view: null, error: null });
  if (one.busy) return;
  Object.assign(one, { asked: Date.now(), busy: true });
  store.get(`/sensors/${encodeURIComponent(id)}`).then(
    (view) => { if (one.id === id) Object.assign(one, { view, error: null }); },
    (error) => { if (one.id === id) one.error = error.message; }).then(() => { one.busy = false; draw(); });
}

function sensor(id, draw) {
  const view = one.id === id ? one.view : null;
  if (!view) return h("p", { class: "empty" }, one.error ?? "Asking.");
  const readings = view.recent?.readings ?? [];
  const names = Object.keys(view.fields).filter((name) => readings.some((reading) => name in reading.values) || view.fields[name].latest !== undefined).filter((name) => !("tracked" in view.fields[name]));
  const shown = names.includes(field) ? field : names.find((name) => view.fields[name].baseline) ?? names[0];
  const facts = [["Readings", number(view.readings)], ["Quarantine", number(view.quarantined)], ["Duplicates", number(view.duplicates)], ["Alerts", number(view.alerts)],
    ["Last event", view.last_event_time_us ? clock(view.last_event_time_us / 1000, store.now()) : "–"], ["Arrived", view.last_arrival_ms ? `${span(store.now() - view.last_arrival_ms)} ago` : "–"]];
  return [
    h("h3", { class: "mono", id: "sensor-id" }, view.sensor_id),
    h("p", {}, h("span", { class: `state ${view.state === "live" ? "ok" : "off"}` }, view.state), ` in shard ${view.shard.replace("shardId-", "")}`, view.restarts ? `, restarted ${view.restarts} times` : "", one.error ? ` (${one.error})` : ""),
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    shown ? [h("div", { class: "bar" }, names.map((name) => h("button", { type: "button", class: `small ${name === shown ? "main" : ""}`, "aria-pressed": String(name === shown), "data-key": name, on: { click: () => { field = name; draw(); } } }, name))),
      chart(readings, shown, view.fields[shown])] : null,
    anomalies(readings, view.sensor_id),
    attributes(view),
    order("kill", { sensor: view.sensor_id }),
  ];
}

/** The last readings of one field, with the band of what is usual for this sensor. */
function chart(readings, name, about) {
  const [width, height, left, bottom, top] = [640, 190, 46, 20, 8];
  const points = readings.filter((reading) => typeof reading.values[name] === "number");
  if (points.length < 2) return h("p", { class: "empty" }, "Readings are kept from now on, while this is open.");
  const usual = about.baseline?.location !== undefined ? [about.baseline.location - 3 * about.baseline.deviation, about.baseline.location + 3 * about.baseline.deviation] : [];
  const times = points.map((reading) => reading.event_time_us);
  const values = points.map((reading) => reading.values[name]);
  const [t0, t1] = [Math.min(...times), Math.max(...times)];
  let [low, high] = [Math.min(...values, ...usual), Math.max(...values, ...usual)];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  [low, high] = [low - room, high + room];
  const x = (t) => left + ((t - t0) / (t1 - t0 || 1)) * (width - left - 8);
  const y = (v) => top + (1 - (v - low) / (high - low)) * (height - top - bottom);
  const clean = points.filter((reading) => reading.verdict === "clean").sort((a, b) => a.event_time_us - b.event_time_us);
  const path = clean.map((reading, n) => `${n ? "L" : "M"}${x(reading.event_time_us).toFixed(1)} ${y(reading.values[name]).toFixed(1)}`).join("");
  const mark = (reading, kind) => h("circle", { class: kind, cx: x(reading.event_time_us).toFixed(1), cy: y(reading.values[name]).toFixed(1), r: 4 },
    h("title", {}, `${reading.values[name]} at ${clock(reading.event_time_us / 1000)}: ${reading.anomalies.join(", ") || reading.verdict.replaceAll("_", " ")}`));
  const unit = about.unit ? ` ${about.unit}` : "";
  return h("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${name}: ${points.length} readings from ${low.toFixed(1)} to ${high.toFixed(1)}${unit}` },
    usual.length ? h("rect", { class: "band", x: left, width: width - left - 8, y: y(usual[1]).toFixed(1), height: Math.max(1, y(usual[0]) - y(usual[1])).toFixed(1) }) : null,
    h("line", { class: "axis", x1: left, x2: width - 8, y1: height - bottom, y2: height - bottom }),
    h("path", { class: "trace", d: path || "M0 0" }),
    points.filter((reading) => reading.verdict !== "clean").map((reading) => mark(reading, "bad")),
    clean.filter((reading) => reading.anomalies.length).map((reading) => mark(reading, "odd")),
    h("text", { x: left - 6, y: top + 9, "text-anchor": "end" }, high.toFixed(1)),
    h("text", { x: left - 6, y: height - bottom, "text-anchor": "end" }, low.toFixed(1)),
    h("text", { x: left, y: height - 5 }, clock(t0 / 1000)),
    h("text", { x: width - 8, y: height - 5, "text-anchor": "end" }, clock(t1 / 1000)),
    h("text", { x: width / 2, y: height - 5, "text-anchor": "middle" }, `${name}${unit}${usual.length ? ", usual range shaded" : ""}`));
}

function anomalies(readings, id) {
  const odd = readings.filter((reading) => reading.anomalies.length || reading.verdict !== "clean").slice(-12).reverse();
  const alerts = store.all("alert").filter((line) => line.alert.sensor_id === id).sort((a, b) => b.raised_ms - a.raised_ms).slice(0, 12);
  if (!odd.length && !alerts.length) return h("p", { class: "soft" }, "Nothing unusual in what is kept.");
  return [h("h2", {}, "Anomalies"), h("table", { class: "rows" }, h("tbody", {},
    alerts.map(({ alert }) => h("tr", { "data-key": alert.id }, h("td", {}, time(alert.event_time_us / 1000, store.now())), h("td", {}, h("span", { class: "state warning" }, `alert: ${alert.kind}`)), h("td", {}, alert.message))),
    odd.map((reading, n) => h("tr", { "data-key": `odd ${n}` }, h("td", {}, time(reading.event_time_us / 1000, store.now())),
      h("td", {}, h("span", { class: `state ${reading.verdict === "clean" ? "notice" : "warning"}` }, reading.anomalies.join(", ") || reading.verdict.replaceAll("_", " "))),
      h("td", {}, Object.entries(reading.values).map(([name, value]) => `${name} ${number(value, 2)}`).join(", "))))))];
}

function attributes(view) {
  const tracked = Object.entries(view.fields).filter(([, about]) => "tracked" in about);
  if (!tracked.length) return null;
  const changes = [...(view.recent?.changes ?? [])].reverse();
  const since = (us) => clock(us / 1000, store.now());
  return [h("h2", {}, `Attributes, version ${view.version}${view.version ? ` since ${since(view.version_since_us)}` : ""}`),
    h("table", { class: "rows" }, h("tbody", {}, tracked.map(([name, about]) => h("tr", { "data-key": name }, h("td", {}, name), h("td", { class: "mono" }, about.tracked === null ? "–" : String(about.tracked)))))),
    changes.length ? h("p", { class: "soft" }, changes.map((change) => `Version ${change.version} from ${since(change.valid_from_us)}: ${change.changed.join(", ")}.`).join(" ")) : null];
}
