package supervisor

import (
	"time"

	"fulcrum/admin"
	"fulcrum/l4"
	"fulcrum/pool"
)

// Pools returns every pool with its servers, in the order of the config.
func (s *Supervisor) Pools() []admin.Pool {
	pools := make([]admin.Pool, len(s.running.pools))
	for i, p := range s.running.pools {
		pools[i] = admin.Pool{Name: p.Name(), Algorithm: p.Algorithm(), Queued: p.Queued(), Servers: []admin.Server{}}
		feeding := s.running.feeding(p)
		known := make(map[string]*pool.Server)
		for _, server := range p.Servers() {
			known[server.Address()] = server
		}
		for _, status := range p.Status() {
			server := describe(status)
			if len(feeding) > 0 {
				server.TCP = seenOf(known[status.Address], feeding)
			}
			pools[i].Servers = append(pools[i].Servers, server)
		}
	}
	return pools
}

func describe(s pool.Status) admin.Server {
	server := admin.Server{
		Address:        s.Address,
		Weight:         s.Weight,
		MaxConnections: s.MaxConnections,
		Healthy:        s.Health.Healthy,
		Draining:       s.Draining,
		Ready:          s.Ready,
		Active:         s.Active,
		Total:          s.Total,
		Failures:       s.Failures,
	}
	if s.Health.Checked() {
		server.LastCheck = &admin.Check{
			Passed: s.Health.Passed,
			Reason: s.Health.Reason,
			At:     s.Health.At,
			TookMS: milliseconds(s.Health.Took),
		}
	}
	return server
}

// Listeners returns every listener, in the order of the config.
func (s *Supervisor) Listeners() []admin.ListenerInfo {
	all := make([]admin.ListenerInfo, len(s.running.listeners))
	for i, l := range s.running.listeners {
		all[i] = admin.ListenerInfo{
			Name:     l.config.Name,
			Protocol: l.config.Protocol,
			Address:  l.Address(),
			Pool:     l.config.Pool,
		}
		for _, route := range l.config.Routes {
			all[i].Routes = append(all[i].Routes, admin.Route{SNI: route.SNI, Pool: route.Pool})
		}
		if l.tcp != nil {
			all[i].IO = s.running.io.String()
			sum := l.tcp.Stats()
			all[i].TCP = traffic(&sum)
		}
	}
	return all
}

// feeding returns the tcp listeners that send connections to a pool.
func (r *running) feeding(p *poolInUse) (tcp []*l4.Listener) {
	for _, l := range r.listeners {
		if l.tcp != nil && feeds(l.config, p.Name()) {
			tcp = append(tcp, l.tcp)
		}
	}
	return tcp
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
