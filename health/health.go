// Package health checks the servers of a pool and is the only one that says
// which of them are healthy.
//
// A Checker has one goroutine for each server: it checks at once, then at every
// interval, and in between whenever traffic found the server suspect. What a
// check finds goes through rise and fall (see State) to pool.SetHealth. New
// starts nothing; Reconcile, called after every change to the pool's servers,
// starts and stops the goroutines so that they match; Stop ends them all and
// waits.
//
// A check connects to where the server's address leads, over TCP or a unix
// socket, from the server's source address. That is all of it, or it asks over
// HTTP and looks at the status of the answer. A server whose name is not
// resolved fails its checks. When this machine is out of descriptors, ports or
// memory, nothing is learnt and servers stay as they are.
package health

import (
	"context"
	"log/slog"
	"time"

	"fulcrum/pool"
	"fulcrum/proxyproto"
	"fulcrum/watch"
)

const minPause = 100 * time.Millisecond // between two checks of a server, however suspect it is

// Options say how the servers of a pool are checked.
type Options struct {
	Off      bool          // no checks: every server counts as healthy
	Interval time.Duration // from the start of one check to that of the next
	Timeout  time.Duration // of one check, as a whole
	Rise     int           // checks passed in a row until an unhealthy server is healthy
	Fall     int           // checks failed in a row until a healthy server is not
	Path     string        // of an HTTP request; empty: connecting is the check
	Status   []StatusRange // what the answer's status must be in
	Logger   *slog.Logger

	// SendProxy is the PROXY protocol that the servers expect: a check then
	// begins with the header of a connection on this machine's own behalf. Zero:
	// they expect none.
	SendProxy proxyproto.Version
	// OnUnhealthy, if not nil, is told of each server that was healthy and is no
	// longer, once the pool has ceased to choose it. It is called from the
	// goroutine that checks the server, so perhaps for several at the same time:
	// it must not call Stop, and until it returns the server is not checked.
	OnUnhealthy func(*pool.Server)
}

// StatusRange is a range of HTTP statuses, both ends included.
type StatusRange struct{ From, To int }

// A Checker checks the servers of one pool.
type Checker struct {
	options Options
	pool    *pool.Pool
	probe   probe
	watched watch.Group
}

// New returns a checker for a pool. Reconcile sets it to work.
func New(p *pool.Pool, o Options) *Checker {
	return &Checker{options: o, pool: p, probe: newProbe(o)}
}

// Reconcile begins to check the pool's new servers and stops checking those that
// have left it.
func (c *Checker) Reconcile() {
	if !c.options.Off {
		c.watched.Reconcile(c.pool.Servers(), func(s *pool.Server) func(context.Context) {
			return func(ctx context.Context) { c.watch(ctx, s) }
		})
		return
	}
	now := time.Now()
	off := make(map[*pool.Server]pool.Health)
	c.watched.Reconcile(c.pool.Servers(), func(s *pool.Server) func(context.Context) {
		off[s] = pool.Health{Healthy: true, Passed: true, Reason: "checks are off", At: now, Since: now}
		return nil
	})
	c.pool.SetHealthAll(off)
}

// Stop ends all checks and waits for them.
func (c *Checker) Stop() { c.watched.Stop() }

// watch checks one server until ctx ends.
func (c *Checker) watch(ctx context.Context, s *pool.Server) {
	state := c.resume(s)
	// The second check comes after any part of an interval: servers that were
	// added together are spread out from then on.
	wait := watch.Spread(c.options.Interval)
	for {
		started := time.Now()
		c.check(ctx, s, &state)
		pause := min(minPause, c.options.Interval)
		if !watch.Sleep(ctx, pause, nil) || !watch.Sleep(ctx, wait-time.Since(started), s.Suspect()) {
			return
		}
		wait = watch.Vary(c.options.Interval)
	}
}

// resume begins with what is known of the server, be it from another Checker.
func (c *Checker) resume(s *pool.Server) State {
	h := s.Health()
	return State{Rise: c.options.Rise, Fall: c.options.Fall, Healthy: h.Healthy, checked: h.Checked(), since: h.Since}
}

// check probes a server once and records what it found.
func (c *Checker) check(ctx context.Context, s *pool.Server, state *State) {
	started := time.Now()
	timed, cancel := context.WithTimeout(ctx, c.options.Timeout)
	found := c.probe(timed, s)
	cancel()
	if ctx.Err() != nil {
		return // stopped in the middle: what it found means nothing
	}
	if found.void {
		if !state.void {
			c.options.Logger.Warn("server could not be checked and stays as it is", "pool", c.pool.Name(), "server", s.Address(), "reason", found.reason)
		}
		state.void = true
		return
	}
	state.void = false
	ended := time.Now()
	before := state.Healthy
	changed := state.Apply(found.passed)
	if changed {
		state.since = ended
	}
	c.pool.SetHealth(s, pool.Health{
		Healthy: state.Healthy,
		Passed:  found.passed,
		Reason:  found.reason,
		At:      ended,
		Took:    ended.Sub(started),
		Since:   state.since,
	})
	if !changed {
		return
	}
	if log := c.options.Logger.With("pool", c.pool.Name(), "server", s.Address(), "reason", found.reason); state.Healthy {
		log.Info("server is healthy")
	} else {
		log.Warn("server is not healthy")
	}
	if before && !state.Healthy && c.options.OnUnhealthy != nil {
		c.options.OnUnhealthy(s)
	}
}
