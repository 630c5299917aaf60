package health

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fulcrum/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests. None of them needs it to pass.
const patience = 20 * time.Second

// script is a server that handles each connection as the test says. It ends
// with the test, and every handler with it.
func script(t *testing.T, handle func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, listener, handle)
	return listener.Addr().String()
}

// serve is script on a listener that is there already.
func serve(t *testing.T, listener net.Listener, handle func(net.Conn)) {
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			all.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, conn := range open {
			conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
}

// answer reads a request's head and sends what it is told.
func answer(text string) func(net.Conn) {
	return func(conn net.Conn) {
		readHead(conn)
		conn.Write([]byte(text))
	}
}

// readHead returns the head of a request, as far as it came.
func readHead(conn net.Conn) string {
	var head strings.Builder
	one := make([]byte, 1)
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		if n, err := conn.Read(one); n == 0 || err != nil {
			break
		}
		head.Write(one)
	}
	return head.String()
}

// world is a pool with its checker, and what was logged.
type world struct {
	*pool.Pool
	*Checker
	t   *testing.T
	log *lines
}

// newWorld makes a checker that is stopped when the test ends.
func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	p, err := pool.New("web", pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	o.Logger = slog.New(log)
	w := &world{Pool: p, Checker: New(p, o), t: t, log: log}
	t.Cleanup(w.Stop)
	return w
}

// upload adds a server and has it checked.
func (w *world) upload(address string) *pool.Server {
	s := upload(w.Pool, address)
	w.Reconcile()
	return s
}

func upload(p *pool.Pool, address string) *pool.Server {
	resolved, err := netip.ParseAddrPort(address)
	if err != nil {
		resolved = netip.MustParseAddrPort("127.0.0.1:1")
	}
	s, _ := p.Upload(pool.ServerSpec{Address: address, Resolved: net.TCPAddrFromAddrPort(resolved)})
	return s
}

// remove takes a server out and has its checks ended.
func (w *world) remove(s *pool.Server) {
	w.Drain(s)
	w.RemoveDrained(s)
	w.Reconcile()
}

// status returns what the pool knows of a server, which must be in it.
func (w *world) status(address string) pool.Status {
	w.t.Helper()
	for _, s := range w.Status() {
		if s.Address == address {
			return s
		}
	}
	w.t.Fatalf("server %q is not in the pool", address)
	return pool.Status{}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// lines is a slog.Handler that keeps each record as a line.
type lines struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (l *lines) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.lines
	l.lines = nil
	return taken
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithGroup(string) slog.Handler            { return l }

func (l *lines) WithAttrs(attrs []slog.Attr) slog.Handler { return with{l, attrs} }

func (l *lines) Handle(_ context.Context, r slog.Record) error { return l.handle(nil, r) }

func (l *lines) handle(attrs []slog.Attr, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%s %s %v", r.Level, r.Message, attrs))
	return nil
}

// with is lines with attributes of a logger.
type with struct {
	*lines
	attrs []slog.Attr
}

func (l with) Handle(_ context.Context, r slog.Record) error { return l.handle(l.attrs, r) }
