package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestReloadServers: a server that a config removes finishes its work, one that it
// adds takes new work, a weight holds at once; what stays keeps its counts and is
// healthy all the time, also when it is checked in another way from then on.
func TestReloadServers(t *testing.T) {
	w := newWorld(t, 60*time.Second)
	one, two, three, echo := w.gate("one"), w.gate("two"), w.gate("three"), w.echoServer()
	config := httpAndTCP([]any{one.address, two.address}, []any{echo}, "round_robin")
	pools := config["pools"].([]object)
	pools[0]["health"] = false
	pools[1]["drain_timeout"] = "500ms"
	b := w.balance(config)
	for range 10 {
		w.name(b.listeners["web"])
	}
	// Held on both, of which one is to go.
	held := []<-chan answer{w.getLater(b.listeners["web"], "/held"), w.getLater(b.listeners["web"], "/held")}
	receive(w, "one has a request", one.arrived)
	receive(w, "two has a request", two.arrived)
	conn := w.dial(b.listeners["db"])
	wantEcho(w, conn, "before")
	stays, _ := b.server("web", two.address)

	other := w.echoServer()
	changed := with(config, object{"pools": []object{
		with(pools[0], object{"servers": []any{object{"address": two.address, "weight": 3}, three.address}, "health": quick(object{"path": "/"})}),
		with(pools[1], object{"servers": []any{other}}),
	}})
	stop := b.watchHealth("web", two.address)
	wantChanges(w, b.reload(changed),
		fmt.Sprintf(`pool "web": server %q removed`, one.address), fmt.Sprintf(`pool "web": server %q added`, three.address),
		fmt.Sprintf(`pool "web": server %q changed: weight from 1 to 3`, two.address), `pool "web" changed: health`,
		fmt.Sprintf(`pool "db": server %q removed`, echo), fmt.Sprintf(`pool "db": server %q added`, other))
	if s, there := b.server("web", one.address); !there || !s.Draining || s.Active != 1 {
		t.Errorf("what was removed is %+v (there: %t), want it draining with 1 active", s, there)
	}
	if s, _ := b.server("web", two.address); s.Total < stays.Total || s.Active != 1 || s.Weight != 3 {
		t.Errorf("what stays is %+v, was %+v", s, stays)
	}
	b.awaitServer("web", three.address, "ready", ready)
	b.awaitServer("db", other, "ready", ready)
	by := make(map[string]int)
	for range 40 {
		by[w.name(b.listeners["web"])]++
	}
	if by["one"] != 0 || by["two"] != 30 || by["three"] != 10 {
		t.Errorf("by weight 3 to 1 answered %v", by)
	}
	// The connection to the removed server goes on until its drain_timeout is over.
	if rest, err := io.ReadAll(conn); len(rest) > 0 {
		t.Errorf("read %q, %v", rest, err)
	}
	b.awaitGone("db", echo)
	wantEcho(w, w.dial(b.listeners["db"]), "by the other")

	one.open()
	two.open()
	for _, h := range held {
		if a := receive(w, "what was held is answered", h); a.status != 200 || a.err != nil {
			t.Errorf("a request in flight: %+v", a)
		}
	}
	b.awaitGone("web", one.address)
	for i := range 20 {
		b.reload([]object{config, changed}[i%2])
	}
	stop()
	if s, _ := b.server("web", two.address); s.Total < stays.Total+30 || s.Failures != 0 {
		t.Errorf("after all it is %+v", s)
	}
}

// watchHealth looks at a server until stop is called, and fails the test if it is not
// healthy at any time.
func (b *balancer) watchHealth(pool, address string) (stop func()) {
	stopped := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for !isClosed(stopped) && b.w.ctx.Err() == nil {
			if s, there := b.server(pool, address); !there || !s.Healthy || !s.Ready {
				b.w.Errorf("server %s is %+v (there: %t)", address, s, there)
				return
			}
		}
	})
	return func() { close(stopped); all.Wait() }
}

