// Makes and updates elements. Text from outside becomes text nodes and nothing else: there is no other way in here.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "line", "circle", "rect", "text", "g", "polyline", "title"]);

/** An element: attributes by name, `on` as listeners, children as nodes or text; null and false are left out. */
export function h(tag, attributes, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") Object.assign(element, prefixed(value));
    else if (name === "css") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

// Listeners are properties, so that an update can replace them.
function prefixed(listeners) {
  return Object.fromEntries(Object.entries(listeners).map(([name, listener]) => ["on" + name, listener]));
}

function add(parent, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(parent, child);
    else parent.append(child instanceof Node ? child : String(child));
  }
}

/** Makes what is shown equal to these children, and touches only what differs: focus and scrolling stay. */
export function show(parent, ...children) {
  const wanted = document.createDocumentFragment();
  add(wanted, children);
  morphChildren(parent, wanted);
}

const LISTENERS = ["onclick", "oninput", "onsubmit", "onkeydown", "onchange"];

function morph(old, wanted) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  for (const { name, value } of [...wanted.attributes]) if (old.getAttribute(name) !== value) set(old, wanted, name, value);
  for (const { name } of [...old.attributes]) if (!wanted.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const name of LISTENERS) old[name] = wanted[name];
  // What somebody is typing is theirs.
  if (old.localName !== "input") morphChildren(old, wanted);
}

function set(old, wanted, name, value) {
  // The policy allows styles by property only.
  if (name === "style") old.style.cssText = wanted.style.cssText;
  else old.setAttribute(name, value);
}

function key(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}

function alike(old, wanted) {
  return old.nodeType === wanted.nodeType && old.nodeName === wanted.nodeName && key(old) === key(wanted);
}

function morphChildren(parent, wanted) {
  let at = parent.firstChild;
  for (const child of [...wanted.childNodes]) {
    let match = at;
    const name = key(child);
    if (name !== null) while (match && key(match) !== name) match = match.nextSibling;
    if (match && alike(match, child)) {
      // What lies between has gone; a keyed node that moved up takes its place.
      if (match === at) at = at.nextSibling;
      else parent.insertBefore(match, at);
      morph(match, child);
    } else {
      parent.insertBefore(child, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

const INTEGER = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** `1,234`, `12.5`, `–` for nothing. */
export function number(n, digits = 0) {
  if (n === null || n === undefined) return "–";
  return digits === 0 || Math.abs(n) >= 100 ? INTEGER.format(n) : n.toFixed(digits);
}

/** A rate: what is slow keeps a digit. */
export function rate(n) {
  return n === null || n === undefined ? "–" : number(n, n < 10 ? 1 : 0);
}

/** `512 B`, `12.5 MiB`. */
export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) [n, unit] = [n / 1024, unit + 1];
  return `${unit === 0 ? n : n.toFixed(1)} ${units[unit]}`;
}

/** `850 ms`, `12 s`, `4 min`, `3 h 5 min`. */
export function span(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const s = Math.floor(ms / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172_800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** The time of day; the date too if it was another day. */
export function clock(ms, now = Date.now()) {
  const at = new Date(ms);
  const time = at.toLocaleTimeString("en-GB");
  return at.toDateString() === new Date(now).toDateString() ? time : `${at.toISOString().slice(0, 10)} ${time}`;
}

/** A moment, with the whole of it on hover. */
export function time(ms, now) {
  return h("time", { datetime: new Date(ms).toISOString(), title: new Date(ms).toISOString() }, clock(ms, now));
}
