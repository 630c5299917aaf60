package e2e_test

import (
	"bufio"
	"net"
	"syscall"
	"testing"
	"time"
)

// wantNginx asks an nginx for its name, on a connection that stays open.
func wantNginx(w *world, conn net.Conn, p *peer) {
	w.Helper()
	if name, again, err := keepAlive(conn, bufio.NewReader(conn)); err != nil || !again || name != p.name {
		w.Fatalf("nginx %s: answer %q, kept: %t, %v", p.name, name, again, err)
	}
}

// TestOnUnhealthy: a server hangs until its checks have failed. What was open
// on it is kept, and goes on when the server does, or is closed, as the pool says.
func TestOnUnhealthy(t *testing.T) {
	overEachIO(t, 30*time.Second, func(w *world, io string) {
		web := w.nginx("one")
		config := object{"io": io, "listeners": []object{}, "pools": []object{}}
		choices := []string{"keep", "close"}
		for _, choice := range choices {
			config["listeners"] = append(config["listeners"].([]object),
				object{"name": choice, "protocol": "tcp", "address": "127.0.0.1:0", "pool": choice})
			config["pools"] = append(config["pools"].([]object),
				object{"name": choice, "on_unhealthy": choice, "servers": weighted([]*peer{web}), "health": quick(object{"path": "/"})})
		}
		b := w.balance(config)
		kept, closed := w.dial(b.listeners["keep"]), w.dial(b.listeners["close"])
		wantNginx(w, kept, web)
		wantNginx(w, closed, web)

		web.signal(syscall.SIGSTOP)
		w.Cleanup(func() { web.signal(syscall.SIGCONT) })
		for _, choice := range choices {
			b.awaitServer(choice, web.address, "not ready", notReady)
		}
		w.wantClosed(closed)
		b.wantEnds("close", map[string]int64{"drained": 1})
		b.wantEnds("keep", map[string]int64{})

		web.signal(syscall.SIGCONT)
		wantNginx(w, kept, web)
		for _, choice := range choices {
			b.awaitServer(choice, web.address, "ready again", ready)
			wantNginx(w, w.dial(b.listeners[choice]), web)
		}
	})
}
