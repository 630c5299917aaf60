// The tables of listeners and pools: which rows there are, in which order.

import { arrange, el, icon, offer, setAttr, setText } from "./dom.js";
import { count, plural, span } from "./format.js";
import { charts, heads, ListenerRow, ServerRow, states, TotalRow } from "./rows.js";

// How many servers of a pool are shown until more are asked for.
const batch = 50;

// How often an order by figures is made anew, in messages: rows that jump are hard to read.
const settle = 5;

/** An Overview shows all listeners together. */
export class Overview {
  constructor(node) {
    this.charts = charts("Traffic");
    node.replaceChildren(...this.charts.map((c) => el("div", { class: "card" }, c.node)));
  }

  show(balancer) {
    for (const c of this.charts) c.draw(balancer.past);
  }
}

/** Listeners is the table of listeners. */
export class Listeners {
  constructor(node) {
    this.rows = new Map();
    this.body = el("tbody");
    node.replaceChildren(
      el("div", { class: "card" }, el("table", {}, el("caption", { class: "hidden" }, "Listeners"), heads("Listener", "Rate"), this.body)),
    );
  }

  show(listeners) {
    keep(this.rows, listeners, (name) => new ListenerRow(name));
    for (const row of this.rows.values()) row.draw(row.tops);
    arrange(this.body, [...listeners.keys()].flatMap((name) => this.rows.get(name).nodes));
  }
}

// keep has there be a row for each of some things, and shows it, as it is at some time.
function keep(rows, things, make, at) {
  for (const [name, row] of rows) {
    if (!things.has(name)) {
      row.remove();
      rows.delete(name);
    }
  }
  for (const [name, it] of things) {
    if (!rows.has(name)) rows.set(name, make(name));
    rows.get(name).show(it, at);
  }
}

/** Pools are the tables of pools. act(what, pool, server) does something. */
export class Pools {
  constructor(node, act) {
    Object.assign(this, { node, act, cards: new Map() });
  }

  show(pools, { filter, order, at }) {
    keep(this.cards, pools, (name) => new PoolCard(name, this.act), at);
    const wanted = filter.trim().toLowerCase();
    const shown = [];
    for (const [name, pool] of pools) {
      const card = this.cards.get(name);
      const found = card.arrange(pool, wanted, order, at);
      if (!wanted || found > 0 || name.toLowerCase().includes(wanted)) shown.push(card.node);
    }
    arrange(this.node, shown);
  }
}

class PoolCard {
  constructor(name, act) {
    Object.assign(this, { name, act, rows: new Map(), limit: batch, age: 0, order: [] });
    this.total = new TotalRow();
    this.shape = icon("state-unchecked", "shape");
    this.ready = el("span");
    this.standing = el("p", { class: "state" }, this.shape, this.ready);
    this.about = el("p", { class: "about" });
    this.left = el("p", { class: "left", hidden: true });
    this.actions = el("p", { class: "actions" });
    this.body = el("tbody");
    this.none = el("p", { class: "nothing", hidden: true });
    this.more = el("button", { type: "button", class: "more", hidden: true, onclick: () => this.showMore() });
    this.node = el(
      "article",
      { class: "card pool" },
      el(
        "header",
        {},
        el("h3", {}, name),
        this.standing,
        this.about,
        this.actions,
        this.left,
      ),
      el("table", {}, el("caption", { class: "hidden" }, `Servers of pool ${name}`), heads("Server", "Rate"), this.body),
      this.none,
      this.more,
    );
  }

