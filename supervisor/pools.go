package supervisor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"fulcrum/config"
	"fulcrum/health"
	"fulcrum/loop"
	"fulcrum/pool"
	"fulcrum/proxyproto"
	"fulcrum/resolve"
	"fulcrum/state"
)

const (
	// resolveTimeout bounds the resolving of all host names at start, and of one
	// on upload.
	resolveTimeout = 5 * time.Second
	// lookups is how many names are looked up at the same time at start.
	lookups = 16
	// checkSlack is how much longer than the timeout of a check a connection or
	// request waits for the first check result.
	checkSlack = 500 * time.Millisecond
)

// poolInUse is a pool with those who look after its servers.
type poolInUse struct {
	*pool.Pool
	config  *config.Pool
	kept    *poolInUse // what it goes on from; nil: it is new
	options pool.Options
	leads   map[string]net.Addr // where its servers' addresses lead, as far as was known when it was prepared
	checker *health.Checker
	names   *resolve.Watcher
}

// reconcile follows every change to the pool's servers.
func (p *poolInUse) reconcile() {
	p.names.Reconcile()
	p.checker.Reconcile()
}

// preparePools makes the pools, or prepares those that are kept. A server whose name
// does not resolve yet is in its pool and not healthy; the pool's watcher goes on
// trying, and says so.
func (r *running) preparePools(ctx context.Context, s *Supervisor, was *running) (problems []error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	merged, err := merge(r.config)
	if err != nil {
		return []error{err}
	}
	leads := lookUp(ctx, merged.Pools, was)
	for i := range r.config.Pools {
		c := &r.config.Pools[i]
		p, err := s.preparePool(c, was.find(c.Name))
		if err != nil {
			problems = append(problems, fmt.Errorf("pool %q: %w", c.Name, err))
			continue
		}
		if n := len(merged.Pools[i].Servers); n > config.MaxServers {
			problems = append(problems, fmt.Errorf("pool %q: %d servers with those that were uploaded; at most %d are allowed", c.Name, n, config.MaxServers))
		}
		p.leads = make(map[string]net.Addr)
		for _, server := range merged.Pools[i].Servers {
			p.leads[server.Address] = leads[server.Address]
			if known := p.Find(server.Address); known != nil {
				p.leads[server.Address] = known.Resolved()
			}
		}
		r.pools = append(r.pools, p)
	}
	return problems
}

// preparePool makes a pool, or has one go on with those who look after its servers
// unless these are to do something else.
func (s *Supervisor) preparePool(c *config.Pool, kept *poolInUse) (p *poolInUse, err error) {
	p = &poolInUse{config: c, kept: kept}
	p.options = pool.Options{Algorithm: c.Algorithm, Retries: (*pool.Retries)(c.Retries), Observer: observer{s.events, c.Name}}
	if c.Queue != nil {
		p.options.QueueLength = c.Queue.Length
	}
	if p.Pool, err = pool.New(c.Name, p.options); err != nil {
		return nil, err
	}
	if kept != nil {
		p.Pool = kept.Pool
	}
	if kept != nil && reflect.DeepEqual(c.Health, kept.config.Health) && c.SendProxy == kept.config.SendProxy && c.OnUnhealthy == kept.config.OnUnhealthy {
		p.checker = kept.checker
	} else {
		p.checker = health.New(p.Pool, s.healthOptions(c))
	}
	if kept != nil && c.ResolveInterval == kept.config.ResolveInterval {
		p.names = kept.names
	} else {
		p.names = resolve.New(p.Pool, resolve.Options{Interval: c.ResolveInterval, Logger: s.log})
	}
	return p, nil
}

// commit brings the pool's servers to what is wanted of them. Those that the config
// named before and that are not wanted any more are deleted; where there is a state
// file, so are all others. It is called with Supervisor.changes held.
func (p *poolInUse) commit(s *Supervisor, wanted []state.Server) {
	if p.kept != nil {
		if err := p.Configure(p.options); err != nil {
			s.log.Error("a pool goes on as before", "pool", p.Name(), "error", err)
		}
		p.kept.stopBut(p)
	}
	var changed []pool.ServerSpec
	for _, want := range wanted {
		spec := p.specWanted(s, want)
		if p.Find(spec.Address) != nil {
			spec.Resolved = nil // as before: its name may lead elsewhere since that was prepared
		}
		if revived := s.comesBack(p, spec.Address); revived || p.differs(spec) {
			changed = append(changed, spec)
		}
	}
	p.UploadAll(changed)
	for _, server := range p.unwanted(s, wanted) {
		s.beginRemoval(p, server)
	}
	p.SetHealthAll(s.heritage.healthOf(p.Pool))
	p.reconcile()
}

// specWanted is specOf for a server that a reload, or the start, wants.
func (p *poolInUse) specWanted(s *Supervisor, want state.Server) pool.ServerSpec {
	if s.state == nil {
		want.Draining = p.drains(want.Address) // nothing else remembers it
	}
	return p.specOf(want)
}

