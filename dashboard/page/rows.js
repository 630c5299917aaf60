// The rows of tables: of a listener, of all servers of a pool, or of one server. Each
// opens to show its charts and what can be done.

import { Chart, highest, Spark, usual } from "./chart.js";
import { el, icon, offer, setAttr, setText } from "./dom.js";
import { bytes, count, moment, ms, none, span } from "./format.js";

/** states are what a server can be, in words. */
export const states = {
  ready: "Ready",
  "not healthy": "Not healthy",
  unchecked: "Not checked yet",
  draining: "Draining",
  deleting: "Deleting",
};

/** charts returns the charts of something whose rate counts such things. */
export function charts(what) {
  const each = (n) => `${count(n)}/s`;
  const flow = (n) => `${bytes(n)}/s`;
  return [
    new Chart(what, [
      { column: "rate", label: "a second", format: count, kind: "first" },
      { column: "errors", label: "errors", format: each, kind: "bad", gaps: true },
    ], 1),
    new Chart("First byte", [
      { column: "p99_ms", label: "p99", format: ms, kind: "second", gaps: true },
      { column: "p50_ms", label: "p50", format: ms, kind: "first", gaps: true },
    ], 1),
    new Chart("In flight", [{ column: "active", label: "active", format: count, kind: "first" }], 1),
    new Chart("Bytes", [
      { column: "sent", label: "out", format: flow, kind: "first" },
      { column: "received", label: "in", format: flow, kind: "second" },
    ], 1000),
  ];
}

/** heads are the columns of all tables. */
export function heads(first, rate) {
  const figure = (text, cls, title) => el("th", { scope: "col", class: `figure ${cls}`, title }, text);
  return el(
    "thead",
    {},
    el(
      "tr",
      {},
      el("th", { scope: "col" }, first),
      figure("Active", "active", "Connections or requests in flight"),
      el("th", { scope: "col", class: "past" }, el("span", {}, `${rate}, 5 min`)),
      figure(`${rate}/s`, "rate", "Begun in the last second"),
      figure("Errors/s", "errors", "Failures of servers, and to find one, in the last second"),
      el("th", { scope: "col", class: "past slow" }, "First byte p99, 5 min"),
      figure("p50", "p50", "Half of the servers' first bytes in the last second took no longer"),
      figure("p99", "p99", "99 of 100 of the servers' first bytes in the last second took no longer"),
    ),
  );
}

// The rows that are open, whose details are as wide as the columns that are shown.
const opened = new Set();
for (const width of [700, 1000]) {
  matchMedia(`(max-width: ${width}px)`).addEventListener("change", () => {
    for (const row of opened) row.widen();
  });
}

// Which rows are on the screen: only their small charts are drawn.
const onScreen = new WeakSet();
const watched = new WeakMap();
const observer = new IntersectionObserver((entries) => {
  for (const e of entries) {
    if (e.isIntersecting) {
      onScreen.add(e.target);
      watched.get(e.target)?.draw();
    } else onScreen.delete(e.target);
  }
}, { rootMargin: "100px" });

/** A Row is what is common to all: figures, a small chart, and what opens. */
export class Row {
  constructor(name, kind) {
    this.sparks = [new Spark("rate", false), new Spark("p99_ms", true)];
    this.cells = Object.fromEntries(["active", "rate", "errors", "p50", "p99"].map((c) => [c, el("td", { class: `figure ${c}` })]));
    this.label = el("span", { class: "name" }, name);
    this.toggle = el("button", { type: "button", class: "toggle", "aria-expanded": "false" }, icon("chevron", "chevron"), this.label);
    this.under = el("div", { class: "under" });
    this.node = el(
      "tr",
      { class: `row ${kind}` },
      el("th", { scope: "row" }, this.toggle, this.under),
      this.cells.active,
      el("td", { class: "past" }, this.sparks[0].node),
      this.cells.rate,
      this.cells.errors,
      el("td", { class: "past slow" }, this.sparks[1].node),
      this.cells.p50,
      this.cells.p99,
    );
    this.node.addEventListener("click", (event) => {
      if (!event.target.closest("a, button:not(.toggle)") && !String(getSelection())) this.setOpen(!this.open);
    });
    watched.set(this.node, this);
    observer.observe(this.node);
  }

  get open() {
    return this.toggle.getAttribute("aria-expanded") === "true";
  }

  /** nodes returns the row, and what is open under it. */
  get nodes() {
    return this.open ? [this.node, this.detail] : [this.node];
  }

  setOpen(open) {
    if (open && !this.detail) {
      this.charts = charts(this.what());
      this.facts = el("dl", { class: "facts" });
      this.actions = el("p", { class: "actions" });
      this.detail = el(
        "tr",
        { class: "detail" },
        el("td", {}, el("div", { class: "opened" }, this.facts, this.actions, el("div", { class: "charts" }, ...this.charts.map((c) => c.node)))),
      );
    }
    this.toggle.setAttribute("aria-expanded", String(open));
    this.node.classList.toggle("open", open);
    if (open) {
      opened.add(this);
      this.node.after(this.detail);
      this.widen();
      this.showDetail();
    } else this.close();
  }