// TestReloadListeners: listeners come, go and get other names. One that goes finishes
// its work and is refused then; one that is renamed goes on, counts and all. The admin
// listener moves, too.
func TestReloadListeners(t *testing.T) {
	overEachIO(t, 60*time.Second, func(w *world, io string) {
		g := w.gate("one")
		at := []string{w.freeAddress(), w.freeAddress(), w.freeAddress(), w.freeAddress()}
		listener := func(name, protocol, address string) object {
			return object{"name": name, "protocol": protocol, "address": address, "pool": "web"}
		}
		config := object{
			"io":               io,
			"listeners":        []object{listener("going", "http", at[0]), listener("tcp", "tcp", at[1])},
			"pools":            []object{{"name": "web", "servers": []string{g.address}}},
			"admin":            object{"address": w.freeAddress()},
			"shutdown_timeout": "20s",
		}
		b := w.balance(config)
		conn := w.dial(at[1])
		r := bufio.NewReader(conn)
		if by, _, err := keepAlive(conn, r); by != "one" || err != nil {
			w.Fatalf("%q answers, %v", by, err)
		}
		held := w.getLater(at[0], "/held")
		receive(w, "the request arrives", g.arrived)

		moved := w.freeAddress()
		old := b.admin
		wantChanges(w, b.reload(with(config, object{
			"listeners": []object{listener("renamed", "tcp", at[1]), listener("added", "http", at[2]), listener("also", "tcp", at[3])},
			"admin":     object{"address": moved},
		})), `listener "going" removed`, `listener "tcp" removed`, `listener "renamed" added`, `listener "added" added`, `listener "also" added`,
			fmt.Sprintf("admin changed: address from %q to %q", old, moved))
		b.admin = moved
		w.eventually("the old admin address is closed", func() bool { return refusesConnections(old) })
		if got := w.name(at[2]) + w.name(at[3]); got != "oneone" {
			w.Errorf("the listeners that were added answer %q", got)
		}
		if by, _, err := keepAlive(conn, r); by != "one" || err != nil {
			w.Errorf("on the connection that was open %q answers, %v", by, err)
		}
		if got := b.traffic("renamed"); got.Accepted < 1 || got.Active < 1 {
			w.Errorf("under its other name it has seen %+v", got)
		}
		w.eventually("the listener that is gone refuses", func() bool { return refusesConnections(at[0]) })
		g.open()
		if a := receive(w, "its request is answered", held); a.status != 200 || a.body != "one" || a.err != nil {
			w.Errorf("the request in flight: %+v", a)
		}
		w.eventually("it has stopped", func() bool { return strings.Contains(b.stderr.String(), "server is gone") || refusesConnections(at[0]) })
		if got := b.reload(with(config, object{"admin": object{"address": moved}})); len(got) != 5 {
			w.Errorf("the way back changes %q", got)
		}
		if got := w.name(at[0]); got != "one" {
			w.Errorf("the listener that has come back answers %q", got)
		}
	})
}

func refusesConnections(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err == nil {
		conn.Close()
	}
	return err != nil && strings.Contains(err.Error(), "refused")
}

// TestReloadInPlace: what a listener does is changed while its clients stay, and holds
// for their next requests.
func TestReloadInPlace(t *testing.T) {
	overEachIO(t, 60*time.Second, func(w *world, io string) {
		folder := w.TempDir()
		var pools []object
		for _, name := range []string{"web", "api"} {
			server := w.httpServer(func(rw http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(rw, "%s %s from %q", name, r.URL.Path, r.Header.Get("X-Forwarded-For"))
			})
			pools = append(pools, object{"name": name, "servers": []string{server}})
		}
		web := object{"name": "web", "protocol": "http", "address": w.freeAddress(), "pool": "web", "access_log": folder + "/one"}
		db := object{"name": "db", "protocol": "tcp", "address": w.freeAddress(), "pool": "echo"}
		pools = append(pools, object{"name": "echo", "servers": []string{w.echoServer()}})
		config := object{"io": io, "listeners": []object{web, db}, "pools": pools}
		b := w.balance(config)
		conn := w.dial(b.listeners["web"])
		r := bufio.NewReader(conn)
		ask := func(path, want string) {
			w.Helper()
			got, _, err := askHTTP(conn, r, "GET "+path+" HTTP/1.1\r\nHost: e2e\r\nX-Forwarded-For: 192.0.2.1\r\nX-Long: "+strings.Repeat("x", 2000)+"\r\n\r\n")
			if err != nil || got != want {
				w.Fatalf("GET %s: %q, %v, want %q", path, got, err, want)
			}
		}
		with1 := func(more object) object { return with(config, object{"listeners": []object{with(web, more), db}}) }
		ask("/api/a", `web /api/a from "127.0.0.1"`)
		b.reload(with1(object{"forwarded": "append", "routes": []object{{"path": "/api/", "pool": "api", "strip_prefix": true}}}))
		ask("/api/a", `api /a from "192.0.2.1, 127.0.0.1"`)
		ask("/b", `web /b from "192.0.2.1, 127.0.0.1"`)
		b.reload(with1(object{"forwarded": "off", "access_log": folder + "/two"}))
		ask("/api/a", `web /api/a from "192.0.2.1"`)
		w.eventually("records are where they belong", func() bool { return w.lines(folder+"/one") == 3 && w.lines(folder+"/two") == 1 })
		b.reload(config)
		ask("/api/a", `web /api/a from "127.0.0.1"`)

		// The limits of a head, of a client and of connections.
		b.reload(with1(object{"max_header_bytes": 1024, "max_connections_per_client": 1}))
		if _, _, err := askHTTP(conn, r, "GET / HTTP/1.1\r\nHost: e2e\r\nX-Long: "+strings.Repeat("x", 2000)+"\r\n\r\n"); err == nil || !strings.Contains(err.Error(), "431") {
			w.Errorf("too large a head: %v", err)
		}
		first := w.dial(b.listeners["web"])
		if _, _, err := keepAlive(first, bufio.NewReader(first)); err != nil {
			w.Error(err)
		}
		if a := w.get(b.listeners["web"], "/"); a.status != 429 {
			w.Errorf("one connection too many: %+v", a)
		}
		stream := w.dial(b.listeners["db"])
		wantEcho(w, stream, "before")
		b.reload(with(config, object{"listeners": []object{web, with(db, object{"max_connections": 1, "idle_timeout": "200ms"})}}))
		if a := w.get(b.listeners["web"], "/"); a.status != 200 {
			w.Errorf("without the limit: %+v", a)
		}
		waiting := w.dial(b.listeners["db"])
		wantEcho(w, stream, "after")
		stream.Close()
		wantEcho(w, waiting, "at last")
		w.eventually("a short idle_timeout ends it", func() bool {
			_, err := waiting.Read(make([]byte, 1))
			return err != nil
		})
	})
}
