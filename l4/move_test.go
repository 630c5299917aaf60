package l4

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fulcrum/loop"
	"fulcrum/pool"
)

// heir starts another listener on the sockets of this one, with loops of its own and
// the same pool.
func (w *world) heir() *world {
	w.t.Helper()
	next := *w
	next.options.Loops = nil
	before := runtime.GOMAXPROCS(0) // each loop that is busy keeps a processor
	runtime.GOMAXPROCS(before + len(w.loops))
	w.t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	for range w.loops {
		l, err := loop.New(testIO(), w.options.Logger)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(l.Stop)
		next.options.Loops = append(next.options.Loops, l)
	}
	var err error
	if next.options.Sockets, err = w.Sockets(); err != nil {
		w.t.Fatal(err)
	}
	next.start()
	loop.Disown(next.options.Sockets)
	return &next
}

// bequeath gives every connection to another listener, as JSON would have it.
func (w *world) bequeath(to *world) (n int) {
	w.t.Helper()
	for {
		given := w.Give(16)
		if len(given) == 0 {
			return n
		}
		n += len(given)
		for _, c := range given {
			text, err := json.Marshal(c)
			if err != nil {
				w.t.Fatal(err)
			}
			taken := Connection{Client: c.Client, Upstream: c.Upstream}
			if err := json.Unmarshal(text, &taken); err != nil {
				w.t.Fatal(err)
			}
			for i, part := range taken.Relay.Parts() {
				*part = *c.Relay.Parts()[i]
			}
			arrival, err := to.Take(&taken, false)
			if err != nil {
				w.t.Fatal(err)
			}
			arrival.Begin()
		}
	}
}

// exchange writes pieces of random length and content and reads them back, until stop
// says so; it returns whether what came is what went.
func (c *client) exchange(stop func() bool, seed byte) (same bool) {
	random := rand.NewChaCha8([32]byte{seed})
	lengths := rand.New(random)
	var all sync.WaitGroup
	sent, got := sha256.New(), sha256.New()
	all.Go(func() { io.Copy(got, c.TCPConn) })
	for !stop() {
		c.SetDeadline(time.Now().Add(patience))
		b := make([]byte, 1+lengths.IntN(1<<lengths.IntN(18)))
		random.Read(b)
		sent.Write(b)
		if _, err := c.Write(b); err != nil {
			c.t.Errorf("write: %v", err)
			break
		}
	}
	c.CloseWrite()
	all.Wait()
	return [32]byte(sent.Sum(nil)) == [32]byte(got.Sum(nil))
}

// Listener after listener takes over, while all its connections are in use: nobody is
// refused, not a byte is lost, and the counts are right all the time.
func TestConnectionsGoOnAtAnotherListener(t *testing.T) {
	const connections, heirs = 20, 4
	w := prepare(t, pool.LeastConnections)
	for range 3 {
		w.echo(pool.ServerSpec{})
	}
	w.options.MaxConnections = connections
	w.options.MaxPerClient = connections
	w.start()
	over := make(chan struct{})
	stop := func() bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	}
	var all sync.WaitGroup
	for i := range connections {
		c := w.dial()
		all.Go(func() {
			if !c.exchange(stop, byte(i)) {
				t.Error("what came back is not what was sent")
			}
		})
	}
	eventually(t, "all are relayed", func() bool { return w.relayed() == connections })
	last, moved := w, 0
	for range heirs {
		next := last.heir()
		last.Leave()
		moved += last.bequeath(next)
		if n := next.Stats().Active; n != connections {
			t.Errorf("%d are active at the heir, want %d", n, connections)
		}
		last.stopped = true
		last.Stop(context.Background()) // at once: nothing is left
		if n := last.Stats().Active; n != 0 {
			t.Errorf("%d are active at who is gone", n)
		}
		last = next
	}
	if moved != connections*heirs {
		t.Errorf("%d moved, want %d", moved, connections*heirs)
	}
	last.wantActive(7, 7, 6)
	close(over)
	all.Wait()
	eventually(t, "all have ended", func() bool { return last.Stats().Active == 0 })
	last.wantActive(0, 0, 0)
	if s := last.Stats(); s.Accepted != 0 || s.Carried != connections || s.Ends[ClientClosed] != connections {
		t.Errorf("counted %+v", s)
	}
	last.dial().wantEcho()
}

// relayed returns how many connections have a server.
func (w *world) relayed() (n int64) {
	for _, s := range w.pool.Status() {
		n += s.Active
	}
	return n
}

// Who comes while two listeners have the sockets, or just after the first has left, is
// served by either.
func TestNobodyIsRefusedWhenAnotherListenerTakesOver(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	w.start()
	over := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				c, err := net.Dial("tcp", w.Address().String())
				if err != nil {
					t.Error(err)
					return
				}
				b := []byte("hello")
				c.SetDeadline(time.Now().Add(patience))
				c.Write(b)
				if _, err := io.ReadFull(c, b); err != nil {
					t.Error(err)
				}
				c.Close()
			}
		})
	}
	last := w
	for range 10 {
		next := last.heir()
		last.Leave()
		last.bequeath(next)
		last.stopped = true
		last.Stop(context.Background())
		last = next
	}
	close(over)
	all.Wait()
}

