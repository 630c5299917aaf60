package l4

import (
	"net"
	"testing"
	"time"

	"fulcrum/pool"
)

// queueing prepares a listener of which the pool has one server, for one
// connection at a time, and a queue. The server tells who is first, by the first
// byte, and echoes.
func queueing(t *testing.T, length int) (w *world, served chan byte) {
	w = prepareWith(t, pool.Options{QueueLength: length})
	w.to.QueueTimeout = patience
	served = make(chan byte, 100)
	w.serve(pool.ServerSpec{MaxConnections: 1}, func(c *net.TCPConn) {
		b := make([]byte, 1)
		if _, err := c.Read(b); err == nil {
			served <- b[0]
		}
		echo(c)
	})
	return w, served
}

// numbered connects a client that says its number, and waits until it queues.
func (w *world) numbered(n, queued int) *client {
	w.t.Helper()
	c := w.dial()
	c.Write([]byte{byte(n)})
	eventually(w.t, "it queues", func() bool { return w.pool.Queued() == queued })
	return c
}

func wantNext(t *testing.T, served chan byte, want byte) {
	t.Helper()
	select {
	case got := <-served:
		if got != want {
			t.Fatalf("client %d is served, want %d", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("client %d is not served", want)
	}
}

func TestClientsQueueForAPlaceOnAServer(t *testing.T) {
	const length = 8
	w, served := queueing(t, length)
	w.start()
	clients := []*client{w.numbered(0, 0)}
	wantNext(t, served, 0)
	for i := range length {
		clients = append(clients, w.numbered(1+i, 1+i))
	}
	w.dial().wantClosed()
	w.wantEnds(ends{QueueFull: 1})
	for i, c := range clients[:length] {
		c.Close()
		wantNext(t, served, byte(i+1))
		w.wantActive(1)
	}
	clients[length].wantEcho()
}

func TestWaitingInTheQueueIsBounded(t *testing.T) {
	w, served := queueing(t, 8)
	w.to.QueueTimeout = 100 * time.Millisecond
	w.start()
	w.numbered(1, 0)
	wantNext(t, served, 1)
	begin := time.Now()
	w.dial().wantClosed()
	if took := time.Since(begin); took < w.to.QueueTimeout {
		t.Errorf("given up after %v", took)
	}
	w.wantEnds(ends{QueueTimeout: 1})
	if n := w.pool.Queued(); n != 0 {
		t.Errorf("%d stand in the queue", n)
	}
}

func TestWithoutAQueueNobodyWaits(t *testing.T) {
	w, served := queueing(t, 0)
	w.to.QueueTimeout = 0
	w.start()
	w.numbered(1, 0)
	wantNext(t, served, 1)
	w.dial().wantClosed()
	w.wantEnds(ends{AllFull: 1})
}

// A client that goes away while it queues holds nobody up.
func TestAClientMayGoAwayWhileItQueues(t *testing.T) {
	w, served := queueing(t, 8)
	w.start()
	first := w.numbered(1, 0)
	wantNext(t, served, 1)
	gone := w.numbered(2, 1)
	last := w.numbered(3, 2)
	gone.Close()
	first.Close()
	wantNext(t, served, 2) // what it said is served, and its end follows
	wantNext(t, served, 3)
	last.wantEcho()
}

// What queues when the listener is stopped at once leaves the queue.
func TestStopEndsTheQueue(t *testing.T) {
	w, served := queueing(t, 8)
	w.start()
	w.numbered(0, 0)
	wantNext(t, served, 0)
	for i := range 5 {
		w.numbered(1+i, 1+i)
	}
	w.stop(0)
	if n := w.pool.Queued(); n != 0 {
		t.Errorf("%d stand in the queue", n)
	}
	w.wantEnds(ends{Drained: 6})
	w.wantActive(0)
}

// A server that is granted to a session which has just ended is given back.
func TestAGrantThatComesTooLateIsGivenBack(t *testing.T) {
	w, _ := queueing(t, 8)
	w.start()
	lease, err := w.pool.Acquire(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := w.numbered(1, 1)
	release := w.hold()
	for _, worker := range w.workers {
		worker.loop.Post(func() { worker.each(func(s *session) { s.end(Drained, nil) }) })
	}
	lease.Release(pool.Served)
	w.wantActive(1) // granted, though the loop does not know yet
	release()
	c.wantClosed()
	w.wantActive(0)
}
