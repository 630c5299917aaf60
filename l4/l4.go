// Package l4 is the tcp listeners: a connection is accepted, a server acquired
// from a pool and connected to, and the two are relayed until they end.
//
// A Listener has one listening socket on each loop, and a connection lives on
// the loop that accepted it; nothing about a connection is locked or shared. A
// server that refuses or does not answer in time is released and another one
// tried, as long as the pool's retries allow: nothing was sent, so that is always
// safe. When no server is ready the client is closed at once; when all are full it
// may wait in the pool's queue.
//
// What comes before that is only done where it is asked for, and costs nothing
// elsewhere: a limit on all connections, during which clients wait in the
// kernel's queue; a PROXY header, which tells who the client is; a limit for each
// client; a TLS ClientHello, whose server name leads to a pool. Until then no
// byte is read from a client. Those read by then, bounded by the lengths of the
// longest header and hello and one read more, are the first that the server gets.
//
// New binds, Start accepts, Stop lets what is open finish. session.go is the way
// of one connection, preface.go what is read before it is relayed.
package l4

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"fulcrum/accesslog"
	"fulcrum/limit"
	"fulcrum/loop"
	"fulcrum/pool"
	"fulcrum/proxyproto"
)

// Options say what a listener is to do. The zero value of a field that says
// nothing else is not allowed.
type Options struct {
	Name    string
	Address net.Addr // a *net.TCPAddr, without an IP for every address of the machine, or a *net.UnixAddr
	Loops   []*loop.Loop

	// Sockets listen on Address already, opened by another process; they stay the
	// caller's. None: New opens some. They are Borrowed if that process keeps them, to
	// serve who comes when this one is gone: Stop leaves them to it then.
	Sockets  []int
	Borrowed bool

	// Default is where clients go that no route is for; nil: they are refused.
	Default *Upstream
	// Routes lead by the name that a TLS client asks for. None: all go to Default.
	Routes       []Route
	HelloTimeout time.Duration // for the whole ClientHello; needed with Routes

	// AcceptProxy are the networks whose clients must begin with a PROXY header;
	// what others send goes to the server as it is. IPv4 networks are in IPv4 form.
	AcceptProxy        []netip.Prefix
	AcceptProxyTimeout time.Duration // for the whole header; needed with AcceptProxy

	MaxConnections int // open at a time, exactly; more wait in the kernel's queue; 0: no limit
	MaxPerClient   int // open at a time from one IPv4 address or IPv6 /64; more are closed; 0: no limit

	IdleTimeout       time.Duration      // how long a connection may live without a byte either way
	HalfClosedTimeout time.Duration      // the same, once one side has sent its end; 0: IdleTimeout
	Socket            loop.SocketOptions // of the clients' sockets
	AccessLog         *accesslog.Log     // gets a record for each connection that has ended; nil: none. Its owner closes it, after Stop
	Resting           func(err error)    // told, on a loop, that nothing is accepted until descriptors are free again; nil: nobody is
	Logger            *slog.Logger
}

// A Route leads TLS clients that ask for a name to a pool.
type Route struct {
	SNI string // a host name in lower case, or "*." and one: every name below it
	*Upstream
}

// An Upstream is a pool and how its servers are connected to.
type Upstream struct {
	Pool           *pool.Pool
	ConnectTimeout time.Duration      // for each server tried
	CheckWait      time.Duration      // for the first checks of a pool in which no server is ready yet, and a place after them
	QueueTimeout   time.Duration      // for a place when every ready server is full; 0: nobody waits
	SendProxy      proxyproto.Version // of the header that tells servers who the client is; 0: none
	Socket         loop.SocketOptions // of the sockets to servers; the Source is the server's
}

// A Listener accepts tcp connections and relays them to the servers of a pool.
// Its methods may be called from any goroutine.
type Listener struct {
	address   net.Addr
	sockets   []int // one for each worker; theirs from Start on
	inherited bool  // other processes may have the sockets open too,
	borrowed  bool  // and one of them keeps them
	workers   []*worker
	gate      *limit.Gate
	clients   *limit.Clients
	turn      atomic.Uint64 // which worker is the next to take a connection in

	mu        sync.Mutex             // guards what follows, and the workers' servers against all but their loops
	retired   Stats                  // of servers that are forgotten, and what other processes have counted
	ofServers map[*pool.Server]Stats // what these have counted of servers
}

