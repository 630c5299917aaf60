package config

import (
	"fmt"
	"slices"
)

// complete fills in the defaults and reports everything that is not allowed.
// Of a value that was found bad in decoding nothing more is said.
func (p *problems) complete(c *Config, at *place) {
	if at.bad() {
		return
	}
	p.completeListeners(c, at)
	p.completePools(c.Pools, at.member("pools"))
	p.duration(at.member("shutdown_timeout"), &c.ShutdownTimeout, DefaultShutdownTimeout)
}

func (p *problems) completeListeners(c *Config, root *place) {
	at := root.member("listeners")
	if len(c.Listeners) == 0 && !at.bad() {
		p.add(at, "there are none, so there is nothing to do; add at least one")
	}
	pools, sure := poolNames(c.Pools, root.member("pools"))
	seen := make(map[string]string)
	var taken []takenAddress
	for i := range c.Listeners[:p.atMost(at, len(c.Listeners), maxListeners)] {
		l, at := &c.Listeners[i], at.item(i)
		if at.bad() {
			continue
		}
		p.name(at, l.Name, seen)
		p.protocol(at, l)
		taken = p.listen(at.member("address"), &l.Address, taken)
		p.reference(at.member("pool"), l.Pool, pools, sure)
	}
	if c.Admin == nil {
		return
	}
	admin := root.member("admin")
	address := admin.member("address")
	if c.Admin.Address == "" && !address.given() {
		c.Admin.Address = DefaultAdminAddress
	}
	if !admin.bad() {
		p.listen(address, &c.Admin.Address, taken)
	}
}

// reference checks the name of the pool that a listener feeds.
func (p *problems) reference(at *place, name string, pools []string, sure bool) {
	if !p.required(at, name, "the name of a pool") || !sure || slices.Contains(pools, name) {
		return
	}
	if len(pools) == 0 {
		p.add(at, "there is no pool %s, nor any other; add it to pools", quote(name))
		return
	}
	p.add(at, "there is no pool %s; %sthe pools are %s", quote(name), suggest(name, pools), names(pools))
}

// poolNames returns what a listener may refer to, and whether that is all: not
// if the name of a pool could not be made out or pools were left out.
func poolNames(pools []Pool, at *place) (all []string, sure bool) {
	sure = !at.bad() && len(pools) <= maxPools
	for i := range pools[:min(len(pools), maxPools)] {
		item := at.item(i)
		if item.bad() || item.member("name").bad() {
			sure = false
		} else if pools[i].Name != "" {
			all = append(all, pools[i].Name)
		}
	}
	return all, sure
}

// protocol checks a listener's protocol and what depends on it.
func (p *problems) protocol(at *place, l *Listener) {
	where := at.member("protocol")
	idle, header := at.member("idle_timeout"), at.member("header_timeout")
	allowed := "one of " + names(Protocols())
	if p.required(where, l.Protocol, allowed) && !slices.Contains(Protocols(), l.Protocol) {
		p.add(where, "%s is not known; use %s", quote(l.Protocol), allowed)
	}
	if l.Protocol != ProtocolTCP {
		p.duration(idle, &l.IdleTimeout, DefaultIdleTimeoutHTTP)
		p.duration(header, &l.HeaderTimeout, DefaultHeaderTimeout)
		return
	}
	p.duration(idle, &l.IdleTimeout, DefaultIdleTimeoutTCP)
	if !header.bad() && (header.given() || l.HeaderTimeout != 0) {
		p.add(header, "a tcp listener has none, only an http listener does; leave it out")
	}
}

type takenAddress struct {
	listenAddress
	at *place
}

// listen checks an address to listen on against those before it, brings it
// into its canonical form and returns it with the others.
func (p *problems) listen(at *place, address *string, taken []takenAddress) []takenAddress {
	if !p.required(at, *address, listenForm) {
		return taken
	}
	l, err := parseListen(*address)
	if err != nil {
		p.add(at, "%v", err)
		return taken
	}
	for _, other := range taken {
		if l.overlaps(other.listenAddress) {
			p.add(at, "%s is taken by %v (%q); use another port or address", quote(*address), other.at, other.String())
			break
		}
	}
	*address = l.String()
	return append(taken, takenAddress{l, at})
}

