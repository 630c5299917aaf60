package httpproxy

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fulcrum/loop"
	"fulcrum/pool"
)

// atOnce is how many tests run at the same time: each has loops of its own, and
// they mostly wait.
const atOnce = 8

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", strconv.Itoa(atOnce))
	runtime.GOMAXPROCS(runtime.NumCPU() + 2*atOnce) // a loop keeps its processor while there is work
	goleak.VerifyTestMain(m)
}

// testIO returns what the loops of these tests work by: io_uring where there is
// one to be had, unless FULCRUM_TEST_IO=epoll is set.
func testIO() loop.IO {
	if os.Getenv("FULCRUM_TEST_IO") == "epoll" {
		return loop.Epoll
	}
	return loop.Auto()
}

// newLoops starts two loops that end with the test, after what else does.
func newLoops(t testing.TB) (loops []*loop.Loop) {
	t.Helper()
	for range 2 {
		l, err := loop.New(testIO(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Stop)
		loops = append(loops, l)
	}
	return loops
}

var anyPort = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}

// A world is a proxy in front of the servers of one pool.
type world struct {
	t      testing.TB
	pool   *pool.Pool
	routes []Route
	proxy  *Proxy
	addr   string
	http   *http.Client
}

// each has something done on every loop, and waits for it.
func (w *world) each(do func(*worker)) {
	for _, worker := range w.proxy.workers {
		done := make(chan struct{})
		worker.loop.Post(func() { do(worker); close(done) })
		<-done
	}
}

// newWorld starts a proxy with patient timeouts that change may alter; the
// servers are healthy.
func newWorld(t testing.TB, change func(*Options), addresses ...string) *world {
	t.Helper()
	p, err := pool.New("web", pool.Options{Algorithm: pool.RoundRobin})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Name: "web", Address: anyPort, Loops: newLoops(t), IdleTimeout: 5 * time.Second, HeaderTimeout: 5 * time.Second,
		Default: &Upstream{Pool: p, ConnectTimeout: 2 * time.Second, ResponseTimeout: 5 * time.Second, CheckWait: 5 * time.Second},
		Logger:  slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	if o.Default != nil {
		p = o.Default.Pool
	}
	w := &world{t: t, pool: p, routes: o.Routes}
	for _, a := range addresses {
		w.add(a)
	}
	if w.proxy, err = New(o); err != nil {
		t.Fatal(err)
	}
	w.addr = w.proxy.Addr().String()
	w.proxy.Start()
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	w.http = &http.Client{Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		w.proxy.Stop(ctx)
	})
	return w
}

func (w *world) add(address string) *pool.Server {
	s, _ := w.pool.Upload(pool.ServerSpec{Address: address, Resolved: mustAddr(address)})
	w.pool.SetHealth(s, pool.Health{Healthy: true, At: time.Now()})
	return s
}

func (w *world) server(i int) *pool.Server { return w.pool.Servers()[i] }

func (w *world) failures(i int) int64 { return w.pool.Status()[i].Failures }

// eventually polls until ok or a deadline.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("never came true: %s", what)
		}
	}
}

// idle waits until no request is left, and nothing is left to be done about any.
func (w *world) idle() {
	w.t.Helper()
	w.eventually("no request is counted as active", func() bool { s := w.proxy.Stats(); return s.Active == 0 })
	for _, s := range w.servers() {
		w.eventually("no active left on "+s.Address(), func() bool { return s.Active() == 0 })
	}
	w.each(func(*worker) {})
}

// servers returns those of all pools.
func (w *world) servers() []*pool.Server {
	all := w.pool.Servers()
	for _, r := range w.routes {
		if r.Upstream != nil && r.Pool != w.pool {
			all = append(all, r.Pool.Servers()...)
		}
	}
	return all
}

func (w *world) get(path string) (*http.Response, string) {
	w.t.Helper()
	resp, err := w.http.Get("http://" + w.addr + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(body)
}

// A wire is a raw connection of a client.
type wire struct {
	t testing.TB
	*net.TCPConn
	br *bufio.Reader
}

func (w *world) dial() *wire { return w.dialFrom("127.0.0.1") }

func (w *world) dialFrom(source string) *wire {
	w.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	c, err := d.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return &wire{w.t, c.(*net.TCPConn), bufio.NewReader(c)}
}

func (r *wire) send(format string, args ...any) {
	r.t.Helper()
	if _, err := fmt.Fprintf(r, format, args...); err != nil {
		r.t.Fatal(err)
	}
}

// head reads up to and including an empty line.
func (r *wire) head() string {
	r.t.Helper()
	var b strings.Builder
	for {
		line, err := r.br.ReadString('\n')
		if err != nil {
			r.t.Fatalf("after %q: %v", b.String(), err)
		}
		b.WriteString(line)
		if line == "\r\n" {
			return b.String()
		}
	}
}

func (r *wire) response(method string) (*http.Response, string, error) {
	r.t.Helper()
	resp, err := http.ReadResponse(r.br, &http.Request{Method: method})
	if err != nil {
		r.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// ends waits until the proxy has closed the connection and returns the rest.
func (r *wire) ends() string {
	r.t.Helper()
	rest, err := io.ReadAll(r.br)
	if isTimeout(err) {
		r.t.Fatal("the connection stays open")
	}
	return string(rest)
}

// origin is a net/http server.
func origin(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.Listener.Addr().String()
}

// rawOrigin runs talk once for each connection, numbered from 0.
func rawOrigin(t testing.TB, talk func(n int, r *wire)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all []chan struct{}
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				break
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			ended := make(chan struct{})
			all = append(all, ended)
			go func() {
				defer close(ended)
				defer c.Close()
				talk(n, &wire{t, c.(*net.TCPConn), bufio.NewReader(c)})
			}()
		}
		for _, e := range all {
			<-e
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// tryHead is head for origins, whose client may leave.
func (r *wire) tryHead() (string, bool) {
	var b strings.Builder
	for {
		line, err := r.br.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			return b.String(), false
		}
		if line == "\r\n" {
			return b.String(), true
		}
	}
}

// canned answers every request (without a body) with the same bytes.
func canned(t testing.TB, answer string) string {
	return rawOrigin(t, func(_ int, r *wire) {
		for {
			if _, ok := r.tryHead(); !ok {
				return
			}
			io.WriteString(r, answer)
		}
	})
}

func mustAddr(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
