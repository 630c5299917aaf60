package loop

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// connectAll connects clients, which the kernel queues until they are accepted.
func connectAll(t *testing.T, at netip.AddrPort, n int) (all []net.Conn) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		all = append(all, c)
	}
	return all
}

// wantEchoes has each client served.
func wantEchoes(t *testing.T, clients []net.Conn) {
	t.Helper()
	for i, c := range clients {
		c.Write([]byte("x"))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatalf("client %d of %d: %v", i, len(clients), err)
		}
	}
}

// limit is an AcceptHandler that pauses at every so many connections.
type limit struct {
	accepting
	ln       *Listener
	most     int // accepted until the next pause
	accepted int
}

func (l *limit) Accepted(c *Conn) {
	if l.accepted++; l.accepted == l.most {
		l.ln.Pause()
	}
	l.accepting.Accepted(c)
}

func limited(w *world, most int) (l *limit, at netip.AddrPort) {
	l = &limit{accepting: accepting{stopped: make(chan struct{})}, most: most}
	ln, at := w.listen(l)
	w.do(func() { l.ln = ln })
	return l, at
}

// wantAccepted waits until so many are accepted; then no more may be.
func (w *world) wantAccepted(l *limit, n int) {
	w.t.Helper()
	for enough, deadline := false, time.Now().Add(patience); !enough && time.Now().Before(deadline); {
		w.do(func() { enough = l.accepted >= n })
	}
	for range 5 {
		w.do(func() {})
	}
	w.do(func() {
		if l.accepted != n {
			w.t.Errorf("%d are accepted, want %d", l.accepted, n)
		}
	})
}

func TestAPauseTakesEffectInTheMiddleOfABatch(t *testing.T) {
	w := start(t)
	l, at := limited(w, 3)
	release := w.hold()
	clients := connectAll(t, at, 10)
	release()
	w.wantAccepted(l, 3)
	w.wantIdle()
	w.do(func() { l.most = 7; l.ln.Resume() })
	w.wantAccepted(l, 7)
	w.do(func() { l.most = 0; l.ln.Resume(); l.ln.Resume() })
	wantEchoes(t, clients)
}

// Those whom a pause keeps in the queue during a drain are served after it, and
// the drain lasts until then.
func TestADrainWaitsForThoseLeftByAPause(t *testing.T) {
	for name, begin := range map[string]func(*Listener){
		"drain while paused":   func(ln *Listener) { ln.Pause(); ln.Drain() },
		"pause during a drain": func(ln *Listener) { ln.Drain(); ln.Pause() },
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			l, at := limited(w, 0)
			release := w.hold()
			clients := connectAll(t, at, acceptBatch+3)
			w.Post(func() { begin(l.ln) })
			release()
			w.do(func() {})
			var before int
			w.do(func() { before = l.accepted })
			w.passes(4 * drainWindow)
			w.wantAccepted(l, before)
			select {
			case <-l.stopped:
				t.Fatal("the drain has ended with clients in the queue")
			default:
			}
			w.do(func() { l.ln.Resume() })
			wantEchoes(t, clients)
			within(t, l.stopped, "the drain does not end")
		})
	}
}

func TestADrainOfAnEmptyQueueEndsInAPause(t *testing.T) {
	w := start(t)
	l, at := limited(w, 1)
	wantEchoes(t, connectAll(t, at, 1))
	w.do(func() { l.ln.Drain() })
	within(t, l.stopped, "the drain does not end")
	w.do(func() { l.ln.Resume(); l.ln.Pause(); l.ln.Close() })
}

func TestClosingEndsAPausedDrain(t *testing.T) {
	w := start(t)
	l, at := limited(w, 0)
	w.do(func() { l.ln.Pause() })
	clients := connectAll(t, at, 1)
	w.do(func() { l.ln.Drain() })
	w.do(func() { l.ln.Close() })
	if _, err := clients[0].Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("a client in the queue of a closed socket: %v", err)
	}
	w.passes(2 * drainWindow)
	select {
	case <-l.stopped:
		t.Error("Stopped follows Close")
	default:
	}
}

// A handler may close the listener at the very moment that a drain looks for the
// last connections.
func TestClosingWhileADrainAccepts(t *testing.T) {
	w := start(t)
	stopped := make(chan struct{})
	accepted := make(chan struct{})
	var ln *Listener
	handler := &accepting{stopped: stopped, accepted: func(c *Conn) {
		ln.Close()
		c.Close()
		close(accepted)
	}}
	opened, at := w.listen(handler)
	w.do(func() { ln = opened; ln.Pause() })
	connectAll(t, at, 1)
	w.do(func() { ln.Drain() })
	w.passes(2 * drainWindow)
	w.do(func() { ln.paused = false; ln.deadline = ln.loop.now; ln.expired() })
	within(t, accepted, "the last connection is not accepted")
	w.passes(2 * drainWindow)
	select {
	case <-stopped:
		t.Error("Stopped follows Close")
	default:
	}
}
