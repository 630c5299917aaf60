package l4

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fulcrum/pool"
)

// stopping runs Stop beside the story.
func (w *world) stopping(ctx context.Context) (done chan struct{}) {
	w.stopped = true
	done = make(chan struct{})
	go func() {
		defer close(done)
		w.Stop(ctx)
	}()
	return done
}

// wantRefused waits until clients are no longer let in.
func (w *world) wantRefused() {
	w.t.Helper()
	eventually(w.t, "connects are refused", func() bool {
		c, err := net.DialTimeout("tcp", w.Address().String(), 300*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

func within(t *testing.T, done chan struct{}, limit time.Duration) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatal("Stop does not return")
	}
}

func TestStopLetsConnectionsFinish(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	w.start()
	one, two := w.dial(), w.dial()
	one.wantEcho()
	done := w.stopping(context.Background())
	w.wantRefused()
	one.wantEcho()
	two.wantEcho()
	one.Close()
	w.wantActive(1)
	select {
	case <-done:
		t.Fatal("Stop has returned before the last connection ended")
	default:
	}
	two.CloseWrite()
	if _, err := io.ReadAll(two); err != nil {
		t.Error(err)
	}
	within(t, done, soon)
	w.wantActive(0)
	w.Stop(context.Background())
}

func TestStopClosesTheRestAtTheDeadline(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	w.start()
	var all []*client
	for range 10 {
		c := w.dial()
		c.wantEcho()
		all = append(all, c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := w.stopping(ctx)
	w.wantRefused()
	all[0].wantEcho()
	cancel()
	within(t, done, soon)
	for _, c := range all {
		c.wantClosed()
	}
	w.wantActive(0)
	if n := w.Stats().Active; n != 0 {
		t.Errorf("%d connections are active after Stop", n)
	}
}

// A deadline that is over already stops everything at once: also what connects,
// and what waits for a check.
func TestStopAtOnce(t *testing.T) {
	for _, story := range []func(*world){
		func(w *world) { w.silent() },
		func(w *world) { w.unchecked() },
	} {
		w := prepare(t, pool.LeastConnections)
		story(w)
		w.start()
		c := w.dial()
		eventually(t, "it is accepted", func() bool { return w.Stats().Accepted == 1 })
		w.stop(0)
		c.wantClosed()
		w.wantStats(counts{Accepted: 1})
	}
}

// Whoever waits for a check when Stop comes is still served.
func TestStopServesWhoIsWaiting(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	passes := w.unchecked()
	w.start()
	c := w.dial()
	c.Write([]byte("x"))
	done := w.stopping(context.Background())
	w.wantRefused()
	passes()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	c.Close()
	within(t, done, soon)
}

// hold blocks the loops until the function it returns is called.
func (w *world) hold() (release func()) {
	free := make(chan struct{})
	var held sync.WaitGroup
	for _, l := range w.loops {
		held.Add(1)
		l.Post(func() { held.Done(); <-free })
	}
	held.Wait()
	return func() { close(free) }
}

// Clients whose connections nobody has accepted yet when Stop comes are served
// like any other.
func TestStopServesWhoIsConnected(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	w.start()
	release := w.hold()
	var queued []*client
	for range 300 {
		queued = append(queued, w.dial())
	}
	done := w.stopping(context.Background())
	release()
	for _, c := range queued {
		c.wantEcho()
	}
	for _, c := range queued {
		c.Close()
	}
	within(t, done, soon)
	w.wantActive(0)
}

// Clients connect as fast as they can while the listener stops. Whoever gets
// connected is served.
func TestStopUnderLoadResetsNobody(t *testing.T) {
	for range 3 {
		w := prepare(t, pool.LeastConnections)
		w.echo(pool.ServerSpec{})
		w.echo(pool.ServerSpec{})
		w.start()
		var served atomic.Int64
		var clients sync.WaitGroup
		enough := make(chan struct{})
		for range 8 {
			clients.Go(func() {
				for {
					err := once(w.Address().String())
					if errors.Is(err, errNotConnected) {
						return
					}
					if err != nil {
						t.Errorf("a connected client: %v", err)
						return
					}
					if served.Add(1) == 300 {
						close(enough)
					}
				}
			})
		}
		within(t, enough, patience)
		within(t, w.stopping(context.Background()), patience)
		clients.Wait()
		w.wantActive(0, 0)
		n := served.Load()
		w.wantStats(counts{Accepted: n, ToUpstream: 5 * n, ToClient: 5 * n})
	}
}

var errNotConnected = errors.New("not connected")

// once is the life of one client.
func once(address string) error {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return errNotConnected
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	if err == nil && string(b) != "hello" {
		err = errors.New("cut off: " + string(b))
	}
	return err
}

// Thousands of connections, hundreds at a time, ended in every way there is.
func TestManyConnectionsLeaveNothing(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	for range 3 {
		w.echo(pool.ServerSpec{})
	}
	w.refusing()
	w.start()
	w.dial().Close()
	w.wantActive(0, 0, 0, 0)
	check := leftovers(t)
	const rounds, size = 10, 500
	for range rounds {
		clients := make([]*net.TCPConn, size)
		var all sync.WaitGroup
		for part := range 4 {
			all.Go(func() {
				for i := part; i < size; i += 4 {
					c, err := net.Dial("tcp", w.Address().String())
					if err != nil {
						t.Error(err)
						return
					}
					clients[i] = c.(*net.TCPConn)
				}
			})
		}
		all.Wait()
		eventually(t, "all are accepted", func() bool { return w.Stats().Active == size })
		for i, c := range clients {
			switch i % 4 {
			case 0:
				c.SetLinger(0)
			case 1:
				c.CloseWrite()
			case 2:
				c.Write([]byte("bye"))
			}
			c.Close()
		}
		w.wantActive(0, 0, 0, 0)
		eventually(t, "all have ended", func() bool { return w.Stats().Active == 0 })
	}
	check()
	if n := w.Stats().Accepted; n != rounds*size+1 {
		t.Errorf("%d were accepted", n)
	}
}
