package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// configPath is the file that the balancer was started with.
func (b *balancer) configPath() string { return b.cmd.Args[len(b.cmd.Args)-1] }

// rewrite puts another config into the balancer's file, which nobody reads yet.
func (b *balancer) rewrite(config object) {
	b.w.Helper()
	text, err := json.Marshal(config)
	b.w.must(err)
	b.w.replaceFile(b.configPath(), text)
}

// reload has the balancer go over to another config, and returns what changes.
func (b *balancer) reload(config object) (changes []string) {
	b.w.Helper()
	b.rewrite(config)
	return b.reloaded("/reload")
}

func (b *balancer) reloaded(path string) []string {
	b.w.Helper()
	status, text, err := b.ask("POST", path, "")
	var answer struct{ Changes []string }
	if err != nil || status != 200 || json.Unmarshal([]byte(text), &answer) != nil || answer.Changes == nil {
		b.w.Fatalf("POST %s: status %d, %v: %s", path, status, err, text)
	}
	return answer.Changes
}

// refuses expects that a reload comes to nothing, with a status and all these parts in
// its reason.
func (b *balancer) refuses(config any, status int, parts ...string) {
	b.w.Helper()
	text, isText := config.(string)
	if !isText {
		encoded, err := json.Marshal(config)
		b.w.must(err)
		text = string(encoded)
	}
	b.w.replaceFile(b.configPath(), []byte(text))
	for _, path := range []string{"/reload?dry_run=true", "/reload"} {
		got, answer, err := b.ask("POST", path, "")
		if err != nil || got != status {
			b.w.Errorf("POST %s: status %d, want %d, %v", path, got, status, err)
		}
		var refusal struct{ Error string }
		b.w.must(json.Unmarshal([]byte(answer), &refusal))
		for _, part := range parts {
			if !strings.Contains(refusal.Error, part) {
				b.w.Errorf("POST %s: no %q in %q", path, part, refusal.Error)
			}
		}
	}
}

