package config

import (
	"net/netip"
)

func (p *problems) completePools(c *Config, root *place) {
	at := root.member("pools")
	seen := make(map[string]string)
	for i := range c.Pools[:p.atMost(at, len(c.Pools), maxPools)] {
		pool, at := &c.Pools[i], at.item(i)
		if at.bad() {
			continue
		}
		p.name(at, pool.Name, seen)
		p.completePool(pool, at)
	}
}

func (p *problems) completePool(pool *Pool, at *place) {
	p.oneOf(at.member("algorithm"), &pool.Algorithm, Algorithms(), DefaultAlgorithm)
	source := p.completeSource(at.member("source"), pool.Source)
	p.completeServers(pool.Servers, at.member("servers"), source)
	if pool.Health == nil {
		pool.Health = &Health{}
	}
	p.completeHealth(pool.Health, at.member("health"))
	p.duration(at.member("connect_timeout"), &pool.ConnectTimeout, durations, DefaultConnectTimeout)
	p.duration(at.member("response_timeout"), &pool.ResponseTimeout, durations, DefaultResponseTimeout)
	p.duration(at.member("drain_timeout"), &pool.DrainTimeout, durations, DefaultDrainTimeout)
	p.oneOf(at.member("send_proxy"), &pool.SendProxy, SendProxies(), "")
	p.completeQueue(pool.Queue, at.member("queue"))
	p.oneOf(at.member("on_unhealthy"), &pool.OnUnhealthy, OnUnhealthies(), DefaultOnUnhealthy)
	p.duration(at.member("resolve_interval"), &pool.ResolveInterval, durations, DefaultResolveInterval)
	p.duration(at.member("tcp_keepalive"), &pool.TCPKeepalive, keepalives, 0)
	p.duration(at.member("tcp_user_timeout"), &pool.TCPUserTimeout, userTimeouts, 0)
	if pool.Retries == nil {
		pool.Retries = standardRetries()
	}
	p.completeRetries(pool.Retries, at.member("retries"))
	if pool.Reuse == nil {
		pool.Reuse = &Reuse{}
	}
	p.completeReuse(pool.Reuse, at.member("reuse"))
	p.rewriteHost(at.member("rewrite_host"), &pool.RewriteHost)
}

func (p *problems) completeQueue(q *Queue, at *place) {
	if q == nil || at.bad() {
		return
	}
	p.whole(at.member("length"), &q.Length, queueLengths, DefaultQueueLength)
	p.duration(at.member("timeout"), &q.Timeout, durations, DefaultQueueTimeout)
}

// completeServers completes the servers of a pool; source is the first of the
// pool's own addresses to connect from.
func (p *problems) completeServers(servers []Server, at *place, source netip.Addr) {
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
		own := p.completeSource(at.member("source"), s.Source)
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
		p.connectable(at, address, s, own, source)
	}
}
