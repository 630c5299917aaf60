// Package l4 is the tcp listeners: a connection is accepted, a server acquired
// from the pool and connected to, and the two are relayed until they end.
//
// A Listener has one listening socket on each loop, and a connection lives on
// the loop that accepted it; nothing about a connection is locked or shared. A
// server that refuses or does not answer in time is released and another one
// tried: nothing was sent, so that is always safe. When no server is ready the
// client is closed at once.
//
// New binds, Start accepts, Stop lets what is open finish. session.go is the way
// of one connection.
package l4

import (
	"context"
	"log/slog"
	"net"
	"time"

	"fulcrum/loop"
	"fulcrum/pool"
)

// Options say what a listener is to do. All fields are needed.
type Options struct {
	Name           string
	Address        net.Addr // a *net.TCPAddr, without an IP for every address of the machine, or a *net.UnixAddr
	Pool           *pool.Pool
	Loops          []*loop.Loop
	IdleTimeout    time.Duration // how long a connection may live without a byte either way
	ConnectTimeout time.Duration // for each server tried
	CheckWait      time.Duration // for the first checks of a pool in which no server is ready yet
	Logger         *slog.Logger
}

// A Listener accepts tcp connections and relays them to the servers of a pool.
// Its methods may be called from any goroutine.
type Listener struct {
	options Options
	address net.Addr
	sockets []int // one for each worker; theirs from Start on
	workers []*worker
}

// Stats are counts since the listener was made.
type Stats struct {
	Accepted   int64 // connections
	Active     int64 // of these, open now
	Refused    int64 // closed because no server was ready or could be connected to
	ToUpstream int64 // bytes from clients to servers
	ToClient   int64 // bytes from servers to clients
}

// New binds the listener's address. Connections queue in the kernel until Start.
// A listener that is not started must be closed by Abandon.
func New(o Options) (*Listener, error) {
	sockets, address, err := loop.Bind(o.Address, len(o.Loops), loop.SocketOptions{})
	if err != nil {
		return nil, err
	}
	l := &Listener{options: o, address: address, sockets: sockets}
	for _, lp := range o.Loops {
		l.workers = append(l.workers, newWorker(&l.options, lp))
	}
	return l, nil
}

// Address returns the address that the listener is bound to.
func (l *Listener) Address() net.Addr { return l.address }

// Abandon closes the sockets of a listener that was never started.
func (l *Listener) Abandon() { loop.Abandon(l.sockets) }

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
	sum := l.Stats()
	l.options.Logger.Info("listener stopped", "listener", l.options.Name, "accepted", sum.Accepted,
		"refused", sum.Refused, "bytes_to_upstream", sum.ToUpstream, "bytes_to_client", sum.ToClient)
}

// CloseServer closes all connections to a server.
func (l *Listener) CloseServer(server *pool.Server) {
	for _, w := range l.workers {
		w.loop.Post(func() { w.closeSessions(func(s *session) bool { return s.lease.Server() == server }) })
	}
}

// Stats returns the sums over all loops.
func (l *Listener) Stats() (sum Stats) {
	for _, w := range l.workers {
		accepted, ended := w.accepted.Load(), w.ended.Load()
		sum.Accepted += accepted
		sum.Active += max(accepted-ended, 0)
		sum.Refused += w.refused.Load()
		sum.ToUpstream += w.moved.ToUpstream.Load()
		sum.ToClient += w.moved.ToClient.Load()
	}
	return sum
}
