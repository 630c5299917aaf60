package l4

import (
	"fulcrum/pool"
	"fulcrum/stats"
)

// Plus adds counts of the same from another time or process, all but of what is open.
func (s *Stats) Plus(o *Stats) { s.plus(o, 1, (*stats.Summary).Plus) }

// Minus takes away what was counted earlier.
func (s *Stats) Minus(o *Stats) { s.plus(o, -1, (*stats.Summary).Minus) }

func (s *Stats) plus(o *Stats, sign int64, plus func(to, from *stats.Summary)) {
	s.Accepted += sign * o.Accepted
	s.Carried += sign * o.Carried
	for i, n := range o.Ends {
		s.Ends[i] += sign * n
	}
	s.ToUpstream += sign * o.ToUpstream
	s.ToClient += sign * o.ToClient
	plus(&s.ConnectTime, &o.ConnectTime)
	plus(&s.FirstByte, &o.FirstByte)
	plus(&s.Duration, &o.Duration)
	plus(&s.Added, &o.Added)
}

// Settled returns the counts as if nothing of them were open: what is goes on, and ends,
// elsewhere.
func (s Stats) Settled() Stats {
	s.Carried -= s.Active
	s.Active = 0
	return s
}

// Inherit goes on from what another process has counted of the listener, and of each
// server. It may be called again for what came later.
func (l *Listener) Inherit(all *Stats, servers map[*pool.Server]*Stats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired.Plus(all)
	for server, of := range servers {
		sum := l.ofServers[server]
		sum.Plus(of)
		l.ofServers[server] = sum
	}
}
