package httpproxy

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"fulcrum/accesslog"
	"fulcrum/loop"
	"fulcrum/pool"
	"fulcrum/proxyproto"
)

// updatable starts a world, and returns what changes its options and waits until all
// loops go by them.
func updatable(t testing.TB, first func(*Options), addresses ...string) (w *world, update func(change func(*Options))) {
	t.Helper()
	var now Options
	w = newWorld(t, func(o *Options) {
		if first != nil {
			first(o)
		}
		now = *o
		now.Default = copied(o.Default)
	}, addresses...)
	return w, func(change func(*Options)) {
		t.Helper()
		change(&now)
		next := now
		next.Default = copied(now.Default) // an Upstream belongs to one call
		next.Routes = nil
		for _, r := range now.Routes {
			r.Upstream = copied(r.Upstream)
			next.Routes = append(next.Routes, r)
		}
		commit, err := w.proxy.Update(next)
		if err != nil {
			t.Fatal(err)
		}
		commit()
		w.each(func(*worker) {})
	}
}

func copied(u *Upstream) *Upstream {
	if u == nil {
		return nil
	}
	c := *u
	return &c
}

// named returns an upstream of a pool with one server, which answers by its name.
func named(t testing.TB, name string) *Upstream {
	t.Helper()
	p, err := pool.New(name, pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	address := origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) })
	s, _ := p.Upload(pool.ServerSpec{Address: address, Resolved: mustAddr(address)})
	p.SetHealth(s, pool.Health{Healthy: true, At: time.Now()})
	return &Upstream{Pool: p}
}

// askFor sends a request on a connection that is kept, and returns status and body.
func (r *wire) askFor(path string) string {
	r.t.Helper()
	r.send("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
	return r.answer()
}

func (r *wire) answer() string {
	r.t.Helper()
	resp, body, err := r.response("GET")
	if err != nil {
		r.t.Fatal(err)
	}
	return fmt.Sprint(resp.StatusCode, " ", body)
}

func (r *wire) want(got, want string) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("got %q, want %q", got, want)
	}
}

// What cannot be is an error, and changes nothing.
func TestUpdateToWhatCannotBe(t *testing.T) {
	t.Parallel()
	to := named(t, "a")
	w, update := updatable(t, func(o *Options) { o.Default = to })
	r := w.dial()
	r.want(r.askFor("/"), "200 a")
	for about, o := range map[string]Options{
		"nowhere to go":  {Name: "web", Address: anyPort, Loops: []*loop.Loop{nil}},
		"a route twice":  {Name: "web", Address: anyPort, Loops: []*loop.Loop{nil}, Routes: []Route{{Path: "/a", Upstream: to}, {Path: "/a", Upstream: to}}},
		"a negative one": {Name: "web", Address: anyPort, Loops: []*loop.Loop{nil}, Default: to, MaxHeaders: -1},
	} {
		if commit, err := w.proxy.Update(o); err == nil || commit != nil {
			t.Errorf("%s: error %v", about, err)
		}
	}
	r.want(r.askFor("/"), "200 a")
	update(func(*Options) {})
	r.want(r.askFor("/"), "200 a")
}

