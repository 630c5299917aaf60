package config

import (
	"slices"
	"strings"
)

func (p *problems) completeListeners(c *Config, root *place) {
	at := root.member("listeners")
	if len(c.Listeners) == 0 && !at.bad() {
		p.add(at, "there are none, so there is nothing to do; add at least one")
	}
	pools := namesOf(c.Pools, root.member("pools"))
	seen := make(map[string]string)
	var taken []takenAddress
	for i := range c.Listeners[:p.atMost(at, len(c.Listeners), maxListeners)] {
		l, at := &c.Listeners[i], at.item(i)
		if at.bad() {
			continue
		}
		p.name(at, l.Name, seen)
		p.protocol(at, l, pools)
		taken = p.listen(at.member("address"), &l.Address, taken)
		if pool := at.member("pool"); l.Pool != "" || pool.given() || !l.routed(at) {
			p.reference(pool, l.Pool, pools)
		}
	}
	if c.Admin != nil {
		p.completeAdmin(c.Admin, root.member("admin"), taken)
	}
}

// routed reports whether the listener at a place can do without a pool.
func (l *Listener) routed(at *place) bool { return len(l.Routes) > 0 || at.member("routes").bad() }

// protocol checks a listener's protocol and what depends on it. Where it is
// unknown the settings of both are allowed, and nothing is said of the routes.
func (p *problems) protocol(at *place, l *Listener, pools poolNames) {
	where := at.member("protocol")
	allowed := "one of " + names(Protocols())
	if p.required(where, l.Protocol, allowed) && !slices.Contains(Protocols(), l.Protocol) {
		p.add(where, "%s is not known; use %s", quote(l.Protocol), allowed)
	}
	p.completeConnections(at, l)
	if l.Protocol == ProtocolHTTP {
		p.notTCP(at, l)
	} else {
		p.completeTCP(at, l)
	}
	if l.Protocol == ProtocolTCP {
		p.notHTTP(at, l)
	} else {
		p.completeHTTP(at, l)
	}
	switch l.Protocol {
	case ProtocolTCP:
		p.completeRoutes(l.Routes, at.member("routes"), pools, p.tcpRoute)
	case ProtocolHTTP:
		p.completeRoutes(l.Routes, at.member("routes"), pools, p.httpRoute)
	}
}

// A setting is a member of an object and whether a Config says anything of it.
type setting struct {
	key string
	set bool
}

// refuse reports those of the settings that are given.
func (p *problems) refuse(at *place, why string, settings ...setting) {
	for _, s := range settings {
		if where := at.member(s.key); !where.bad() && (where.given() || s.set) {
			p.add(where, "%s; leave it out", why)
		}
	}
}

// completeConnections checks what listeners of both protocols have.
func (p *problems) completeConnections(at *place, l *Listener) {
	if l.unix() {
		p.refuse(at, noAddress,
			setting{"max_connections_per_client", l.MaxConnectionsPerClient != 0},
			setting{"accept_proxy", l.AcceptProxy != nil})
		p.refuse(at, "a unix socket has none",
			setting{"tcp_keepalive", l.TCPKeepalive != 0},
			setting{"tcp_user_timeout", l.TCPUserTimeout != 0})
	}
	idle := DefaultIdleTimeoutHTTP
	if l.Protocol == ProtocolTCP {
		idle = DefaultIdleTimeoutTCP
	}
	p.duration(at.member("idle_timeout"), &l.IdleTimeout, durations, idle)
	p.whole(at.member("max_connections"), &l.MaxConnections, limits, 0)
	p.whole(at.member("max_connections_per_client"), &l.MaxConnectionsPerClient, limits, 0)
	p.duration(at.member("tcp_keepalive"), &l.TCPKeepalive, keepalives, 0)
	p.duration(at.member("tcp_user_timeout"), &l.TCPUserTimeout, userTimeouts, 0)
	p.completeAcceptProxy(l.AcceptProxy, at.member("accept_proxy"))
	p.accessLog(at.member("access_log"), l.AccessLog)
}

const noAddress = "the clients of a unix socket have no address"

func (l *Listener) unix() bool {
	_, unix := unixPath(l.Address)
	return unix
}

func (p *problems) accessLog(at *place, to string) {
	if at.bad() || to == "" && !at.given() || to == AccessLogStdout || to == AccessLogStderr {
		return
	}
	standard := []string{AccessLogStdout, AccessLogStderr}
	meant := ""
	if !strings.Contains(to, "/") {
		meant = suggest(to, standard)
	}
	if meant != "" || to == "" || len(to) > maxFilePath || strings.HasSuffix(to, "/") || strings.Contains(to, "\x00") {
		p.add(at, "%s is not allowed; %suse %s", quote(to), meant, accessLogForm)
	}
}

// poolNames is what a listener may refer to.
type poolNames struct {
	all  []string
	sure bool // whether that is all: not if the name of a pool could not be made out or pools were left out
}

func namesOf(pools []Pool, at *place) (n poolNames) {
	n.sure = !at.bad() && len(pools) <= maxPools
	for i := range pools[:min(len(pools), maxPools)] {
		item := at.item(i)
		if item.bad() || item.member("name").bad() {
			n.sure = false
		} else if pools[i].Name != "" {
			n.all = append(n.all, pools[i].Name)
		}
	}
	return n
}

// reference checks the name of the pool that a listener feeds.
func (p *problems) reference(at *place, name string, pools poolNames) {
	if !p.required(at, name, "the name of a pool") || !pools.sure || slices.Contains(pools.all, name) {
		return
	}
	switch {
	case len(pools.all) == 0:
		p.add(at, "there is no pool %s, nor any other; add it to pools", quote(name))
	case p.full():
		p.more++
	default:
		p.add(at, "there is no pool %s; %sthe pools are %s", quote(name), suggest(name, pools.all), names(pools.all))
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
	another := "another port or address"
	if l.unix != "" {
		another = "another path"
	}
	for _, other := range taken {
		if l.overlaps(other.listenAddress) {
			p.add(at, "%s is taken by %v (%q); use %s", quote(*address), other.at, other.String(), another)
			break
		}
	}
	*address = l.String()
	return append(taken, takenAddress{l, at})
}
