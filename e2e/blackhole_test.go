package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// blackHole is the address of a server that is there and answers nobody: its
// queue of connections is full and it accepts none.
func (w *world) blackHole() string {
	w.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	w.must(err)
	w.Cleanup(func() { syscall.Close(fd) })
	w.must(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	w.must(syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	w.must(err)
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	w.eventually("the queue of the black hole is full", func() bool {
		conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err == nil {
			w.Cleanup(func() { conn.Close() })
		}
		return isTimeout(err)
	})
	return address
}

// TestBlackHoledServer: a server that does not answer costs the clients that meet
// it the connect_timeout, and they are served by another.
func TestBlackHoledServer(t *testing.T) {
	const patience, clients = 500 * time.Millisecond, 10
	overEachIO(t, 30*time.Second, func(w *world, io string) {
		hole, echo := w.blackHole(), w.echoServer()
		config := tcpOnly(hole, echo)
		config["io"] = io
		pool := poolOf(config)
		pool["health"] = false
		pool["algorithm"] = "round_robin"
		pool["connect_timeout"] = patience.String()
		b := w.balance(config)
		late := 0
		for range clients {
			began := time.Now()
			wantEcho(w, w.dial(b.listeners["db"]), "hello")
			if time.Since(began) >= patience {
				late++
			}
		}
		failed, _ := b.server("db", hole)
		if int64(late) != failed.Failures || late < clients/2 || failed.Active != 0 {
			w.Errorf("%d connections to the black hole failed, %d of %d clients waited and %d connections to it are open; want as many to fail as waited, at least half, and none open",
				failed.Failures, late, clients, failed.Active)
		}
		if served, _ := b.server("db", echo); served.Active != clients {
			w.Errorf("the other server has %d connections, want all %d", served.Active, clients)
		}
	})
}

// TestNobodyAnswers: with nothing but black holes a client is closed once each
// was tried, and no sooner.
func TestNobodyAnswers(t *testing.T) {
	const patience, holes = 300 * time.Millisecond, 3
	overEachIO(t, 20*time.Second, func(w *world, io string) {
		config := tcpOnly(w.blackHole(), w.blackHole(), w.blackHole())
		config["io"] = io
		pool := poolOf(config)
		pool["health"] = false
		pool["connect_timeout"] = patience.String()
		b := w.balance(config)
		began := time.Now()
		w.wantClosed(w.dial(b.listeners["db"]))
		if took := time.Since(began); took < holes*patience-50*time.Millisecond {
			w.Errorf("closed after %s, want each of %d servers tried for %s", took, holes, patience)
		}
		b.wantEnds("db", map[string]int64{"connect_failed": 1})
		if open := sum(active(b, "db")); open != 0 {
			w.Errorf("%d connections are active afterwards", open)
		}
	})
}

// askName asks a redis for its name.
func askName(conn net.Conn) (string, error) {
	name, _, err := redisName(conn, bufio.NewReader(conn))
	return name, err
}

// TestOnlyTheDyingServersConnectionsBreak: many connections are open on three
// servers while others come and go; one server dies. Its connections
// end, the others are not touched, and whoever comes now is served.
func TestOnlyTheDyingServersConnectionsBreak(t *testing.T) {
	const connections, workers = 300, 4
	overEachIO(t, 40*time.Second, func(w *world, io_ string) {
		servers := w.redises("one", "two", "three")
		config := tcpOnly(addresses(servers)...)
		config["io"] = io_
		poolOf(config)["health"] = quick(nil)
		b := w.balance(config)
		conns := make([]net.Conn, connections)
		on := make([]string, connections)
		w.must(onEach(connections, func(i int) (err error) {
			if conns[i], err = net.Dial("tcp", b.listeners["db"]); err != nil {
				return err
			}
			conns[i].SetDeadline(w.deadline())
			on[i], err = askName(conns[i])
			return err
		}))
		defer func() {
			for _, conn := range conns {
				conn.Close()
			}
		}()
		coming := w.load("those who come and go", b.listeners["db"], workers, once(redisName))
		coming.more(200)
		servers[1].kill()
		var broken atomic.Int64
		w.must(onEach(connections, func(i int) error {
			if on[i] != "two" {
				if name, err := askName(conns[i]); err != nil || name != on[i] {
					return fmt.Errorf("open on server %s: answer %q, %w", on[i], name, err)
				}
				return nil
			}
			broken.Add(1)
			defer conns[i].Close()
			_, err := conns[i].Read(make([]byte, 1))
			if err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
				return fmt.Errorf("open on the server that died: %w", err)
			}
			return nil
		}))
		if n := broken.Load(); n < connections/4 {
			w.Errorf("%d of %d connections were on the server that died, want a third", n, connections)
		}
		coming.more(200)
		coming.stop()
		w.Log(coming)
		if failed := coming.failed.Load(); failed > workers {
			w.Errorf("%d of those who came and went failed, want at most the %d that were being served", failed, workers)
		}
		w.eventually("nothing is active on the server that died", func() bool {
			s, _ := b.server("db", servers[1].address)
			return s.Active == 0 && !s.Ready
		})
	})
}
