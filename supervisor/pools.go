package supervisor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"fulcrum/config"
	"fulcrum/health"
	"fulcrum/loop"
	"fulcrum/pool"
	"fulcrum/proxyproto"
	"fulcrum/resolve"
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
	checker *health.Checker
	names   *resolve.Watcher
}

// reconcile follows every change to the pool's servers.
func (p *poolInUse) reconcile() {
	p.names.Reconcile()
	p.checker.Reconcile()
}

func (p *poolInUse) stop() {
	p.names.Stop()
	p.checker.Stop()
}

// preparePools makes the pools. A server whose name does not resolve yet is in its
// pool and not healthy; the pool's watcher goes on trying, and says so.
func (r *running) preparePools() (problems []error) {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	leads := lookUp(ctx, r.config.Pools)
	for i := range r.config.Pools {
		c := &r.config.Pools[i]
		p, err := r.newPool(c)
		if err != nil {
			problems = append(problems, fmt.Errorf("pool %q: %w", c.Name, err))
			continue
		}
		for j := range c.Servers {
			s := &c.Servers[j]
			p.Upload(pool.ServerSpec{
				Address:        s.Address,
				Resolved:       leads[s.Address],
				Weight:         s.Weight,
				MaxConnections: s.MaxConnections,
				Sources:        sourcesOf(c, s),
			})
		}
		r.pools = append(r.pools, p)
	}
	return problems
}

func (r *running) newPool(c *config.Pool) (*poolInUse, error) {
	o := pool.Options{Algorithm: c.Algorithm, Retries: (*pool.Retries)(c.Retries)}
	if c.Queue != nil {
		o.QueueLength = c.Queue.Length
	}
	p, err := pool.New(c.Name, o)
	if err != nil {
		return nil, err
	}
	return &poolInUse{
		Pool:    p,
		config:  c,
		checker: health.New(p, r.healthOptions(c)),
		names:   resolve.New(p, resolve.Options{Interval: c.ResolveInterval, Logger: r.log}),
	}, nil
}

func (r *running) healthOptions(c *config.Pool) health.Options {
	h := c.Health
	o := health.Options{
		Off:       h.Off,
		Interval:  h.Interval,
		Timeout:   h.Timeout,
		Rise:      h.Rise,
		Fall:      h.Fall,
		Path:      h.Path,
		SendProxy: versionOf(c.SendProxy),
		Logger:    r.log,
	}
	for _, status := range h.Status {
		o.Status = append(o.Status, health.StatusRange(status))
	}
	if c.OnUnhealthy == config.OnUnhealthyClose {
		o.OnUnhealthy = r.closeServer
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

// lookUp returns where the servers' addresses lead. Those that could not be
// resolved by the time that ctx ends are not in it.
func lookUp(ctx context.Context, pools []config.Pool) map[string]net.Addr {
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
		for _, s := range p.Servers {
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

func (r *running) pool(name string) (*poolInUse, error) {
	for _, p := range r.pools {
		if p.Name() == name {
			return p, nil
		}
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
