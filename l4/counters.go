package l4

import (
	"sync/atomic"

	"fulcrum/pool"
	"fulcrum/relay"
	"fulcrum/stats"
)

// Stats are counts of connections: of a listener since it was made, or of one
// server of it, from when it was connected to.
type Stats struct {
	Accepted   int64         // connections; of a server: those relayed to it
	Carried    int64         // those that came from other processes, less those that went on there
	Active     int64         // of these, open now
	Ends       [Causes]int64 // the others, by Cause
	ToUpstream int64         // bytes from clients to servers; PROXY headers are not counted
	ToClient   int64         // bytes from servers to clients

	// Of the connections that were relayed. The times are those of the loops'
	// turns: what begins and ends in one turn takes no time.
	ConnectTime stats.Summary // from the dial of the server to when it was connected
	FirstByte   stats.Summary // from then to the server's first byte
	Duration    stats.Summary // from accepting to the end

	// Added is what the listener itself makes it take longer until a client is
	// connected to a server, for one in every few: by a loop.Sampler, the turns in which
	// it was accepted, its server dialled, and the relay begun. Of a listener only.
	Added stats.Summary
}

// Refused returns how many connections were closed before they were relayed.
func (s *Stats) Refused() (n int64) {
	for c := range Cause(Causes) {
		if c.Refusal() {
			n += s.Ends[c]
		}
	}
	return n
}

// endCounts counts ends by cause. One loop writes, anybody reads.
type endCounts [Causes]atomic.Int64

func (e *endCounts) addTo(s *Stats) (ended int64) {
	for c := range e {
		n := e[c].Load()
		s.Ends[c] += n
		ended += n
	}
	return ended
}

// serverCounts are one loop's counts of one server. The loop alone writes them.
type serverCounts struct {
	relay     relay.Options
	moved     relay.Bytes
	connected atomic.Int64
	carried   atomic.Int64 // as the worker's
	ends      endCounts

	connectTime, firstByte, duration stats.Histogram

	open      int  // sessions that count here; the loop's own
	forgotten bool // what is left of it joins the listener's when the last session ends; the loop's own
}

// addTo adds to a sum all but the connections, which a listener counts itself,
// and returns their numbers.
func (c *serverCounts) addTo(s *Stats) (connected, carried, ended int64) {
	connected, carried = c.connected.Load(), c.carried.Load() // before the ends, so that what is active is never overstated
	ended = c.ends.addTo(s)
	s.ToUpstream += c.moved.ToUpstream.Load()
	s.ToClient += c.moved.ToClient.Load()
	s.ConnectTime.Add(&c.connectTime)
	s.FirstByte.Add(&c.firstByte)
	s.Duration.Add(&c.duration)
	return connected, carried, ended
}

// Stats returns the sums over all loops.
func (l *Listener) Stats() Stats {
	var accepted, carried int64 // before the ends, so that what is active is never overstated
	for _, w := range l.workers {
		accepted += w.accepted.Load()
		carried += w.carried.Load()
	}
	sum, servers := l.known()
	ended := int64(0)
	for _, n := range sum.Ends {
		ended += n
	}
	for _, c := range servers {
		_, _, n := c.addTo(&sum)
		ended += n
	}
	for _, w := range l.workers {
		ended += w.ends.addTo(&sum)
		sum.Added.Add(&w.added)
	}
	sum.Accepted += accepted
	sum.Carried += carried
	sum.Active = max(sum.Accepted+sum.Carried-ended, 0)
	return sum
}

// known returns a copy of what is retired, and the counts that are not.
func (l *Listener) known() (retired Stats, servers []*serverCounts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.workers {
		for _, c := range w.servers {
			servers = append(servers, c)
		}
	}
	return l.retired, servers
}

// ServerStats returns the sums over all loops of one server, zero if no
// connection was relayed to it.
func (l *Listener) ServerStats(server *pool.Server) (sum Stats) {
	l.AddServerStats(server, &sum)
	return sum
}

// AddServerStats adds to a sum, as of several listeners that feed the same pool,
// what ServerStats returns.
func (l *Listener) AddServerStats(server *pool.Server, sum *Stats) {
	l.mu.Lock()
	var all []*serverCounts
	for _, w := range l.workers {
		if c := w.servers[server]; c != nil {
			all = append(all, c)
		}
	}
	before := l.ofServers[server]
	l.mu.Unlock()
	sum.Plus(&before)
	for _, c := range all {
		connected, carried, ended := c.addTo(sum)
		sum.Accepted += connected
		sum.Carried += carried
		sum.Active += max(connected+carried-ended, 0)
	}
}

// Forget has the stats of a server that is gone go over into the listener's, on
// each loop when its last connection to the server has ended.
func (l *Listener) Forget(server *pool.Server) {
	l.mu.Lock()
	delete(l.ofServers, server)
	l.mu.Unlock()
	for _, w := range l.workers {
		w.loop.Post(func() { w.forget(server) })
	}
}

// countsOf returns the loop's counts of a server that it is connected to.
func (w *worker) countsOf(server *pool.Server) *serverCounts {
	c := w.servers[server]
	if c == nil {
		c = &serverCounts{}
		o := w.plan
		c.relay = relay.Options{Idle: o.IdleTimeout, HalfClosed: o.HalfClosedTimeout, Moved: &c.moved}
		w.parent.mu.Lock()
		w.servers[server] = c
		w.parent.mu.Unlock()
	}
	return c
}

func (w *worker) forget(server *pool.Server) {
	if c := w.servers[server]; c != nil {
		c.forgotten = true
		w.retire(server, c)
	}
}

// retire moves the counts of a server that is to be forgotten into the
// listener's, unless some of its connections are still open.
func (w *worker) retire(server *pool.Server, c *serverCounts) {
	if !c.forgotten || c.open > 0 {
		return
	}
	w.parent.mu.Lock()
	defer w.parent.mu.Unlock()
	c.addTo(&w.parent.retired)
	delete(w.servers, server)
}
