package httpproxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fulcrum/pool"
	"fulcrum/porttest"
)

// What could be read in two ways never reaches a server.
func TestDoubtfulHeadsAreRefused(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	w := newWorld(t, nil, rawOrigin(t, func(int, *wire) { reached.Add(1) }))
	for name, c := range map[string]struct {
		head string
		code int
	}{
		"Content-Length and Transfer-Encoding": {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"the other way round":                  {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400},
		"two Content-Lengths":                  {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n", 400},
		"a list of Content-Lengths":            {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n", 400},
		"a signed Content-Length":              {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", 400},
		"an enormous Content-Length":           {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
		"no Content-Length in the field":       {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", 400},
		"another coding":                       {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400},
		"chunked twice":                        {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"identity":                             {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", 400},
		"chunked in 1.0":                       {"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"a space before the colon":             {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 1\r\n\r\n", 400},
		"a folded line":                        {"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400},
		"a bare line feed":                     {"GET / HTTP/1.1\nHost: h\n\n", 400},
		"a bare carriage return":               {"GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", 400},
		"a zero byte":                          {"GET / HTTP/1.1\r\nHost: h\r\nA: b\x00\r\n\r\n", 400},
		"no colon":                             {"GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n", 400},
		"no name":                              {"GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n", 400},
		"no Host":                              {"GET / HTTP/1.1\r\n\r\n", 400},
		"two Hosts":                            {"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400},
		"a Host with two ports":                {"GET / HTTP/1.1\r\nHost: h:1:2\r\n\r\n", 400},
		"a Host beyond ASCII":                  {"GET / HTTP/1.1\r\nHost: h\xff\r\n\r\n", 400},
		"a Host with an open bracket":          {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
		"a fragment":                           {"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"too many connection options":          {"GET / HTTP/1.1\r\nHost: h\r\nConnection: " + strings.Repeat("a,", maxOptions) + "b\r\n\r\n", 400},
		"too many fields":                      {"GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("a: b\r\n", 256) + "\r\n", 431},
		"an odd Host":                          {"GET / HTTP/1.1\r\nHost: h/x\r\n\r\n", 400},
		"Host and target disagree":             {"GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"another scheme":                       {"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"a relative target":                    {"GET x HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"GET of everything":                    {"GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"a space in the target":                {"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"a method that is none":                {"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"not HTTP at all":                      {"\x16\x03\x01\x02\x00\r\n\r\n", 400},
		"two empty lines first":                {"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"another version":                      {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
		"CONNECT":                              {"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", 501},
		"a large head":                         {"GET / HTTP/1.1\r\nHost: h\r\nA: " + strings.Repeat("a", 70000) + "\r\n\r\n", 431},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.dial()
			r.send("%s", c.head)
			r.send("GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
			resp, body, err := r.response("GET")
			if resp.StatusCode != c.code || !resp.Close || body == "" || err != nil {
				t.Errorf("got %d %q, close %v, %v", resp.StatusCode, body, resp.Close, err)
			}
			r.CloseWrite()
			if rest := r.ends(); rest != "" {
				t.Errorf("and then %q", rest)
			}
		})
	}
	if reached.Load() != 0 {
		t.Errorf("%d reached the server", reached.Load())
	}
}

func TestBrokenChunksAreNotPassedOnAsAWhole(t *testing.T) {
	t.Parallel()
	var begun, ended, whole atomic.Int64 // a request that is broken from the start may not even reach the server
	w := newWorld(t, func(o *Options) { o.Default.ResponseTimeout = time.Minute }, origin(t, func(_ http.ResponseWriter, r *http.Request) {
		begun.Add(1)
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			whole.Add(1)
		}
		ended.Add(1)
	}))
	for _, broken := range []string{"x\r\n", "2\r\nabc\r\n0\r\n\r\n", "1\nab", "-1\r\n", "0\r\nno\n\r\n", "1 \r\na\r\n", "0;\x00\r\n\r\n", "\r\n"} {
		for _, together := range []bool{true, false} {
			r, before := w.dial(), begun.Load()
			r.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
			if !together {
				w.eventually("the server sees the request", func() bool { return begun.Load() > before })
			}
			r.send("%s", broken)
			if resp, _, _ := r.response("POST"); resp.StatusCode != 400 || !resp.Close {
				t.Errorf("%q: got %d", broken, resp.StatusCode)
			}
		}
	}
	w.idle()
	w.eventually("the server has given up", func() bool { return begun.Load() == ended.Load() })
	if whole.Load() != 0 {
		t.Errorf("%d looked complete to the server", whole.Load())
	}
	if w.failures(0) != 0 {
		t.Error("the server was blamed")
	}
}

func TestClientThatLeavesInItsBody(t *testing.T) {
	t.Parallel()
	ends := make(chan error, 1)
	w := newWorld(t, func(o *Options) { o.Default.ResponseTimeout = time.Minute }, origin(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		ends <- err
	}))
	r := w.dial()
	r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nfive.")
	w.eventually("the request is active", func() bool { return w.server(0).Active() == 1 })
	r.Close()
	if err := <-ends; err == nil {
		t.Error("half a body looked complete to the server")
	}
	w.idle()
}

func TestRefusedConnectionGoesToTheNextServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, porttest.Closed(t), origin(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	for range 4 {
		resp, err := w.http.Post("http://"+w.addr, "x", strings.NewReader("once"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "once" {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
	}
	if w.failures(0) == 0 || w.failures(1) != 0 {
		t.Errorf("failures %d, %d", w.failures(0), w.failures(1))
	}
	select {
	case <-w.server(0).Suspect():
	default:
		t.Error("the server that refused is not suspect")
	}
	w.idle()
}

func TestNoServerLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, porttest.Closed(t), porttest.Closed(t))
	r := w.dial()
	for range 2 { // and the connection lives
		r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if resp, body, _ := r.response("GET"); resp.StatusCode != 502 || strings.Contains(body, "127.0.0.1") {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
	}
	r.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
	if resp, _, err := r.response("HEAD"); resp.StatusCode != 502 || err != nil {
		t.Errorf("HEAD: got %d, %v", resp.StatusCode, err)
	}
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	r.response("GET")
	w.idle()
}

// A listener whose queue is full leaves a connect waiting.
// A machine that cannot open connections says so, and does not blame servers.
func TestNoConnectionsToBeOpened(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, origin(t, func(http.ResponseWriter, *http.Request) {}))
	elsewhere := netip.MustParseAddr("192.0.2.1") // not this machine's
	address := w.server(0).Address()
	w.pool.Upload(pool.ServerSpec{Address: address, Sources: []netip.Addr{elsewhere}})
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if resp, body, _ := r.response("GET"); resp.StatusCode != 503 {
		t.Errorf("got %d %q, want 503", resp.StatusCode, body)
	}
	if n := w.failures(0); n != 0 {
		t.Errorf("the server is blamed for %d failures", n)
	}
	w.idle()
}

func TestConnectThatTimesOut(t *testing.T) {
	t.Parallel()
	l, full := fullListener(t)
	w := newWorld(t, func(o *Options) { o.Default.ConnectTimeout = 50 * time.Millisecond }, l)
	if resp, _ := w.get("/"); resp.StatusCode != 504 {
		t.Errorf("got %d", resp.StatusCode)
	}
	if w.failures(0) != 1 {
		t.Errorf("failures: %d", w.failures(0))
	}
	full()
}

func TestServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Default.ResponseTimeout = 100 * time.Millisecond }, rawOrigin(t, func(_ int, r *wire) { io.Copy(io.Discard, r) }))
	for _, body := range []string{"", "body"} {
		req, _ := http.NewRequest("POST", "http://"+w.addr, strings.NewReader(body))
		resp, err := w.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 504 {
			t.Errorf("got %d", resp.StatusCode)
		}
	}
	w.idle()
	if w.failures(0) != 2 {
		t.Errorf("failures: %d", w.failures(0))
	}
}

// response_timeout is for the head only: neither body is held to it.
func TestSlowBodiesAreNotCutShort(t *testing.T) {
	t.Parallel()
	const limit = 100 * time.Millisecond
	drip := func(w io.Writer, flush func() error) {
		for range 6 {
			io.WriteString(w, "x")
			flush()
			time.Sleep(limit / 3) // the slowness under test
		}
	}
	w := newWorld(t, func(o *Options) { o.Default.ResponseTimeout = limit }, origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprint(w, len(body), err)
		drip(w, http.NewResponseController(w).Flush)
	}))
	pr, pw := io.Pipe()
	go func() { drip(pw, func() error { return nil }); pw.Close() }()
	resp, err := w.http.Post("http://"+w.addr, "x", pr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "6 <nil>xxxxxx" || err != nil {
		t.Errorf("got %d %q, %v", resp.StatusCode, body, err)
	}
}

func TestNonsenseFromTheServer(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"nothing":          "",
		"garbage":          "hello\r\n\r\n",
		"half a head":      "HTTP/1.1 200 OK\r\nA: b\r\n",
		"two lengths":      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"two framings":     "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a large head":     "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 70000) + "\r\n\r\n",
		"101 unasked":      "HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		"1xx forever":      strings.Repeat("HTTP/1.1 102 Wait\r\n\r\n", 20),
		"status 99":        "HTTP/1.1 099 No\r\n\r\n",
		"another protocol": "HTTP/3.0 200 OK\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, rawOrigin(t, func(_ int, r *wire) {
				r.tryHead()
				io.WriteString(r, answer)
			}))
			if resp, _ := w.get("/"); resp.StatusCode != 502 {
				t.Errorf("got %d", resp.StatusCode)
			}
			w.idle()
			if w.failures(0) != 1 {
				t.Errorf("failures: %d", w.failures(0))
			}
		})
	}
}

// The server dies in the middle of its answer.
func TestTruncationIsPassedOn(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"Content-Length": "Content-Length: 10\r\n\r\nfive.",
		"chunked":        "Transfer-Encoding: chunked\r\n\r\n5\r\nfive.\r\n",
		"within a chunk": "Transfer-Encoding: chunked\r\n\r\na\r\nfive.",
	} {
		for _, version := range []string{"1.1", "1.0"} {
			t.Run(name+" to HTTP/"+version, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, nil, rawOrigin(t, func(_ int, r *wire) {
					r.tryHead()
					io.WriteString(r, "HTTP/1.1 200 OK\r\n"+head)
				}))
				r := w.dial()
				r.send("GET / HTTP/%s\r\nHost: h\r\n\r\n", version)
				if _, body, err := r.response("GET"); err == nil || isTimeout(err) {
					t.Errorf("after %q: %v", body, err)
				}
				w.idle()
				if w.failures(0) != 1 {
					t.Errorf("failures: %d", w.failures(0))
				}
			})
		}
	}
}

// A kept connection that its server closes as the next request arrives.
func TestRequestOnAStaleConnection(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	addr := rawOrigin(t, func(n int, r *wire) {
		for i := 0; ; i++ {
			h, ok := r.tryHead()
			if !ok {
				return
			}
			what := h[:strings.Index(h, " ")]
			if strings.Contains(h, "Content-Length: 4\r\n") {
				body := make([]byte, 4)
				io.ReadFull(r.br, body)
				what += "+" + string(body)
			}
			mu.Lock()
			seen = append(seen, what)
			mu.Unlock()
			if i == 1 {
				return
			}
			io.WriteString(r, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	w := newWorld(t, func(o *Options) { o.Loops = o.Loops[:1] }, addr) // which the connection is kept on
	w.get("/")
	if resp, _ := w.get("/"); resp.StatusCode != 200 {
		t.Errorf("GET was not sent again: %d", resp.StatusCode)
	}
	r := w.dial()
	r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
	if resp, _, _ := r.response("POST"); resp.StatusCode != 502 {
		t.Errorf("POST: got %d", resp.StatusCode)
	}
	w.get("/")
	r = w.dial()
	r.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
	if resp, _, _ := r.response("PUT"); resp.StatusCode != 200 {
		t.Errorf("PUT whose body came with its head was not sent again: %d", resp.StatusCode)
	}
	r = w.dial()
	r.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n%s", strings.Repeat("x", 20000))
	if resp, _, _ := r.response("PUT"); resp.StatusCode != 502 {
		t.Errorf("PUT with a long body: got %d", resp.StatusCode)
	}
	r = w.dial()
	r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
	if resp, _, _ := r.response("POST"); resp.StatusCode != 200 {
		t.Errorf("POST on a new connection: got %d", resp.StatusCode)
	}
	r = w.dial()
	r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
	if resp, _, _ := r.response("POST"); resp.StatusCode != 502 {
		t.Errorf("POST with a body: got %d", resp.StatusCode)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(seen, " "); got != "GET GET GET POST GET PUT+body PUT+body PUT POST+body POST+body" {
		t.Errorf("the server saw %s", got)
	}
}

// A kept connection that is seen to be closed costs nobody anything.
func TestClosedConnectionIsNotReused(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 2)
	w := newWorld(t, func(o *Options) { o.Loops = o.Loops[:1] }, rawOrigin(t, func(_ int, r *wire) {
		r.tryHead()
		io.WriteString(r, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		r.Close()
		closed <- struct{}{}
	}))
	for range 2 {
		resp, err := w.http.Post("http://"+w.addr, "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		<-closed
		if resp.StatusCode != 200 {
			t.Errorf("got %d", resp.StatusCode)
		}
	}
}

func TestClientThatLeavesInMidAnswer(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]bool{"flowing": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			left := make(chan struct{})
			w := newWorld(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
				defer close(left)
				io.WriteString(w, "begun")
				http.NewResponseController(w).Flush()
				if silent {
					<-r.Context().Done()
					return
				}
				io.Copy(w, zeros{})
			}))
			r := w.dial()
			r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			r.head()
			r.Close()
			<-left
			w.idle()
			if w.failures(0) != 0 {
				t.Error("the server was blamed")
			}
		})
	}
}

func TestHeadThatTakesTooLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.HeaderTimeout = 50 * time.Millisecond }, porttest.Closed(t))
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost")
	if resp, _, _ := r.response("GET"); resp.StatusCode != 408 {
		t.Errorf("got %d", resp.StatusCode)
	}
	if rest := w.dial().ends(); rest != "" {
		t.Errorf("a client that said nothing got %q", rest)
	}
}

func TestBodyThatStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.IdleTimeout = 50 * time.Millisecond }, origin(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	r := w.dial()
	r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nfive.")
	if resp, _, _ := r.response("POST"); resp.StatusCode != 408 {
		t.Errorf("got %d", resp.StatusCode)
	}
	w.idle()
}

// A panic costs the client and the server whose connections it happened on.
func TestPanicCostsOneConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Logger = slog.New(panicky{slog.DiscardHandler}) }, porttest.Closed(t))
	for range 2 {
		r := w.dial()
		r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if rest := r.ends(); rest != "" {
			t.Errorf("got %q", rest)
		}
	}
	w.idle()
}

// So does one when a request's turn has come, for which no handler was called.
func TestPanicOfARequestThatWaited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Logger = slog.New(panicky{slog.DiscardHandler}) })
	s, _ := w.pool.Upload(overUnix(filepath.Join(t.TempDir(), "nobody")))
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	w.eventually("it waits", func() bool { return w.pool.Queued() == 1 })
	w.pool.SetHealth(s, pool.Health{Healthy: true, At: time.Now()})
	if rest := r.ends(); rest != "" {
		t.Errorf("got %q", rest)
	}
	w.idle()
}

// panicky panics when the proxy says that a server cannot be connected to.
type panicky struct{ slog.Handler }

func (panicky) Enabled(context.Context, slog.Level) bool { return true }
func (p panicky) WithAttrs([]slog.Attr) slog.Handler     { return p }
func (panicky) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "cannot connect" {
		panic("on purpose")
	}
	return nil
}

// A server that answers early and then neither reads nor says anything.
func TestServerThatStopsInMidExchange(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	defer close(over)
	w := newWorld(t, func(o *Options) { o.Default.ResponseTimeout = 200 * time.Millisecond }, rawOrigin(t, func(_ int, r *wire) {
		r.tryHead()
		io.WriteString(r, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive.")
		<-over
	}))
	r := w.dial()
	r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n")
	poured := make(chan struct{})
	go func() {
		defer close(poured)
		for block := make([]byte, 1<<20); ; {
			if _, err := r.Write(block); err != nil {
				return
			}
		}
	}()
	w.eventually("the request has begun", func() bool { return w.proxy.Stats().Active == 1 })
	w.idle()
	r.Close()
	<-poured
	if s := w.proxy.Stats(); s.Endings[CutShort] != 1 {
		t.Errorf("got %v, want one that was cut short", s.Endings)
	}
}
