// Package pool holds the servers that traffic may go to, chooses among them
// and counts what each of them has in flight. It is the only place where a
// server is chosen or counted.
//
// A Pool is a named set of servers and an algorithm. Acquire chooses a server
// and counts on it in one step; the Lease that it returns must be released
// exactly once, when the connection (tcp) or the response body (http) has
// ended. Package health says which servers are healthy, the operator which are
// draining; a server is ready, and so can be chosen, when it is healthy and
// not draining.
//
// Who finds every ready server full, or none checked yet, may wait: Await puts a
// Waiter into the pool's queue, first come first served. The queue works by
// hand-over: the Release that frees a place, or the change that makes a server
// ready, acquires for the first waiter who can use it. While somebody waits,
// Acquire gives newcomers nothing, so that nobody overtakes. Nobody waits longer
// than its owner lets it: owners set a limit and Cancel.
//
// Who has tried a server in vain asks Retry whether to acquire another one: so many
// are tried for one connection or request, and of the traffic of the last seconds
// only a share is tried again, so that failure does not multiply the load on the
// servers that are left.
//
// Readers never lock: writers rebuild an immutable snapshot of the ready
// servers under the pool's mutex and store it whole. Package pool dials
// nothing, starts no goroutine and knows none of its callers.
package pool

import (
	"container/list"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/cpu"
)

// What Acquire answers when it has no server to give.
var (
	// ErrUnchecked: no server is ready, but the first check of at least one is
	// still under way. The caller may Await one.
	ErrUnchecked = errors.New("no server is ready and not all have been checked yet")
	// ErrNoneReady: no server is ready, or every ready one was tried.
	ErrNoneReady = errors.New("no server is ready")
	// ErrFull: the servers left to choose from are at their max_connections, or
	// others wait for them. The caller may Await one.
	ErrFull = errors.New("every ready server is at its max_connections")
	// ErrQueueFull: as ErrFull, and as many wait as may. Only Await and waiters are
	// told so.
	ErrQueueFull = errors.New("every ready server is at its max_connections and the queue is full")
)

// A Pool is a named set of servers that can serve the same traffic. All its
// methods may be called from any goroutine.
type Pool struct {
	name string

	mu      sync.Mutex
	options Options            // complete; guarded by mu
	servers []*Server          // in the order they came; guarded by mu
	byName  map[string]*Server // the same by address; guarded by mu
	waiters list.List          // the queue, of *Waiter; guarded by mu
	full    int                // how many of them wait because all are full; guarded by mu
	budget  budget             // of retries; guarded by mu
	told    told               // what the observer was told; guarded by mu

	_       cpu.CacheLinePad
	current atomic.Pointer[snapshot]
	queued  atomic.Int64 // how many wait; written under mu

	_     cpu.CacheLinePad
	turn  atomic.Uint64 // which of several equal choices is next
	again atomic.Int64  // how many choices were for who had tried others before
	_     cpu.CacheLinePad
}

// snapshot is what Acquire reads: how to choose, the ready servers, and the error
// that stands for their absence.
type snapshot struct {
	algorithm string
	rotation
	none error
}

// next chooses a server and counts on it, for somebody who has tried others in vain
// or, if tried is nil, none. It moves the turn on.
func (s *snapshot) next(turn *atomic.Uint64, tried *Tried) (*Server, error) {
	if len(s.candidates) == 0 {
		return nil, s.none
	}
	if s.algorithm == RoundRobin {
		return s.roundRobin(turn, tried)
	}
	return s.leastConnections(turn, tried)
}

// leaves reports whether a newcomer gets nothing, for the sake of those who wait.
func (s *snapshot) leaves(waiting int64) bool { return waiting > 0 && len(s.candidates) > 0 }

// pending reports whether Acquire answers ErrUnchecked.
func (s *snapshot) pending() bool { return len(s.candidates) == 0 && s.none == ErrUnchecked }

// Options say how a pool chooses, who may wait for it and who may try again.
type Options struct {
	Algorithm   string   // one of Algorithms; empty: LeastConnections
	QueueLength int      // how many may wait when every ready server is full; 0: nobody
	Retries     *Retries // nil: as many attempts as there may be, 20 percent
	Observer    Observer // told what changes; nil: nobody is
}

// complete checks the options and fills in what was left out.
func (o *Options) complete() error {
	if o.Algorithm == "" {
		o.Algorithm = LeastConnections
	}
	if !slices.Contains(Algorithms(), o.Algorithm) {
		return fmt.Errorf("algorithm %q is not known; use one of %q", o.Algorithm, Algorithms())
	}
	if o.QueueLength < 0 {
		return fmt.Errorf("queue length %d is not possible; 0 means that nobody waits", o.QueueLength)
	}
	if o.Retries == nil {
		o.Retries = &Retries{Attempts: MaxTries - 1, Percent: 20}
	}
	return o.Retries.check()
}

// New returns an empty pool. An unknown algorithm is an error that lists those
// that exist.
func New(name string, o Options) (*Pool, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	p := &Pool{name: name, options: o, byName: make(map[string]*Server), budget: budget{began: time.Now()}}
	p.current.Store(p.snapshotLocked())
	return p, nil
}

// Configure changes how the pool chooses, who may wait and who may try again, from
// now on. Who waits already goes on waiting. After an error nothing has changed.
func (p *Pool) Configure(o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	p.change(func() bool {
		p.options = o
		return true
	})
	return nil
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.name }

