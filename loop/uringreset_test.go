package loop

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever a connection is about when it is reset, that is told, after all that
// came before, and never looks like an end.
func TestAResetIsToldInEveryState(t *testing.T) {
	w := startUring(t)
	type act = func(c *Conn, peer *net.TCPConn)
	resume := func(c *Conn, _ *net.TCPConn) { w.do(c.Resume) }
	pause := func(c *Conn, _ *net.TCPConn) { w.do(c.Pause) }
	leave := func(c *Conn, _ *net.TCPConn) { w.do(c.leave) }
	half := func(_ *Conn, peer *net.TCPConn) { peer.CloseWrite() }
	much := func(c *Conn, _ *net.TCPConn) {
		w.do(func() { w.ring.quiet = false; c.Send(make([]byte, 8<<20)) })
	}
	writes := func(n int) act {
		return func(_ *Conn, peer *net.TCPConn) { peer.Write(noise(n)) }
	}
	is := func(state func(*Conn) bool) act {
		return func(c *Conn, _ *net.TCPConn) { w.wantState(c, state) }
	}
	keeps := is(func(c *Conn) bool { return c.stored.count > 0 })
	ends := is(func(c *Conn) bool { return c.ended })
	closeWrite := func(c *Conn, _ *net.TCPConn) { w.do(c.CloseWrite) }
	for _, story := range []struct {
		name string
		acts []act
		is   func(c *Conn) bool // the state that they lead to
		size int                // bytes that come before
		end  bool               // comes before
		err  error
	}{
		{"receiving", []act{resume}, func(c *Conn) bool { return c.receiving }, 0, false, unix.ECONNRESET},
		{"paused while receiving", []act{resume, pause}, func(c *Conn) bool { return c.receiving && c.paused }, 0, false, unix.ECONNRESET},
		{"a buffer kept", []act{resume, pause, writes(100)}, func(c *Conn) bool { return c.stored.count == 1 && c.receiving }, 100, false, unix.ECONNRESET},
		{"several buffers kept", []act{resume, pause, writes(40_000)}, func(c *Conn) bool { return c.stored.count >= mostStored && c.direct }, 40_000, false, unix.ECONNRESET},
		{"sending", []act{resume, much}, func(c *Conn) bool { return c.unsent != nil && c.direct }, 0, false, unix.ECONNRESET},
		{"sending, never resumed", []act{much}, func(c *Conn) bool { return c.unsent != nil && c.direct }, 0, false, unix.ECONNRESET},
		{"sending, with a buffer kept", []act{resume, pause, writes(100), keeps, much}, func(c *Conn) bool { return c.unsent != nil && c.direct && c.stored.count == 1 }, 100, false, unix.ECONNRESET},
		{"direct", []act{resume, leave}, func(c *Conn) bool { return c.direct }, 0, false, unix.ECONNRESET},
		{"direct, paused", []act{resume, pause, leave, writes(100)}, func(c *Conn) bool { return c.direct && c.readable }, 100, false, unix.ECONNRESET},
		{"ended itself", []act{resume, closeWrite}, func(c *Conn) bool { return c.receiving }, 0, false, unix.ECONNRESET},
		{"after the end", []act{resume, writes(100), half}, func(c *Conn) bool { return c.ended }, 100, true, unix.EPIPE},
		{"after the end, direct", []act{resume, writes(100), half, leave}, func(c *Conn) bool { return c.ended && c.direct }, 100, true, unix.EPIPE},
		{"after the end, sending", []act{resume, half, ends, much}, func(c *Conn) bool { return c.ended && c.unsent != nil && c.direct }, 0, true, unix.EPIPE},
	} {
		t.Run(story.name, func(t *testing.T) {
			w.t = t
			d := newDiary(t)
			d.ignoresSent.Store(true)
			c, peer := w.open(d)
			for _, act := range story.acts {
				act(c, peer)
			}
			w.wantState(c, story.is)
			reset(peer)
			w.do(c.Resume)
			if story.end {
				d.want("ended", nil, story.size)
			}
			d.want("failed", story.err, story.size)
			d.wantNothing(w)
			w.wantEverythingBack(1)
		})
	}
}

func (w *world) wantState(c *Conn, is func(*Conn) bool) {
	w.t.Helper()
	reached := false
	for until := time.Now().Add(patience); !reached; {
		if time.Now().After(until) {
			w.t.Fatal("the connection does not get that far")
		}
		w.do(func() { reached = is(c) })
	}
}

// The error of a connection may have been received already when it goes over to
// readiness, where it would be told no more.
func TestAnErrorReceivedEarlyIsKept(t *testing.T) {
	w, d := startUring(t), newDiary(t)
	c, peer := w.open(d)
	w.do(c.Resume)
	w.do(c.Pause)
	reset(peer)
	w.wantState(c, func(c *Conn) bool { return c.receiveError != 0 })
	w.do(func() { c.leave(); c.Send([]byte("x")) })
	d.wantNothing(w)
	w.do(c.Resume)
	d.want("failed", unix.ECONNRESET, 0)
	w.wantEverythingBack(1)
}

// A peer that has sent its end and does not read costs neither processor time
// nor, as a send that waits in the kernel would, a thread of the kernel's.
func TestAHalfClosedPeerThatDoesNotReadCostsNothing(t *testing.T) {
	w, d := startUring(t), newDiary(t)
	d.ignoresSent.Store(true)
	c, peer := w.open(d)
	w.do(c.Resume)
	peer.CloseWrite()
	d.want("ended", nil, 0)
	w.do(func() {
		for n := 1; n > 0; {
			n, _ = rawSend(int(c.fd), make([]byte, readSize))
		}
		w.ring.quiet = false
		c.Send([]byte("more than the socket takes"))
	})
	w.wantIdle()
	threads, err := filepath.Glob("/proc/self/task/*/comm")
	if err != nil || len(threads) == 0 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	for _, path := range threads {
		if name, _ := os.ReadFile(path); strings.HasPrefix(string(name), "iou-wrk") {
			t.Error("the kernel works by a thread")
		}
	}
	w.do(c.Close)
	w.wantEverythingBack(1)
	if _, err := io.Copy(io.Discard, peer); err != nil && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the peer is told: %v", err)
	}
}
