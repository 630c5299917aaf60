package httpproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"fulcrum/pool"
)

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// gated answers "begun", then waits to be told to end.
func gated(t *testing.T) (address string, open func()) {
	gate := make(chan struct{})
	var once sync.Once
	open = func() { once.Do(func() { close(gate) }) }
	address = origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quick" {
			return
		}
		io.WriteString(w, "begun ")
		http.NewResponseController(w).Flush()
		select {
		case <-gate:
		case <-r.Context().Done():
		}
		io.WriteString(w, "ended")
	})
	t.Cleanup(open)
	return address, open
}

func TestStopWaitsForWorkInFlight(t *testing.T) {
	t.Parallel()
	addr, open := gated(t)
	w := newWorld(t, nil, addr)
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	r.head()
	stopped := make(chan error, 1)
	go func() { stopped <- w.proxy.Stop(within(t, 5*time.Second)) }()
	w.eventually("the port refuses", func() bool {
		c, err := net.Dial("tcp", w.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	open()
	if rest := r.ends(); !strings.Contains(rest, "ended") || !strings.HasSuffix(rest, "0\r\n\r\n") {
		t.Errorf("got %q", rest)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStopClosesWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	addr, _ := gated(t)
	w := newWorld(t, nil, addr)
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	r.head()
	s := w.server(0)
	if err := w.proxy.Stop(within(t, 100*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "closed 1 connections") {
		t.Errorf("got %v", err)
	}
	if rest := r.ends(); strings.HasSuffix(rest, "0\r\n\r\n") {
		t.Errorf("a clean end: %q", rest)
	}
	if s.Active() != 0 {
		t.Error("a lease is left")
	}
}

func TestStopBeforeStart(t *testing.T) {
	t.Parallel()
	p, _ := pool.New("web", pool.Options{})
	proxy, err := New(Options{Name: "web", Address: anyPort, Loops: newLoops(t), Default: &Upstream{Pool: p}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := proxy.Stop(within(t, time.Second)); err != nil {
			t.Error(err)
		}
	}
	if _, err := net.Dial("tcp", proxy.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	p, _ := pool.New("web", pool.Options{})
	loops := newLoops(t)
	for want, o := range map[string]Options{
		`http listener "a" needs an address, somewhere for requests to go, and loops`: {Name: "a", Loops: loops, Default: &Upstream{Pool: p}},
		`http listener "b" needs an address, somewhere for requests to go, and loops`: {Name: "b", Address: anyPort, Loops: loops},
		`http listener "d" needs an address, somewhere for requests to go, and loops`: {Name: "d", Address: anyPort, Default: &Upstream{Pool: p}},
		`http listener "c": idle_timeout is -1s; it must not be negative`:             {Name: "c", Address: anyPort, Loops: loops, Default: &Upstream{Pool: p}, IdleTimeout: -time.Second},
	} {
		if _, err := New(o); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestDrainAnswersWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	addr, open := gated(t)
	w := newWorld(t, nil, addr)
	idle, late, busy := w.dial(), w.dial(), w.dial()
	for _, r := range []*wire{idle, late} {
		r.send("GET /quick HTTP/1.1\r\nHost: h\r\n\r\n")
		if resp, _, _ := r.response("GET"); resp.Close {
			t.Error("close before Drain")
		}
	}
	busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	busy.head()
	w.proxy.Drain(true)
	late.send("GET /quick HTTP/1.1\r\nHost: h\r\n\r\n")
	if resp, _, _ := late.response("GET"); resp.StatusCode != 200 || !resp.Close {
		t.Errorf("on its way: %d, close %v", resp.StatusCode, resp.Close)
	}
	for _, r := range []*wire{late, idle} {
		if rest := r.ends(); rest != "" {
			t.Errorf("got %q", rest)
		}
	}
	open()
	if rest := busy.ends(); !strings.HasSuffix(rest, "0\r\n\r\n") {
		t.Errorf("in flight: %q", rest)
	}
}

// No request is lost when the proxy stops under load.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	var all sync.WaitGroup
	begun := make(chan struct{}, 1000)
	for range 8 {
		all.Go(func() {
			for {
				resp, err := w.http.Get("http://" + w.addr)
				if err != nil {
					if !strings.Contains(err.Error(), "refused") {
						t.Error(err)
					}
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(body) != "ok" || err != nil {
					t.Errorf("got %d %q, %v", resp.StatusCode, body, err)
				}
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 100 {
		<-begun
	}
	if err := w.proxy.Stop(within(t, 5*time.Second)); err != nil {
		t.Error(err)
	}
	all.Wait()
}

func TestCloseServerEndsItsConnections(t *testing.T) {
	t.Parallel()
	addr, _ := gated(t)
	w := newWorld(t, nil, addr)
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	r.head()
	w.get("/quick")
	w.proxy.CloseServer(w.server(0))
	if rest := r.ends(); strings.HasSuffix(rest, "0\r\n\r\n") {
		t.Errorf("a clean end: %q", rest)
	}
	w.idle()
	if n := w.open(); n != 0 {
		t.Errorf("%d connections left", n)
	}
	if w.failures(0) != 0 {
		t.Error("the server was blamed")
	}
	if resp, _ := w.get("/quick"); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d", resp.StatusCode)
	}
}

// A connection that is still being made is closed too, and nobody blamed.
func TestCloseServerWhileConnecting(t *testing.T) {
	t.Parallel()
	l, done := fullListener(t)
	defer done()
	w := newWorld(t, func(o *Options) { o.Default.ConnectTimeout = time.Minute }, l)
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	w.eventually("it is being connected to", func() bool { return w.open() == 1 })
	w.proxy.CloseServer(w.server(0))
	if resp, body, _ := r.response("GET"); resp.StatusCode != 502 {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	w.idle()
	if n := w.failures(0); n != 0 {
		t.Errorf("the server was blamed %d times", n)
	}
}

func TestForgetLeavesWhatIsInUse(t *testing.T) {
	t.Parallel()
	addr, open := gated(t)
	w := newWorld(t, nil, addr)
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	r.head()
	w.get("/quick")
	w.eventually("one in use, one idle", func() bool { return w.open() == 2 })
	w.proxy.Forget(w.server(0))
	if n := w.open(); n != 1 {
		t.Errorf("%d connections are open", n)
	}
	open()
	if _, err := io.ReadFull(r.br, make([]byte, len("6\r\nbegun \r\n5\r\nended\r\n0\r\n\r\n"))); err != nil {
		t.Error(err)
	}
	w.eventually("the one in use is closed at its end", func() bool { return w.open() == 0 })
}

// open counts the upstream connections.
func (w *world) open() (n int) {
	w.each(func(k *worker) {
		for _, set := range k.servers {
			for u := set.all; u != nil; u = u.next {
				n++
			}
		}
	})
	return n
}

func TestIdleConnectionsAreBoundedInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Default.KeepFor = time.Minute }, origin(t, func(http.ResponseWriter, *http.Request) {}))
	w.get("/")
	if n := w.open(); n != 1 {
		t.Fatalf("%d connections are open", n)
	}
	w = newWorld(t, func(o *Options) { o.Default.KeepFor = 50 * time.Millisecond }, origin(t, func(http.ResponseWriter, *http.Request) {}))
	w.get("/")
	w.eventually("the idle connection is closed", func() bool { return w.open() == 0 })
}

func webSocketEcho(t *testing.T) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(1 << 20)
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	})
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, webSocketEcho(t))
	ctx := within(t, 10*time.Second)
	c, _, err := websocket.Dial(ctx, "ws://"+w.addr, &websocket.DialOptions{HTTPClient: w.http})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	for _, message := range []string{"a", strings.Repeat("b", 500_000), ""} {
		if err := c.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); string(got) != message || err != nil {
			t.Fatalf("got %d bytes, want %d, %v", len(got), len(message), err)
		}
	}
	if w.server(0).Active() != 1 {
		t.Error("a tunnel does not count as active")
	}
	c.Close(websocket.StatusNormalClosure, "")
	w.idle()
}

// switching upgrades with bytes of its own already behind the head, then
// echoes until the client ends its direction, then says goodbye.
func switching(t *testing.T) string {
	return rawOrigin(t, func(_ int, r *wire) {
		if h, _ := r.tryHead(); !strings.Contains(h, "Connection: Upgrade\r\n") || !strings.Contains(h, "Upgrade: echo\r\n") {
			io.WriteString(r, "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")
			return
		}
		io.WriteString(r, "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhello ")
		io.Copy(r, r.br)
		io.WriteString(r, " bye")
	})
}

const upgrade = "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, upgrade\r\nUpgrade: echo\r\n\r\n"

func TestTunnelDeliversEarlyBytesAndHalfCloses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, switching(t))
	r := w.dial()
	r.send(upgrade + "early")
	if h := r.head(); h != "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n" {
		t.Errorf("got %q", h)
	}
	r.CloseWrite()
	if got := r.ends(); got != "hello early bye" {
		t.Errorf("got %q", got)
	}
	w.idle()
}

func TestRefusedUpgradeIsAnOrdinaryAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "no") }))
	r := w.dial()
	for range 2 {
		r.send(upgrade)
		if resp, body, _ := r.response("GET"); resp.StatusCode != 200 || body != "no" {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
	}
	w.idle()
}

func TestTunnelEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world){
		"by idle timeout": func(*world) {},
		"by CloseServer":  func(w *world) { w.proxy.CloseServer(w.server(0)) },
		"by Stop":         func(w *world) { w.proxy.Stop(within(w.t, 50*time.Millisecond)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(o *Options) {
				if strings.Contains(name, "idle") {
					o.IdleTimeout = 50 * time.Millisecond
				}
			}, switching(t))
			r := w.dial()
			r.send(upgrade)
			r.head()
			end(w)
			r.ends()
			w.idle()
		})
	}
}