// wantChanges compares what a reload says with what it has to say, in any order.
func wantChanges(w *world, got []string, want ...string) {
	w.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.Errorf("changes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// with returns a config's object with other members.
func with(base object, members object) object {
	all := make(object)
	for _, from := range []object{base, members} {
		for name, value := range from {
			all[name] = value
		}
	}
	return all
}

// TestReloadUnderLoad goes back and forth between two configs that differ in all that
// may: while requests and connections come on listeners that change and that do not,
// none fails, and those that are open stay open. In the end nothing is left over.
func TestReloadUnderLoad(t *testing.T) {
	const reloads = 50
	overEachIO(t, 120*time.Second, func(w *world, io string) {
		web, db := w.nginxes("one", "two", "three"), w.redises("one", "two", "three")
		ended := make(chan error, 100)
		chat, echo := w.webSocketServer(ended), w.echoServer()
		folder := w.TempDir()
		here, there := w.backAndForth(folder, io, web, db, chat, echo)
		b := w.balance(here)
		before := descriptors(w, b.cmd.Process.Pid)

		var sockets []*websocket.Conn
		for _, name := range []string{"chat", "chatkept"} {
			sockets = append(sockets, w.dialWebSocket(b.listeners[name]))
		}
		var streams []*guest
		var served, lost atomic.Int64
		for _, name := range []string{"echo", "echokept"} {
			streams = append(streams, w.guest(b.listeners[name], &served, &lost))
		}
		for _, g := range streams {
			w.await("the stream is served", g.served)
		}
		loads := []*load{
			w.load("http keep-alive", b.listeners["web"], 4, keepAlive),
			w.load("http close", b.listeners["web"], 4, closing),
			w.load("http of what stays", b.listeners["webkept"], 2, keepAlive),
			w.load("tcp short", b.listeners["db"], 4, once(redisName)),
			w.load("tcp of what stays", b.listeners["dbkept"], 2, once(redisName)),
		}
		for i := range reloads {
			next := there
			if i%2 == 1 {
				next = here
			}
			b.reloadSomehow(i, next)
			for _, l := range loads {
				l.more(10)
			}
			for _, c := range sockets {
				wantMessageBack(w, c, websocket.MessageText, fmt.Appendf(nil, "after reload %d", i))
			}
			for _, c := range streams {
				wantEcho(w, c, fmt.Sprintf("after reload %d", i))
			}
		}
		for _, l := range loads {
			l.stop()
			l.wantNoFailure()
			if strings.HasSuffix(l.name, "of what stays") && l.answeredBy("two") > 0 {
				w.Errorf("%s: another pool's server has answered", l.name)
			}
		}
		for _, c := range sockets {
			w.must(c.Close(websocket.StatusNormalClosure, ""))
		}
		for _, c := range streams {
			c.Close()
		}
		w.eventually("descriptors are as before", func() bool { return descriptors(w, b.cmd.Process.Pid) <= before })
		if said := b.stderr.String(); strings.Contains(said, "access log is incomplete") {
			w.Error("records were dropped")
		}
		for _, name := range []string{"web", "db"} {
			if n := strings.Count(b.stderr.String(), "listening listener="+name+" "); n != 1 {
				w.Errorf("listener %s began to listen %d times, want once", name, n)
			}
		}
		w.wantRecords(loads, folder)
	})
}

// reloadSomehow reloads in one of the ways that there are.
func (b *balancer) reloadSomehow(i int, config object) {
	b.w.Helper()
	switch i % 5 {
	case 3:
		b.rewrite(config)
		if out := b.w.mustRun(raceBinary, "reload", "--admin", b.admin); strings.Contains(out, "nothing") {
			b.w.Errorf("fulcrum reload printed %q", out)
		}
	case 4:
		before := strings.Count(b.stderr.String(), `msg="config reloaded"`)
		b.rewrite(config)
		b.signal(syscall.SIGHUP)
		b.w.eventually("SIGHUP has reloaded", func() bool {
			return strings.Count(b.stderr.String(), `msg="config reloaded"`) > before
		})
	default:
		if changes := b.reload(config); len(changes) == 0 {
			b.w.Error("a reload says that nothing has changed")
		}
	}
}

// backAndForth returns two configs. Listeners and pools whose names end in "kept" are
// the same in both, all others differ; each request leaves a record in folder.
func (w *world) backAndForth(folder, io string, web, db []*peer, chat, echo string) (here, there object) {
	at := make(map[string]string)
	listener := func(name, protocol, pool string, more object) object {
		if at[name] == "" {
			at[name] = w.freeAddress()
		}
		return with(object{"name": name, "protocol": protocol, "address": at[name], "pool": pool}, more)
	}
	log := func(name string) object { return object{"access_log": folder + "/" + name} }
	soon := quick(object{"interval": "100ms", "timeout": "100ms"})
	pool := func(name string, more object) object {
		return with(object{"name": name, "health": quick(nil), "reuse": object{"idle_timeout": "1s"}, "drain_timeout": "20s"}, more)
	}
	kept := []object{
		listener("webkept", "http", "webkept", log("webkept")),
		listener("dbkept", "tcp", "dbkept", nil),
		listener("chatkept", "http", "chatkept", nil),
		listener("echokept", "tcp", "echokept", nil),
	}
	keptPools := []object{
		pool("webkept", object{"servers": []string{web[0].address}}),
		pool("dbkept", object{"servers": []string{db[0].address}}),
		pool("chatkept", object{"servers": []string{chat}}),
		pool("echokept", object{"servers": []string{echo}}),
	}
	here = object{"io": io, "shutdown_timeout": "2s", "admin": object{"address": "127.0.0.1:0"},
		"listeners": append([]object{
			listener("web", "http", "web", log("here")),
			listener("db", "tcp", "db", object{"access_log": folder + "/db"}),
			listener("chat", "http", "chat", nil),
			listener("echo", "tcp", "echo", nil),
			listener("gone", "tcp", "db", nil),
		}, kept...),
		"pools": append([]object{
			pool("web", object{"servers": weighted(web[:2])}),
			pool("db", object{"servers": weighted(db[:2]), "algorithm": "round_robin"}),
			pool("chat", object{"servers": []string{chat}}),
			pool("echo", object{"servers": []string{echo}}),
		}, keptPools...)}
	there = object{"io": io, "shutdown_timeout": "3s", "admin": object{"address": "127.0.0.1:0"},
		"listeners": append([]object{
			listener("web", "http", "other", with(log("there"), object{"idle_timeout": "20s", "max_headers": 100, "max_connections": 1000,
				"max_connections_per_client": 1000, "forwarded": "append", "tcp_keepalive": "10s", "routes": []object{{"path": "/x/", "pool": "webkept"}}})),
			listener("db", "tcp", "db", object{"idle_timeout": "20s", "max_connections": 1000, "max_connections_per_client": 1000, "tcp_user_timeout": "10s"}),
			with(listener("chat", "http", "chat", object{"idle_timeout": "20s"}), object{"name": "renamed"}),
			listener("echo", "tcp", "echo", object{"half_closed_timeout": "20s", "access_log": folder + "/db"}),
			listener("added", "http", "other", nil),
		}, kept...),
		"pools": append([]object{
			pool("other", object{"servers": weighted(web[1:], 2, 5), "algorithm": "round_robin", "queue": object{}}),
			pool("db", object{"servers": weighted(db[1:], 3, 1), "health": soon, "retries": object{"attempts": 3}}),
			pool("chat", object{"servers": []string{chat}, "health": soon, "connect_timeout": "3s"}),
			pool("echo", object{"servers": []any{object{"address": echo, "weight": 9}}, "health": false}),
		}, keptPools...)}
	return here, there
}

// wantRecords expects a record in one of the logs for each request that was answered.
func (w *world) wantRecords(loads []*load, folder string) {
	w.Helper()
	want := loads[0].ok.Load() + loads[1].ok.Load()
	w.eventually("each request is recorded once", func() bool {
		return int64(w.lines(folder+"/here")+w.lines(folder+"/there")) == want
	})
	w.eventually("and each of what stays", func() bool { return int64(w.lines(folder+"/webkept")) == loads[2].ok.Load() })
}

// TestReloadsAtOnce: many reloads, by every way, at the same time, each of them whole.
func TestReloadsAtOnce(t *testing.T) {
	w := newWorld(t, 60*time.Second)
	g, r := w.gate("one"), w.redis("one")
	config := httpAndTCP([]any{g.address}, []any{r.address}, "least_connections")
	b := w.balance(config)
	l := w.load("http", b.listeners["web"], 4, closing)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5 {
				if status, text, err := b.ask("POST", "/reload", ""); err != nil || status != 200 {
					w.Errorf("POST /reload: status %d, %v: %s", status, err, text)
				}
			}
		})
	}
	for range 20 {
		b.signal(syscall.SIGHUP)
	}
	all.Wait()
	// The last signal is not lost: what the file says when it comes is what holds.
	config["pools"].([]object)[0]["drain_timeout"] = "7s"
	b.rewrite(config)
	b.signal(syscall.SIGHUP)
	b.signal(syscall.SIGHUP)
	w.eventually("the last change is made", func() bool { return strings.Contains(b.stderr.String(), "drain_timeout from 30s to 7s") })
	l.stop()
	l.wantNoFailure()
	b.signal(syscall.SIGHUP)
	b.wantStop(5 * time.Second)
}

// TestSIGHUPWithoutAFile changes nothing, ends nothing and says so.
func TestSIGHUPWithoutAFile(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	b := w.balancerOf(w.start(w.command(raceBinary, "tcp", "--log-format", "text", "--listen", "127.0.0.1:0", "--server", w.echoServer(), "--admin", "127.0.0.1:0")), 1)
	b.awaitReady()
	conn := w.dial(b.listeners["tcp"])
	wantEcho(w, conn, "before")
	b.signal(syscall.SIGHUP)
	w.eventually("it says why not", func() bool { return strings.Contains(b.stderr.String(), "without a config file") })
	wantEcho(w, conn, "after")
	w.must(conn.CloseWrite())
	io.ReadAll(conn)
	b.wantStop(5 * time.Second)
}
