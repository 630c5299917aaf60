// Charts of the last minutes, drawn as SVG.

import { el, setAttr, setText, svg } from "./dom.js";
import { span } from "./format.js";
import { seconds } from "./model.js";

const width = 300;

// path returns the line of some values up to the right edge, which is now, top being
// the highest there is room for. Where there are gaps, 0 is nothing and not a value.
function path(values, top, height, gaps) {
  let text = "";
  let pen = "M";
  values.forEach((v, i) => {
    if (gaps && v === 0) {
      pen = "M";
      return;
    }
    const x = width - values.length + i + 1;
    const y = (height - (Math.min(v, top) / top) * height).toFixed(1);
    // A point alone is a line of no length, whose round caps show it.
    text += pen === "M" ? `M${x} ${y}h.01` : `L${x} ${y}`;
    pen = "L";
  });
  return text;
}

function area(values, top, height) {
  if (values.length < 2) return "";
  return `${path(values, top, height)}V${height}H${width - values.length + 1}Z`;
}

/** ceiling returns a round number that is not below any of some values. */
function ceiling(lines, least) {
  let most = least;
  for (const values of lines) for (const v of values) if (v > most) most = v;
  const unit = 10 ** Math.floor(Math.log10(most));
  return [1, 1.5, 2, 3, 5, 7.5, 10].find((n) => n * unit >= most * 0.999) * unit;
}

/** highest returns the greatest value of a column. */
export function highest(past, column) {
  return Math.max(...past.values(column), 0);
}

/**
 * usual returns what a column hardly ever is above, so that a few great values do not
 * make all others look like nothing.
 */
export function usual(past, column) {
  const sorted = past.values(column).filter((v) => v > 0).sort((a, b) => a - b);
  return sorted.length === 0 ? 0 : Math.min(sorted.at(-1), 2 * sorted[Math.floor(sorted.length * 0.9)]);
}

/**
 * A Spark is a small chart of one column up to a value that is the same for all that
 * are to be compared. That of rates has a mark where there were errors.
 */
export class Spark {
  constructor(column, gaps) {
    Object.assign(this, { column, gaps });
    this.fill = svg("path", { class: "fill" });
    this.line = svg("path", { class: "line" });
    this.bad = svg("path", { class: "bad" });
    this.node = svg("svg", { class: "spark", viewBox: `0 -2 ${width} 28`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.fill, this.line, this.bad);
  }

  draw(past, top) {
    const values = past.values(this.column);
    setAttr(this.line, "d", path(values, top, 24, this.gaps));
    if (this.gaps) return;
    setAttr(this.fill, "d", area(values, top, 24));
    let marks = "";
    past.values("errors").forEach((v, i, all) => {
      if (v > 0) marks += `M${width - all.length + i + 1} 24v-5`;
    });
    setAttr(this.bad, "d", marks);
  }
}

/**
 * A Chart shows some columns over five minutes and says their values: those of now, or
 * those under the pointer or, by the arrow keys, the cursor. Lines are
 * {column, label, format, kind, gaps}.
 */
export class Chart {
  constructor(title, lines, least) {
    Object.assign(this, { title, lines, least, ago: null });
    this.values = lines.map((l) => el("b"));
    this.when = el("span", { class: "when" });
    this.paths = lines.map((l) => svg("path", { class: `line ${l.kind}` }));
    this.fill = svg("path", { class: "fill" });
    this.top = el("span", { class: "scale", "aria-hidden": "true" });
    this.cursor = el("span", { class: "cursor", hidden: true });
    this.plot = el(
      "div",
      { class: "plot", tabindex: 0, role: "slider", "aria-label": `${title}, seconds back`, "aria-valuemin": 1 - seconds, "aria-valuemax": 0 },
      svg("svg", { viewBox: `0 -2 ${width} 84`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.fill, ...this.paths),
      this.top,
      this.cursor,
    );
    this.node = el(
      "figure",
      { class: "chart" },
      el("figcaption", {}, el("span", { class: "title" }, title), this.when),
      el("p", { class: "legend" }, ...lines.map((l, i) => el("span", { class: `key ${l.kind}` }, this.values[i], " ", el("i", {}, l.label)))),
      this.plot,
      el("p", { class: "axis", "aria-hidden": "true" }, el("span", {}, "5 min ago"), el("span", {}, "now")),
    );
    this.listen();
  }

  listen() {
    const at = (event) => {
      const box = this.plot.getBoundingClientRect();
      const share = (event.clientX - box.left) / Math.max(box.width, 1);
      this.point(Math.round((1 - share) * seconds));
    };
    this.plot.addEventListener("pointermove", at);
    this.plot.addEventListener("pointerdown", at);
    this.plot.addEventListener("pointerleave", () => this.point(null));
    this.plot.addEventListener("blur", () => this.point(null));
    this.plot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: 1, ArrowRight: -1, PageUp: 30, PageDown: -30, Home: seconds, End: -seconds }[event.key];
      if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.point((this.ago ?? 0) + step);
    });
  }

  // point shows the values of so many seconds ago, or of now.
  point(ago) {
    const length = this.past?.length ?? 0;
    this.ago = ago === null || length === 0 ? null : Math.min(Math.max(ago, 0), length - 1);
    this.say();
  }

  draw(past) {
    this.past = past;
    this.columns = this.lines.map((l) => past.values(l.column));
    const top = ceiling(this.columns, this.least);
    setText(this.top, this.lines[0].format(top));
    this.lines.forEach((l, i) => setAttr(this.paths[i], "d", path(this.columns[i], top, 80, l.gaps)));
    setAttr(this.fill, "d", this.lines[0].gaps ? "" : area(this.columns[0], top, 80));
    this.say();
  }

  say() {
    const ago = this.ago ?? 0;
    const texts = this.lines.map((l, i) => l.format(this.columns?.[i].at(-1 - ago) ?? 0));
    texts.forEach((text, i) => setText(this.values[i], text));
    this.lines.forEach((l, i) => this.values[i].parentNode.classList.toggle("zero", !this.columns?.[i].at(-1 - ago)));
    setText(this.when, this.ago === null ? "" : ago === 0 ? "now" : `${span(ago * 1000)}${ago >= 60 ? ` ${ago % 60} s` : ""} ago`);
    this.cursor.hidden = this.ago === null;
    this.cursor.style.right = `${(100 * ago) / seconds}%`;
    setAttr(this.plot, "aria-valuenow", String(-ago));
    setAttr(this.plot, "aria-valuetext", `${this.when.textContent || "now"}: ${this.lines.map((l, i) => `${l.label} ${texts[i]}`).join(", ")}`);
  }
}
