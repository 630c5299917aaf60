// What the page does: reads the stream, shows the model, acts on buttons.

import { askDelete, askToken, askUpload, words } from "./dialogs.js";
import { setText } from "./dom.js";
import { askBalancer, askPool, showActive } from "./drain.js";
import { Events } from "./events.js";
import { clock, count, plural } from "./format.js";
import { Model } from "./model.js";
import { states } from "./rows.js";
import { Standing } from "./standing.js";
import { change, Refused, serverPath, Stream, token } from "./stream.js";
import { Listeners, Overview, Pools } from "./view.js";

const find = (id) => document.getElementById(id);
const model = new Model();
const overview = new Overview(find("overview"));
const listeners = new Listeners(find("listeners"));
const pools = new Pools(find("pools"), act);
const standing = new Standing(act);
const events = new Events(find("events"));
let frame = 0;
let focused = null; // what had the focus last
let retry = null; // {at, text} while the connection is lost

const live = new Stream("/live", {
  silence: 6000,
  onOpen(answer) {
    document.body.dataset.access = answer.headers.get("Fulcrum-Access") ?? "write";
    find("sign-out").hidden = !token.get();
    model.begin();
    events.start();
  },
  onMessage(message) {
    model.take(message);
    found();
    announce(model.takeChanges(), model.balancer?.now.draining);
    show();
  },
  onLost(error, delay) {
    // Once a token was right, 429 is for what others at the same address have tried.
    const signedIn = token.get() && !find("sign-out").hidden;
    const refused = error instanceof Refused && (error.status === 401 || (error.status === 429 && !signedIn));
    if (!refused) return lost(error, delay);
    signOut(token.get() ? error.message : "");
    return false;
  },
});

live.start();

function show() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    draw();
  });
}

function draw() {
  if (!model.balancer) return;
  find("waiting").hidden = true;
  find("board").hidden = false;
  standing.show(model.balancer.now, model.at);
  showActive();
  drawTitle();
  overview.show(model.balancer);
  listeners.show(model.listeners);
  pools.show(model.pools, { filter: find("filter").value, order: find("order").value, at: model.at });
  find("no-pool").hidden = model.pools.size > 0;
  keepFocus();
}

// keepFocus has the focus stay near when what had it is there no more, such as the row
// of a server that was deleted.
function keepFocus() {
  if (focused && document.activeElement === document.body && !focused.checkVisibility()) find("pools-title").focus();
}

function drawTitle() {
  let bad = 0;
  for (const pool of model.pools.values()) bad += pool.now.servers - pool.now.ready;
  const title = bad ? `${bad} not ready · fulcrum` : "fulcrum";
  if (document.title !== title) document.title = title;
}

let drained; // whether the balancer drained when the last message came
let unsaid = []; // what has changed since something was announced
let announcedAt = 0;

// announce says which servers have changed, and whether the balancer begins or ceases to
// drain, to those who do not see it: every few seconds, so that they can hear it out.
function announce(changes, drains) {
  if (drained !== undefined && drains !== drained) unsaid.push(drains ? "The balancer drains." : "The balancer drains no longer.");
  drained = drains;
  for (const { now } of changes) {
    const why = now.state === "not healthy" ? `: ${now.reason}` : "";
    unsaid.push(`${now.address} of pool ${now.pool} is ${(states[now.state] ?? now.state).toLowerCase()}${why}.`);
  }
  if (unsaid.length === 0 || Date.now() - announcedAt < 5000) return;
  announcedAt = Date.now();
  const most = 3;
  const more = unsaid.length > most ? ` And ${count(unsaid.length - most)} more.` : "";
  find("announced").textContent = unsaid.slice(0, most).join(" ") + more;
  unsaid = [];
}

function lost(error, delay) {
  retry ??= {};
  retry.at = Date.now() + delay;
  const since = model.at ? ` What is shown is of ${clock(model.at)}.` : "";
  retry.text = error instanceof Refused ? `The balancer does not answer: ${error.message}.${since}` : `The connection to the balancer is lost.${since}`;
  document.body.classList.add("stale");
  find("waiting").hidden = true;
  find("lost").hidden = false;
  setText(find("lost").querySelector("p"), retry.text);
  waitVisibly();
}

function waitVisibly() {
  if (!retry) return;
  const left = Math.ceil((retry.at - Date.now()) / 1000);
  setText(find("again"), left > 0 ? `Try now (or in ${left} s)` : "Trying…");
  clearTimeout(retry.timer);
  retry.timer = setTimeout(waitVisibly, 1000);
}

function found() {
  if (!retry) return;
  clearTimeout(retry.timer);
  retry = null;
  document.body.classList.remove("stale");
  find("lost").hidden = true;
}

function signOut(problem) {
  token.clear();
  live.stop();
  events.stop();
  found();
  standing.hide();
  find("sign-out").hidden = true;
  find("waiting").hidden = true;
  find("board").hidden = true;
  askToken(problem, (text) => {
    token.set(text);
    find("waiting").hidden = false;
    live.start();
  });
}

async function act(what, pool, now) {
  if (what === "upload" || what === "edit") return askUpload(pool, now, say);
  if (what === "delete") return askDelete(pool, now, say);
  try {
    if (!pool) return await askBalancer(what, standing, say);
    if (!now) return await askPool(what, pool, () => model.pools.get(pool)?.now.active ?? 0, say);
    if (what === "keep") {
      await change("PUT", serverPath(pool, now.address), { weight: now.weight, max_connections: now.max_connections });
    } else {
      await change("POST", serverPath(pool, now.address, `/${what}`));
    }
    say({ drain: `${now.address} drains.`, undrain: `${now.address} takes traffic again.`, keep: `${now.address} is kept.` }[what]);
  } catch (error) {
    say(`${now?.address ?? pool ?? "The balancer"}: ${words(error)}`);
  }
}

let hush = 0;

function say(text) {
  const node = find("said");
  node.textContent = text;
  node.classList.add("shown");
  clearTimeout(hush);
  hush = setTimeout(() => node.classList.remove("shown"), 6000);
}

find("again").addEventListener("click", () => live.start());
find("sign-out").addEventListener("click", () => signOut(""));
find("filter").addEventListener("input", draw);
find("order").addEventListener("change", draw);
find("pools").addEventListener("more", draw);
addEventListener("focusin", (event) => (focused = event.target));