// Routes come, go and lead elsewhere. A request that is on its way ends on the one that
// it was given, by whose rules its answer is edited, and is counted there; the next one
// on the same connection goes by the new routes. No count is lost.
func TestUpdateChangesRoutes(t *testing.T) {
	t.Parallel()
	a, b := named(t, "a"), named(t, "b")
	address, open := gated(t)
	slow := named(t, "slow")
	s, _ := slow.Pool.Upload(pool.ServerSpec{Address: address, Resolved: mustAddr(address)})
	slow.Pool.SetHealth(s, pool.Health{Healthy: true, At: time.Now()})
	slow.Pool.Drain(slow.Pool.Servers()[0])
	w, update := updatable(t, func(o *Options) {
		oneLoop(o)
		o.Default, o.Routes = a, []Route{
			{Path: "/slow", Upstream: slow, Answer: &Edits{Set: []Field{{"X-Way", "old"}}}},
			{Path: "/b", Upstream: b},
			{Path: "/gone", Redirect: &Redirect{Path: "/b", Status: 302}},
		}
	})
	r, waiting := w.dial(), w.dial()
	r.want(r.askFor("/"), "200 a")
	r.want(r.askFor("/b"), "200 b")
	r.want(r.askFor("/gone"), "302 it is elsewhere\n")
	waiting.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
	w.eventually("it is on its way", func() bool { return s.Active() == 1 })

	update(func(o *Options) {
		o.Default, o.Routes = b, []Route{{Path: "/b", Upstream: a}, {Path: "/new", Upstream: b}}
	})
	r.want(r.askFor("/"), "200 b")
	r.want(r.askFor("/b"), "200 a")
	r.want(r.askFor("/gone"), "200 b")
	r.want(r.askFor("/new"), "200 b")
	stats := w.proxy.Stats()
	if stats.Requests != 8 || stats.Active != 1 || stats.Endings[Answered] != 6 || stats.Endings[Redirected] != 1 {
		t.Errorf("with one on its way: %d requests, %d active, endings %v", stats.Requests, stats.Active, stats.Endings)
	}
	update(func(o *Options) { o.Routes = nil }) // and once more, with it still on its way
	open()
	resp, _, err := waiting.response("GET")
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("X-Way") != "old" {
		t.Errorf("on its way meanwhile: %v, error %v", resp, err)
	}
	waiting.want(waiting.askFor("/slow"), "200 b")
	update(func(*Options) {}) // what has ended by now goes over to the listener
	w.each(func(w *worker) {
		if n := len(w.gone); n != 0 {
			t.Errorf("%d counts of routes that are gone are kept", n)
		}
	})
	stats = w.proxy.Stats()
	if stats.Requests != 9 || stats.Active != 0 || stats.Endings[Answered] != 8 || stats.Duration.Count() != 9 {
		t.Errorf("in the end: %d requests, %d active, %d times, endings %v", stats.Requests, stats.Active, stats.Duration.Count(), stats.Endings)
	}
	if n := w.proxy.RouteStats("").Requests; n != 4 {
		t.Errorf("%d requests went where no route is for, want 4: that way goes on", n)
	}
	update(func(o *Options) { o.Default, o.Routes = nil, []Route{{Path: "/b", Upstream: b}} })
	r.want(r.askFor("/"), "404 no route is for this host and path\n")
	if s.Active() != 0 {
		t.Error("its server still has it active")
	}
}

// A head that was begun is bounded by what holds when more of it comes.
func TestUpdateInTheMiddleOfAHead(t *testing.T) {
	t.Parallel()
	w, update := updatable(t, func(o *Options) { o.MaxHeaderBytes, o.Default = 8000, named(t, "a") })
	half := "GET / HTTP/1.1\r\nHost: h\r\nA: " + strings.Repeat("a", 4000)
	smaller, piped, larger, few := w.dial(), w.dial(), w.dial(), w.dial()
	smaller.send("%s", half)
	larger.send("%s", half)
	piped.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n%s", half)
	few.send("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nA: b\r\nA: b\r\n")
	piped.want(piped.answer(), "200 a")
	w.eventually("the halves have come", func() bool {
		n := 0
		var mu sync.Mutex
		w.each(func(w *worker) {
			mu.Lock()
			defer mu.Unlock()
			for c := w.clients; c != nil; c = c.next {
				n += len(c.in)
			}
		})
		return n > 3*4000
	})
	update(func(o *Options) { o.MaxHeaderBytes = 2000 })
	for _, r := range []*wire{smaller, piped} {
		r.send("a\r\n\r\n")
		if got := r.answer(); !strings.HasPrefix(got, "431 ") {
			t.Errorf("half a head that is too long by now: %q", got)
		}
		r.ends()
	}
	update(func(o *Options) { o.MaxHeaderBytes, o.MaxHeaders = 16000, 3 })
	larger.send("%s\r\n\r\n", strings.Repeat("a", 8000))
	larger.want(larger.answer(), "200 a")
	few.send("\r\n")
	few.want(few.answer(), "431 the head is too large\n")
}