  show(pool, at) {
    const { ready, servers, algorithm, queued } = pool.now;
    this.total.show(pool);
    this.total.draw(this.total.tops);
    const { draining, whole } = drains(pool);
    const state = whole ? "draining" : ready === 0 ? "not healthy" : ready < servers ? "partly" : "ready";
    this.standing.dataset.state = state;
    setAttr(this.shape.firstChild, "href", `#state-${{ "not healthy": "not-healthy", partly: "draining" }[state] ?? state}`);
    setText(this.ready, whole ? states.draining : servers === 0 ? "No servers" : `${ready} of ${servers} ready` + (draining.length ? `, ${draining.length} draining` : ""));
    this.left.hidden = draining.length === 0;
    setText(this.left, left(draining, at));
    const buttons = [["upload", "Upload a server", `to ${this.name}`]];
    if (draining.length > 0) buttons.unshift(["undrain", "Undrain…", `pool ${this.name}`]);
    if (servers > 0 && !whole) buttons.unshift(["drain", "Drain…", `pool ${this.name}`]);
    offer(this.actions, buttons, (what) => this.act(what, this.name));
    setText(this.about, algorithm.replace("_", " ") + (queued ? `, ${count(queued)} waiting` : ""));
  }

  /** arrange shows the servers that are wanted and returns how many there are of them. */
  arrange(pool, wanted, order, at) {
    const matching = [...pool.servers.values()].filter((s) => matches(s.now, wanted));
    const sorted = this.sort(matching, order);
    const shown = sorted.slice(0, this.limit);
    const visible = new Map(shown.map((s) => [s.now.address, s]));
    keep(this.rows, visible, (address) => new ServerRow(address, (what, now) => this.act(what, this.name, now)), at);
    this.draw();
    arrange(this.body, [...this.total.nodes, ...shown.flatMap((s) => this.rows.get(s.now.address).nodes)]);
    const left = sorted.length - shown.length;
    this.more.hidden = left === 0;
    setText(this.more, `Show ${Math.min(left, batch)} more of ${plural(left, "server", "servers")}`);
    this.none.hidden = sorted.length > 0;
    setText(this.none, pool.servers.size === 0 ? "It has no servers yet." : "No server matches the filter.");
    return matching.length;
  }

  // draw draws the servers' small charts to one scale, so that they can be compared.
  draw() {
    const rows = [...this.rows.values()];
    const all = rows.map((r) => r.tops);
    const tops = all.reduce((most, one) => most.map((n, i) => Math.max(n, one[i])), [0, 0]);
    for (const row of rows) row.draw(tops);
  }

  sort(servers, order) {
    // In a table that is not shown whole, those that are not ready come first.
    if (!order && servers.length > this.limit) order = "trouble";
    if (!order) return servers;
    const by = order === "trouble" ? (s) => (s.now.state === "ready" ? 0 : 1) : (s) => s.now[order];
    if (this.ordered !== order || this.age++ >= settle) {
      this.ordered = order;
      this.age = 0;
      this.rank = new Map([...servers].sort((a, b) => by(b) - by(a)).map((s, i) => [s, i]));
    }
    return [...servers].sort((a, b) => (this.rank.get(a) ?? Infinity) - (this.rank.get(b) ?? Infinity) || 0);
  }

  showMore() {
    this.limit += batch;
    this.more.dispatchEvent(new Event("more", { bubbles: true }));
  }

  remove() {
    for (const row of this.rows.values()) row.remove();
    this.total.remove();
    this.node.remove();
  }
}

// drains returns the servers of a pool that drain, and whether the whole pool does: all
// but those that are being deleted, when all of them are known.
function drains(pool) {
  const staying = [...pool.servers.values()].filter((s) => s.now.state !== "deleting");
  const draining = staying.filter((s) => s.now.state === "draining");
  const whole = draining.length > 0 && draining.length === staying.length && pool.servers.size >= pool.now.servers;
  return { draining, whole };
}

// left says what servers that drain have in flight. What a server has was there when it
// began to drain.
function left(draining, at) {
  const busy = draining.filter((s) => s.now.active > 0);
  if (busy.length === 0) return "What drains has nothing in flight any more.";
  const active = busy.reduce((sum, s) => sum + s.now.active, 0);
  const since = Math.min(...busy.map((s) => new Date(s.now.since)));
  return `What drains has ${count(active)} in flight, the oldest for at least ${span(at - since)}.`;
}

function matches({ address, state, reason }, wanted) {
  return !wanted || [address, state, states[state] ?? "", state === "not healthy" ? reason : ""].some((text) => text.toLowerCase().includes(wanted));
}
