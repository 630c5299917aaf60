package httpproxy

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"fulcrum/pool"
)

const (
	maxIdle    = 64               // kept connections per server
	idleFor    = 30 * time.Second // and for how long
	youngFor   = time.Second      // what cannot be sent twice goes only on a connection kept no longer than this
	maxSilence = time.Hour        // of a server in the middle of an answer
	pulse      = time.Second      // how often a silent server's client is looked after
)

// Values of headBy when there is no time set.
const (
	headCame   = 0
	headNotYet = -1 // the request is still being sent
)

var (
	errClosed     = errors.New("the connections to the server were closed")
	errClientGone = errors.New("the client is gone")
)

// slowError is a server's silence beyond its time.
type slowError struct{}

func (slowError) Error() string { return "the server did not answer in time" }
func (slowError) Timeout() bool { return true }

// An upstream is one connection to a server. While it is in use it belongs to
// one exchange; the set it belongs to may close it at any time.
type upstream struct {
	conn net.Conn
	to   net.Addr // what it leads to
	br   *bufio.Reader
	bw   *bufio.Writer
	set  *serverSet
	stop context.CancelFunc // ends the dialling

	kept     time.Time // when it was last put back; zero: new
	answered bool      // whether a byte has come since it was taken

	watch    func() bool   // whether the client is gone; nil: nobody looks
	patience time.Duration // how long one Read may take
	stall    time.Duration // how long one Write may take
	headBy   atomic.Int64  // when the head has to be there, in Unix nanoseconds, or headCame or headNotYet
}

func (u *upstream) Read(p []byte) (int, error) {
	begun := time.Now()
	for now := begun; ; now = time.Now() {
		limit := begun.Add(u.patience)
		if by := u.headBy.Load(); by > 0 {
			limit = time.Unix(0, by)
		}
		if !now.Before(limit) {
			return 0, slowError{}
		}
		if look := now.Add(pulse); look.Before(limit) {
			limit = look
		}
		u.conn.SetReadDeadline(limit)
		n, err := u.conn.Read(p)
		if n > 0 {
			u.answered = true
		}
		if n > 0 || err == nil || !isTimeout(err) {
			return n, err
		}
		if u.watch != nil && u.watch() {
			return 0, errClientGone
		}
	}
}

func (u *upstream) Write(p []byte) (int, error) {
	u.conn.SetWriteDeadline(time.Now().Add(u.stall))
	return u.conn.Write(p)
}

// upstreams holds the connections to all servers. A server is in it as long as
// it has connections.
type upstreams struct {
	dialer dialer
	done   chan struct{} // closed when the proxy's own goroutines have to end
	once   sync.Once

	mu      sync.Mutex
	servers map[*pool.Server]*serverSet // guarded by mu
	closed  bool                        // guarded by mu
}

// serverSet is the connections to one server, guarded by upstreams.mu.
type serverSet struct {
	server *pool.Server
	open   map[*upstream]struct{} // in use, being dialled or idle
	idle   []*upstream            // the latest put back is last

	forgotten bool // nothing is kept until the server is used again
}

func newUpstreams(d dialer) *upstreams {
	return &upstreams{
		dialer:  d,
		done:    make(chan struct{}),
		servers: map[*pool.Server]*serverSet{},
	}
}

// get returns a connection to s: a kept one that is not older than maxAge and
// leads where s does now, or a new one. It has to be put back or dropped.
func (us *upstreams) get(s *pool.Server, maxAge time.Duration) (*upstream, error) {
	for {
		u := us.pop(s, maxAge)
		if u == nil {
			return us.dial(s)
		}
		if u.to == s.Resolved() && quiet(u.conn) {
			u.answered = false
			return u, nil
		}
		us.drop(u)
	}
}

func (us *upstreams) pop(s *pool.Server, maxAge time.Duration) *upstream {
	us.mu.Lock()
	defer us.mu.Unlock()
	set := us.servers[s]
	if set == nil || len(set.idle) == 0 {
		return nil
	}
	last := len(set.idle) - 1
	u := set.idle[last]
	if time.Since(u.kept) >= maxAge {
		return nil
	}
	set.idle[last] = nil
	set.idle = set.idle[:last]
	return u
}

func (us *upstreams) dial(s *pool.Server) (*upstream, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	u := &upstream{stop: cancel, to: s.Resolved()}
	if !us.register(u, s) {
		return nil, errClosed
	}
	conn, err := us.dialer.dial(ctx, s, u.to)
	us.mu.Lock()
	_, open := u.set.open[u]
	u.conn = conn
	us.mu.Unlock()
	switch {
	case !open:
		if err == nil {
			conn.Close()
		}
		return nil, errClosed
	case err != nil:
		us.drop(u)
		return nil, err
	}
	u.br = bufio.NewReaderSize(u, maxHead)
	u.bw = bufio.NewWriter(u)
	return u, nil
}

// register makes u known before it is dialled, so that it can be closed.
func (us *upstreams) register(u *upstream, s *pool.Server) bool {
	us.mu.Lock()
	defer us.mu.Unlock()
	if us.closed {
		return false
	}
	set := us.servers[s]
	if set == nil {
		set = &serverSet{server: s, open: map[*upstream]struct{}{}}
		us.servers[s] = set
	}
	u.set, set.forgotten = set, false
	set.open[u] = struct{}{}
	return true
}

// put keeps a connection for the next request, if there is room and its server
// was not forgotten in the meantime.
func (us *upstreams) put(u *upstream) {
	u.watch = nil
	u.kept = time.Now()
	us.mu.Lock()
	defer us.mu.Unlock()
	_, open := u.set.open[u]
	if !open || u.set.forgotten || len(u.set.idle) >= maxIdle {
		us.dropLocked(u)
		return
	}
	u.set.idle = append(u.set.idle, u)
}

// drop closes a connection that is in use. Dropping it again does nothing.
func (us *upstreams) drop(u *upstream) {
	us.mu.Lock()
	defer us.mu.Unlock()
	us.dropLocked(u)
}

func (us *upstreams) dropLocked(u *upstream) {
	if _, open := u.set.open[u]; !open {
		return
	}
	delete(u.set.open, u)
	u.stop()
	if u.conn != nil {
		u.conn.Close()
	}
	if len(u.set.open) == 0 {
		delete(us.servers, u.set.server)
	}
}