// The head of an answer that was begun may turn out to be too long too.
func TestUpdateInTheMiddleOfTheHeadOfAnAnswer(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan struct{}), make(chan struct{})
	w, update := updatable(t, func(o *Options) { o.MaxHeaderBytes = 2 * answerBytes }, rawOrigin(t, func(_ int, r *wire) {
		if _, ok := r.tryHead(); !ok {
			return
		}
		io.WriteString(r, "HTTP/1.1 200 OK\r\nA: "+strings.Repeat("a", answerBytes+4000))
		close(begun)
		<-goOn
		io.WriteString(r, "\r\nContent-Length: 0\r\n\r\n")
	}))
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-begun
	update(func(o *Options) { o.MaxHeaderBytes = 2000 })
	close(goOn)
	r.want(r.answer(), "502 the server gave no valid answer\n")
	w.idle()
}

// The limits on a body are those that there were when its request began: a rate that is
// asked for in the middle is not held against what came before.
func TestUpdateInTheMiddleOfABody(t *testing.T) {
	t.Parallel()
	w, update := updatable(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %v", len(b), err)
	}))
	r := w.dial()
	r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n%s", strings.Repeat("a", 500))
	w.eventually("it is on its way", func() bool { return w.server(0).Active() == 1 })
	w.each(func(w *worker) {
		for c := w.clients; c != nil; c = c.next {
			c.x.due -= time.Hour // as if it had begun an hour ago
		}
	})
	update(func(o *Options) { o.MinBodyRate, o.MaxBodyBytes = 1<<20, 600 })
	r.send("a")
	w.passes(100 * time.Millisecond)
	r.send("%s", strings.Repeat("a", 499))
	r.want(r.answer(), "200 1000 <nil>")
	r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 601\r\n\r\n")
	r.want(r.answer(), "413 the body of the request is too large\n")
}

// passes waits until that much of the loops' time has gone by.
func (w *world) passes(d time.Duration) {
	w.t.Helper()
	w.each(func(worker *worker) { d += worker.loop.Now() })
	w.eventually("time goes by", func() bool {
		now := time.Duration(0)
		w.each(func(worker *worker) { now += worker.loop.Now() })
		return now > d
	})
}

// kept returns how many connections there are to the servers, of each loop.
func (w *world) kept() (n int) {
	w.each(func(w *worker) {
		for _, set := range w.servers {
			for u := set.all; u != nil; u = u.next {
				n++
			}
		}
	})
	return n
}

// Connections that are kept stay kept as long as nothing is said otherwise of their
// pool, and are closed when something is, or when nothing goes there any more.
func TestUpdateOfAnUpstream(t *testing.T) {
	t.Parallel()
	a, b := named(t, "a"), named(t, "b")
	w, update := updatable(t, func(o *Options) { oneLoop(o); o.Default = a })
	r := w.dial()
	ask := func(name string, connects int64) {
		t.Helper()
		before := w.proxy.Stats().Connects
		w.eventually("nothing is put back in this turn", func() bool { // such a connection is left alone
			waited := true
			w.each(func(w *worker) {
				for _, set := range w.servers {
					for _, u := range set.idle {
						waited = waited && w.loop.Now() != u.keptAt
					}
				}
			})
			return waited
		})
		r.want(r.askFor("/"), "200 "+name)
		if n := w.proxy.Stats().Connects - before; n != connects {
			t.Errorf("%d connections were made for the request, want %d", n, connects)
		}
	}
	keeps := func(n int) {
		t.Helper()
		if got := w.kept(); got != n {
			t.Errorf("%d connections are open, want %d", got, n)
		}
	}
	ask("a", 1)
	ask("a", 0)
	update(func(o *Options) { o.IdleTimeout = 4 * time.Second; o.Routes = []Route{{Path: "/b", Upstream: b}} })
	keeps(1)
	ask("a", 0)
	update(func(o *Options) { o.Default.KeepNone = true })
	keeps(0)
	ask("a", 1)
	ask("a", 1)
	keeps(0)
	update(func(o *Options) { o.Default.KeepNone = false })
	ask("a", 1)
	ask("a", 0)
	keeps(1)
	update(func(o *Options) { o.Default, o.Routes = b, nil })
	keeps(0)
	ask("b", 1)
	update(func(o *Options) { o.Default = a })
	keeps(0)
	ask("a", 1)
	ask("a", 0)
	update(func(o *Options) { o.Default.SendProxy = proxyproto.V1 })
	keeps(0)
}

