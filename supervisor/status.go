package supervisor

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"fulcrum/admin"
	"fulcrum/config"
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
		pools[i] = *p.describe()
		now.addTraffic(p, pools[i].Servers)
	}
	return pools
}

// Pool returns a pool with its servers.
func (s *Supervisor) Pool(name string) (admin.Pool, error) {
	p, err := s.findPool(name)
	if err != nil {
		return admin.Pool{}, err
	}
	pool := *p.describe()
	s.current.Load().addTraffic(p, pool.Servers)
	return pool, nil
}

// Server returns a server of a pool.
func (s *Supervisor) Server(poolName, written string) (admin.Server, error) {
	p, err := s.findPool(poolName)
	if err != nil {
		return admin.Server{}, err
	}
	address, err := parseServer(written)
	if err != nil {
		return admin.Server{}, err
	}
	server := p.Find(address)
	if server == nil {
		return admin.Server{}, p.unknown(address)
	}
	one := []admin.Server{describe(server.Status(), p.configures(address))}
	s.current.Load().addTraffic(p, one)
	return one[0], nil
}

// describe returns a pool and its servers without their traffic.
func (p *poolInUse) describe() *admin.Pool {
	pool := &admin.Pool{Name: p.Name(), Algorithm: p.Algorithm(), Queued: p.Queued(), Servers: []admin.Server{}}
	named := make(map[string]bool)
	for _, c := range p.config.Servers {
		named[c.Address] = true
	}
	for _, status := range p.Status() {
		pool.Servers = append(pool.Servers, describe(status, named[status.Address]))
	}
	return pool
}

// addTraffic adds what the listeners saw of servers of a pool.
func (r *running) addTraffic(p *poolInUse, servers []admin.Server) {
	tcp, http := r.feeding(p)
	known := make(map[string]*pool.Server)
	for _, server := range p.Servers() {
		known[server.Address()] = server
	}
	for i := range servers {
		of := known[servers[i].Address]
		servers[i].TCP = tcpTraffic(seenBy(tcp, of))
		servers[i].HTTP = httpTraffic(seenBy(http, of))
	}
}

// describe returns a server without its traffic.
func describe(s pool.Status, named bool) admin.Server {
	server := admin.Server{
		Address:        s.Address,
		Source:         state.Uploaded,
		Weight:         s.Weight,
		MaxConnections: s.MaxConnections,
		Healthy:        s.Health.Healthy,
		Draining:       s.Draining,
		Deleting:       s.Leaving,
		Ready:          s.Ready,
		State:          s.Standing.String(),
		Since:          s.Since,
		Reason:         s.Reason,
		Active:         s.Active,
		Total:          s.Total,
		Failures:       s.Failures,
	}
	if named {
		server.Source = state.Configured
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

// Config returns the config as it runs, in JSON and without secrets, and its entity tag.
func (s *Supervisor) Config() (text json.RawMessage, etag string) {
	c := s.current.Load().config
	return c.JSON(), s.etagOf(c)
}

// etagOf returns the entity tag of a config. What its JSON hides counts, by a digest
// that nobody can try guesses against: so the tag of a config that hides something is
// another after a restart.
func (s *Supervisor) etagOf(c *config.Config) string {
	text := c.JSON()
	if hidden := c.Hidden(); len(hidden) > 0 {
		digest := hmac.New(sha256.New, s.key[:])
		fmt.Fprintf(digest, "%q", hidden)
		text = digest.Sum(text)
	}
	return admin.ETagOf(text)
}

// Ready reports whether the balancer takes traffic.
func (s *Supervisor) Ready() (ok bool, reason string) {
	switch {
	case s.stopping.Load():
		return false, "stopping"
	case s.draining.Load() != nil:
		return false, "draining"
	}
	return true, ""
}

// Status returns what there is to say of the whole balancer.
func (s *Supervisor) Status() admin.Status {
	now := s.current.Load()
	status := admin.Status{
		Version:       Version(),
		PID:           os.Getpid(),
		Started:       s.started,
		UptimeSeconds: time.Since(s.started).Seconds(),
		Config:        now.config.File,
		IO:            now.io.String(),
		DrainState:    s.drainState(context.Background(), s.draining.Load()),
	}
	status.Ready, status.Reason = s.Ready()
	return status
}

// Version is what the build recorded: a release's tag, or the commit.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
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
