package supervisor

import (
	"time"

	"fulcrum/handover"
	"fulcrum/httpproxy"
	"fulcrum/l4"
	"fulcrum/pool"
)

// tally is all that a process has counted, so that another one goes on from there. It
// is told twice: when the other begins, and at the end what came since.
type tally struct {
	Servers   map[string]map[string]serverTally `json:"servers"` // by pool and address
	Listeners []listenerTally                   `json:"listeners"`
}

type serverTally struct {
	Total    int64 `json:"total"`
	Failures int64 `json:"failures"`
}

// listenerTally is of a listener of either protocol, of which one part is nil.
type listenerTally struct {
	Name    string     `json:"name"`
	Address string     `json:"address"` // as the config has it
	TCP     *tcpTally  `json:"tcp,omitempty"`
	HTTP    *httpTally `json:"http,omitempty"`
}

type tcpTally struct {
	All     *l4.Stats                       `json:"all"`
	Servers map[string]map[string]*l4.Stats `json:"servers"` // by pool and address
}

type httpTally struct {
	All     *httpproxy.Stats                       `json:"all"`
	Routes  map[string]*httpproxy.Stats            `json:"routes"` // by name
	Servers map[string]map[string]*httpproxy.Stats `json:"servers"`
}

// tally returns what was counted so far by what is still in use.
func (r *running) tally() *tally {
	c := &tally{Servers: map[string]map[string]serverTally{}}
	for _, p := range r.pools {
		servers := map[string]serverTally{}
		for _, s := range p.Status() {
			servers[s.Address] = serverTally{s.Total, s.Failures}
		}
		c.Servers[p.Name()] = servers
	}
	for _, l := range r.listeners {
		of := listenerTally{Name: l.config.Name, Address: l.config.Address}
		if l.tcp != nil {
			all := l.tcp.Stats().Settled()
			of.TCP = &tcpTally{&all, perServer(r, l, func(s *pool.Server) l4.Stats { return l.tcp.ServerStats(s).Settled() })}
		} else {
			all := l.http.Stats()
			of.HTTP = &httpTally{&all, l.perRoute(), perServer(r, l, func(s *pool.Server) (sum httpproxy.Stats) {
				l.http.AddServerStats(s, &sum)
				return sum
			})}
		}
		c.Listeners = append(c.Listeners, of)
	}
	return c
}

// perServer returns what a listener has counted of the servers that it feeds.
func perServer[S any](r *running, l *listener, count func(*pool.Server) S) map[string]map[string]*S {
	all := map[string]map[string]*S{}
	for _, p := range r.pools {
		if !feeds(l.config, p.Name()) {
			continue
		}
		servers := map[string]*S{}
		for _, server := range p.Servers() {
			of := count(server)
			servers[server.Address()] = &of
		}
		all[p.Name()] = servers
	}
	return all
}

// perRoute returns what was counted of each route, and under "" of what none is for.
func (l *listener) perRoute() map[string]*httpproxy.Stats {
	of := l.http.RouteStats("")
	all := map[string]*httpproxy.Stats{"": &of}
	for _, r := range l.config.Routes {
		name := (&httpproxy.Route{Host: r.Host, Path: r.Path}).Name()
		of := l.http.RouteStats(name)
		all[name] = &of
	}
	return all
}

// since takes away what was counted by an earlier moment.
func (c *tally) since(before *tally) {
	for name, servers := range c.Servers {
		for address, now := range servers {
			was := before.Servers[name][address]
			servers[address] = serverTally{now.Total - was.Total, now.Failures - was.Failures}
		}
	}
	for i := range c.Listeners {
		now := &c.Listeners[i]
		was := before.of(now.Name, now.Address)
		if was == nil {
			continue
		}
		if now.TCP != nil && was.TCP != nil {
			now.TCP.All.Minus(was.TCP.All)
			lessPer(now.TCP.Servers, was.TCP.Servers, (*l4.Stats).Minus)
		}
		if now.HTTP != nil && was.HTTP != nil {
			now.HTTP.All.Minus(was.HTTP.All)
			less(now.HTTP.Routes, was.HTTP.Routes, (*httpproxy.Stats).Minus)
			lessPer(now.HTTP.Servers, was.HTTP.Servers, (*httpproxy.Stats).Minus)
		}
	}
}

func (c *tally) of(name, address string) *listenerTally {
	for i := range c.Listeners {
		if l := &c.Listeners[i]; sameListener(l.Name, l.Address, name, address) {
			return l
		}
	}
	return nil
}

func less[S any](now, was map[string]*S, minus func(now, was *S)) {
	for name, of := range now {
		if before := was[name]; before != nil {
			minus(of, before)
		}
	}
}

func lessPer[S any](now, was map[string]map[string]*S, minus func(now, was *S)) {
	for name, servers := range now {
		less(servers, was[name], minus)
	}
}

// inheritCounts goes on from what another process has counted.
func (r *running) inheritCounts(c *tally) {
	for _, p := range r.pools {
		for address, of := range c.Servers[p.Name()] {
			if server := p.Find(address); server != nil {
				server.Inherit(of.Total, of.Failures)
			}
		}
	}
	for _, l := range r.listeners {
		of := c.of(l.config.Name, l.config.Address)
		switch {
		case of == nil:
		case l.tcp != nil && of.TCP != nil && of.TCP.All != nil:
			l.tcp.Inherit(of.TCP.All, byServer(r, of.TCP.Servers))
		case l.http != nil && of.HTTP != nil && of.HTTP.All != nil:
			l.http.Inherit(of.HTTP.All, known(of.HTTP.Routes), byServer(r, of.HTTP.Servers))
		}
	}
}

// byServer finds the servers that there are here.
func byServer[S any](r *running, all map[string]map[string]*S) map[*pool.Server]*S {
	found := map[*pool.Server]*S{}
	for _, p := range r.pools {
		for address, of := range known(all[p.Name()]) {
			if server := p.Find(address); server != nil {
				found[server] = of
			}
		}
	}
	return found
}

// known leaves out what a message has as null.
func known[S any](all map[string]*S) map[string]*S {
	for name, of := range all {
		if of == nil {
			delete(all, name)
		}
	}
	return all
}

// sendCounts tells the new process what was counted since it began.
func (s *Supervisor) sendCounts(link *handover.Link) {
	now := s.current.Load().tally()
	now.since(s.upgrade.told)
	link.SetDeadline(time.Now().Add(moveTimeout))
	if err := link.Tell(tellCounts, now); err != nil {
		s.log.Warn("what was counted last is lost", "error", err)
	}
}

// addCounts goes on from there.
func (s *Supervisor) addCounts(m *handover.Message) {
	defer m.Close()
	var c tally
	if err := m.Decode(&c); err != nil {
		s.log.Warn("what the old process has counted last is lost", "error", err)
		return
	}
	s.live.inherit(s.current.Load(), &c)
}