// What is not known at the heir stays with the one who has it.
func TestAnUnknownServerIsNotTaken(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	w.start()
	c := w.dial()
	c.wantEcho()
	given := w.Give(10)
	if len(given) != 1 {
		t.Fatalf("%d given", len(given))
	}
	for _, wrong := range []Connection{{Pool: "nowhere", Server: given[0].Server}, {Pool: "db", Server: "127.0.0.1:1"}} {
		if _, err := w.Take(&wrong, false); err == nil {
			t.Error("it is taken")
		}
	}
	before := given[0]
	before.Client, _ = unix.Dup(before.Client)
	before.Upstream, _ = unix.Dup(before.Upstream)
	for _, back := range []*Connection{&before, &given[0]} {
		arrival, err := w.Take(back, false)
		if err != nil {
			t.Fatal(err)
		}
		if back == &before {
			arrival.Abandon()
		} else {
			arrival.Begin()
		}
	}
	c.wantEcho()
	c.Close()
	eventually(t, "it has ended", func() bool { return w.Stats().Active == 0 })
	if s := w.Stats(); s.Accepted != 1 || s.Carried != 0 || s.Ends[ClientClosed] != 1 {
		t.Errorf("counted %+v", s)
	}
}

// Sockets that the service manager keeps go on taking clients when nobody is there.
func TestBorrowedSocketsAreLeftToTheirOwner(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	sockets, bound, err := loop.Bind(w.options.Address, 1, loop.SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Disown(sockets)
	unix.SetNonblock(sockets[0], false)
	w.options.Sockets, w.options.Borrowed = sockets, true
	for range 3 {
		w.stopped = false
		c, err := net.Dial("tcp", bound.String())
		if err != nil {
			t.Fatal(err)
		}
		waiting := &client{c.(*net.TCPConn), t}
		w.start()
		waiting.wantEcho()
		w.dial().wantEcho()
		w.stop(0)
		c.Close()
	}
	if _, err := New(Options{Loops: w.loops, Sockets: []int{int(^uint(0) >> 1)}}); err == nil {
		t.Error("no socket at all is taken")
	}
}

// A connection that has broken, and cannot be told so before its other side has taken
// what it was sent, keeps none of the others waiting.
func TestABrokenConnectionKeepsNobodyFromMoving(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	var n atomic.Int32
	speak, over := make(chan struct{}), make(chan struct{})
	w.serve(pool.ServerSpec{}, func(c *net.TCPConn) {
		if n.Add(1) > 1 {
			echo(c)
			return
		}
		<-speak
		c.Write([]byte("nobody is there"))
		<-over
	})
	defer close(over)
	w.start()
	stuck := w.dial()
	for block := make([]byte, 1<<20); ; {
		stuck.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := stuck.Write(block); err != nil {
			break
		}
	}
	others := []*client{w.dial(), w.dial(), w.dial()}
	for _, c := range others {
		c.wantEcho()
	}
	stuck.SetLinger(0)
	stuck.Close()
	close(speak)
	eventually(t, "the connection has broken", func() bool {
		broken := false
		for _, worker := range w.workers {
			worker.loop.Call(func() {
				worker.each(func(s *session) {
					broken = broken || s.pair.Client.Broken()
				})
			})
		}
		return broken
	})
	next := w.heir()
	w.Leave()
	begin := time.Now()
	if n := w.bequeath(next); n != len(others) {
		t.Errorf("%d moved, want %d", n, len(others))
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %v", took)
	}
	for _, c := range others {
		c.wantEcho()
	}
}

// Who has stopped takes nothing in any more.
func TestAListenerThatHasStoppedTakesNothing(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	w.start()
	w.dial().wantEcho()
	next := w.heir()
	next.stopped = true
	next.Stop(context.Background())
	given := w.Give(1)
	if len(given) != 1 {
		t.Fatalf("%d given", len(given))
	}
	if _, err := next.Take(&given[0], false); err == nil {
		t.Error("it is taken")
	}
	loop.Disown([]int{given[0].Client, given[0].Upstream})
}

// A server's limit holds for those that wait, too, while others move.
func TestAQueueWaitsWhileConnectionsMove(t *testing.T) {
	w := prepareWith(t, pool.Options{Algorithm: pool.LeastConnections, QueueLength: 10})
	w.options.Default.QueueTimeout = patience
	server := w.echo(pool.ServerSpec{MaxConnections: 1})
	w.start()
	w.dial().wantEcho()
	for range 5 {
		w.dial()
	}
	eventually(t, "they wait", func() bool { return w.pool.Queued() == 5 })
	var elsewhere []Connection
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		elsewhere = append(elsewhere, w.Give(16)...)
		if n := len(elsewhere) + int(server.Active()); n > 1 {
			t.Errorf("%d connections of a server that may have 1", n)
			break
		}
	}
	for _, c := range elsewhere {
		loop.Disown([]int{c.Client, c.Upstream})
	}
}
