// What the worker last said, kept up to date by its stream of events.

/** The worker's state by key, as /events sends it. */
const entries = new Map();
const listeners = new Set();
let number = 0;
let skew = 0;
let source = null;
let heard = 0;
let status = "connecting";
let retry = null;

/** Milliseconds since 1970 by the worker's clock: ages must not depend on this machine's. */
export function now() {
  return Date.now() + skew;
}

export function onChange(listener) {
  listeners.add(listener);
}

export function link() {
  return { status, silent: heard ? Date.now() - heard : null };
}

export function one(key) {
  return entries.get(key);
}

/** All of a kind, in no order. */
export function all(kind) {
  const found = [];
  for (const [key, value] of entries) if (key.startsWith(kind + "/")) found.push(value);
  return found;
}

export function nodes() {
  return all("node").sort((a, b) => a.at - b.at);
}

export function shards() {
  return all("shard").sort((a, b) => (a.shard < b.shard ? -1 : 1));
}

export function connect() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource("/events");
  source.addEventListener("picture", (event) => {
    const picture = JSON.parse(event.data);
    entries.clear();
    for (const [key, value] of Object.entries(picture.entries)) entries.set(key, value);
    accept(picture);
  });
  source.addEventListener("change", (event) => {
    const change = JSON.parse(event.data);
    // One is missing: begin anew with a whole picture.
    if (change.number !== number + 1) return again();
    for (const [key, fields] of Object.entries(change.set)) entries.set(key, { ...entries.get(key), ...fields });
    for (const key of change.gone) entries.delete(key);
    accept(change);
  });
  source.onerror = () => {
    status = "lost";
    tell();
    // After a refusal the browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) again();
  };
}

function again() {
  source?.close();
  clearTimeout(retry);
  retry = setTimeout(connect, 2000);
}

function accept(message) {
  number = message.number;
  heard = Date.now();
  skew = message.at_ms - heard;
  status = "live";
  tell();
}

function tell() {
  for (const listener of listeners) listener();
}

/** GET, as JSON. Fails with what the worker says, in words. */
export async function get(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok && answer.status !== 503) throw new Error(body.error ?? `${path} answers ${answer.status}`);
  if (!answer.ok && body.error) throw new Error(body.error);
  return body;
}