  widen() {
    this.detail.firstChild.colSpan = [...this.node.cells].filter((c) => c.offsetWidth > 0).length || 1;
  }

  close() {
    opened.delete(this);
    this.detail?.remove();
  }

  /** show shows what is known now. */
  show(it) {
    this.it = it;
    const { now } = it;
    setText(this.cells.active, count(now.active));
    setText(this.cells.rate, count(now.rate));
    setText(this.cells.errors, now.errors ? count(now.errors) : none);
    this.cells.errors.classList.toggle("some", now.errors > 0);
    setText(this.cells.p50, ms(now.p50_ms));
    setText(this.cells.p99, ms(now.p99_ms));
    if (this.open) this.showDetail();
  }

  /** tops returns what the small charts have to reach up to. */
  get tops() {
    return this.sparks.map((s) => (s.gaps ? usual : highest)(this.it.past, s.column));
  }

  /** draw draws the small charts, if somebody can see them. */
  draw(tops = this.scale) {
    this.scale = tops;
    if (this.it && tops && onScreen.has(this.node)) this.sparks.forEach((s, i) => s.draw(this.it.past, Math.max(tops[i] * 1.05, s.gaps ? 0.1 : 1)));
  }

  showDetail() {
    if (!this.it) return;
    for (const c of this.charts) c.draw(this.it.past);
    this.setFacts(this.describe(this.it.now));
  }

  setFacts(facts) {
    if (this.facts.childElementCount !== facts.length) {
      this.facts.replaceChildren(...facts.map(() => el("div", {}, el("dt"), el("dd"))));
    }
    facts.forEach(([name, value], i) => {
      const [dt, dd] = this.facts.children[i].children;
      setText(dt, name);
      setText(dd, value);
    });
  }

  what() {
    return "Traffic";
  }

  describe() {
    return [];
  }

  remove() {
    observer.unobserve(this.node);
    this.node.remove();
    this.close();
  }
}

/** A ListenerRow is the row of a listener. */
export class ListenerRow extends Row {
  constructor(name) {
    super(name, "listener");
  }

  what() {
    return this.it?.now.protocol === "http" ? "Requests" : "Connections";
  }

  show(it) {
    super.show(it);
    const { protocol, address, pool, routes } = it.now;
    const to = [routes ? `${routes} ${routes === 1 ? "route" : "routes"}` : "", pool].filter(Boolean).join(", ");
    setText(this.under, `${protocol} ${address} → ${to || none}`);
  }

  describe(now) {
    return [
      ["Address", now.address],
      ["Protocol", now.protocol],
      ["Pool", now.pool || none],
      ["Connections", count(now.connections)],
    ];
  }
}

/** A TotalRow is the row of all servers of a pool together. */
export class TotalRow extends Row {
  constructor() {
    super("All servers", "total");
  }

  describe(now) {
    return [
      ["Algorithm", now.algorithm],
      ["Ready", `${now.ready} of ${now.servers}`],
      ["Waiting", count(now.queued)],
    ];
  }
}

/** A ServerRow is the row of a server. act(what, now) does something about it. */
export class ServerRow extends Row {
  constructor(address, act) {
    super(address, "server");
    this.act = act;
    this.shape = icon("state-unchecked", "shape");
    this.word = el("span");
    this.since = el("span", { class: "since" });
    this.reason = el("span", { class: "reason" });
    this.state = el("span", { class: "state" }, this.shape, this.word);
    this.under.append(this.state, this.since, this.reason);
  }

  /** show shows it as it is at a time by the balancer's clock, which need not be this machine's. */
  show(it, at) {
    const { state, since, reason } = it.now;
    const was = this.node.dataset.state;
    super.show(it);
    this.node.dataset.state = state;
    this.state.dataset.state = state;
    setAttr(this.shape.firstChild, "href", `#state-${state.replace(" ", "-")}`);
    setText(this.word, states[state] ?? state);
    const begun = new Date(since);
    setText(this.since, ` for ${span(at - begun)}`);
    setAttr(this.since, "title", `since ${moment(begun)}`);
    // What the check found is news only if it is the reason for something.
    setText(this.reason, state === "not healthy" ? reason : "");
    if (was !== state && this.open) this.offer();
  }

  describe(now) {
    return [
      ["State", `${states[now.state] ?? now.state} since ${moment(new Date(now.since))}`],
      ["Check found", now.reason || none],
      ["Weight", String(now.weight)],
      ["Most connections", now.max_connections ? String(now.max_connections) : "no limit"],
      ["Source", now.source],
    ];
  }

  setOpen(open) {
    super.setOpen(open);
    if (open) this.offer();
  }

  // offer shows the buttons for what can be done to the server as it is now.
  offer() {
    const state = this.it?.now.state;
    const wanted = state === "deleting" ? ["keep", "delete"] : [state === "draining" ? "undrain" : "drain", "edit", "delete"];
    const words = { drain: "Drain", undrain: "Undrain", edit: "Change…", delete: "Delete…", keep: "Keep" };
    offer(this.actions, wanted.map((what) => [what, words[what], this.label.textContent]), (what) => this.act(what, this.it.now));
  }
}