func (p *problems) completePools(pools []Pool, at *place) {
	seen := make(map[string]string)
	for i := range pools[:p.atMost(at, len(pools), maxPools)] {
		pool, at := &pools[i], at.item(i)
		if at.bad() {
			continue
		}
		p.name(at, pool.Name, seen)
		algorithm := at.member("algorithm")
		if pool.Algorithm == "" && (!algorithm.given() || algorithm.bad()) {
			pool.Algorithm = DefaultAlgorithm
		}
		if !slices.Contains(Algorithms(), pool.Algorithm) {
			p.add(algorithm, "%s is not known; %suse one of %s",
				quote(pool.Algorithm), suggest(pool.Algorithm, Algorithms()), names(Algorithms()))
		}
		p.completeServers(pool.Servers, at.member("servers"))
		if pool.Health == nil {
			pool.Health = &Health{}
		}
		p.completeHealth(pool.Health, at.member("health"))
		p.duration(at.member("connect_timeout"), &pool.ConnectTimeout, DefaultConnectTimeout)
		p.duration(at.member("response_timeout"), &pool.ResponseTimeout, DefaultResponseTimeout)
		p.duration(at.member("drain_timeout"), &pool.DrainTimeout, DefaultDrainTimeout)
	}
}

func (p *problems) completeServers(servers []Server, at *place) {
	seen := make(map[string]int, len(servers))
	for i := range servers[:p.atMost(at, len(servers), MaxServers)] {
		s, at := &servers[i], at.item(i)
		if at.bad() {
			continue
		}
		address := at.member("address")
		if at.given() && at.node.kind == kindString {
			address = at
		}
		p.whole(at.member("weight"), &s.Weight, weights, DefaultWeight)
		p.whole(at.member("max_connections"), &s.MaxConnections, limits, 0)
		if !p.required(address, s.Address, serverForm) {
			continue
		}
		canonical, err := ParseServer(s.Address)
		if err != nil {
			p.add(address, "%v", err)
			continue
		}
		if first, ok := seen[canonical]; ok {
			p.add(address, "%s is already the address of %v; keep one of them", quote(s.Address), at.up.item(first))
			continue
		}
		seen[canonical] = i
		s.Address = canonical
	}
}

func (p *problems) completeHealth(h *Health, at *place) {
	if h.Off || at.bad() {
		return
	}
	interval, timeout := at.member("interval"), at.member("timeout")
	known := p.duration(interval, &h.Interval, DefaultHealthInterval)
	standard := DefaultHealthTimeout
	if known {
		standard = min(standard, h.Interval)
	}
	if p.duration(timeout, &h.Timeout, standard) && known && h.Timeout > h.Interval {
		p.add(timeout, "%s is not allowed; use at most the interval, which is %v", timeout.show(h.Timeout), h.Interval)
	}
	p.whole(at.member("rise"), &h.Rise, streaks, DefaultRise)
	p.whole(at.member("fall"), &h.Fall, streaks, DefaultFall)
	path, status := at.member("path"), at.member("status")
	if (h.Path != "" || path.given()) && !path.bad() && !validPath(h.Path) {
		p.add(path, "%s is not allowed; use %s", quote(h.Path), pathForm)
	}
	p.status(h, path, status)
}

func (p *problems) status(h *Health, path, status *place) {
	if len(h.Status) == 0 {
		if h.Path != "" {
			h.Status = []StatusRange{{200, 399}}
		}
		return
	}
	if h.Path == "" && !path.given() {
		p.add(status, "needs a path, for a check without one is a TCP connect; add a path or leave it out")
	}
	if len(h.Status) > maxStatus || slices.ContainsFunc(h.Status, func(r StatusRange) bool { return !r.valid() }) {
		p.add(status, "%s is not allowed; use %s", clip(fmt.Sprint(h.Status)), statusForm)
	}
}
