// Package httpproxy serves http listeners: it reads HTTP/1.0 and 1.1 requests,
// passes each to a server of a pool and streams the answer back.
//
// New takes a bound net.Listener, Start serves it, Drain announces the end to
// clients (Connection: close), Stop ends everything and waits for it. Every
// request acquires one lease from its pool, which is released once, when the
// server's answer has ended; the pool alone counts.
//
// What a client can rely on:
//   - Only what RFC 9112 leaves no doubt about is forwarded; a head that could
//     be read in two ways is answered 400. What goes out is framed anew.
//   - Method, target, Host and the order, case and repetition of end-to-end
//     fields arrive as they were sent. Hop-by-hop fields and trailers do not.
//     X-Forwarded-For, -Host and -Proto say what this proxy saw; what a client
//     claims in these and in their relatives is discarded.
//   - Bodies are streamed both ways at once, never held whole. 1xx answers are
//     passed on, so it is the server that grants Expect: 100-continue.
//   - A server that cannot be connected to costs nothing but time: the next one
//     is tried. A request is sent twice only when a kept connection turns out
//     to be closed, the method is idempotent and there is no body.
//   - An answer cut short by its server is cut short for the client too.
//   - An upgrade (WebSocket) turns the two connections into a tunnel.
//
// A failure is answered in text/plain: 400, 408, 431, 501 or 505 for what the
// client did, 503 when no server is to be had (Retry-After: 1), 502 when
// servers refuse connections or answer nonsense, 504 when they are too slow.
//
// A client that ends its own direction is taken to have left when the server
// has been silent for a second.
package httpproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"fulcrum/pool"
)

const (
	maxClients   = 16384                  // connections of one listener
	drainGrace   = 500 * time.Millisecond // for a request already on its way to an idle connection
	acceptGrace  = 50 * time.Millisecond  // for connections the kernel has already completed,
	acceptRounds = 100                    // again and again while there are any
	acceptPause  = 100 * time.Millisecond // after accept failed
	reapInterval = 5 * time.Second
)

// Options say what to serve and how patiently. A duration of zero means the
// default that is named at the field.
type Options struct {
	Name            string
	Listener        net.Listener // bound; the proxy closes it. One with a file has a method RemoveFile()
	Pool            *pool.Pool
	IdleTimeout     time.Duration // of a client between two requests, within a body, or of a tunnel; 60s
	HeaderTimeout   time.Duration // for a request's head; 30s
	ConnectTimeout  time.Duration // for one connection to a server; 5s
	Keepalive       time.Duration // of silence until the kernel asks whether a server is still there, in whole seconds; 0: never
	UserTimeout     time.Duration // how long bytes sent to a server may stay unacknowledged (RFC 5482); 0: as the kernel does
	ResponseTimeout time.Duration // from the end of the request to the answer's head; 60s
	CheckWait       time.Duration // how long a request waits for the first checks of a pool in which no server is ready yet; 5s
	QueueTimeout    time.Duration // how long a request waits in the queue of a pool in which every ready server is full; 10s
	Logger          *slog.Logger  // nil: slog.Default
}

// A Proxy is one http listener and the connections on both its sides. Its
// methods may be called from any goroutine.
type Proxy struct {
	o         Options
	upstreams *upstreams
	draining  atomic.Bool
	killed    context.Context // done when Stop closes everything
	kill      context.CancelFunc
	stopped   sync.Once
	stopErr   error
	owned     sync.WaitGroup // accept and reap
	serving   sync.WaitGroup // one per client; only accept adds

	mu      sync.Mutex
	clients map[*client]struct{} // guarded by mu
}

