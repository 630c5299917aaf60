package e2e_test

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// listenerOf and poolOf are the first ones of a config, to be added to.
func listenerOf(config object) object { return config["listeners"].([]object)[0] }
func poolOf(config object) object     { return config["pools"].([]object)[0] }

// countingEcho is an echo server that keeps the highest number of clients that it
// had at a time. Health checks, which say nothing, do not count.
func (w *world) countingEcho(most *atomic.Int64) string {
	w.Helper()
	var now atomic.Int64
	return w.tcpServer(func(conn *net.TCPConn) {
		first := make([]byte, 1)
		if _, err := conn.Read(first); err != nil {
			return
		}
		n := now.Add(1)
		defer now.Add(-1)
		for {
			before := most.Load()
			if n <= before || most.CompareAndSwap(before, n) {
				break
			}
		}
		conn.Write(first)
		io.Copy(struct{ io.Writer }{conn}, conn)
	})
}

// TestListenerLimitIsExact: as many clients as a listener may have are served,
// the others wait in the kernel's queue, and with each that leaves one more is
// served.
func TestListenerLimitIsExact(t *testing.T) {
	const limit, clients = 7, 30
	overEachIO(t, 20*time.Second, func(w *world, io string) {
		var most, served, ended atomic.Int64
		config := tcpOnly(w.countingEcho(&most))
		config["io"] = io
		listenerOf(config)["max_connections"] = limit
		b := w.balance(config)
		waiting := make(map[*guest]bool)
		for range clients {
			waiting[w.guest(b.listeners["db"], &served, &ended)] = true
		}
		for left := range clients {
			want := int64(min(limit+left, clients))
			active := want - int64(left)
			// Each of these numbers, once too high, would stay so.
			w.eventually(fmt.Sprintf("after %d have left %d were served and accepted, and %d are active", left, want, active), func() bool {
				got := b.traffic("db")
				return served.Load() == want && got.Accepted == want && got.Active == active
			})
			for g := range waiting {
				if g.wasServed() {
					delete(waiting, g)
					w.must(g.Close())
					break
				}
			}
		}
		if got := most.Load(); got != limit || ended.Load() != 0 {
			w.Errorf("the server had up to %d clients at a time, want %d; %d clients were closed", got, limit, ended.Load())
		}
		b.wantEnds("db", map[string]int64{"client_closed": clients})
	})
}

// TestClientLimit: one client may have so many connections and no more, another
// as many of its own.
func TestClientLimit(t *testing.T) {
	const limit = 3
	overEachIO(t, 20*time.Second, func(w *world, io string) {
		config := tcpOnly(w.echoServer())
		config["io"] = io
		listenerOf(config)["max_connections_per_client"] = limit
		b := w.balance(config)
		conns := make(map[string][]*net.TCPConn)
		for _, client := range []string{"127.0.0.1", "127.0.0.2"} {
			for range limit {
				conn := w.dialFrom(client, b.listeners["db"])
				wantEcho(w, conn, "one of few")
				conns[client] = append(conns[client], conn)
			}
			w.wantClosed(w.dialFrom(client, b.listeners["db"]))
		}
		w.must(conns["127.0.0.1"][0].Close())
		b.wantEnds("db", map[string]int64{"client_limit": 2, "client_closed": 1})
		wantEcho(w, w.dialFrom("127.0.0.1", b.listeners["db"]), "there is room again")
		w.wantClosed(w.dialFrom("127.0.0.1", b.listeners["db"]))
		w.wantClosed(w.dialFrom("127.0.0.2", b.listeners["db"]))
		for _, conn := range conns["127.0.0.2"] {
			wantEcho(w, conn, "not disturbed")
		}
	})
}

// queued returns how many clients wait for a server of a pool.
func (b *balancer) queued(pool string) (n int) {
	b.w.Helper()
	var answer struct {
		Pools []struct {
			Name   string
			Queued int
		}
	}
	b.get("/servers", &answer)
	for _, p := range answer.Pools {
		if p.Name == pool {
			n = p.Queued
		}
	}
	return n
}

// queueing is a config of a server that takes two connections, and of a queue.
func queueing(io, server string, queue object) object {
	return object{
		"io":        io,
		"listeners": []object{{"name": "db", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "db"}},
		"pools": []object{{
			"name": "db", "queue": queue, "health": quick(nil),
			"servers": []object{{"address": server, "max_connections": 2}},
		}},
	}
}

// TestQueueIsFirstComeFirstServed: clients who find the servers full wait, as
// many as the queue has room for, and take over in the order in which they came.
func TestQueueIsFirstComeFirstServed(t *testing.T) {
	const places, length = 2, 8
	overEachIO(t, 20*time.Second, func(w *world, io string) {
		var most, served, ended atomic.Int64
		b := w.balance(queueing(io, w.countingEcho(&most), object{"length": length, "timeout": "1m"}))
		var guests []*guest
		come := func() *guest {
			g := w.guest(b.listeners["db"], &served, &ended)
			guests = append(guests, g)
			return g
		}
		for range places {
			w.await("the first are served", come().served)
		}
		for i := range length {
			come()
			w.eventually("one more waits", func() bool { return b.queued("db") == i+1 })
		}
		w.await("who finds the queue full is closed", come().ended)
		b.wantEnds("db", map[string]int64{"queue_full": 1})

		for i := range length {
			if got := served.Load(); got != int64(places+i) {
				w.Fatalf("%d clients were served when %d had left, want %d", got, i, places+i)
			}
			w.must(guests[i].Close())
			w.await(fmt.Sprintf("number %d in the queue is served", i), guests[places+i].served)
		}
		if n := b.queued("db"); n != 0 || most.Load() != places {
			w.Errorf("%d wait at last, want none; the server had up to %d connections, want %d", n, most.Load(), places)
		}
	})
}

// TestQueueTimeout: who has waited for as long as one may is closed, and whoever
// gives up makes room.
func TestQueueTimeout(t *testing.T) {
	const timeout = 700 * time.Millisecond
	overEachIO(t, 20*time.Second, func(w *world, io string) {
		var most, served, ended atomic.Int64
		b := w.balance(queueing(io, w.countingEcho(&most), object{"length": 1, "timeout": timeout.String()}))
		first := w.guest(b.listeners["db"], &served, &ended)
		w.await("the first is served", first.served)
		second := w.guest(b.listeners["db"], &served, &ended)
		w.await("the second is served", second.served)

		came := time.Now()
		w.await("who has waited too long is closed", w.guest(b.listeners["db"], &served, &ended).ended)
		if took := time.Since(came); took < timeout-timeout/10 {
			w.Errorf("who waits is closed after %s, want %s", took, timeout)
		}
		w.eventually("nobody waits", func() bool { return b.queued("db") == 0 })
		last := w.guest(b.listeners["db"], &served, &ended)
		w.eventually("the next one waits", func() bool { return b.queued("db") == 1 || isClosed(last.ended) })
		w.must(first.Close())
		b.wantEnds("db", map[string]int64{"queue_timeout": 1, "client_closed": 1})
		w.await("who waits takes the place", last.served)
		wantEcho(w, second, "not disturbed")
	})
}
