package pool

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/cpu"
)

// A ServerSpec says what the operator wants of a server.
type ServerSpec struct {
	Address        string       // as the operator wrote it; its identity within the pool
	Resolved       net.Addr     // where Address leads: a *net.TCPAddr or *net.UnixAddr that nobody changes; nil: not known, or as before
	Weight         int          // its share relative to the others; 0 means 1
	MaxConnections int          // no more active than this; 0 means no limit
	Sources        []netip.Addr // the addresses to connect from, in turn, that nobody changes; empty: the kernel's choice
	Draining       bool         // it gets no new work, and finishes what is in flight
}

// A Server is one address in a pool. It is created by Pool.Upload and keeps
// its counts as long as it is in the pool.
type Server struct {
	pool    *Pool
	address string
	suspect chan struct{}

	resolved atomic.Pointer[net.Addr]
	sources  atomic.Pointer[[]netip.Addr]

	// Guarded by the pool's mutex.
	spec     ServerSpec
	leaving  bool // from Drain until it is removed or uploaded again
	health   Health
	checks   Checks
	standing Standing  // as it was published last
	since    time.Time // when that began
	reason   string    // what the check found that decided it

	_        cpu.CacheLinePad
	active   atomic.Int64
	total    atomic.Int64
	failures atomic.Int64
	source   atomic.Uint64 // which of the sources is next
	_        cpu.CacheLinePad
}

// Health is the outcome of the checks of one server, as package health saw it
// last. The zero value is a server that has not been checked yet.
type Health struct {
	Healthy bool
	Passed  bool          // whether the last check did; it may differ from Healthy until rise or fall is reached
	Reason  string        // what the last check found, in words
	At      time.Time     // when the last check ended; zero: none has
	Took    time.Duration // how long the last check took
	Since   time.Time     // since when Healthy has been what it is
}

// Checked reports whether a check has ended.
func (h Health) Checked() bool { return !h.At.IsZero() }

// Checks are counts of a server's checks since it is in the pool.
type Checks struct {
	Ended   int64 // those that have found something out
	Failed  int64 // of these
	Changes int64 // times that they made the server healthy or not, the first check included
}

func (c *Checks) count(passed, changed bool) {
	c.Ended++
	if !passed {
		c.Failed++
	}
	if changed {
		c.Changes++
	}
}

// Status is a copy of what is known of a server at one moment.
type Status struct {
	ServerSpec
	Health   Health
	Checks   Checks
	Leaving  bool // it drains to be removed
	Ready    bool
	Standing Standing
	Since    time.Time // when Standing began
	Reason   string    // of Ready and Unhealthy: what the check found, in words, that decided it
	Active   int64     // in flight now: connections (tcp) or requests (http)
	Total    int64     // times chosen
	Failures int64     // times it could not be connected to, or failed to answer
}

func newServer(p *Pool, address string) *Server {
	return &Server{pool: p, address: address, suspect: make(chan struct{}, 1), since: time.Now()}
}

// Address returns the server's address as the operator wrote it.
func (s *Server) Address() string { return s.address }

// Resolved returns where connections to the server go, nil while that is not known.
func (s *Server) Resolved() net.Addr { return *s.resolved.Load() }

// Source returns the address to connect to the server from: each of its Sources
// in turn. It is invalid when there are none, and the kernel chooses.
func (s *Server) Source() netip.Addr {
	sources := *s.sources.Load()
	switch n := uint64(len(sources)); n {
	case 0:
		return netip.Addr{}
	case 1:
		return sources[0]
	default:
		return sources[(s.source.Add(1)-1)%n]
	}
}

// Active returns how many connections or requests are in flight on the server.
func (s *Server) Active() int64 { return s.active.Load() }

// Spec returns what the operator says of the server.
func (s *Server) Spec() ServerSpec {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return s.spec
}

// Health returns the latest check result.
func (s *Server) Health() Health {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return s.health
}

// Status returns a copy of what is known of the server.
func (s *Server) Status() Status {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return s.statusLocked()
}

