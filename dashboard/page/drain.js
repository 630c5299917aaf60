// Whether to drain or undrain a pool or the balancer: people are asked, and told what
// will happen and what is in flight.

import { ask } from "./dialogs.js";
import { setText } from "./dom.js";
import { clock, plural } from "./format.js";
import { change, look, poolPath, Refused } from "./stream.js";

const find = (id) => document.getElementById(id);
const dialog = find("drain");
let active = () => ""; // says what is in flight, for the question that is asked

/** showActive shows what is in flight now while somebody is asked. */
export function showActive() {
  if (dialog.open) setText(find("drain-active"), active());
}

// confirm asks. Without a time there is nothing to say of it.
function confirm({ title, note, word, time, inFlight }, send) {
  find("drain-title").textContent = title;
  find("drain-note").textContent = note;
  find("drain-time").hidden = time === undefined;
  find("time").value = time ?? "";
  dialog.querySelector("[type=submit]").textContent = word;
  active = inFlight;
  ask(dialog, send);
  showActive();
  dialog.querySelector("[value=cancel]").focus();
}

// What becomes of the servers of a pool, of which n change.
const ofPool = {
  drain(n) {
    return `${plural(n, "server gets", "servers get")} no new work, and what is in flight there goes on as long as it takes. New clients of the pool are refused until a server is undrained or uploaded.`;
  },
  undrain(n) {
    return `${plural(n, "server gets", "servers get")} work again when healthy, also what was drained on its own.`;
  },
};

/** askPool asks whether to drain or undrain all servers of a pool, which has so many in flight. */
export async function askPool(what, pool, count, done) {
  const path = poolPath(pool, `/${what}`);
  const tryOut = () => look("POST", `${path}?dry_run=true`);
  const note = ({ body }) => ofPool[what](body.changes.length);
  let seen = await tryOut();
  const word = what === "drain" ? "Drain" : "Undrain";
  const inFlight = () => `${plural(count(), "connection or request is", "connections or requests are")} active.`;
  confirm({ title: `${word} pool ${pool}?`, note: note(seen), word, inFlight }, async () => {
    try {
      await change("POST", path, undefined, { "If-Match": seen.etag });
    } catch (error) {
      if (error.status !== 412) throw error;
      seen = await tryOut();
      find("drain-note").textContent = note(seen);
      throw new Refused(412, "The pool has been changed meanwhile. Look at what would happen now.");
    }
    done(what === "drain" ? `Pool ${pool} drains.` : `Pool ${pool} takes traffic again.`);
  });
}

/** askBalancer asks whether to drain or undrain the balancer, or for another deadline. */
export async function askBalancer(what, standing, done) {
  await standing.look();
  const inFlight = () => standing.left();
  if (what === "undrain") {
    const note = "/healthz turns 200, so that clients are sent here again, and what is open stays open. What the drain has closed stays closed.";
    return confirm({ title: "Undrain the balancer?", note, word: "Undrain", inFlight }, async () => {
      await change("POST", "/undrain");
      done("The balancer takes traffic again.");
    });
  }
  const again = what === "deadline";
  const config = await look("GET", "/v1/config");
  confirm({
    title: again ? "Another deadline for the drain?" : "Drain the balancer?",
    note: "/healthz turns 503, so that what stands in front sends clients elsewhere. Who comes is still served, what is in flight goes on, and what is left when the time is over is closed. It can be undone, but for what was closed.",
    word: again ? "Change" : "Drain",
    time: config.body.shutdown_timeout,
    inFlight,
  }, async () => {
    const { deadline } = await change("POST", `/drain?timeout=${encodeURIComponent(find("time").value.trim())}`);
    done(`The balancer drains until ${clock(new Date(deadline))}.`);
  });
}
