package httpproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fulcrum/loop"
)

// heir starts another proxy, with loops of its own, on the sockets of this one.
func (w *world) heir(change func(*Options)) *world {
	w.t.Helper()
	o := w.proxy.workers[0].plan.Options
	o.Loops = newLoops(w.t)
	sockets, err := w.proxy.Sockets()
	if err != nil {
		w.t.Fatal(err)
	}
	o.Sockets = sockets
	if change != nil {
		change(&o)
	}
	next := *w
	if next.proxy, err = New(o); err != nil {
		w.t.Fatal(err)
	}
	loop.Disown(sockets)
	next.proxy.Start()
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		next.proxy.Stop(ctx)
	})
	return &next
}

// bequeath gives what can be given to another proxy, as JSON would have it.
func (w *world) bequeath(to *world) (n int) {
	w.t.Helper()
	given := w.proxy.Give(1000)
	for i := range given {
		text, err := json.Marshal(given[i])
		if err != nil {
			w.t.Fatal(err)
		}
		c := Connection{Client: given[i].Client, Upstream: given[i].Upstream}
		if err := json.Unmarshal(text, &c); err != nil {
			w.t.Fatal(err)
		}
		for i, part := range given[i].Parts() {
			*c.Parts()[i] = *part
		}
		arrival, err := to.proxy.Take(&c, false)
		if err != nil {
			w.t.Fatal(err)
		}
		arrival.Begin()
	}
	return len(given)
}

// An idle client's next request, and what it has sent of it by then, is served by the
// heir; one in the middle of its exchange finishes where it is, and moves then.
func TestClientsGoOnAtAnotherProxy(t *testing.T) {
	release := make(chan struct{})
	addr := origin(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			rw.(http.Flusher).Flush()
			<-release
		}
		io.WriteString(rw, r.URL.Path)
	})
	w := newWorld(t, nil, addr)
	ask := func(r *wire, path string) {
		t.Helper()
		r.send("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
		if _, body, err := r.response("GET"); body != path || err != nil {
			t.Errorf("%s: %q, error %v", path, body, err)
		}
	}
	idle, begun, fresh, busy := w.dial(), w.dial(), w.dial(), w.dial()
	ask(idle, "/1")
	ask(begun, "/1")
	begun.send("GET /2 HTTP/1.1\r\nHo")
	busy.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
	busy.head()
	w.eventually("the beginning has come", func() bool {
		n := 0
		w.each(func(worker *worker) {
			for c := worker.clients; c != nil; c = c.next {
				if len(c.in) > 0 {
					n++
				}
			}
		})
		return n == 1
	})
	next := w.heir(nil)
	w.proxy.Leave()
	if n := w.bequeath(next); n != 3 {
		t.Errorf("%d clients moved, want the 3 that are idle", n)
	}
	begun.send("st: h\r\n\r\n")
	if _, body, err := begun.response("GET"); body != "/2" || err != nil {
		t.Errorf("what had begun: %q, error %v", body, err)
	}
	ask(idle, "/3")
	ask(fresh, "/3")
	close(release)
	busy.wants("5\r\n/slow\r\n0\r\n\r\n")
	w.eventually("the last moves", func() bool { return w.bequeath(next) == 1 })
	ask(busy, "/4")
	for _, seen := range []struct {
		p    *Proxy
		want Stats
	}{{w.proxy, Stats{Accepted: 4, Requests: 3}}, {next.proxy, Stats{Open: 4, Requests: 4}}} {
		if s := seen.p.Stats(); s.Accepted != seen.want.Accepted || s.Open != seen.want.Open || s.Requests != seen.want.Requests || s.Active != 0 {
			t.Errorf("counted %+v", s)
		}
	}
	if err := w.proxy.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	ask(idle, "/5")
}

// A WebSocket moves with its frames, its lease and its record, and is taken leave of
// in the proper way after it.
func TestAWebSocketGoesOnAtAnotherProxy(t *testing.T) {
	w, client, server := openRaw(t, "\x82\x05he", "\x82\x03abc")
	next := w
	for i := range 3 {
		last := next
		next = last.heir(nil)
		last.proxy.Leave()
		if n := last.bequeath(next); n != 1 {
			t.Fatalf("%d moved", n)
		}
		if err := last.proxy.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if n := w.server(0).Active(); n != 1 {
			t.Errorf("%d active on the server", n)
		}
		client.send("%s", "llo"[i:i+1]) // one frame, over three moves
		server.wants("llo"[i : i+1])
		server.send("\x81\x01%d", i)
		client.wants(fmt.Sprintf("\x81\x01%d", i))
	}
	if s := next.proxy.Stats(); s.Active != 1 || s.Open != 1 || s.Requests != 0 {
		t.Errorf("counted %+v", s)
	}
	next.proxy.CloseServer(w.server(0))
	client.wantsClose(false)
	server.wantsClose(true)
	client.send("\x88\x80aaaa")
	server.send("\x88\x00")
	client.wantsEnd()
	next.idle()
	if s := next.proxy.Stats(); s.Open != 0 || s.Endings[Drained] != 1 {
		t.Errorf("counted %+v", s)
	}
}

