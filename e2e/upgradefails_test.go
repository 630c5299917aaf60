package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestUpgradesThatFail: whatever is wrong with the new process or the config, the old
// one says why and goes on as if nothing had been: with its connections, its clients to
// come, and what operators change.
func TestUpgradesThatFail(t *testing.T) {
	overEachIO(t, 2*time.Minute, func(w *world, io string) {
		taken := w.listen().Addr().String()
		web := w.nginx("web")
		config := httpAndTCP([]any{web.address}, []any{w.echoServer()}, "least_connections")
		config["io"] = io
		config["pools"].([]object)[0]["health"] = false
		l := w.found(raceBinary, w.fixed(config))
		conn, kept := w.dial(l.listeners["db"]), w.keeps(w.dial(l.listeners["web"]))
		wantEcho(w, conn, "before")
		kept.wantAnswer("/", "web")
		kept.wantAnswer("/", "web")
		loads := []*load{
			w.load("http", l.listeners["web"], 2, keepAlive),
			w.load("http closing", l.listeners["web"], 1, closing),
		}
		idle := descriptors(w, l.heir())

		withListener := with(config, object{"listeners": append(config["listeners"].([]object),
			object{"name": "third", "protocol": "tcp", "address": taken, "pool": "db"})})
		file := func(text string) func() {
			return func() { l.installText(text) }
		}
		script := func(lines string) func() { return file("#!/bin/sh\n" + lines + "\n") }
		// A message is "ful", its version, the lengths of its JSON and descriptors, and
		// the JSON.
		says := func(kind, body string) func() {
			text := fmt.Sprintf(`{"kind":%q,"body":%s}`, kind, body)
			return script(fmt.Sprintf(`printf 'ful\001\000\000\000\%03o\000\000\000\000%%s' '%s' >&3; exec sleep 1000`, len(text), text))
		}
		for _, test := range []struct {
			name  string
			spoil func()
			why   []string
		}{
			{"it exits at once", script("exit 3"), []string{"ended with exit status 3"}},
			{"it is no program", file("what?"), []string{"exec format error"}},
			{"it is not there", func() { w.must(os.Remove(l.binary)) }, []string{"no such file"}},
			{"it dies of a signal", script("kill -9 $$"), []string{"ended with signal: killed"}},
			{"it says garbage", script("head -c 100000 /dev/urandom >&3; exec sleep 1000"), []string{"is not the beginning of one"}},
			{"it does not stop saying garbage", script("exec cat /dev/zero >&3"), []string{"is not the beginning of one"}},
			{"its words are longer than it", script(`printf 'ful\001\000\377\377\377\000\000\000\000' >&3`), []string{"ended"}},
			{"it speaks another version", says("failed", `{"why":"it speaks version 1 of the handover, this one speaks 2"}`), []string{"version 1 of the handover"}},
			{"it says what is not known", says("ready", `{}`), []string{`"ready"`}},
			{"it says more than is known", says("prepared", `[{"version":1,"name":"db","address":"x","cheese":true}]`), []string{"cheese"}},
			{"it closes the link", script("exec 3>&-; exec sleep 1000"), nil},
			{"the config is no JSON", func() { w.replaceFile(l.configPath(), []byte(`{"listeners": [,]}`)) }, []string{"config.json:1:"}},
			{"the config is invalid", func() { l.rewrite(with(config, object{"pools": []object{}})) }, []string{`"web"`, `"db"`}},
			{"a port is taken", func() { l.rewrite(withListener) }, []string{taken, "in use"}},
		} {
			w.install(raceBinary, l.binary)
			l.rewrite(config)
			test.spoil()
			l.wantFailure(test.name, test.why...)
			wantEcho(w, conn, test.name)
			fresh := w.dial(l.listeners["db"])
			wantEcho(w, fresh, test.name)
			w.must(fresh.Close())
			kept.wantAnswer("/", "web")
			l.change("POST", "/upload_server", "web", "127.0.0.1:1", 201)
			l.change("DELETE", "/delete_server", "web", "127.0.0.1:1", 200)
		}
		w.install(raceBinary, l.binary)
		l.rewrite(config)
		l.reloaded("/reload")
		for _, load := range loads {
			load.stop()
			load.wantNoFailure()
		}
		w.eventually("no descriptor of a failed upgrade is left", func() bool { return descriptors(w, l.heir()) <= idle+8 })
		l.upgraded()
		wantEcho(w, conn, "after all")
		kept.wantAnswer("/", "web")
		l.awaitHeir()
	})
}

// wantFailure asks for an upgrade, which is to fail soon for a reason and leave no
// process.
func (l *lineage) wantFailure(name string, why ...string) {
	l.w.Helper()
	before := len(l.started())
	began := time.Now()
	status, _, text, err := l.askUpgrade()
	if err != nil || status != 409 || !strings.Contains(text, "this one goes on") {
		l.w.Fatalf("%s: status %d, %v: %s", name, status, err, text)
	}
	for _, part := range why {
		if !strings.Contains(text, part) {
			l.w.Errorf("%s: the answer is %s, want %q in it", name, text, part)
		}
	}
	const most = 25*time.Second + goneWithin
	if took := time.Since(began); took > most {
		l.w.Errorf("%s: that took %s", name, took)
	}
	for _, pid := range l.started()[before:] {
		if l.running(pid) {
			l.w.Errorf("%s: process %d is still there", name, pid)
		}
	}
	l.wantServing(l.heir())
}

// TestUpgradeThatHangs: a new process that says nothing is given up and killed; until
// then clients are served, and nobody changes servers.
func TestUpgradeThatHangs(t *testing.T) {
	w := newWorld(t, 2*time.Minute)
	config := tcpOnly(w.echoServer())
	l := w.found(raceBinary, w.fixed(config))
	conn := w.dial(l.listeners["db"])
	l.installText("#!/bin/sh\nexec sleep 1000\n")
	failed := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(failed)
		l.wantFailure("it hangs", "it took too long")
	}()
	w.eventually("it has begun", func() bool { return len(l.started()) == 1 })
	for !isClosed(failed) {
		wantEcho(w, conn, "meanwhile")
		wantEcho(w, w.dial(l.listeners["db"]), "meanwhile")
		if time.Since(began) < 20*time.Second {
			l.change("POST", "/upload_server", "db", "127.0.0.1:1", 409)
			l.wantHealth(200, "ok")
		}
		select {
		case <-failed:
		case <-time.After(200 * time.Millisecond):
		}
	}
	l.change("POST", "/upload_server", "db", "127.0.0.1:1", 201)
	w.install(raceBinary, l.binary)
	l.upgraded()
	wantEcho(w, conn, "after all")
	l.awaitHeir()
}
