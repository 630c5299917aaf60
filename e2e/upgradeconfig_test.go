package e2e_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestWhatAnotherConfigDoesNotKnow: connections of a server or a listener that the new
// process does not have stay with the old one until they end by themselves; nobody comes
// to it any more.
func TestWhatAnotherConfigDoesNotKnow(t *testing.T) {
	overEachIO(t, 90*time.Second, func(w *world, io string) {
		stays, goes, other := w.echoServer(), w.echoServer(), w.echoServer()
		listener := func(name, pool string) object {
			return object{"name": name, "protocol": "tcp", "address": w.freeAddress(), "pool": pool}
		}
		pool := func(name string, servers ...string) object {
			return object{"name": name, "servers": servers, "algorithm": "round_robin", "health": false}
		}
		kept, removed, added := listener("kept", "db"), listener("removed", "db"), listener("added", "more")
		config := object{"io": io, "shutdown_timeout": "5m", "listeners": []object{kept, removed}, "pools": []object{pool("db", stays, goes)}}
		l := w.found(raceBinary, w.fixed(config))
		// By turns they come to the server that stays and the one that goes.
		var conns []net.Conn
		for _, name := range []string{"kept", "kept", "removed", "removed"} {
			conns = append(conns, w.dial(l.listeners[name]))
			wantEcho(w, conns[len(conns)-1], name)
		}
		l.rewrite(with(config, object{"listeners": []object{kept, added}, "pools": []object{pool("db", stays), pool("more", other)}}))
		old := l.heir()
		l.upgraded()
		for range 3 {
			wantEcho(w, w.dial(l.listeners["kept"]), "kept")
			wantEcho(w, w.dial(added["address"].(string)), "added")
		}
		w.eventually("the listener that was removed takes nobody", func() bool {
			return refusesConnections(l.listeners["removed"])
		})
		w.eventually("what the new config knows has moved", func() bool {
			s, _ := l.server("db", stays)
			return s.Active == 1+3
		})
		if _, there := l.server("db", goes); there {
			w.Error("the server that was removed is still there")
		}
		for i, conn := range conns {
			wantEcho(w, conn, fmt.Sprint("connection ", i, " goes on"))
		}
		if !l.running(old) {
			w.Error("the old process has gone before its connections")
		}
		// The first is the only one that the new process knows.
		l.upgraded()
		for _, conn := range conns[1:] {
			wantEcho(w, conn, "still")
			w.must(conn.Close())
		}
		l.awaitHeir()
		wantEcho(w, conns[0], "alone")
	})
}

// TestUpgradeOfUnixSockets: listeners and the admin listener on unix sockets are the new
// process's, and their files are there until the last one ends.
func TestUpgradeOfUnixSockets(t *testing.T) {
	overEachIO(t, 60*time.Second, func(w *world, io string) {
		folder := w.socketFolder()
		in := func(name string) string { return filepath.Join(folder, name) }
		config := onUnix(in("db"), in("web"), w.nginx("one").address)
		config["io"], config["admin"] = io, object{"address": "unix:" + in("admin")}
		l := w.found(raceBinary, config)
		dial := func(name string) *keeper {
			conn, err := net.Dial("unix", in(name))
			w.must(err)
			conn.SetDeadline(w.deadline())
			w.Cleanup(func() { conn.Close() })
			k := w.keeps(conn)
			k.wantAnswer("/", "one")
			return k
		}
		relayed, idle := dial("db"), dial("web")
		for range 5 {
			l.upgraded()
			relayed.wantAnswer("/", "one")
			idle.wantAnswer("/", "one")
			dial("db").Close()
			dial("web").Close()
			l.wantServing(l.heir())
		}
		l.awaitHeir()
		relayed.wantAnswer("/", "one")
		idle.wantAnswer("/", "one")
		for _, name := range []string{"db", "web", "admin"} {
			if !there(in(name)) {
				w.Errorf("the file of %s is gone", name)
			}
		}
		relayed.Close()
		idle.Close()
		l.extinguish()
		for _, name := range []string{"db", "web", "admin"} {
			if there(in(name)) {
				w.Errorf("the file of %s is still there", name)
			}
		}
	})
}