// A connection that is in use when its pool is no longer fed, or nothing is to be kept,
// is not kept when its answer has ended.
func TestUpdateWhileAConnectionIsInUse(t *testing.T) {
	t.Parallel()
	for about, change := range map[string]func(*Options){
		"no longer fed": func(o *Options) { o.Default = named(t, "other") },
		"keep none":     func(o *Options) { o.Default.KeepNone = true },
	} {
		t.Run(about, func(t *testing.T) {
			address, open := gated(t)
			w, update := updatable(t, nil, address)
			r := w.dial()
			r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			w.eventually("it is on its way", func() bool { return w.server(0).Active() == 1 })
			update(change)
			open()
			if resp, _, err := r.response("GET"); err != nil || resp.StatusCode != 200 {
				t.Errorf("%v, error %v", resp, err)
			}
			w.idle()
			if n := w.kept(); n != 0 {
				t.Errorf("%d connections are kept", n)
			}
		})
	}
}

// proxied answers every connection by the PROXY header that it began with, if any.
func proxied(t testing.TB) string {
	return rawOrigin(t, func(_ int, r *wire) {
		header := "none"
		for {
			head, ok := r.tryHead()
			if !ok {
				return
			}
			if first, rest, _ := strings.Cut(head, "\r\n"); strings.HasPrefix(first, "PROXY ") {
				header, head = first, rest
			}
			if strings.Contains(head, "PROXY") {
				header = "twice"
			}
			fmt.Fprintf(r, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(header), header)
		}
	})
}

// Servers are told by a PROXY header who a client is from when that is asked for, also of
// clients that were there before, and no longer when it is not.
func TestUpdateOfSendProxy(t *testing.T) {
	t.Parallel()
	w, update := updatable(t, oneLoop, proxied(t))
	one, two := w.dial(), w.dial()
	told := func(r *wire) string {
		h := string(proxyproto.Append(nil, proxyproto.V1, r.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort(),
			r.RemoteAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort()))
		return "200 " + strings.TrimSuffix(h, "\r\n")
	}
	for range 2 {
		one.want(one.askFor("/"), "200 none")
		two.want(two.askFor("/"), "200 none")
		update(func(o *Options) { o.Default.SendProxy = proxyproto.V1 })
		for range 2 {
			one.want(one.askFor("/"), told(one))
			two.want(two.askFor("/"), told(two))
		}
		three := w.dial()
		three.want(three.askFor("/"), told(three))
		update(func(o *Options) { o.Default.SendProxy = 0 })
		three.want(three.askFor("/"), "200 none")
	}
}

// Whom to believe is asked anew for clients that were there before.
func TestUpdateOfForwarded(t *testing.T) {
	t.Parallel()
	w, update := updatable(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Join(r.Header["X-Forwarded-For"], ", "))
	}))
	r := w.dial()
	ask := func(want string) {
		t.Helper()
		r.send("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
		r.want(r.answer(), "200 "+want)
	}
	here := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	ask("127.0.0.1")
	update(func(o *Options) { o.Trusted = here })
	ask("192.0.2.1, 127.0.0.1")
	update(func(o *Options) { o.Trusted = nil })
	ask("127.0.0.1")
	update(func(o *Options) { o.Forwarded = ForwardedAppend })
	ask("192.0.2.1, 127.0.0.1")
	update(func(o *Options) { o.Forwarded = ForwardedOff })
	ask("192.0.2.1")
	update(func(o *Options) { o.Forwarded = ForwardedReplace })
	ask("127.0.0.1")
}

