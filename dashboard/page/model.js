// What is known of the balancer, from the messages of GET /live.

const columns = ["rate", "errors", "received", "sent", "active", "p50_ms", "p99_ms"];

/** seconds is how far back charts go. */
export const seconds = 300;

// With more servers than this only the last minute of each is kept.
const many = 1000;

/** A Past holds the last samples of something, one a second. */
export class Past {
  constructor(keep) {
    this.keep = keep;
    this.length = 0;
    this.next = 0;
    this.rows = Object.fromEntries(columns.map((c) => [c, new Float32Array(keep)]));
  }

  push(sample) {
    for (const c of columns) this.rows[c][this.next] = sample[c];
    this.next = (this.next + 1) % this.keep;
    this.length = Math.min(this.length + 1, this.keep);
  }

  /** values returns a column, the oldest first. */
  values(column) {
    const row = this.rows[column];
    const first = (this.next - this.length + this.keep) % this.keep;
    return Array.from({ length: this.length }, (_, i) => row[(first + i) % this.keep]);
  }

  static of(history, keep) {
    const past = new Past(keep);
    const steps = Math.max(history.step, 1);
    for (let i = 0; i < history.length; i++) {
      const sample = Object.fromEntries(columns.map((c) => [c, history[c]?.[i] ?? 0]));
      for (let s = 0; s < steps; s++) past.push(sample);
    }
    return past;
  }
}

/**
 * A Model puts messages together. Listeners, pools and servers are Maps, in order, of
 * {now, past}; a pool has its servers too. A thing stays the same object as long as it
 * is there.
 */
export class Model {
  constructor() {
    this.balancer = null;
    this.listeners = new Map();
    this.pools = new Map();
    this.at = null;
    this.changes = []; // of servers' states since they were last taken: {pool, now, was}
    this.fresh = false; // whether all that there is has been told again since the stream began
  }

  /** begin says that a stream begins: it tells everything anew. */
  begin() {
    this.fresh = false;
    for (const pool of this.pools.values()) for (const s of pool.servers.values()) s.stale = true;
  }

  /** take takes a message. */
  take(message) {
    this.at = new Date(message.at);
    const first = Boolean(message.balancer?.history);
    if (message.balancer) this.takeAll(message, first);
    for (const { pool, address } of message.gone ?? []) this.pools.get(pool)?.servers.delete(address);
    const told = new Set();
    for (const now of message.servers ?? []) told.add(this.takeServer(now));
    if (message.balancer && !first) this.pass(told);
  }

  takeAll(message, first) {
    this.balancer = thing(this.balancer, message.balancer, seconds);
    this.listeners = replace(this.listeners, message.listeners);
    const before = this.pools;
    this.pools = replace(before, message.pools);
    for (const pool of this.pools.values()) pool.servers ??= new Map();
    if (first || this.fresh) return;
    // The first messages are over: what they did not have is gone.
    for (const pool of this.pools.values()) {
      for (const [address, s] of pool.servers) if (s.stale) pool.servers.delete(address);
    }
    this.fresh = true;
  }

  takeServer(now) {
    const pool = this.pools.get(now.pool);
    if (!pool) return null;
    const known = pool.servers.get(now.address);
    const keep = pool.now.servers > many ? 60 : seconds;
    const server = thing(known, now, keep);
    server.stale = false;
    if (known ? known.was !== now.state : this.fresh) this.changes.push({ now, was: known?.was });
    server.was = now.state;
    if (!known) pool.servers.set(now.address, server);
    return server;
  }

  /** pass adds a second to the past of the servers that there was nothing new of. */
  pass(told) {
    for (const pool of this.pools.values()) {
      for (const s of pool.servers.values()) if (!told.has(s)) s.past.push(s.now);
    }
  }

  takeChanges() {
    const changes = this.changes;
    this.changes = [];
    return changes;
  }
}

// thing updates what is known of something, or begins to know it.
function thing(known, now, keep) {
  const it = known ?? {};
  it.now = now;
  if (now.history) {
    it.past = Past.of(now.history, keep);
    delete now.history;
  } else {
    it.past ??= new Past(keep);
    it.past.push(now);
  }
  return it;
}

// replace returns what there is now, by name, with what is known of it already.
function replace(known, all) {
  return new Map((all ?? []).map((now) => [now.name, thing(known.get(now.name), now, seconds)]));
}
