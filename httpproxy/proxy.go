// Package httpproxy serves http listeners: it reads HTTP/1.0 and 1.1 requests,
// passes each to a server of a pool and streams the answer back.
//
// New binds, Start serves, Drain announces the end to clients (Connection:
// close), CloseAll ends what does not end by itself, Stop ends everything and waits
// for it. Every request acquires one lease
// from its pool, which is released once, when the server's answer has ended; the
// pool alone counts.
//
// All work is done on event loops (package loop). A worker is the listener's part
// on one loop; a client connection, its requests and the connections to servers
// that they use stay on the loop that accepted it, and nothing about them is
// locked or shared. introduce.go is who a client is, client.go the way of its bytes,
// way.go where a request goes, exchange.go its way there, answer.go that of its
// answer, upstream.go the connections to servers; trace.go is what is counted and
// recorded of it. head.go, body.go and rewrite.go know HTTP and no connection.
//
// What a client can rely on:
//   - Only what RFC 9112 leaves no doubt about is forwarded; a head that could
//     be read in two ways is answered 400. What goes out is framed anew.
//   - Method, target, Host and the order, case and repetition of end-to-end
//     fields arrive as they were sent, unless the operator has them changed.
//     Hop-by-hop fields do not; trailers of an answer do if the client asks for
//     them by TE. What is said to a server about its client is for Forwarded to
//     say.
//   - Bodies are streamed both ways at once, never held whole. 1xx answers are
//     passed on, so it is the server that grants Expect: 100-continue.
//   - A server that cannot be connected to costs nothing but time: the next one
//     is tried. A request is sent twice only when a kept connection turns out
//     to be closed, the method is idempotent and all of its body is at hand. The
//     pool bounds how often.
//   - An answer cut short by its server is cut short for the client too.
//   - An upgrade (WebSocket) turns the two connections into a tunnel.
//
// A failure is answered in text/plain: 400, 408, 413, 414, 429, 431, 501 or 505 for
// what the client did, 404 when no route is for it, 503 when no server is to be had
// (Retry-After: 1), 502 when servers refuse connections or answer nonsense, 504 when
// they are too slow.
//
// A client that ends its own direction is taken to have left when the server
// has been silent for a second.
package httpproxy

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"fulcrum/httpproxy/route"
	"fulcrum/limit"
	"fulcrum/loop"
	"fulcrum/pool"
)

// A Proxy is one http listener and the connections on both its sides. Its
// methods may be called from any goroutine.
type Proxy struct {
	address   net.Addr
	workers   []*worker
	gate      *limit.Gate
	perClient *limit.Clients
	draining  atomic.Bool
	stopped   sync.Once
	stopErr   error
	turn      atomic.Uint64 // which worker is the next to take a client in
	inherited bool          // other processes may have the sockets open too,
	borrowed  bool          // and one of them keeps them

	mu        sync.Mutex             // guards what follows, and the workers' ways and counts against all but their loops
	sockets   []int                  // one for each worker, until Start or Stop
	retired   Stats                  // of routes that are gone, and what other processes have counted
	ofRoutes  map[string]Stats       // what these have counted of routes, by name,
	ofServers map[*pool.Server]Stats // and of servers
}

// plan is what a proxy is to do, made ready. It does not change; another one takes
// its place.
type plan struct {
	Options
	table      *route.Table // nil: there are no routes
	sendsProxy bool         // some servers are told by a PROXY header who the client is
}

func newPlan(o Options) (*plan, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	table, err := newTable(o.Routes)
	if err != nil {
		return nil, fmt.Errorf("http listener %q: %w", o.Name, err)
	}
	return &plan{o, table, o.sendsProxy()}, nil
}

// New binds the listener's address. Clients queue in the kernel until Start. Every
// proxy has to be stopped, started or not, before its loops are.
func New(o Options) (*Proxy, error) {
	first, err := newPlan(o)
	if err != nil {
		return nil, err
	}
	sockets, address, err := o.listen()
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		address: address, sockets: sockets, inherited: len(o.Sockets) > 0, borrowed: o.Borrowed,
		gate: limit.NewGate(o.MaxConnections), perClient: limit.NewClients(o.MaxPerClient),
		ofRoutes: map[string]Stats{}, ofServers: map[*pool.Server]Stats{},
	}
	for _, lp := range o.Loops {
		p.workers = append(p.workers, newWorker(p, lp, first))
	}
	return p, nil
}

// Update prepares the proxy to do as these options say; commit, which is called at
// most once and not after Stop, then has it do so, soon. Requests that have a way
// already go on by it, and within the limits that they began with; time limits, the
// access log and logging are those that there are by then. Connections to servers that
// are kept for another request are closed if the Upstream has changed. Address and
// Loops cannot change, and an Upstream belongs to one call.
func (p *Proxy) Update(o Options) (commit func(), err error) {
	next, err := newPlan(o)
	if err != nil {
		return nil, err
	}
	return func() {
		p.gate.Limit(o.MaxConnections)
		p.perClient.Limit(o.MaxPerClient)
		for _, w := range p.workers {
			w.loop.Post(func() { w.update(next) })
		}
	}, nil
}

// Start begins to accept clients. It is called once.
func (p *Proxy) Start() {
	for i, socket := range p.takeSockets() {
		w := p.workers[i]
		w.loop.Post(func() { w.listen(socket) })
	}
}

// takeSockets returns the sockets that nobody has taken care of yet.
func (p *Proxy) takeSockets() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	sockets := p.sockets
	p.sockets = nil
	return sockets
}

// Addr returns the address that clients connect to.
func (p *Proxy) Addr() net.Addr { return p.address }

// Stop stops accepting, drains, and waits for the requests in flight until ctx
// ends; then it closes what is left and says so in its error. No client whose
// handshake had ended is reset before it was served.
func (p *Proxy) Stop(ctx context.Context) error {
	p.stopped.Do(func() { p.stopErr = p.stop(ctx) })
	return p.stopErr
}

func (p *Proxy) stop(ctx context.Context) error {
	if sockets := p.takeSockets(); p.inherited {
		loop.Disown(sockets)
	} else {
		loop.Abandon(sockets)
	}
	p.Drain(true)
	for _, w := range p.workers {
		w.loop.Post(w.retire)
	}
	left := 0
	for _, w := range p.workers {
		select {
		case <-w.finished:
		case <-ctx.Done():
			w.loop.Post(w.stopNow)
			<-w.finished
			left += w.cut
		}
	}
	if left > 0 {
		return fmt.Errorf("http listener %q: closed %d connections still in use: %w", p.workers[0].plan.Name, left, ctx.Err())
	}
	return nil
}

// CloseServer closes every connection to s, in use or idle, soon; WebSockets as
// CloseAll does.
func (p *Proxy) CloseServer(s *pool.Server) {
	for _, w := range p.workers {
		w.loop.Post(func() { w.closeServer(s) })
	}
}

// Forget closes the idle connections to s, soon; those in use are closed when
// their answers have ended.
func (p *Proxy) Forget(s *pool.Server) {
	for _, w := range p.workers {
		w.loop.Post(func() { w.forget(s) })
	}
}