// New returns a proxy that owns o.Listener; on an error the listener is left
// to the caller. Every proxy has to be stopped, started or not.
func New(o Options) (*Proxy, error) {
	if o.Listener == nil || o.Pool == nil {
		return nil, fmt.Errorf("http listener %q needs a bound listener and a pool", o.Name)
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"idle_timeout", &o.IdleTimeout, 60 * time.Second},
		{"header_timeout", &o.HeaderTimeout, 30 * time.Second},
		{"connect_timeout", &o.ConnectTimeout, 5 * time.Second},
		{"response_timeout", &o.ResponseTimeout, 60 * time.Second},
		{"check wait", &o.CheckWait, 5 * time.Second},
		{"queue timeout", &o.QueueTimeout, 10 * time.Second},
	} {
		if *d.value < 0 {
			return nil, fmt.Errorf("http listener %q: %s is %s; it must not be negative", o.Name, d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Logger = o.Logger.With("listener", o.Name)
	servers := dialer{timeout: o.ConnectTimeout, keepalive: o.Keepalive, userTimeout: o.UserTimeout}
	p := &Proxy{o: o, upstreams: newUpstreams(servers), clients: map[*client]struct{}{}}
	p.killed, p.kill = context.WithCancel(context.Background())
	return p, nil
}

// Start begins to accept clients. It is called once.
func (p *Proxy) Start() {
	p.owned.Go(p.accept)
	p.owned.Go(p.reap)
}

// Addr returns the address that clients connect to.
func (p *Proxy) Addr() net.Addr { return p.o.Listener.Addr() }

// Drain makes every answer from now on the last of its connection, and closes
// idle client connections after a short grace. New clients are still served.
func (p *Proxy) Drain() {
	p.draining.Store(true)
	for _, c := range p.snapshot() {
		c.drain()
	}
}

// Stop stops accepting, drains, and waits for the requests in flight until ctx
// ends; then it closes what is left and says so in its error. When it returns,
// no goroutine of the proxy is left.
func (p *Proxy) Stop(ctx context.Context) error {
	p.stopped.Do(func() { p.stopErr = p.stop(ctx) })
	return p.stopErr
}

func (p *Proxy) stop(ctx context.Context) (err error) {
	p.Drain()
	quiesce(p.o.Listener)
	if !p.acceptFor(acceptGrace) {
		p.o.Listener.Close()
	}
	p.upstreams.stopReaping()
	p.owned.Wait()
	p.o.Listener.Close()

	done := make(chan struct{})
	go func() {
		p.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		left := p.snapshot()
		err = fmt.Errorf("http listener %q: closed %d connections still in use: %w", p.o.Name, len(left), ctx.Err())
		p.kill()
		p.upstreams.closeAll()
		for _, c := range left {
			c.conn.Close()
		}
		<-done
	}
	p.kill()
	p.upstreams.closeAll()
	return err
}

// CloseServer closes every connection to s now, in use or idle.
func (p *Proxy) CloseServer(s *pool.Server) { p.upstreams.closeServer(s) }

// Forget closes the idle connections to s; those in use are closed when their
// answers have ended.
func (p *Proxy) Forget(s *pool.Server) { p.upstreams.forget(s) }

// acceptFor ends accepting after d, and reports whether the listener can do that.
func (p *Proxy) acceptFor(d time.Duration) bool {
	l, ok := p.o.Listener.(interface{ SetDeadline(time.Time) error })
	return ok && l.SetDeadline(time.Now().Add(d)) == nil
}

func (p *Proxy) snapshot() []*client {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*client, 0, len(p.clients))
	for c := range p.clients {
		all = append(all, c)
	}
	return all
}

// accept admits clients until Stop, and then those that wait in the queue.
func (p *Proxy) accept() {
	failing := false
	for rounds := 0; ; {
		conn, err := p.o.Listener.Accept()
		if err != nil {
			stopping := errors.Is(err, os.ErrDeadlineExceeded)
			if stopping && hasQueue(p.o.Listener) && rounds < acceptRounds && p.acceptFor(acceptGrace) {
				rounds++
				continue
			}
			if stopping || errors.Is(err, net.ErrClosed) {
				return
			}
			if !failing {
				p.o.Logger.Error("cannot accept connections", "error", err)
				failing = true
			}
			if !p.upstreams.pause(acceptPause) {
				return
			}
			continue
		}
		failing = false
		p.admit(conn)
	}
}

// admit serves a new connection, or refuses it when there are too many.
func (p *Proxy) admit(conn net.Conn) {
	c := newClient(p, conn)
	p.mu.Lock()
	full := len(p.clients) >= maxClients
	if !full {
		p.clients[c] = struct{}{}
	}
	p.mu.Unlock()
	if full {
		c.refuse(failure{503, "too many connections"}, nil)
		conn.Close()
		return
	}
	p.serving.Go(func() {
		defer func() {
			p.mu.Lock()
			delete(p.clients, c)
			p.mu.Unlock()
		}()
		c.serve()
	})
}

func (p *Proxy) reap() {
	for p.upstreams.pause(reapInterval) {
		p.upstreams.reap()
	}
}

// acquire chooses a server, waiting for the pool's first checks or in its queue if
// it must. The caller releases the lease.
func (p *Proxy) acquire(tried *pool.Tried) (pool.Lease, error) {
	lease, err := p.o.Pool.Acquire(tried)
	switch err {
	case pool.ErrUnchecked:
		return p.await(tried, err, p.o.CheckWait)
	case pool.ErrFull:
		return p.await(tried, err, p.o.QueueTimeout)
	}
	return lease, err
}

// await waits until the pool has a server; after the limit, or when everything is
// being closed, the error is why.
func (p *Proxy) await(tried *pool.Tried, why error, limit time.Duration) (lease pool.Lease, err error) {
	granted := make(chan struct{})
	w := &pool.Waiter{Tried: tried, Granted: func(l pool.Lease, e error) {
		lease, err = l, e
		close(granted)
	}}
	if err := p.o.Pool.Await(w); err != nil {
		return lease, err
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-granted:
		return lease, err
	case <-late.C:
	case <-p.killed.Done():
	}
	if p.o.Pool.Cancel(w) {
		return lease, why
	}
	<-granted
	return lease, err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
