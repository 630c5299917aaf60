package l4

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"fulcrum/loop"
	"fulcrum/pool"
)

func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(runtime.NumCPU() + 2) // each of the two loops keeps a processor while there is work
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of these tests. None of them needs it to pass;
// soon is for what must not wait for any timeout.
const (
	patience = 20 * time.Second
	soon     = 5 * time.Second
)

// world is a listener on two loops, its pool, and servers.
type world struct {
	*Listener
	t       testing.TB
	pool    *pool.Pool
	to      *Upstream // the default
	options Options
	loops   []*loop.Loop
	stopped bool
}

// prepare makes a world whose listener is not made yet.
func prepare(t testing.TB, algorithm string) *world {
	t.Helper()
	return prepareWith(t, pool.Options{Algorithm: algorithm})
}

func prepareWith(t testing.TB, o pool.Options) *world {
	t.Helper()
	p, err := pool.New("db", o)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, pool: p, to: &Upstream{Pool: p, ConnectTimeout: patience, CheckWait: patience}}
	for range 2 {
		l, err := loop.New(testIO(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Stop)
		w.loops = append(w.loops, l)
	}
	w.options = Options{
		Name: "db", Address: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Loops: w.loops, Default: w.to,
		HelloTimeout: patience, AcceptProxyTimeout: patience, IdleTimeout: time.Hour,
		Logger: slog.New(slog.DiscardHandler),
	}
	return w
}

func (w *world) start() *world {
	w.t.Helper()
	var err error
	if w.Listener, err = New(w.options); err != nil {
		w.t.Fatal(err)
	}
	w.Start()
	w.t.Cleanup(func() { w.stop(0) })
	return w
}

// stop stops the listener, giving the connections that long.
func (w *world) stop(limit time.Duration) {
	w.t.Helper()
	if w.stopped {
		return
	}
	w.stopped = true
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	w.Stop(ctx)
	if n := w.Stats().Active; n != 0 {
		w.t.Errorf("%d connections are active after Stop", n)
	}
	w.wantActive(make([]int64, len(w.pool.Servers()))...)
}

// acceptFrom has clients of that network begin with a PROXY header.
func (w *world) acceptFrom(network string) {
	w.options.AcceptProxy = append(w.options.AcceptProxy, netip.MustParsePrefix(network))
}

// serve adds a server that has passed its check, and runs it.
func (w *world) serve(spec pool.ServerSpec, serve func(*net.TCPConn)) *pool.Server {
	w.t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		w.t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	open := map[*net.TCPConn]bool{}
	all.Go(func() {
		for {
			c, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			all.Go(func() {
				serve(c)
				c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	w.t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	spec.Resolved = ln.Addr()
	return w.healthy(spec)
}

func (w *world) echo(spec pool.ServerSpec) *pool.Server { return w.serve(spec, echo) }

// echo hides what c can do beyond Read and Write: splice keeps pipes, which
// would blur the count of descriptors.
func echo(c *net.TCPConn) { io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) }

// healthy uploads a server and has it pass a check.
func (w *world) healthy(spec pool.ServerSpec) *pool.Server {
	spec.Address = spec.Resolved.String()
	s, _ := w.pool.Upload(spec)
	w.pool.SetHealth(s, pool.Health{Healthy: true, Passed: true, At: time.Now()})
	return s
}

// refusing adds a server that refuses connections.
func (w *world) refusing() *pool.Server {
	w.t.Helper()
	_, at := w.bind() // does not listen, and nobody else can have the port
	return w.healthy(pool.ServerSpec{Resolved: at})
}

// bind returns a socket bound to a port of its own.
func (w *world) bind() (fd int, at *net.TCPAddr) {
	w.t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		w.t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		w.t.Fatal(err)
	}
	return fd, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: sa.(*unix.SockaddrInet4).Port}
}

// silent adds a server that accepts nothing and whose backlog is full, so that
// connects are not answered.
func (w *world) silent() *pool.Server {
	w.t.Helper()
	fd, at := w.bind()
	if err := unix.Listen(fd, 0); err != nil {
		w.t.Fatal(err)
	}
	for range 10 {
		c, err := net.DialTimeout("tcp", at.String(), 100*time.Millisecond)
		if err != nil {
			return w.healthy(pool.ServerSpec{Resolved: at})
		}
		w.t.Cleanup(func() { c.Close() })
	}
	w.t.Fatal("a backlog of 0 is never full")
	return nil
}

// dial connects a client.
func (w *world) dial() *client { return w.dialFrom("127.0.0.1") }

// dialFrom connects a client that has that address.
func (w *world) dialFrom(source string) *client {
	w.t.Helper()
	from := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	c, err := from.Dial("tcp", w.Address().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &client{c.(*net.TCPConn), w.t}
}

type client struct {
	*net.TCPConn
	t testing.TB
}

// wantEcho sends something and gets it back.
func (c *client) wantEcho() {
	c.t.Helper()
	if _, err := c.Write([]byte("hello")); err != nil {
		c.t.Fatalf("write: %v", err)
	}
	c.wantRead("hello")
}

// wantRead reads that.
func (c *client) wantRead(want string) {
	c.t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != want {
		c.t.Errorf("read %q, error %v, want %q", b[:n], err, want)
	}
}

// wantClosed waits for the connection's end, which must come soon.
func (c *client) wantClosed() {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(soon))
	if n, err := c.Read(make([]byte, 1)); n > 0 || err != io.EOF && !errors.Is(err, unix.ECONNRESET) {
		c.t.Fatalf("read %d bytes, error %v, want none and an end", n, err)
	}
}

// testIO returns what the loops of these tests work by: io_uring where there is
// one to be had, unless FULCRUM_TEST_IO=epoll is set.
func testIO() loop.IO {
	if os.Getenv("FULCRUM_TEST_IO") == "epoll" {
		return loop.Epoll
	}
	return loop.Auto()
}
