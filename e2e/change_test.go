package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestUploadAndDeleteUnderLoad: servers come and go, and no request notices.
func TestUploadAndDeleteUnderLoad(t *testing.T) {
	w := newWorld(t, 60*time.Second)
	web, db := w.nginxes("one", "two", "three"), w.redises("one", "two", "three")
	b := w.balance(underLoad(web[:2], db[:2]))
	loads := []*load{
		w.load("http keep-alive", b.listeners["web"], 6, keepAlive),
		w.load("http close", b.listeners["web"], 6, closing),
		w.load("tcp short", b.listeners["db"], 6, once(redisName)),
	}
	present := func(i int, more int64) {
		before := make([]int, len(loads))
		for j, l := range loads {
			before[j] = l.answeredBy(web[i].name)
			l.more(more)
		}
		for j, l := range loads {
			w.eventually(fmt.Sprintf("%s: %s answers", l.name, web[i].name), func() bool { return l.answeredBy(web[i].name) > before[j] })
		}
	}
	// The third comes, then each in turn goes and comes back.
	b.upload("web", web[2].address)
	b.upload("db", db[2].address)
	present(2, 50)
	for i := range 3 {
		b.delete("web", web[i].address)
		b.delete("db", db[i].address)
		b.awaitGone("web", web[i].address)
		b.awaitGone("db", db[i].address)
		for _, l := range loads {
			l.settle()
			before := l.answeredBy(web[i].name)
			l.more(50)
			if l.answeredBy(web[i].name) != before {
				t.Errorf("%s: server %s answers after it has gone", l.name, web[i].name)
			}
		}
		b.upload("web", web[i].address)
		b.upload("db", db[i].address)
		present(i, 50)
	}
	for _, l := range loads {
		l.stop()
		l.wantNoFailure()
	}
}

// TestDeletedServerFinishesItsWork: a request and a connection go on after their
// server was deleted, while new ones go elsewhere; then the server is gone.
func TestDeletedServerFinishesItsWork(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	g, echo := w.gate("held"), w.echoServer()
	b := w.balance(httpAndTCP([]any{g.address}, []any{echo}, "least_connections"))
	held := w.getLater(b.listeners["web"], "/held")
	receive(w, "the request arrives", g.arrived)
	conn := w.dial(b.listeners["db"])
	wantEcho(w, conn, "before")
	b.upload("web", w.gate("other").address)
	b.upload("db", w.redis("other").address)

	b.delete("web", g.address)
	b.delete("db", echo)
	for pool, address := range map[string]string{"web": g.address, "db": echo} {
		s, there := b.server(pool, address)
		if !there || !s.Draining || s.Ready || s.Active != 1 {
			t.Errorf("the deleted server of pool %s is %+v (there: %t), want it draining with 1 active", pool, s, there)
		}
	}
	for range 10 {
		if got := w.name(b.listeners["web"]) + redisNameOnce(w, b.listeners["db"]); got != "otherother" {
			t.Errorf("new work went to %s", got)
		}
	}
	wantEcho(w, conn, "still here")
	g.open()
	if a := receive(w, "the held request is answered", held); a.status != 200 || a.body != "held" || a.err != nil {
		t.Errorf("the request in flight at the deleted server: %+v", a)
	}
	w.must(conn.CloseWrite())
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("the connection to the deleted server ended with %q, %v", rest, err)
	}
	b.awaitGone("web", g.address)
	b.awaitGone("db", echo)
}

// TestForceClosesAtOnce: ?force=true does not wait for what is in flight, nor
// does the end of the drain_timeout.
func TestForceClosesAtOnce(t *testing.T) {
	for _, how := range []string{"force", "drain_timeout"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, 20*time.Second)
			g, echo := w.gate("held"), w.echoServer()
			config := httpAndTCP([]any{g.address}, []any{echo}, "least_connections")
			query := "?force=true"
			if how == "drain_timeout" {
				query = ""
				for _, p := range config["pools"].([]object) {
					p["drain_timeout"] = "300ms"
				}
			}
			b := w.balance(config)
			held := w.getLater(b.listeners["web"], "/held")
			receive(w, "the request arrives", g.arrived)
			conn := w.dial(b.listeners["db"])
			wantEcho(w, conn, "before")
			started := time.Now()
			b.change("DELETE", "/delete_server"+query, "web", g.address, 200)
			b.change("DELETE", "/delete_server"+query, "db", echo, 200)
			if a := receive(w, "the held request ends", held); a.err == nil && a.status != 502 {
				t.Errorf("the request in flight: %+v, want it cut off or 502", a)
			}
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Error("the connection in flight is still open")
			}
			b.awaitGone("web", g.address)
			b.awaitGone("db", echo)
			if took := time.Since(started); took > 3*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestUploadOfADrainingServer brings it back with what it has in flight.
