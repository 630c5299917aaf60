package e2e_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestUpgrade: by command, by API and by signal another process takes over, and with
// it an open connection.
func TestUpgrade(t *testing.T) {
	overEachIO(t, 60*time.Second, func(w *world, io string) {
		config := tcpOnly(w.echoServer())
		config["io"] = io
		poolOf(config)["health"] = false
		l := w.found(raceBinary, w.fixed(config))
		conn := w.dial(l.listeners["db"])
		wantEcho(w, conn, "before")
		for how, upgraded := range map[string]func(){"command": l.upgradedByCommand, "api": l.upgraded, "signal": l.upgradedBySignal} {
			upgraded()
			l.wantServing(l.heir())
			wantEcho(w, conn, how)
			wantEcho(w, w.dial(l.listeners["db"]), how)
			l.awaitHeir()
			wantEcho(w, conn, how+" and alone")
		}
		if code := l.code(); code != 0 {
			w.Errorf("the first process ended with exit code %d", code)
		}
		if s := l.pools()["db"][0]; s.Total != 4 {
			w.Errorf("the server has had %d connections, want 4", s.Total)
		}
	})
}

// TestUpgradeToAnotherConfig: the new process has another config. What it shares with the
// old one goes over; what only the old one knows ends there; what was uploaded is there.
func TestUpgradeToAnotherConfig(t *testing.T) {
	w := newWorld(t, 60*time.Second)
	stays, goes, comes, uploaded := w.echoServer(), w.echoServer(), w.echoServer(), w.echoServer()
	folder := w.socketFolder()
	config := w.fixed(object{
		"shutdown_timeout": "2s",
		"listeners": []object{
			{"name": "kept", "protocol": "tcp", "pool": "a"},
			{"name": "gone", "protocol": "tcp", "pool": "b"},
			{"name": "file", "protocol": "tcp", "pool": "a"}},
		"pools": []object{{"name": "a", "servers": []any{stays}}, {"name": "b", "servers": []any{goes}}},
	})
	listeners := config["listeners"].([]object)
	listeners[2]["address"] = "unix:" + folder + "/echo.sock"
	l := w.found(raceBinary, config)
	l.upload("a", uploaded)
	var kept []net.Conn
	for range 4 {
		kept = append(kept, w.dial(l.listeners["kept"]))
	}
	byFile := func() net.Conn {
		c, err := net.Dial("unix", folder+"/echo.sock")
		w.must(err)
		w.Cleanup(func() { c.Close() })
		c.SetDeadline(w.deadline())
		return c
	}
	kept = append(kept, byFile())
	gone := w.dial(l.listeners["gone"])
	for i, c := range append(kept, gone) {
		wantEcho(w, c, fmt.Sprint("before ", i))
	}
	fresh := w.freeAddress()
	l.rewrite(with(config, object{
		"listeners": []object{listeners[0], listeners[2], {"name": "fresh", "protocol": "tcp", "pool": "c", "address": fresh}},
		"pools":     []object{{"name": "a", "servers": []any{stays}}, {"name": "c", "servers": []any{comes}}},
	}))
	l.upgraded()
	for i, c := range kept {
		wantEcho(w, c, fmt.Sprint("after ", i))
	}
	wantEcho(w, gone, "still in the old process")
	wantEcho(w, w.dial(fresh), "on a new listener")
	wantEcho(w, byFile(), "by the file of the old")
	if _, there := l.server("a", uploaded); !there {
		t.Error("what was uploaded is not there")
	}
	w.eventually("nobody serves what is gone", func() bool { return refusesConnections(l.listeners["gone"]) })
	l.upload("c", uploaded)
	l.awaitHeir() // what it could not move ends at its shutdown_timeout
	if _, err := gone.Read(make([]byte, 1)); err == nil {
		t.Error("a connection of a listener that is gone is still open")
	}
	for i, c := range kept {
		wantEcho(w, c, fmt.Sprint("at last ", i))
	}
	status, text, err := l.ask("POST", "/drain?timeout=1m", "")
	if err != nil || status != 200 {
		t.Fatal(status, text, err)
	}
	if _, _, refusal, err := l.askUpgrade(); err != nil || !strings.Contains(refusal, "undrain") {
		t.Errorf("upgraded while it drains: %v %q", err, refusal)
	}
}