// Suspect delivers a value after traffic failed to connect to the server, it was
// uploaded again or its address leads elsewhere, so that it can be checked at
// once. Several reasons in quick succession may deliver one. Package health is its only receiver.
func (s *Server) Suspect() <-chan struct{} { return s.suspect }

func (s *Server) suspectNow() {
	select {
	case s.suspect <- struct{}{}:
	default: // a check is already due
	}
}

// setHealthLocked reports whether that changes who can be chosen.
func (s *Server) setHealthLocked(health Health) (changed bool) {
	before := s.health
	s.health = health
	changed = before.Healthy != health.Healthy || before.Checked() != health.Checked()
	s.checks.count(health.Passed, changed)
	return changed
}

func (s *Server) readyLocked() bool { return s.standingLocked() == Ready }

func (s *Server) statusLocked() Status {
	return Status{
		ServerSpec: s.spec,
		Health:     s.health,
		Checks:     s.checks,
		Leaving:    s.leaving,
		Ready:      s.readyLocked(),
		Standing:   s.standing,
		Since:      s.since,
		Reason:     s.reason,
		Active:     s.active.Load(),
		Total:      s.total.Load(),
		Failures:   s.failures.Load(),
	}
}

// Outcome says how the use of a server ended.
type Outcome uint8

const (
	// Served: the server did its part, whoever ended the connection.
	Served Outcome = iota
	// ConnectFailed: no connection to the server came about. Counted as a
	// failure; the server becomes suspect.
	ConnectFailed
	// AnswerFailed: connected, but no valid answer came. Counted as a failure.
	AnswerFailed
)

// A Lease is one unit of work counted on a server, from Acquire to Release.
// The zero Lease holds nothing. A Lease belongs to one owner and is not copied
// after it was handed over.
type Lease struct {
	server *Server
}

// leaseOn makes the lease of a server that was counted on.
func leaseOn(s *Server, tried *Tried) Lease {
	s.total.Add(1)
	if !tried.empty() {
		s.pool.again.Add(1)
	}
	return Lease{server: s}
}

// Inherit adds to how often the server was chosen, and failed, what another process has
// counted.
func (s *Server) Inherit(total, failures int64) {
	s.total.Add(total)
	s.failures.Add(failures)
}

// Continue counts on the server what is in flight on it already, begun by another
// process, whether or not the server is ready or full. It was not chosen here, and is
// not counted as if it were.
func (s *Server) Continue() Lease {
	s.active.Add(1)
	return Lease{server: s}
}

// Server returns the server chosen, nil once released.
func (l *Lease) Server() *Server { return l.server }

// Release ends the lease: the server has one less active. If somebody waits for
// it, Release calls that waiter's Granted before it returns; no lock is held then.
// Releasing again does nothing.
func (l *Lease) Release(outcome Outcome) {
	s := l.server
	if s == nil {
		return
	}
	l.server = nil
	if outcome != Served {
		s.failures.Add(1)
	}
	if outcome == ConnectFailed {
		s.suspectNow()
	}
	s.active.Add(-1)
	if s.pool.queued.Load() > 0 {
		s.pool.handOver(s)
	}
}

// Move ends the lease of work that goes on in another process. It has one less active
// here, but as its place is taken there it is handed to nobody who waits.
func (l *Lease) Move() {
	if s := l.server; s != nil {
		l.server = nil
		s.active.Add(-1)
	}
}

// MaxTries is how many servers are tried for one connection or request.
const MaxTries = 8

// Tried remembers the servers that a connection or request was refused by, so
// that Acquire gives another one. The zero value is empty.
type Tried struct {
	servers [MaxTries]*Server
	n       int
}

// Add records a server, unless it is one too many.
func (t *Tried) Add(s *Server) {
	if t.n < MaxTries {
		t.servers[t.n] = s
		t.n++
	}
}

// Len returns how many servers were tried.
func (t *Tried) Len() int { return t.n }

func (t *Tried) empty() bool { return t == nil || t.n == 0 }

func (t *Tried) has(s *Server) bool {
	return t != nil && slices.Contains(t.servers[:t.n], s)
}