func TestUploadOfADrainingServer(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	echo := w.echoServer()
	b := w.balance(tcpOnly(echo))
	conn := w.dial(b.listeners["db"])
	wantEcho(w, conn, "before")
	b.delete("db", echo)
	b.upload("db", echo)
	wantEcho(w, conn, "after")
	wantEcho(w, w.dial(b.listeners["db"]), "new")
	if s, _ := b.server("db", echo); s.Active != 2 || s.Draining {
		t.Errorf("the server that came back is %+v, want 2 active and not draining", s)
	}
}

// TestRefusedChanges: what cannot be done is said, and nothing changes.
func TestRefusedChanges(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	web := w.nginxes("one", "two")
	b := w.balance(underLoad(web, w.redises("one")))
	unknown := w.freeAddress()
	for _, test := range []struct {
		method, path, body string
		status             int
		says               []string
	}{
		{"DELETE", "/delete_server", fmt.Sprintf(`{"pool": "web", "server": %q}`, unknown), 404, append(addresses(web), unknown)},
		{"DELETE", "/delete_server?pool=web&server=" + unknown, "", 404, addresses(web)},
		{"DELETE", "/delete_server", fmt.Sprintf(`{"pool": "nowhere", "server": %q}`, unknown), 404, []string{"nowhere", "web", "db"}},
		{"DELETE", "/delete_server", fmt.Sprintf(`{"server": %q}`, unknown), 400, []string{"pool", "web", "db"}},
		{"POST", "/upload_server", `{"pool": "web"`, 400, nil},
		{"POST", "/upload_server", `{"pool": "web", "server": "127.0.0.1:1", "wieght": 1}`, 400, []string{"wieght"}},
		{"POST", "/upload_server", `{"pool": "web", "server": "127.0.0.1:1", "weight": 1000}`, 400, []string{"1000", "256"}},
		{"POST", "/upload_server", `{"pool": "web", "server": "https://127.0.0.1:1"}`, 400, []string{"https"}},
		{"GET", "/upload_server", "", 405, nil},
	} {
		status, text, err := b.ask(test.method, test.path, test.body)
		w.must(err)
		var refusal struct{ Error string }
		if status != test.status || json.Unmarshal([]byte(text), &refusal) != nil || refusal.Error == "" {
			t.Errorf("%s %s %s: status %d, want %d and an error in JSON: %s", test.method, test.path, test.body, status, test.status, text)
		}
		for _, word := range test.says {
			if !strings.Contains(refusal.Error, word) {
				t.Errorf("%s %s %s: %q does not say %q", test.method, test.path, test.body, refusal.Error, word)
			}
		}
	}
	if got := len(b.pools()["web"]) + len(b.pools()["db"]); got != 3 {
		t.Errorf("there are %d servers now, want the same 3", got)
	}
}

// TestServersCommands: the admin API from the shell.
func TestServersCommands(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	web := w.nginxes("one", "two")
	b := w.balance(underLoad(web[:1], w.redises("one")))
	servers := func(args ...string) *process {
		return w.run(raceBinary, slices.Concat([]string{"servers", args[0], "--admin", b.admin}, args[1:])...)
	}
	says := func(p *process, code int, words ...string) {
		t.Helper()
		text := p.stdout.String() + p.stderr.String()
		if p.code() != code {
			t.Errorf("%v: exit code %d, want %d: %s", p.cmd.Args[1:], p.code(), code, text)
		}
		for _, word := range words {
			if !strings.Contains(text, word) {
				t.Errorf("%v does not say %q: %s", p.cmd.Args[1:], word, text)
			}
		}
	}
	one, two := web[0].address, web[1].address
	says(servers("list"), 0, "POOL", one, "ready")
	says(servers("upload", "--pool", "web", "--weight", "3", two), 0, two, "added", "web")
	says(servers("upload", "--pool", "web", "--weight", "2", two), 0, two, "updated")
	b.awaitServer("web", two, "ready with weight 2", func(s server) bool { return s.Ready && s.Weight == 2 })
	var listed any
	if p := servers("list", "--json"); json.Unmarshal([]byte(p.stdout.String()), &listed) != nil {
		t.Errorf("list --json is no JSON: %s", p.stdout.String())
	}
	says(servers("delete", "--pool", "web", two), 0, two, "web")
	b.awaitGone("web", two)
	says(servers("delete", "--pool", "web", two), 1, two, one)
	says(servers("upload", "--pool", "web", "--force", two), 2, "force")
	says(servers("delete", "--pool", "web"), 2, "address")
	says(w.run(raceBinary, "servers", "list", "--admin", w.freeAddress()), 1, "refused")
}
