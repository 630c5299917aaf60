package l4

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"fulcrum/pool"
	"fulcrum/proxyproto"
)

// counted adds an echoing server that counts how many connections it has at a
// time. It counts one less before it ends a connection, so that none is counted
// that is over for the listener.
func (w *world) counted() (peak func() int64) {
	var open, highest atomic.Int64
	w.serve(pool.ServerSpec{}, func(c *net.TCPConn) {
		n := open.Add(1)
		for h := highest.Load(); n > h && !highest.CompareAndSwap(h, n); h = highest.Load() {
		}
		echo(c)
		open.Add(-1)
	})
	return highest.Load
}

// limits are the one at which a place that nobody takes leaves everybody
// waiting, and one at which the loops take places at the same time.
var limits = []int64{1, 5}

// Two loops accept at the same time, clients come and go, and there are never
// more than the limit; all are served in the end.
func TestMaxConnectionsOfTheListenerIsExact(t *testing.T) {
	const clients, each = 16, 20
	for _, limit := range limits {
		w := prepare(t, pool.LeastConnections)
		w.options.MaxConnections = int(limit)
		peak := w.counted()
		w.start()
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				for range each {
					if err := once(w.Address().String()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if n := peak(); n != limit {
			t.Errorf("%d were open at a time, want %d", n, limit)
		}
		w.wantStats(counts{Accepted: clients * each, ToUpstream: 5 * clients * each, ToClient: 5 * clients * each})
		w.stop(0)
		for range limit {
			if !w.gate.Enter(w.workers[0]) {
				t.Fatal("a place is taken by nobody")
			}
		}
	}
}

// Whoever comes too many waits, on whichever loop, until somebody goes.
func TestClientsWaitForAPlaceOnTheListener(t *testing.T) {
	for _, limit := range limits {
		w := prepare(t, pool.LeastConnections)
		w.options.MaxConnections = int(limit)
		w.echo(pool.ServerSpec{})
		w.start()
		const clients = 20
		served := make(chan *client)
		for range clients {
			c := w.dial()
			c.Write([]byte("hello"))
			go func() { c.wantRead("hello"); served <- c }()
		}
		for range clients {
			c := <-served // bounded by the client's deadline
			if s := w.Stats(); s.Active > limit {
				t.Errorf("%d are open, want up to %d", s.Active, limit)
			}
			c.Close()
		}
		w.wantStats(counts{Accepted: clients, ToUpstream: 5 * clients, ToClient: 5 * clients})
	}
}

// Those who wait in the kernel's queue when the listener stops are served.
func TestStopServesWhoWaitsForAPlace(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.options.MaxConnections = 2
	w.echo(pool.ServerSpec{})
	w.start()
	held := []*client{w.dial(), w.dial()}
	for _, c := range held {
		c.wantEcho()
	}
	var waiting []*client
	for range 10 {
		waiting = append(waiting, w.dial())
	}
	done := w.stopping(context.Background())
	w.wantRefused()
	var all sync.WaitGroup
	for _, c := range append(held, waiting...) { // at once, for they are served in any order
		all.Go(func() { c.wantEcho(); c.Close() })
	}
	all.Wait()
	within(t, done, patience)
	if s := w.Stats(); s.Active != 0 || s.ToClient != 70 {
		t.Errorf("%d are active, %d bytes came back", s.Active, s.ToClient)
	}
}

func TestMoreOfOneClientThanItMayHaveAreClosed(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.options.MaxPerClient = 2
	w.echo(pool.ServerSpec{})
	w.start()
	first := w.dial()
	first.wantEcho()
	w.dial().wantEcho()
	w.dial().wantClosed()
	w.dialFrom("127.0.0.2").wantEcho()
	first.Close()
	eventually(t, "the first is gone", func() bool { return w.Stats().Active == 2 })
	w.dial().wantEcho()
	w.wantEnds(ends{ClientClosed: 1, ClientLimit: 1})
	w.stop(0)
	for range w.options.MaxPerClient {
		if !w.clients.Enter(netip.MustParseAddr("127.0.0.1")) {
			t.Fatal("a connection that has ended is counted")
		}
	}
}

// It is the client that the header tells, not the proxy, that is limited.
func TestTheLimitOfAClientGoesByTheHeader(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.options.MaxPerClient = 1
	w.acceptFrom("127.0.0.0/8")
	w.echo(pool.ServerSpec{})
	w.start()
	behind := func(source string) *client {
		c := w.dial()
		c.Write(proxyproto.Append(nil, proxyproto.V2, netip.MustParseAddrPort(source), netip.MustParseAddrPort("[2001:db8::1]:443")))
		return c
	}
	behind("[2001:db8:0:1::1]:1000").wantEcho()
	behind("[2001:db8:0:1:ffff::2]:1000").wantClosed()
	behind("[2001:db8:0:2::1]:1000").wantEcho()
	w.wantEnds(ends{ClientLimit: 1})
}
