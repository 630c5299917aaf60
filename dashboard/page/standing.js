// How the balancer as a whole stands: whether it takes traffic or drains, what remains
// then, and the buttons for that.

import { offer, setAttr, setText } from "./dom.js";
import { clock, moment, plural, span } from "./format.js";
import { look } from "./stream.js";

const find = (id) => document.getElementById(id);

/** A Standing is what the head of the page says. act(what) does something about it. */
export class Standing {
  constructor(act) {
    this.act = act;
    this.looks = false; // whether an answer is awaited
    this.remaining = null; // as GET /v1/status told last, null if it is not known
  }

  /** show shows how the balancer stands at a time of its own clock. */
  show(now, at) {
    this.now = now;
    const deadline = now.draining ? new Date(now.deadline) : null;
    const over = deadline && deadline <= at;
    const [state, word] = now.draining
      ? ["draining", over ? "Draining" : `Draining until ${clock(deadline)}`]
      : now.ready ? ["ready", "Ready"] : ["not healthy", `Not ready: ${now.reason}`];
    const standing = find("standing");
    standing.hidden = false;
    standing.dataset.state = state;
    setAttr(standing, "title", deadline ? `until ${moment(deadline)}` : "");
    setAttr(standing.querySelector("use"), "href", `#state-${state.replace(" ", "-")}`);
    setText(standing.querySelector("span"), word);
    const up = span(at - new Date(now.started));
    const open = now.draining ? [] : [plural(now.connections, "connection", "connections")]; // else it is said below
    setText(find("about"), [...open, `up ${up}`, now.version].join(" · "));
    find("left").hidden = !now.draining;
    if (now.draining) setText(find("left"), `${this.left()} ${over ? `What was left at ${clock(deadline)} was closed; who comes is still served.` : "What is left then is closed."}`);
    const buttons = now.draining ? [["undrain", "Undrain…"], ["deadline", "Deadline…"]] : [["drain", "Drain…"]];
    offer(find("whole"), buttons.map(([what, word]) => [what, word, "the balancer"]), this.act);
  }

  /** hide shows nothing to who is not signed in. */
  hide() {
    find("standing").hidden = true;
    find("left").hidden = true;
    find("about").textContent = "";
    find("whole").replaceChildren();
  }

  /** left says what is in flight, as far as that is known, and has it looked at again. */
  left() {
    this.look();
    const open = (n) => `${plural(n, "connection is", "connections are")} open`;
    if (!this.remaining) return `${open(this.now.connections)}.`;
    const { connections, requests, oldest_seconds: oldest } = this.remaining;
    const among = requests ? `, ${plural(requests, "request", "requests")} in flight` : "";
    return `${open(connections)}${among}${oldest ? `, the oldest for ${span(oldest * 1000)}` : ", nothing in flight"}.`;
  }

  async look() {
    if (this.looks) return;
    this.looks = true;
    try {
      this.remaining = (await look("GET", "/v1/status")).body.remaining;
    } catch {
      this.remaining = null; // the stream tells what is wrong
    }
    this.looks = false;
  }
}
