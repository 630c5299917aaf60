package loop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests. None of them needs it to pass.
const patience = 20 * time.Second

// loopback is where a free port is asked for.
var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}

// world is a loop, what it logs, and a port to dial.
type world struct {
	*Loop
	t    testing.TB
	said *notes
	port *net.TCPListener
}

func start(t testing.TB) *world {
	t.Helper()
	said := &notes{lines: make(chan string, 1000)}
	l, err := New(testIO(), slog.New(said))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Stop)
	port, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	return &world{Loop: l, t: t, said: said, port: port}
}

// do runs f on the loop and waits for it.
func (w *world) do(f func()) {
	w.t.Helper()
	done := make(chan struct{})
	if !w.Post(func() { defer close(done); f() }) {
		w.t.Fatal("the loop has ended")
	}
	within(w.t, done, "the loop does not run what was posted")
}

// hold blocks the loop until the function it returns is called, so that what
// happens meanwhile comes up in one batch.
func (w *world) hold() (release func()) {
	w.t.Helper()
	held, free := make(chan struct{}), make(chan struct{})
	w.Post(func() { close(held); <-free })
	within(w.t, held, "the loop does not run what was posted")
	return func() { close(free) }
}

// open connects h's connection to a peer. It stays paused.
func (w *world) open(h Handler) (*Conn, *net.TCPConn) {
	w.t.Helper()
	connected := make(chan error, 1)
	var c *Conn
	w.do(func() {
		var err error
		c, err = w.Dial(w.port.Addr(), SocketOptions{}, &hooks{
			connected: func(c *Conn, err error) { c.SetHandler(h); connected <- err },
		})
		if err != nil {
			connected <- err
		}
	})
	w.port.SetDeadline(time.Now().Add(patience))
	peer, err := w.port.AcceptTCP()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { peer.Close() })
	if err := <-connected; err != nil {
		w.t.Fatal(err)
	}
	peer.SetDeadline(time.Now().Add(patience))
	return c, peer
}

// within waits for a channel to be closed or sent to.
func within[T any](t testing.TB, c <-chan T, complaint string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal(complaint)
	}
	return v
}

// hooks is a handler made of functions; what is nil is not looked at.
type hooks struct {
	connected func(*Conn, error)
	data      func(*Conn, []byte)
	spliced   func(*Conn, int)
	ended     func(*Conn)
	sent      func(*Conn)
	failed    func(*Conn, error)
	expired   func(*Conn)
}

func (h *hooks) Connected(c *Conn, err error) {
	if h.connected != nil {
		h.connected(c, err)
	}
}

func (h *hooks) Data(c *Conn, b []byte) {
	if h.data != nil {
		h.data(c, b)
	}
}

func (h *hooks) Ended(c *Conn) {
	if h.ended != nil {
		h.ended(c)
	}
}

func (h *hooks) Spliced(c *Conn, n int) {
	if h.spliced != nil {
		h.spliced(c, n)
	}
}

func (h *hooks) Sent(c *Conn) {
	if h.sent != nil {
		h.sent(c)
	}
}

func (h *hooks) Failed(c *Conn, err error) {
	if h.failed != nil {
		h.failed(c, err)
	}
}

func (h *hooks) Expired(c *Conn) {
	if h.expired != nil {
		h.expired(c)
	}
}

// diary is a handler that writes down what it is told: data in got, and each
// other call as a word in events, together with how much data came before it.
type diary struct {
	t      testing.TB
	events chan entry
	mu     sync.Mutex
	got    bytes.Buffer // guarded by mu

	ignoresSent atomic.Bool
}

type entry struct {
	what string
	err  error
	size int // bytes of data until then
}

func newDiary(t testing.TB) *diary { return &diary{t: t, events: make(chan entry, 100)} }

func (d *diary) note(what string, err error) { d.events <- entry{what, err, len(d.data())} }

func (d *diary) data() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.got.Bytes())
}

func (d *diary) Data(_ *Conn, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got.Write(b)
}

func (d *diary) Connected(_ *Conn, err error) { d.note("connected", err) }
func (d *diary) Ended(*Conn)                  { d.note("ended", nil) }
func (d *diary) Spliced(*Conn, int)           { d.note("spliced", nil) }
func (d *diary) Failed(_ *Conn, err error)    { d.note("failed", err) }
func (d *diary) Expired(*Conn)                { d.note("expired", nil) }

func (d *diary) Sent(*Conn) {
	if !d.ignoresSent.Load() {
		d.note("sent", nil)
	}
}

// want waits for the next event, which is to have that name and error, after
// that many bytes of data.
func (d *diary) want(what string, err error, size int) {
	d.t.Helper()
	e := within(d.t, d.events, "waited in vain for "+what)
	if e.what != what || !errors.Is(e.err, err) || e.size != size {
		d.t.Fatalf("%s, error %v, after %d bytes; want %s, %v, %d", e.what, e.err, e.size, what, err, size)
	}
}

// wantNothing runs the loop for a few turns in which nothing may happen.
func (d *diary) wantNothing(w *world) {
	d.t.Helper()
	for range 5 {
		w.do(func() {})
	}
	select {
	case e := <-d.events:
		d.t.Fatalf("%s, error %v, where nothing should happen", e.what, e.err)
	default:
	}
}

// notes is where a loop logs to.
type notes struct{ lines chan string }

func (n *notes) Enabled(context.Context, slog.Level) bool { return true }
func (n *notes) WithAttrs([]slog.Attr) slog.Handler       { return n }
func (n *notes) WithGroup(string) slog.Handler            { return n }

func (n *notes) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	n.lines <- line
	return nil
}

// silent returns an address where a connect is never answered.
func silent(t testing.TB) netip.AddrPort {
	t.Helper()
	sockets, at := bindTo(t, loopback, 1, SocketOptions{})
	if err := refuseHandshakes(sockets[0]); err != nil {
		t.Fatal(err)
	}
	return at.(*net.TCPAddr).AddrPort()
}

// readAll reads a peer to its end.
func readAll(t testing.TB, peer io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(peer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// reset closes a peer's side by a reset.
func reset(peer *net.TCPConn) {
	peer.SetLinger(0)
	peer.Close()
}

// testIO returns what the loops of these tests work by: io_uring where there is
// one to be had, unless FULCRUM_TEST_IO=epoll is set.
func testIO() IO {
	if os.Getenv("FULCRUM_TEST_IO") == "epoll" {
		return Epoll
	}
	return Auto()
}
