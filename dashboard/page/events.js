// Events as they happen, from GET /events.

import { el, icon } from "./dom.js";
import { clock, moment, span } from "./format.js";
import { Stream } from "./stream.js";

const most = 100;

// What kinds of events are: good, bad or neither, and in words.
const kinds = {
  server_ready: ["ready", "Ready"],
  server_not_ready: ["not healthy", "Not ready"],
  server_uploaded: ["", "Uploaded"],
  server_updated: ["", "Changed"],
  server_deleted: ["deleting", "Deleted"],
  server_gone: ["deleting", "Gone"],
  server_drained: ["draining", "Draining"],
  server_undrained: ["", "Undrained"],
  pool_ready: ["ready", "Has a ready server"],
  pool_not_ready: ["not healthy", "Has no ready server"],
  pool_queue_full: ["not healthy", "Queue is full"],
  config_reloaded: ["", "Config reloaded"],
  reload_failed: ["not healthy", "Reload failed"],
  listener_started: ["ready", "Listening"],
  listener_stopped: ["", "Stopped listening"],
  accept_paused: ["not healthy", "Out of descriptors"],
  balancer_started: ["ready", "Started"],
  balancer_stopping: ["draining", "Stopping"],
  balancer_draining: ["draining", "Draining"],
  balancer_undrained: ["ready", "No longer draining"],
  balancer_upgraded: ["ready", "Upgraded"],
  state_trouble: ["not healthy", "Trouble with the state file"],
  missed: ["", "Events were missed"],
};

/** An Events shows the last events, the newest first. */
export class Events {
  constructor(section) {
    this.section = section;
    this.list = section.querySelector("ol");
    this.nothing = section.querySelector(".nothing");
    this.stream = new Stream("/events?limit=100", {
      silence: 45000,
      onOpen: () => (section.hidden = false),
      onMessage: (event) => this.add(event),
      onLost: (error) => ![401, 403, 404].includes(error.status),
    });
  }

  start() {
    this.stream.start();
  }

  stop() {
    this.stream.stop();
  }

  add(event) {
    const [state, word] = kinds[event.kind] ?? ["", event.kind.replaceAll("_", " ")];
    const about = [event.listener, event.pool, event.server].filter(Boolean).join(" ");
    const at = new Date(event.at);
    const before = event.was && event.since ? `${event.was} for ${span(at - new Date(event.since))} before` : "";
    const times = event.count > 1 ? `${event.count} times` : "";
    const why = [event.reason, ...(event.details ?? []), before, times].filter(Boolean).join(", ");
    this.list.prepend(
      el(
        "li",
        {},
        el("time", { datetime: at.toISOString(), title: moment(at) }, clock(at)),
        el("span", { class: "state", "data-state": state }, icon(state ? `state-${state.replace(" ", "-")}` : "chevron", "shape"), el("span", {}, word)),
        el("span", { class: "about" }, about),
        el("span", { class: "why" }, why),
      ),
    );
    while (this.list.childElementCount > most) this.list.lastChild.remove();
    this.nothing.hidden = true;
  }
}
