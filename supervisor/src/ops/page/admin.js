// Orders, on the admin listener only. The token is kept in this variable and nowhere else: a reload forgets it.

import { h, show } from "./dom.js";

let token = null;
let offered = null;
let mayKill = false;

export const orders = { onDone: () => {} };

const ORDERS = {
  restart: { title: "Restart", says: (to) => `Restarts ${to.path} from the checkpoint. Nothing is lost; its shard stands still for a moment.` },
  kill: { title: "Kill", danger: true, says: (to) => `Kills ${to.path ?? to.sensor} as a bug would, for tests of what follows.` },
  "hand-over": { title: "Hand over", says: (to) => `Commits what was read of shard ${to.shard}, then another worker takes it.` },
  split: { title: "Split", danger: true, confirm: (to) => to.shard, says: (to) => `Splits shard ${to.shard} in the middle. This cannot be undone but by a merge, and costs.` },
  merge: { title: "Merge", danger: true, confirm: (to) => to.shard, with: true, says: (to) => `Merges shard ${to.shard} with an adjacent one.` },
  drain: { title: "Drain and stop", danger: true, confirm: (to) => to.worker, says: (to) => `Worker ${to.worker} commits what it has read, releases its shards and ends.` },
};

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  const reply = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error([reply.error ?? `the worker answers ${answer.status}`, reply.hint].filter(Boolean).join(": "));
  return reply;
}

/** A button for an order; nothing while orders are locked. */
export function order(name, target) {
  if (!token || (name === "kill" && !mayKill)) return null;
  const { title, danger } = ORDERS[name];
  return h("button", { type: "button", class: `small ${danger ? "danger" : ""}`, "data-key": `order ${name}`, on: { click: () => ask(name, target) } }, title);
}

/** Whether this listener takes orders at all shows by how it answers a GET. */
export function unlockButton(draw) {
  const button = document.getElementById("unlock");
  if (offered === null) {
    offered = false;
    fetch("/openapi.json", { method: "GET" }).then(async (answer) => {
      offered = answer.headers.get("x-mangrove-orders") === "taken";
      draw();
    }, () => { offered = null; });
  }
  button.hidden = !offered;
  button.textContent = token ? "Lock orders" : "Unlock orders";
  button.onclick = () => {
    if (token) {
      token = null;
      draw();
    } else {
      unlock(draw);
    }
  };
}

function dialog(...children) {
  const element = document.getElementById("dialog");
  show(element);
  show(element, ...children);
  if (!element.open) element.showModal();
  return element;
}

function unlock(draw) {
  const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const says = h("p", { class: "says", role: "alert" });
  const form = h("form", { method: "dialog" }, h("h3", {}, "Unlock orders"),
    h("p", { class: "soft" }, "The token is what admin.token_file holds. It is kept in this page's memory only, until you reload."),
    h("label", {}, "Token", input), says, buttons("Unlock", false));
  const element = dialog(form);
  input.focus();
  form.onsubmit = async (event) => {
    if (event.submitter?.value === "cancel") return;
    event.preventDefault();
    token = input.value.trim();
    try {
      mayKill = (await post("/admin/check", {})).kill;
      element.close();
      draw();
    } catch (error) {
      token = null;
      says.textContent = error.message;
    }
  };
}

function ask(name, target) {
  const { title, says, confirm, danger } = ORDERS[name];
  const reason = h("input", { type: "text", required: true, maxlength: 200, autocomplete: "off" });
  const other = ORDERS[name].with ? h("input", { type: "text", required: true, autocomplete: "off" }) : null;
  const typed = confirm ? h("input", { type: "text", required: true, autocomplete: "off", spellcheck: "false" }) : null;
  const problem = h("p", { class: "says", role: "alert" });
  const form = h("form", { method: "dialog" }, h("h3", {}, title), h("p", {}, says(target)),
    other ? h("label", {}, "With shard", other) : null,
    h("label", {}, "Why (it is logged)", reason),
    typed ? h("label", {}, `Type ${confirm(target)} to confirm`, typed) : null, problem, buttons(title, danger));
  const element = dialog(form);
  (other ?? reason).focus();
  form.onsubmit = async (event) => {
    if (event.submitter?.value === "cancel") return;
    event.preventDefault();
    const body = { ...target, reason: reason.value };
    delete body.worker;
    if (other) body.with = other.value.trim();
    if (typed) body.confirm = typed.value.trim();
    try {
      const { done } = await post(`/admin/${name}`, body);
      element.close();
      document.getElementById("link").textContent = done;
      orders.onDone();
    } catch (error) {
      problem.textContent = error.message;
    }
  };
}

function buttons(title, danger) {
  return h("div", { class: "bar" }, h("button", { type: "submit", value: "cancel", formnovalidate: true }, "Cancel"),
    h("button", { type: "submit", value: "do", class: danger ? "danger" : "main" }, title));
}
