package e2e_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// startWithin is startBalancer of a process that may have so many descriptors.
func (w *world) startWithin(descriptors int, config object) *balancer {
	w.Helper()
	config["admin"] = object{"address": "127.0.0.1:0"}
	config["shutdown_timeout"] = "2s"
	cmd := w.command("sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" run --log-format text --config "$1"`, descriptors), raceBinary, w.configFile(config))
	return w.balancerOf(w.start(cmd), len(config["listeners"].([]object)))
}

// A guest is a client that says a word and waits for it to come back.
type guest struct {
	*net.TCPConn
	served chan struct{} // closed when it has
	ended  chan struct{} // closed when the connection has ended in place of that
}

func (w *world) guest(address string, served, ended *atomic.Int64) *guest {
	w.Helper()
	g := &guest{w.dial(address), make(chan struct{}), make(chan struct{})}
	_, err := io.WriteString(g, "hello")
	w.must(err)
	go func() {
		if _, err := io.ReadFull(g, make([]byte, 5)); err != nil {
			ended.Add(1)
			close(g.ended)
			return
		}
		served.Add(1)
		close(g.served)
	}()
	return g
}

func (g *guest) wasServed() bool { return isClosed(g.served) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestOutOfDescriptors: when they have run out, what is open goes on, new clients
// wait in the kernel's queue, its servers stay healthy, and once connections have
// ended those who waited are served.
func TestOutOfDescriptors(t *testing.T) {
	const limit, clients = 160, 150
	overEachIO(t, 30*time.Second, func(w *world, io string) {
		config := tcpOnly(w.echoServer())
		config["io"] = io
		config["pools"].([]object)[0]["health"] = quick(nil)
		b := w.startWithin(limit, config)
		b.awaitReady()
		if said := fmt.Sprintf("msg=\"file descriptors\" limit=%d connections=%d", limit, (limit-100)/2); !strings.Contains(b.stderr.String(), said) {
			w.Errorf("stderr does not say %q", said)
		}

		var served, ended atomic.Int64
		var guests []*guest
		for range clients {
			guests = append(guests, w.guest(b.listeners["db"], &served, &ended))
		}
		const paused = "accepting is paused"
		w.eventually("accepting is paused", func() bool { return strings.Contains(b.stderr.String(), paused) })
		open := int(w.untilStill("nobody else is served", &served))
		w.Logf("of %d clients %d were served and %d closed", clients, open, ended.Load())
		if open < (limit-100)/2 || open > limit/2 {
			w.Errorf("with %d descriptors %d connections are open, want at least %d", limit, open, (limit-100)/2)
		}
		for until := time.Now().Add(time.Second); time.Now().Before(until); {
			for _, g := range guests {
				if g.wasServed() {
					wantEcho(w, g, "still here")
				}
			}
		}
		if got := int(served.Load()); got != open {
			w.Errorf("%d clients were served meanwhile", got-open)
		}

		for _, g := range guests {
			select {
			case <-g.served:
			case <-g.ended:
			case <-w.ctx.Done():
				w.Fatal("somebody is neither served nor closed")
			}
			g.Close()
		}
		w.eventually("nothing is active", func() bool { return sum(active(b, "db")) == 0 })
		for range 10 {
			wantEcho(w, w.dial(b.listeners["db"]), "as before")
		}
		if n := strings.Count(b.stderr.String(), paused); n > 2 {
			w.Errorf("stderr says %d times that accepting is paused, want once on each loop", n)
		}
		if strings.Contains(b.stderr.String(), "is not healthy") {
			w.Error("the server was found not healthy for want of descriptors here")
		}
		if n := ended.Load(); n != 0 {
			w.Errorf("%d clients were closed, want them to wait: %v", n, b.traffic("db").Ends)
		}
	})
}
