package supervisor

import (
	"time"

	"fulcrum/admin"
	"fulcrum/httpproxy"
	"fulcrum/l4"
	"fulcrum/pool"
	"fulcrum/state"
)

// Pools returns every pool with its servers, in the order of the config.
func (s *Supervisor) Pools() []admin.Pool {
	now := s.current.Load()
	pools := make([]admin.Pool, len(now.pools))
	for i, p := range now.pools {
		pools[i] = admin.Pool{Name: p.Name(), Algorithm: p.Algorithm(), Queued: p.Queued(), Servers: []admin.Server{}}
		tcp, http := now.feeding(p)
		known := make(map[string]*pool.Server)
		for _, server := range p.Servers() {
			known[server.Address()] = server
		}
		named := make(map[string]bool)
		for _, c := range p.config.Servers {
			named[c.Address] = true
		}
		for _, status := range p.Status() {
			server := describe(status)
			if server.Source = state.Uploaded; named[status.Address] {
				server.Source = state.Configured
			}
			server.TCP = tcpTraffic(seenBy(tcp, known[status.Address]))
			server.HTTP = httpTraffic(seenBy(http, known[status.Address]))
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
	now := s.current.Load()
	all := make([]admin.ListenerInfo, len(now.listeners))
	for i, l := range now.listeners {
		all[i] = admin.ListenerInfo{
			Name:     l.config.Name,
			Protocol: l.config.Protocol,
			Address:  l.Address(),
			Pool:     l.config.Pool,
			Routes:   l.routes(),
			IO:       now.io.String(),
		}
		if l.tcp != nil {
			sum := l.tcp.Stats()
			all[i].TCP = tcpTraffic(&sum)
		} else {
			sum := l.http.Stats()
			all[i].HTTP = httpTraffic(&sum)
			all[i].HTTP.Connections = &admin.Connections{Accepted: sum.Accepted, Open: sum.Open}
		}
	}
	return all
}

func (l *listener) routes() (all []admin.Route) {
	for _, from := range l.config.Routes {
		route := admin.Route{SNI: from.SNI, Host: from.Host, Path: from.Path, Pool: from.Pool}
		if from.Redirect != nil {
			to := admin.Redirect(*from.Redirect)
			route.Redirect = &to
		}
		if l.http != nil {
			sum := l.http.RouteStats((&httpproxy.Route{Host: from.Host, Path: from.Path}).Name())
			route.HTTP = httpTraffic(&sum)
		}
		all = append(all, route)
	}
	return all
}

// feeding returns the listeners that send connections or requests to a pool.
func (r *running) feeding(p *poolInUse) (tcp []*l4.Listener, http []*httpproxy.Proxy) {
	for _, l := range r.listeners {
		switch {
		case !feeds(l.config, p.Name()):
		case l.tcp != nil:
			tcp = append(tcp, l.tcp)
		default:
			http = append(http, l.http)
		}
	}
	return tcp, http
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
