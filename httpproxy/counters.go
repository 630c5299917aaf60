package httpproxy

import (
	"sync/atomic"

	"fulcrum/pool"
	"fulcrum/stats"
)

// Stats are counts of requests: of a listener since it was made, of one of its
// routes, or of one server of it.
type Stats struct {
	Accepted int64 // connections of clients; of a listener only
	Open     int64 // of these, open now; of a listener only

	Carried  int64          // tunnels that came from other processes, less those that went on there
	Requests int64          // that were understood; of a server: that were given to it, again or for the first time
	Active   int64          // of these, not ended yet
	Endings  [Endings]int64 // the others, by Ending; of a listener also what was not understood
	Statuses [6]int64       // answers that were begun, by the first digit of their status; 1 is for upgrades
	Received int64          // bytes of requests' bodies, and through tunnels to servers
	Sent     int64          // bytes of answers' bodies, and through tunnels to clients
	Retries  int64          // times that a request was given to another server or sent again
	Connects int64          // connections to servers that were made for requests
	Reuses   int64          // requests that went on a kept connection

	// Times are those of the loops' turns: what begins and ends in one turn takes no
	// time.
	ConnectTime stats.Summary // from the dial of a server to when it was connected
	FirstByte   stats.Summary // from sending a request to the head of its answer
	Duration    stats.Summary // from the end of a request's head to the end of its answer

	// Added is what the proxy itself makes requests take longer, for one in every few
	// of those that a server answers: by a loop.Sampler, the turns in which a request's
	// head came and was sent on, and in which that of its answer was. Of a listener only.
	Added stats.Summary
}

// counts are one loop's counts of a route or a server. The loop alone writes them.
type counts struct {
	requests, received, sent, retries, connects, reuses atomic.Int64
	carried                                             atomic.Int64 // tunnels from other processes, less those given to them

	endings  [Endings]atomic.Int64
	statuses [6]atomic.Int64

	connectTime, firstByte, duration stats.Histogram
}

func (c *counts) addTo(s *Stats) {
	ended := int64(0)
	requests, carried := c.requests.Load(), c.carried.Load()
	for i := range c.endings {
		n := c.endings[i].Load()
		s.Endings[i] += n
		ended += n
	}
	s.Requests += requests
	s.Carried += carried
	s.Active += max(requests+carried-ended, 0)
	for i := range c.statuses {
		s.Statuses[i] += c.statuses[i].Load()
	}
	s.Received += c.received.Load()
	s.Sent += c.sent.Load()
	s.Retries += c.retries.Load()
	s.Connects += c.connects.Load()
	s.Reuses += c.reuses.Load()
	s.ConnectTime.Add(&c.connectTime)
	s.FirstByte.Add(&c.firstByte)
	s.Duration.Add(&c.duration)
}

// Stats returns the sums over all loops and routes.
func (p *Proxy) Stats() Stats {
	sum, all := p.known()
	for _, c := range all {
		c.addTo(&sum)
	}
	for _, w := range p.workers {
		closed := w.closed.Load() // before those accepted, so that nobody is closed who was not accepted
		accepted := w.accepted.Load()
		sum.Accepted += accepted
		sum.Open += accepted + w.carried.Load() - closed
		sum.Added.Add(&w.added)
	}
	return sum
}

// known returns a copy of what is retired, and the counts that are not.
func (p *Proxy) known() (retired Stats, all []*counts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		for i := range w.ways {
			all = append(all, w.ways[i].counts)
		}
		all = append(all, w.gone...)
		all = append(all, &w.nowhere)
	}
	return p.retired, all
}

// RouteStats returns the sums over all loops of one route, as Route.Name calls it.
func (p *Proxy) RouteStats(name string) (sum Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum = p.ofRoutes[name]
	for _, w := range p.workers {
		for i := range w.ways {
			if w.ways[i].name == name {
				w.ways[i].counts.addTo(&sum)
			}
		}
	}
	return sum
}

// AddServerStats adds to a sum, as of several listeners that feed the same pool,
// what was counted of one server on all loops.
func (p *Proxy) AddServerStats(server *pool.Server, sum *Stats) {
	var all []*counts
	p.mu.Lock()
	for _, w := range p.workers {
		if c := w.counts[server]; c != nil {
			all = append(all, c)
		}
	}
	before := p.ofServers[server]
	p.mu.Unlock()
	sum.Plus(&before)
	for _, c := range all {
		c.addTo(sum)
	}
}

// countsOf returns the loop's counts of a server.
func (w *worker) countsOf(server *pool.Server) *counts {
	c := w.counts[server]
	if c == nil {
		c = new(counts)
		w.p.mu.Lock()
		w.counts[server] = c
		w.p.mu.Unlock()
	}
	return c
}

// forgetCounts drops what was counted of a server that is gone; its part in the
// sums of routes stays.
func (w *worker) forgetCounts(server *pool.Server) {
	w.p.mu.Lock()
	delete(w.counts, server)
	delete(w.p.ofServers, server)
	w.p.mu.Unlock()
}