// Under load, proxy after proxy takes over: no request fails, of clients that keep
// their connections and those that make a new one each time.
func TestProxiesTakeOverUnderLoad(t *testing.T) {
	addr := origin(t, func(rw http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(rw, "%s %d", r.URL.Path, n)
	})
	w := newWorld(t, func(o *Options) { o.MaxConnections = 100 }, addr)
	over := make(chan struct{})
	var all sync.WaitGroup
	var served atomic.Int64
	for id := range 16 {
		all.Go(func() {
			transport := &http.Transport{DisableKeepAlives: id%4 == 0}
			defer transport.CloseIdleConnections()
			c := http.Client{Transport: transport, Timeout: 30 * time.Second}
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				body := strings.Repeat("x", i%3*5000)
				path := fmt.Sprintf("/%d/%d", id, i)
				r, err := c.Post("http://"+w.addr+path, "text/plain", io.NopCloser(strings.NewReader(body)))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(r.Body)
				r.Body.Close()
				if want := fmt.Sprintf("%s %d", path, len(body)); string(got) != want || err != nil {
					t.Errorf("got %q, want %q, error %v", got, want, err)
				}
				served.Add(1)
			}
		})
	}
	last, moved := w, 0
	for range 5 {
		before := served.Load()
		w.eventually("requests are served", func() bool { return served.Load() > before+100 })
		next := last.heir(nil)
		last.proxy.Leave()
		w.eventually("all have moved", func() bool {
			moved += last.bequeath(next)
			return last.proxy.Stats().Open == 0
		})
		if err := last.proxy.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		last = next
	}
	close(over)
	all.Wait()
	if moved < 12*5/2 {
		t.Errorf("%d moved", moved)
	}
}

// Who changes his mind serves them himself, and an arrival that is abandoned is nobody's
// loss.
func TestWhatIsNotTakenStays(t *testing.T) {
	w := newWorld(t, nil, origin(t, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "here") }))
	idle := w.dial()
	idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	idle.response("GET")
	given := w.proxy.Give(10)
	if len(given) != 1 {
		t.Fatalf("%d given", len(given))
	}
	copied := given[0]
	copied.Client, _ = unix.Dup(copied.Client)
	arrival, err := w.proxy.Take(&copied, true)
	if err != nil {
		t.Fatal(err)
	}
	arrival.Abandon()
	if arrival, err = w.proxy.Take(&given[0], true); err != nil {
		t.Fatal(err)
	}
	arrival.Begin()
	if again := w.proxy.Give(10); len(again) != 0 {
		t.Error("it is given again")
	}
	idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if _, body, err := idle.response("GET"); body != "here" || err != nil {
		t.Errorf("%q, error %v", body, err)
	}
	w.proxy.Keep()
	fresh := w.dial()
	for range 2 {
		fresh.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if _, body, err := fresh.response("GET"); body != "here" || err != nil {
			t.Errorf("%q, error %v", body, err)
		}
	}
	if _, err := w.proxy.Take(&Connection{Tunnel: &Tunnel{Pool: "nowhere"}, Client: given[0].Client}, false); err == nil {
		t.Error("a tunnel to nowhere is taken")
	}
}

// What is closed between its arrival and its beginning does not begin.
func TestAWebSocketIsClosedBeforeItBegins(t *testing.T) {
	w, client, server := openRaw(t, "", "")
	next := w.heir(nil)
	given := w.proxy.Give(1)
	if len(given) != 1 {
		t.Fatalf("%d given", len(given))
	}
	arrival, err := next.proxy.Take(&given[0], false)
	if err != nil {
		t.Fatal(err)
	}
	next.proxy.CloseAll()
	next.each(func(*worker) {}) // it has done so
	arrival.Begin()
	client.wantsEnd()
	server.wantsEnd()
	next.idle()
}

// Who has stopped takes nobody in any more.
func TestAProxyThatHasStoppedTakesNothing(t *testing.T) {
	w := newWorld(t, nil, origin(t, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "here") }))
	idle := w.dial()
	idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	idle.response("GET")
	next := w.heir(nil)
	next.proxy.Stop(context.Background())
	given := w.proxy.Give(1)
	if len(given) != 1 {
		t.Fatalf("%d given", len(given))
	}
	if _, err := next.proxy.Take(&given[0], false); err == nil {
		t.Error("a client is taken")
	}
	loop.Disown([]int{given[0].Client})
}