// TestChangesOutlastUpgrades: what operators have changed is there after an upgrade, and
// they go on to change it the moment that it is answered.
func TestChangesOutlastUpgrades(t *testing.T) {
	const one, two, three = "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"
	w := newWorld(t, 90*time.Second)
	config, _ := w.stateful(nil, one, two)
	l := w.found(raceBinary, w.fixed(config))
	l.change("POST", "/upload_server", "db", three, 201)
	l.delete("db", one)
	want := map[string]string{two: "config", three: "uploaded"}
	for i := range 10 {
		l.upgraded()
		l.wantSources("after an upgrade", want)
		address := fmt.Sprintf("127.0.0.1:%d", 10+i)
		l.change("POST", "/upload_server", "db", address, 201)
		want[address] = "uploaded"
		if i == 5 {
			l.delete("db", address)
			delete(want, address)
		}
		l.reloaded("/reload")
		l.wantSources("after a change and a reload", want)
	}
	l.awaitHeir()
	l.wantHistory(10, three)
	syscall.Kill(l.heir(), syscall.SIGKILL)
	w.eventually("nobody has its sockets", func() bool { return refusesConnections(l.listeners["db"]) && refusesConnections(l.admin) })
	again := w.again(l.configPath())
	again.wantSources("after kill -9", want)
}

// wantHistory expects the last process to tell of so many upgrades, and that a server was
// uploaded in the first one.
func (l *lineage) wantHistory(upgrades int, uploaded string) {
	l.w.Helper()
	var history struct {
		Events []struct {
			ID           int64
			Kind, Server string
		}
	}
	l.get("/events", &history)
	first, last := false, int64(0)
	for _, e := range history.Events {
		if e.Kind == "balancer_upgraded" {
			upgrades--
		}
		first = first || e.Kind == "server_uploaded" && e.Server == uploaded
		if e.ID <= last {
			l.w.Errorf("event %d comes after event %d", e.ID, last)
		}
		last = e.ID
	}
	if !first || upgrades != 0 {
		l.w.Errorf("the first change is told: %t; %d more upgrades should be", first, upgrades)
	}
}

// TestUpgradesAtOnce: of several upgrades that are asked for at the same time each one
// is done, by whoever serves by then, or refused, and nobody is lost.
func TestUpgradesAtOnce(t *testing.T) {
	overEachIO(t, 90*time.Second, func(w *world, io string) {
		config := tcpOnly(w.echoServer())
		config["io"] = io
		poolOf(config)["health"] = false
		l := w.found(raceBinary, w.fixed(config))
		conn := w.dial(l.listeners["db"])
		wantEcho(w, conn, "before")
		const atOnce = 4
		for range 5 {
			type outcome struct {
				status, pid int
				text        string
				err         error
			}
			outcomes := make(chan outcome, atOnce)
			for range atOnce {
				go func() {
					var o outcome
					o.status, o.pid, o.text, o.err = l.askUpgrade()
					outcomes <- o
				}()
			}
			done := map[int]bool{}
			for range atOnce {
				o := receive(w, "an upgrade is answered", outcomes)
				switch {
				case o.err == nil && o.status == 200:
					done[o.pid] = true
				case o.err != nil || o.status != 409:
					w.Errorf("an upgrade beside others: status %d, %v: %s", o.status, o.err, o.text)
				}
			}
			if len(done) == 0 {
				w.Error("none of the upgrades was done")
			}
			wantEcho(w, conn, "after")
			wantEcho(w, w.dial(l.listeners["db"]), "after")
			var status struct{ PID int }
			l.get("/v1/status", &status)
			if !done[status.PID] {
				w.Errorf("process %d serves, want one of %v", status.PID, done)
			}
			delete(done, status.PID)
			for pid := range done {
				l.pids = append(l.pids, pid)
			}
			l.pids = append(l.pids, status.PID)
		}
		l.awaitHeir()
		wantEcho(w, conn, "alone")
	})
}

// TestUpgradeOfADrainingBalancer is refused, until that is undrained.
func TestUpgradeOfADrainingBalancer(t *testing.T) {
	w := newWorld(t, 60*time.Second)
	l := w.found(raceBinary, w.fixed(tcpOnly(w.echoServer())))
	conn := w.dial(l.listeners["db"])
	wantEcho(w, conn, "before")
	l.drains("POST", "/drain?timeout=1h")
	if status, _, text, err := l.askUpgrade(); err != nil || status != 409 || !strings.Contains(text, "drains") {
		t.Errorf("upgrade of a balancer that drains: status %d, %v: %s", status, err, text)
	}
	if n := len(l.started()); n != 0 {
		t.Errorf("%d processes were started", n)
	}
	l.drains("POST", "/undrain")
	l.upgraded()
	wantEcho(w, conn, "after")
	l.awaitHeir()
	l.drains("POST", "/drain?timeout=1h")
	l.drains("POST", "/undrain")
	l.wantServing(l.heir())
}
