package e2e_test

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// replaceFile puts a text in the place of a file, as a whole.
func (w *world) replaceFile(path string, text []byte) {
	w.Helper()
	w.must(os.WriteFile(path+".new", text, 0o600))
	w.must(os.Rename(path+".new", path))
}

// lines counts the whole lines of a file, none if it is not there.
func (w *world) lines(path string) int {
	text, _ := os.ReadFile(path)
	return bytes.Count(text, []byte("\n"))
}

// TestReloadRefused: what is wrong with a file, or cannot be had, is named to the last
// problem, and all goes on as before.
func TestReloadRefused(t *testing.T) {
	w := newWorld(t, 60*time.Second)
	g, echo := w.gate("one"), w.echoServer()
	config := httpAndTCP([]any{g.address}, []any{echo}, "least_connections")
	config["io"] = "epoll"
	listeners := config["listeners"].([]object)
	for _, l := range listeners {
		l["address"] = w.freeAddress()
	}
	b := w.balance(config)
	conn := w.dial(b.listeners["db"])
	wantEcho(w, conn, "before")
	before, files := b.pools(), descriptors(w, b.cmd.Process.Pid)

	taken, free := []string{w.listen().Addr().String(), w.listen().Addr().String()}, w.freeAddress()
	more := func(more ...object) object {
		return with(config, object{"listeners": append(append([]object{}, listeners...), more...)})
	}
	b.refuses(`{"listeners": [`, 400, b.configPath(), "not valid JSON")
	b.refuses(with(config, object{"shutdown_timeout": "soon", "admin": object{"address": "nowhere"}}), 400, "2 problems", "shutdown_timeout", "soon", "admin.address", "nowhere")
	b.refuses(more(object{"name": "new", "protocol": "tcp", "address": free, "pool": "dbb"}), 400, `"dbb"`, "web", "db")
	b.refuses(with(more(
		object{"name": "taken", "protocol": "tcp", "address": taken[0], "pool": "db"},
		object{"name": "new", "protocol": "http", "address": free, "pool": "web"},
		object{"name": "log", "protocol": "http", "address": "127.0.0.1:0", "pool": "web", "access_log": "/nowhere/log"},
	), object{"admin": object{"address": taken[1]}, "io": "io_uring", "state": false}), 409,
		"5 problems", `state: `, `listener "taken"`, "address already in use", `listener "log"`, "/nowhere/log", "admin", taken[1], `io: "epoll" cannot become "io_uring"`, "restart")
	b.refuses(with(config, object{"listeners": []object{listeners[0], with(listeners[1], object{"protocol": "http", "pool": "web"})}}), 409,
		b.listeners["db"], "protocol", "restart")

	b.signal(syscall.SIGHUP)
	w.eventually("SIGHUP says what is wrong", func() bool {
		return strings.Contains(b.stderr.String(), "goes on as before") && strings.Contains(b.stderr.String(), "the protocol of an address cannot change")
	})
	p := w.run(raceBinary, "reload", "--admin", b.admin)
	if p.code() != 1 || !strings.Contains(p.stderr.String(), "the protocol of an address cannot change") {
		t.Errorf("fulcrum reload: exit code %d, %s", p.code(), p.stderr.tail())
	}
	b.w.replaceFile(b.configPath(), []byte("{}"))
	if p := w.run(raceBinary, "reload", "--dry-run", "--admin", b.admin); p.code() != 2 || !strings.Contains(p.stderr.String(), "listeners") {
		t.Errorf("fulcrum reload of an empty config: exit code %d, %s", p.code(), p.stderr.tail())
	}

	wantEcho(w, conn, "after")
	wantEcho(w, w.dial(b.listeners["db"]), "anew")
	if got := w.name(b.listeners["web"]); got != "one" {
		t.Errorf("%s answers", got)
	}
	for pool, servers := range b.pools() {
		if len(servers) != 1 || servers[0].Address != before[pool][0].Address || !servers[0].Ready {
			t.Errorf("pool %s has %+v, had %+v", pool, servers, before[pool])
		}
	}
	if strings.Contains(b.stderr.String(), "config changed") {
		t.Error("something has changed")
	}
	if a := w.get(free, "/"); a.err == nil {
		t.Error("the address of a listener that came to nothing is open")
	}
	w.eventually("no descriptor is left", func() bool { return descriptors(w, b.cmd.Process.Pid) <= files+4 })
	if changes := b.reload(config); len(changes) > 0 {
		t.Errorf("the file as it was says that it changes %q", changes)
	}
}

// TestReloadDryRun says what would change, and changes nothing.
func TestReloadDryRun(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	one, two := w.gate("one"), w.gate("two")
	config := httpOnly(one.address)
	config["listeners"].([]object)[0]["address"] = w.freeAddress()
	b := w.balance(config)
	added := w.freeAddress()
	b.rewrite(with(config, object{
		"listeners": append([]object{with(config["listeners"].([]object)[0], object{"idle_timeout": "5s"})},
			object{"name": "added", "protocol": "http", "address": added, "pool": "web"}),
		"pools": []object{{"name": "web", "servers": []string{two.address}}},
	}))
	want := []string{
		`listener "added" added`,
		`listener "web" changed: idle_timeout from 1m0s to 5s`,
		`pool "web": server "` + one.address + `" removed`,
		`pool "web": server "` + two.address + `" added`,
	}
	wantChanges(w, b.reloaded("/reload?dry_run=true"), want...)
	out := w.mustRun(raceBinary, "reload", "--dry-run", "--admin", b.admin)
	wantChanges(w, strings.Split(strings.TrimSuffix(out, "\n"), "\n"), want...)
	if got := w.name(b.listeners["web"]); got != "one" {
		t.Errorf("after a dry run %s answers", got)
	}
	if a := w.get(added, "/"); a.err == nil {
		t.Error("after a dry run there is another listener")
	}
	if strings.Contains(b.stderr.String(), "config changed") || strings.Contains(b.stderr.String(), "config reloaded") {
		t.Error("a dry run is logged as a reload")
	}
	wantChanges(w, b.reloaded("/reload"), want...)
	b.awaitGone("web", one.address)
	if got := w.name(b.listeners["web"]) + w.name(added); got != "twotwo" {
		t.Errorf("after the reload %s answers", got)
	}
}