// plan is what a listener is to do, made ready. It does not change; another one
// takes its place.
type plan struct {
	Options
	routes routes
}

func newPlan(o Options) *plan { return &plan{o, newRoutes(&o)} }

// New binds the listener's address. Connections queue in the kernel until Start.
// A listener that is not started must be closed by Abandon.
func New(o Options) (*Listener, error) {
	sockets, address, err := o.listen()
	if err != nil {
		return nil, err
	}
	l := &Listener{
		address: address, sockets: sockets, inherited: len(o.Sockets) > 0, borrowed: o.Borrowed,
		gate: limit.NewGate(o.MaxConnections), clients: limit.NewClients(o.MaxPerClient), ofServers: map[*pool.Server]Stats{},
	}
	p := newPlan(o)
	for _, lp := range o.Loops {
		l.workers = append(l.workers, newWorker(l, lp, p))
	}
	return l, nil
}

func (o *Options) listen() (sockets []int, bound net.Addr, err error) {
	if len(o.Sockets) > 0 {
		return loop.Inherit(o.Sockets, len(o.Loops))
	}
	return loop.Bind(o.Address, len(o.Loops), o.Socket)
}

// Update has the listener do as these options say, soon: connections accepted from
// then on altogether, those that have not been given to an upstream yet as far as they
// are not past it, the others as far as IdleTimeout, HalfClosedTimeout, AccessLog and
// Logger are concerned. What it listens on and its loops cannot change. It is not called after Stop.
func (l *Listener) Update(o Options) {
	l.gate.Limit(o.MaxConnections)
	l.clients.Limit(o.MaxPerClient)
	p := newPlan(o)
	for _, w := range l.workers {
		w.loop.Post(func() { w.update(p) })
	}
}

// Address returns the address that the listener is bound to.
func (l *Listener) Address() net.Addr { return l.address }

// Abandon closes the sockets of a listener that was never started.
func (l *Listener) Abandon() {
	if l.inherited {
		loop.Disown(l.sockets)
		return
	}
	loop.Abandon(l.sockets)
}

// Start begins to accept.
func (l *Listener) Start() {
	for i, w := range l.workers {
		w.loop.Post(func() { w.listen(l.sockets[i]) })
	}
}

// Stop stops accepting and waits for the open connections to end. When ctx ends
// first, the rest of them are closed. No client whose handshake had ended when
// Stop was called is reset before it was served.
func (l *Listener) Stop(ctx context.Context) {
	for _, w := range l.workers {
		w.loop.Post(w.drain)
	}
	for _, w := range l.workers {
		select {
		case <-w.finished:
		case <-ctx.Done():
			w.loop.Post(w.stopNow)
			<-w.finished
		}
	}
	sum, last := l.Stats(), l.workers[0].plan
	last.Logger.Info("listener stopped", "listener", last.Name, "accepted", sum.Accepted,
		"refused", sum.Refused(), "bytes_to_upstream", sum.ToUpstream, "bytes_to_client", sum.ToClient)
}

// CloseServer closes all connections to a server; those that are being made go on
// to another one.
func (l *Listener) CloseServer(server *pool.Server) {
	for _, w := range l.workers {
		w.loop.Post(func() { w.leaveServer(server) })
	}
}

// CloseAll closes all connections that there are, soon.
func (l *Listener) CloseAll() {
	for _, w := range l.workers {
		w.loop.Post(w.closeAll)
	}
}

// Remaining returns how many connections are open and how long the oldest of them has
// been. It is an error when ctx ends before all loops have told.
func (l *Listener) Remaining(ctx context.Context) (connections int64, oldest time.Duration, err error) {
	loops := make([]*loop.Loop, len(l.workers))
	for i, w := range l.workers {
		loops[i] = w.loop
	}
	all, err := loop.Ask(ctx, loops, func(i int) remaining { return l.workers[i].remaining() })
	for _, r := range all {
		connections += r.connections
		oldest = max(oldest, r.oldest)
	}
	return connections, oldest, err
}
