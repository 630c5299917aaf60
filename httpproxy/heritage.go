package httpproxy

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
	s.Requests += sign * o.Requests
	for i, n := range o.Endings {
		s.Endings[i] += sign * n
	}
	for i, n := range o.Statuses {
		s.Statuses[i] += sign * n
	}
	s.Received += sign * o.Received
	s.Sent += sign * o.Sent
	s.Retries += sign * o.Retries
	s.Connects += sign * o.Connects
	s.Reuses += sign * o.Reuses
	plus(&s.ConnectTime, &o.ConnectTime)
	plus(&s.FirstByte, &o.FirstByte)
	plus(&s.Duration, &o.Duration)
	plus(&s.Added, &o.Added)
}

// Inherit goes on from what another process has counted of the listener, of each of its
// routes by name, and of each server. It may be called again for what came later.
func (p *Proxy) Inherit(all *Stats, routes map[string]*Stats, servers map[*pool.Server]*Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired.Plus(all)
	for name, of := range routes {
		sum := p.ofRoutes[name]
		sum.Plus(of)
		p.ofRoutes[name] = sum
	}
	for server, of := range servers {
		sum := p.ofServers[server]
		sum.Plus(of)
		p.ofServers[server] = sum
	}
}