// unwanted returns the servers that have to go.
func (p *poolInUse) unwanted(s *Supervisor, wanted []state.Server) (all []*pool.Server) {
	stays := make(map[string]bool, len(wanted))
	for _, want := range wanted {
		stays[want.Address] = true
	}
	for _, server := range p.Servers() {
		named := s.state != nil || p.kept != nil && p.kept.configures(server.Address())
		if named && !stays[server.Address()] {
			all = append(all, server)
		}
	}
	return all
}

// drains reports whether there is a server that drains and is to stay.
func (p *poolInUse) drains(address string) bool {
	server := p.Find(address)
	if server == nil {
		return false
	}
	now := server.Status()
	return now.Draining && !now.Leaving
}

// differs reports whether a server is not what a spec says.
func (p *poolInUse) differs(spec pool.ServerSpec) bool {
	server := p.Find(spec.Address)
	if server == nil {
		return true
	}
	now := server.Spec()
	return now.Weight != spec.Weight || now.MaxConnections != spec.MaxConnections || now.Draining != spec.Draining || !slices.Equal(now.Sources, spec.Sources)
}

// configures reports whether the config names a server.
func (p *poolInUse) configures(address string) bool {
	return slices.ContainsFunc(p.config.Servers, func(s config.Server) bool { return s.Address == address })
}

// stopBut stops those who look after the pool's servers, unless they are another's
// too.
func (p *poolInUse) stopBut(other *poolInUse) {
	if other == nil || other.checker != p.checker {
		p.checker.Stop()
	}
	if other == nil || other.names != p.names {
		p.names.Stop()
	}
}

func (s *Supervisor) healthOptions(c *config.Pool) health.Options {
	h := c.Health
	o := health.Options{
		Off:       h.Off,
		Interval:  h.Interval,
		Timeout:   h.Timeout,
		Rise:      h.Rise,
		Fall:      h.Fall,
		Path:      h.Path,
		SendProxy: versionOf(c.SendProxy),
		Logger:    s.log,
	}
	for _, status := range h.Status {
		o.Status = append(o.Status, health.StatusRange(status))
	}
	if c.OnUnhealthy == config.OnUnhealthyClose {
		o.OnUnhealthy = s.closeServer
	}
	return o
}

// versionOf returns the version of the PROXY protocol that a config names, 0 for
// none.
func versionOf(name string) proxyproto.Version {
	switch name {
	case config.SendProxyV1:
		return proxyproto.V1
	case config.SendProxyV2:
		return proxyproto.V2
	}
	return 0
}

// checkWait returns how long clients wait for the first checks.
func (p *poolInUse) checkWait() time.Duration { return p.config.Health.Timeout + checkSlack }

// queueTimeout returns how long clients may wait in a pool's queue, 0 if it has
// none.
func (p *poolInUse) queueTimeout() time.Duration {
	if p.config.Queue == nil {
		return 0
	}
	return p.config.Queue.Timeout
}

// socket says how the pool's servers are connected to.
func (p *poolInUse) socket() loop.SocketOptions {
	return loop.SocketOptions{Keepalive: p.config.TCPKeepalive, UserTimeout: p.config.TCPUserTimeout}
}

// lookUp returns where the servers' addresses lead, but for those that are in their
// pools already. Those that could not be resolved by the time that ctx ends are not
// in it.
func lookUp(ctx context.Context, pools []state.Pool, was *running) map[string]net.Addr {
	var mu sync.Mutex
	leads := make(map[string]net.Addr) // guarded by mu
	addresses := make(chan string)
	var all sync.WaitGroup
	for range lookups {
		all.Go(func() {
			for address := range addresses {
				to, err := resolve.Address(ctx, address)
				if err != nil {
					continue
				}
				mu.Lock()
				leads[address] = to
				mu.Unlock()
			}
		})
	}
	asked := make(map[string]bool)
	for _, p := range pools {
		kept := was.find(p.Name)
		for _, s := range p.Servers {
			if kept != nil && kept.Find(s.Address) != nil {
				continue
			}
			if !asked[s.Address] {
				asked[s.Address] = true
				addresses <- s.Address
			}
		}
	}
	close(addresses)
	all.Wait()
	return leads
}

// find returns the pool of that name, or nil.
func (r *running) find(name string) *poolInUse {
	for _, p := range r.pools {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

func (r *running) pool(name string) (*poolInUse, error) {
	if p := r.find(name); p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("pool %q does not exist", name)
}

// sourcesOf returns the addresses that a server of a pool is connected to from:
// its own, or else the pool's. A unix socket is connected to from none.
func sourcesOf(p *config.Pool, s *config.Server) []netip.Addr {
	switch {
	case strings.HasPrefix(s.Address, unixPrefix+"/"):
		return nil
	case len(s.Source) > 0:
		return s.Source
	}
	return p.Source
}

// configured returns what the config says of a server of the pool: nothing but
// its address, if that was uploaded.
func (p *poolInUse) configured(address string) *config.Server {
	for i := range p.config.Servers {
		if s := &p.config.Servers[i]; s.Address == address {
			return s
		}
	}
	return &config.Server{Address: address}
}
