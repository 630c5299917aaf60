package relay

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"fulcrum/loop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests. None of them needs it to pass.
const patience = 20 * time.Second

// world is a pair between two peers, on a loop of its own.
type world struct {
	t                testing.TB
	loop             *loop.Loop
	client, upstream *net.TCPConn // what the two ends of the pair are connected to
	pair             Pair
	moved            Bytes
	causes           chan Cause
	told, answered   atomic.Int32
	options          Options
	owner            Owner // the world itself, or one that it is a part of
}

func (w *world) Relayed(p *Pair, cause Cause) {
	if p != &w.pair {
		w.t.Error("told of another pair")
	}
	w.told.Add(1)
	w.causes <- cause
}

func (w *world) Answered(p *Pair) {
	if _, toClient := p.Moved(); p != &w.pair || toClient != 0 {
		w.t.Error("told late, or of another pair")
	}
	w.answered.Add(1)
}

// prepare connects a pair; open has it begin.
func prepare(t testing.TB, idle time.Duration) (w *world, open func()) {
	t.Helper()
	l, err := loop.New(testIO(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w = &world{t: t, loop: l, causes: make(chan Cause, 10)}
	w.options, w.owner = Options{Idle: idle, Moved: &w.moved}, w
	t.Cleanup(func() {
		l.Stop()
		if n := w.told.Load(); n > 1 {
			t.Errorf("the owner was told %d times", n)
		}
	})
	a, client := w.connect()
	b, upstream := w.connect()
	w.client, w.upstream = client, upstream
	return w, func() { w.do(func() { w.pair.Client, w.pair.Upstream = a, b; w.pair.Start(&w.options, w.owner, 0) }) }
}

func start(t testing.TB, idle time.Duration) *world {
	t.Helper()
	w, open := prepare(t, idle)
	open()
	return w
}

// connect makes a connection between the loop and a peer.
func (w *world) connect() (*loop.Conn, *net.TCPConn) {
	w.t.Helper()
	port, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		w.t.Fatal(err)
	}
	defer port.Close()
	h := &dialling{done: make(chan error, 1)}
	var c *loop.Conn
	w.do(func() { c, err = w.loop.Dial(port.Addr(), loop.SocketOptions{}, h) })
	if err != nil {
		w.t.Fatal(err)
	}
	peer, err := port.AcceptTCP()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { peer.Close() })
	peer.SetDeadline(time.Now().Add(patience))
	if err := within(w.t, h.done, "no connection"); err != nil {
		w.t.Fatal(err)
	}
	return c, peer
}

// dialling is the handler of a connection until the pair takes it over.
type dialling struct {
	loop.Handler
	done chan error
}

func (d *dialling) Connected(_ *loop.Conn, err error) { d.done <- err }

// do runs f on the loop and waits for it.
func (w *world) do(f func()) {
	w.t.Helper()
	done := make(chan struct{})
	w.loop.Post(func() { defer close(done); f() })
	within(w.t, done, "the loop does not run what was posted")
}

// hold blocks the loop until the function it returns is called, so that what
// happens meanwhile comes up in one batch.
func (w *world) hold() (release func()) {
	held, free := make(chan struct{}), make(chan struct{})
	w.loop.Post(func() { close(held); <-free })
	within(w.t, held, "the loop does not run what was posted")
	return func() { close(free) }
}

func within[T any](t testing.TB, c <-chan T, complaint string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal(complaint)
	}
	return v
}

// wantOver waits for the end of the pair, by one of these causes.
func (w *world) wantOver(causes ...Cause) {
	w.t.Helper()
	if got := within(w.t, w.causes, "the pair does not end"); !slices.Contains(causes, got) {
		w.t.Errorf("ended as %q, want %q", got, causes)
	}
	w.do(func() {
		if n := w.told.Load(); n != 1 {
			w.t.Errorf("the owner was told %d times", n)
		}
	})
}

// endedBy returns the cause of a pair in which that peer was the first to end.
func (w *world) endedBy(peer *net.TCPConn) Cause {
	if peer == w.client {
		return ClientEnded
	}
	return UpstreamEnded
}

func (w *world) wantGoingOn() {
	w.t.Helper()
	for range 3 {
		w.do(func() {})
	}
	if n := w.told.Load(); n != 0 {
		w.t.Fatalf("the pair has ended as %q", <-w.causes)
	}
}

func (w *world) wantMoved(toUpstream, toClient int) {
	w.t.Helper()
	if up, down := w.moved.ToUpstream.Load(), w.moved.ToClient.Load(); up != int64(toUpstream) || down != int64(toClient) {
		w.t.Errorf("%d bytes to the server and %d to the client, want %d and %d", up, down, toUpstream, toClient)
	}
	w.do(func() {
		if up, down := w.pair.Moved(); up != int64(toUpstream) || down != int64(toClient) {
			w.t.Errorf("the pair counts %d bytes to the server and %d to the client, want %d and %d", up, down, toUpstream, toClient)
		}
	})
	if n := w.answered.Load(); n != int32(min(toClient, 1)) {
		w.t.Errorf("told of the first byte of %d %d times", toClient, n)
	}
}

// wantRead reads that from a peer.
func (w *world) wantRead(peer *net.TCPConn, want string) {
	w.t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(peer, b); err != nil || string(b) != want {
		w.t.Fatalf("read %q, error %v, want %q", b, err, want)
	}
}

// wantEnd reads a peer to its end: io.EOF or an error.
func (w *world) wantEnd(peer *net.TCPConn, want error) {
	w.t.Helper()
	n, err := peer.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, want) {
		w.t.Fatalf("read %d bytes, error %v, want none and %v", n, err, want)
	}
}

// wantReset reads a peer until its connection breaks, whatever comes first.
func (w *world) wantReset(peer *net.TCPConn) {
	w.t.Helper()
	if _, err := io.Copy(io.Discard, peer); !errors.Is(err, unix.ECONNRESET) {
		w.t.Fatalf("read to an end of %v, want a reset", err)
	}
}

func reset(peer *net.TCPConn) {
	peer.SetLinger(0)
	peer.Close()
}

// stuff writes to a peer, of which nobody reads the other end, until nothing
// more is taken.
func (w *world) stuff(peer *net.TCPConn) (n int) {
	w.t.Helper()
	block := make([]byte, 1<<20)
	for {
		peer.SetWriteDeadline(time.Now().Add(150 * time.Millisecond))
		k, err := peer.Write(block)
		n += k
		if err != nil {
			peer.SetWriteDeadline(time.Now().Add(patience))
			return n
		}
		if n > 256<<20 {
			w.t.Fatal("there is no back-pressure")
		}
	}
}

// eachWay tells a story twice: with the client and with the server as the one
// that acts.
func eachWay(t *testing.T, idle time.Duration, story func(t *testing.T, w *world, actor, other *net.TCPConn, failed Cause)) {
	t.Run("client", func(t *testing.T) {
		w := start(t, idle)
		story(t, w, w.client, w.upstream, ClientFailed)
	})
	t.Run("server", func(t *testing.T) {
		w := start(t, idle)
		story(t, w, w.upstream, w.client, UpstreamFailed)
	})
}

// testIO returns what the loops of these tests work by: io_uring where there is
// one to be had, unless FULCRUM_TEST_IO=epoll is set.
func testIO() loop.IO {
	if os.Getenv("FULCRUM_TEST_IO") == "epoll" {
		return loop.Epoll
	}
	return loop.Auto()
}