// Algorithm returns the name of the pool's algorithm.
func (p *Pool) Algorithm() string { return p.current.Load().algorithm }

// Acquire chooses a ready server that is not in tried and counts one more
// active on it. The caller must call Release on the lease exactly once. When
// there is no server to give, the error is ErrUnchecked, ErrNoneReady or
// ErrFull. tried may be nil.
func (p *Pool) Acquire(tried *Tried) (Lease, error) {
	now := p.current.Load()
	if now.leaves(p.queued.Load()) {
		return Lease{}, ErrFull
	}
	return p.choose(now, tried)
}

// choose is Acquire for somebody whose turn it is.
func (p *Pool) choose(now *snapshot, tried *Tried) (Lease, error) {
	server, err := now.next(&p.turn, tried)
	if err != nil {
		return Lease{}, err
	}
	return leaseOn(server, tried), nil
}

// Upload adds a server, or updates the one that has the same address, which stays
// if it was to leave, and makes that suspect. It reports whether the server is new; a
// new one is not ready before SetHealth says so. Where an address leads is kept when
// the spec does not say it.
func (p *Pool) Upload(spec ServerSpec) (server *Server, created bool) {
	p.change(func() bool {
		server, created = p.uploadLocked(spec)
		return true
	})
	return server, created
}

// UploadAll is Upload for several servers at the same moment: nobody chooses when only
// some of them are as their specs say.
func (p *Pool) UploadAll(specs []ServerSpec) {
	p.change(func() bool {
		for _, spec := range specs {
			p.uploadLocked(spec)
		}
		return len(specs) > 0
	})
}

func (p *Pool) uploadLocked(spec ServerSpec) (server *Server, created bool) {
	if spec.Weight == 0 {
		spec.Weight = 1
	}
	server = p.byName[spec.Address]
	if created = server == nil; created {
		server = newServer(p, spec.Address)
		p.servers = append(p.servers, server)
		p.byName[spec.Address] = server
	} else {
		server.suspectNow()
	}
	if spec.Resolved == nil {
		spec.Resolved = server.spec.Resolved
	}
	server.spec = spec
	server.resolved.Store(&spec.Resolved)
	server.sources.Store(&spec.Sources)
	server.leaving = false
	return server, created
}

// Find returns the server with that address, or nil.
func (p *Pool) Find(address string) *Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byName[address]
}

// Drain keeps new work away from a server that is to leave the pool; what is in
// flight on it goes on. It reports whether the server is one of the pool's. One that
// is to stay drains by its spec.
func (p *Pool) Drain(server *Server) (known bool) {
	p.change(func() bool {
		if known = slices.Contains(p.servers, server); known {
			server.spec.Draining, server.leaving = true, true
		}
		return known
	})
	return known
}

// RemoveDrained takes a server out of the pool after Drain and reports whether it
// did. A server that was uploaded again in the meantime stays. Leases on a
// removed server stay valid and are still to be released.
func (p *Pool) RemoveDrained(server *Server) (removed bool) {
	p.change(func() bool {
		i := slices.Index(p.servers, server)
		if removed = i >= 0 && server.leaving; removed {
			p.servers = slices.Delete(p.servers, i, i+1)
			delete(p.byName, server.address)
			p.budget.removed += server.total.Load()
		}
		return removed
	})
	return removed
}

// SetHealth records the latest check result of a server and makes the server
// ready or not accordingly. Only package health calls it.
func (p *Pool) SetHealth(server *Server, health Health) {
	p.change(func() bool { return server.setHealthLocked(health) })
}

// SetHealthAll is SetHealth for several servers at the same moment.
func (p *Pool) SetHealthAll(all map[*Server]Health) {
	p.change(func() (changed bool) {
		for server, health := range all {
			changed = server.setHealthLocked(health) || changed
		}
		return changed
	})
}

// SetResolved records where a server's address leads, for connections from now
// on, and makes the server suspect if that is news. Nobody may change to
// afterwards. Only package resolve calls it.
func (p *Pool) SetResolved(server *Server, to net.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if before := server.spec.Resolved; before == to || before != nil && to != nil && before.String() == to.String() {
		return
	}
	server.spec.Resolved = to
	server.resolved.Store(&to)
	server.suspectNow()
}

// Again returns how often a server was chosen for somebody who had tried others in
// vain.
func (p *Pool) Again() int64 { return p.again.Load() }

// Status returns a copy of what is known of each server, in the order in
// which they were added.
func (p *Pool) Status() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Status, len(p.servers))
	for i, s := range p.servers {
		all[i] = s.statusLocked()
	}
	return all
}

// Servers returns the pool's servers in the order in which they were added.
func (p *Pool) Servers() []*Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.servers)
}

// publishLocked has servers chosen from as they are now, and tells what is new of it.
func (p *Pool) publishLocked() {
	next := p.snapshotLocked()
	p.current.Store(next)
	p.tellLocked(next)
}

func (p *Pool) snapshotLocked() *snapshot {
	var ready []candidate
	unchecked := false
	for _, s := range p.servers {
		switch s.standingLocked() {
		case Ready:
			ready = append(ready, candidate{s, int64(s.spec.Weight), int64(s.spec.MaxConnections)})
		case Unchecked:
			unchecked = true
		}
	}
	next := &snapshot{algorithm: p.options.Algorithm, rotation: newRotation(ready), none: ErrNoneReady}
	if unchecked {
		next.none = ErrUnchecked
	}
	return next
}