// A client that is asked for a PROXY header says it, whatever is asked for by then.
func TestUpdateOfAcceptProxy(t *testing.T) {
	t.Parallel()
	here := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	w, update := updatable(t, func(o *Options) { o.AcceptProxy = here }, proxied(t))
	const header = "PROXY TCP4 192.0.2.7 198.51.100.1 4242 443"
	r := w.dial()
	r.send("%s", header)
	w.eventually("it is accepted", func() bool { return w.proxy.Stats().Open == 1 })
	update(func(o *Options) { o.AcceptProxy, o.Default.SendProxy = nil, proxyproto.V1 })
	r.send("\r\n")
	r.want(r.askFor("/"), "200 "+header)
	plain := w.dial()
	if got := plain.askFor("/"); !strings.Contains(got, "PROXY TCP4 127.0.0.1 127.0.0.1 ") {
		t.Errorf("got %q", got)
	}
	update(func(o *Options) { o.AcceptProxy = here })
	if got := plain.askFor("/"); !strings.Contains(got, "PROXY TCP4 127.0.0.1 127.0.0.1 ") {
		t.Errorf("got %q", got)
	}
	plain = w.dial()
	plain.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := plain.ends(); got != "" {
		t.Errorf("got %q without a header", got)
	}
}

// An idle timeout that becomes shorter holds for those who have been idle before.
func TestUpdateOfTheIdleTimeout(t *testing.T) {
	t.Parallel()
	ctx := within(t, 10*time.Second)
	w, update := updatable(t, func(o *Options) { o.IdleTimeout = time.Hour }, webSocketEcho(t))
	tunnel, _, err := websocket.Dial(ctx, "ws://"+w.addr, &websocket.DialOptions{HTTPClient: w.http})
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.CloseNow()
	r := w.dial()
	r.askFor("/")
	update(func(o *Options) { o.IdleTimeout = 10 * time.Millisecond })
	r.ends()
	if _, _, err := tunnel.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("a tunnel that is idle for too long: %v", err)
	}
	w.idle()
}

// The limit for each client comes and goes; connections count from when there is one.
func TestUpdateOfMaxPerClient(t *testing.T) {
	t.Parallel()
	w, update := updatable(t, func(o *Options) { o.Default = named(t, "a") })
	most := func(n int) { update(func(o *Options) { o.MaxPerClient = n }) }
	served := func() *wire {
		t.Helper()
		r := w.dial()
		r.want(r.askFor("/"), "200 a")
		return r
	}
	refused := func() {
		t.Helper()
		r := w.dial()
		r.want(r.answer(), "429 too many connections from this address\n")
		r.Close()
	}
	closeAll := func(left int64, all ...*wire) {
		t.Helper()
		for _, r := range all {
			r.Close()
		}
		w.eventually("they are gone", func() bool { return w.proxy.Stats().Open == left })
	}
	before := served()
	most(2)
	first, second := served(), served()
	refused()
	most(0)
	free := served()
	most(3)
	third := served()
	refused()
	closeAll(3, before, free)
	refused()
	most(0)
	closeAll(0, first, second, third)
	most(1)
	last := served()
	refused()
	closeAll(0, last)
	served()
}

// The limit on all connections changes with clients that wait and clients that are too
// many.
func TestUpdateOfMaxConnections(t *testing.T) {
	t.Parallel()
	w, update := updatable(t, func(o *Options) { o.MaxConnections, o.Default = 1, named(t, "a") })
	most := func(n int, open int64) {
		t.Helper()
		update(func(o *Options) { o.MaxConnections = n })
		w.eventually("that many are open", func() bool { return w.proxy.Stats().Open == open })
	}
	var all []*wire
	for range 6 {
		all = append(all, w.dial())
	}
	most(3, 3)
	most(1, 3)
	most(0, 6)
	most(2, 6)
	late := w.dial()
	for i, r := range all {
		r.want(r.askFor("/"), "200 a")
		r.Close()
		if i == 3 {
			w.eventually("two are open", func() bool { return w.proxy.Stats().Open == 2 })
			if n := w.proxy.Stats().Accepted; n != 6 {
				t.Errorf("%d are accepted with two open", n)
			}
		}
	}
	late.want(late.askFor("/"), "200 a")
	late.Close()
	w.eventually("all are gone", func() bool { return w.proxy.Stats().Open == 0 })
}

// records opens an access log and returns what reads it, once it is closed.
func records(t testing.TB) (log *accesslog.Log, read func() []map[string]any) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.log")
	log, err := accesslog.Open(path, accesslog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	return log, func() (all []map[string]any) {
		t.Helper()
		log.Close()
		if n := log.Dropped(); n > 0 {
			t.Errorf("%d records came after the log was closed", n)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var r map[string]any
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			all = append(all, r)
		}
		return all
	}
}

// Requests and tunnels are recorded in the log that there is when they end, if there is
// one. Once the loops have gone over to another, the old one can be closed.
func TestUpdateOfTheAccessLog(t *testing.T) {
	t.Parallel()
	ctx := within(t, 10*time.Second)
	first, readFirst := records(t)
	second, readSecond := records(t)
	w, update := updatable(t, nil, webSocketEcho(t))
	open := func() *websocket.Conn {
		t.Helper()
		c, _, err := websocket.Dial(ctx, "ws://"+w.addr, &websocket.DialOptions{HTTPClient: w.http})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	end := func(c *websocket.Conn) {
		t.Helper()
		before := w.proxy.Stats().Active
		c.CloseNow()
		w.eventually("it has ended", func() bool { return w.proxy.Stats().Active < before })
	}
	unknown := open()
	update(func(o *Options) { o.AccessLog = first })
	early, late, never := open(), open(), open()
	r := w.dial()
	r.askFor("/first")
	end(early)
	update(func(o *Options) { o.AccessLog = second })
	if got := readFirst(); len(got) != 2 || got[0]["target"] != "/first" || got[1]["status"] != 101.0 {
		t.Errorf("in the first log: %v", got)
	}
	end(late)
	end(unknown)
	r.askFor("/second")
	update(func(o *Options) { o.AccessLog = nil })
	r.askFor("/third")
	end(never)
	if got := readSecond(); len(got) != 2 || got[0]["status"] != 101.0 || got[1]["target"] != "/second" {
		t.Errorf("in the second log: %v", got)
	}
}

// Options change over and over while clients come and go: every request is answered by
// one of the servers, as one of the plans has it, and all connections are given back.
func TestUpdateUnderLoad(t *testing.T) {
	t.Parallel()
	a, b := named(t, "a"), named(t, "b")
	log, read := records(t)
	w, update := updatable(t, func(o *Options) { o.Default = a })
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range 4 {
		transport := &http.Transport{DisableKeepAlives: i == 0}
		client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
		all.Go(func() {
			defer transport.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := client.Get("http://" + w.addr + "/x")
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if name := string(body); err != nil || resp.StatusCode != 200 || name != "a" && name != "b" {
					t.Errorf("%d %q, error %v", resp.StatusCode, body, err)
					return
				}
			}
		})
	}
	changes := []func(*Options){
		func(o *Options) { o.Routes = []Route{{Path: "/x", Upstream: b}} },
		func(o *Options) { o.MaxConnections = 2 },
		func(o *Options) { o.AccessLog = log },
		func(o *Options) { o.Default.KeepNone = true },
		func(o *Options) { o.MaxPerClient, o.Forwarded = 100, ForwardedAppend },
		func(o *Options) { o.Routes, o.MaxHeaderBytes = nil, 2000 },
		func(o *Options) { o.Default.KeepNone, o.Socket.Keepalive = false, time.Minute },
		func(o *Options) { o.MaxConnections = 0 },
		func(o *Options) { o.MaxPerClient, o.Forwarded = 0, ForwardedReplace },
		func(o *Options) { o.AccessLog, o.Socket.Keepalive = nil, 0 },
	}
	for i := range 20 * len(changes) {
		update(changes[i%len(changes)])
	}
	close(stop)
	all.Wait()
	read()
	w.eventually("nobody is connected", func() bool { return w.proxy.Stats().Open == 0 })
	update(func(*Options) {})
	stats := w.proxy.Stats()
	if stats.Active != 0 || stats.Requests != stats.Endings[Answered] || stats.Requests != a.Pool.Status()[0].Total+b.Pool.Status()[0].Total {
		t.Errorf("%d requests, %d active, %d answered; the servers had %d and %d", stats.Requests, stats.Active, stats.Endings[Answered],
			a.Pool.Status()[0].Total, b.Pool.Status()[0].Total)
	}
	w.each(func(w *worker) {
		if n := len(w.gone); n != 0 {
			t.Errorf("%d counts of routes that are gone are kept", n)
		}
	})
}
