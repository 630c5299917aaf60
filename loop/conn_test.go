package loop

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// noise returns n bytes that do not repeat.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func TestDataAndEndsComeInOrder(t *testing.T) {
	w, d := start(t), newDiary(t)
	c, peer := w.open(d)
	w.do(c.Resume)
	peer.Write([]byte("hello"))
	peer.CloseWrite()
	d.want("ended", nil, 5)
	w.do(func() { c.Send([]byte("good bye")); c.CloseWrite() })
	if got := readAll(t, peer); string(got) != "good bye" {
		t.Fatalf("the peer got %q", got)
	}
	peer.Close()
	d.wantNothing(w)
	w.do(c.Close)
	w.do(c.Close)
	d.wantNothing(w)
}

func TestWhatTheSocketDoesNotTakeIsSentLater(t *testing.T) {
	w, d := start(t), newDiary(t)
	c, peer := w.open(d)
	content := noise(32 << 20)
	sent := 0
	w.do(func() {
		for ; sent < 24<<20; sent += 10_007 { // more, though it is asked not to
			c.Send(content[sent : sent+10_007])
		}
		if c.Unsent() == 0 {
			t.Error("the socket took everything")
		}
		c.CloseWrite()
	})
	d.wantNothing(w)
	if got := readAll(t, peer); !bytes.Equal(got, content[:sent]) {
		t.Fatalf("the peer got %d bytes, not the %d that were sent", len(got), sent)
	}
	d.want("sent", nil, 0)
	w.do(func() {
		if c.Unsent() != 0 {
			t.Errorf("%d bytes are unsent", c.Unsent())
		}
		c.Close()
	})
	d.wantNothing(w)
}

// A stream that is kept going by Sent arrives whole, through a buffer that does
// not grow.
func TestSentKeepsAStreamGoing(t *testing.T) {
	w := start(t)
	content := noise(24 << 20)
	rest := content
	push := func(c *Conn) {
		for len(rest) > 0 && c.Unsent() == 0 {
			n := min(len(rest), 50_000)
			c.Send(rest[:n])
			rest = rest[n:]
		}
		if len(rest) == 0 {
			c.CloseWrite()
		}
		if c.Unsent() > 50_000 || c.outgoing != nil && cap(c.unsent) > readSize {
			t.Errorf("%d bytes unsent in a buffer of %d", c.Unsent(), cap(c.unsent))
		}
	}
	c, peer := w.open(&hooks{sent: push})
	w.do(func() { push(c) })
	if got := readAll(t, peer); !bytes.Equal(got, content) {
		t.Fatalf("the peer got %d bytes, or not the ones that were sent", len(got))
	}
}

func TestAPausedConnectionFeelsBackPressure(t *testing.T) {
	w, d := start(t), newDiary(t)
	c, peer := w.open(d)
	content := noise(32 << 20)
	w.do(func() {}) // it begins paused
	peer.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	n, err := peer.Write(content)
	if err == nil || len(d.data()) > 0 {
		t.Fatal("a paused connection reads")
	}
	w.do(c.Resume)
	peer.SetWriteDeadline(time.Now().Add(patience))
	peer.Write(content[n:])
	peer.CloseWrite()
	d.want("ended", nil, len(content))
	if !bytes.Equal(d.data(), content) {
		t.Fatal("other bytes came than were sent")
	}
}

// A handler may pause and go on at any byte, also from within Data.
func TestPauseHoldsFromWithinData(t *testing.T) {
	w := start(t)
	ended := make(chan int, 1)
	total, calls := 0, 0
	h := &hooks{ended: func(*Conn) { ended <- total }}
	h.data = func(c *Conn, b []byte) {
		if c.paused {
			t.Error("data while paused")
		}
		total += len(b)
		if calls++; calls%2 == 0 {
			c.Pause()
			w.Post(c.Resume)
		} else {
			c.Pause()
			c.Resume()
		}
	}
	c, peer := w.open(h)
	w.do(c.Resume)
	go func() { peer.Write(make([]byte, 8<<20)); peer.CloseWrite() }()
	if n := within(t, ended, "the end does not come"); n != 8<<20 {
		t.Fatalf("%d bytes came before the end", n)
	}
}

func TestAbortIsAResetAndCloseIsNot(t *testing.T) {
	w := start(t)
	c, peer := w.open(&hooks{})
	w.do(c.Abort)
	if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("after an abort the peer reads: %v", err)
	}
	c, peer = w.open(&hooks{})
	w.do(c.Close)
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after a close the peer reads: %v", err)
	}
	w.do(func() {
		c.Abort()
		c.Send([]byte("x"))
		c.CloseWrite()
		c.Pause()
		c.Resume()
		c.SetTimer(1)
		c.StopTimer()
	})
}

func TestAResetIsTold(t *testing.T) {
	w := start(t)
	for _, story := range []struct {
		name   string
		act    func(c *Conn, d *diary, peer *net.TCPConn)
		events []entry
	}{
		{"at once", func(c *Conn, d *diary, peer *net.TCPConn) {
			w.do(c.Resume)
			reset(peer)
		}, []entry{{"failed", unix.ECONNRESET, 0}}},
		{"after the data that came before it", func(c *Conn, d *diary, peer *net.TCPConn) {
			release := w.hold()
			peer.Write(noise(30_000))
			reset(peer)
			w.Post(c.Resume)
			release()
		}, []entry{{"failed", unix.ECONNRESET, 30_000}}},
		{"in one batch with the data that came before it", func(c *Conn, d *diary, peer *net.TCPConn) {
			w.do(c.Resume)
			release := w.hold()
			peer.Write(noise(30_000))
			reset(peer)
			release()
		}, []entry{{"failed", unix.ECONNRESET, 30_000}}},
		{"after a pause", func(c *Conn, d *diary, peer *net.TCPConn) {
			peer.Write(noise(30_000))
			reset(peer)
			d.wantNothing(w)
			w.do(c.Resume)
		}, []entry{{"failed", unix.ECONNRESET, 30_000}}},
		{"by Send, after the data that came before it", func(c *Conn, d *diary, peer *net.TCPConn) {
			peer.Write(noise(30_000))
			reset(peer)
			w.do(func() { c.Send([]byte("x")); c.Send([]byte("y")) })
			d.wantNothing(w)
			w.do(c.Resume)
		}, []entry{{"failed", unix.ECONNRESET, 30_000}}},
		{"after the end was read", func(c *Conn, d *diary, peer *net.TCPConn) {
			w.do(c.Resume)
			peer.CloseWrite()
			d.want("ended", nil, 0)
			reset(peer)
		}, []entry{{"failed", unix.EPIPE, 0}}},
		{"after the end was read, while paused", func(c *Conn, d *diary, peer *net.TCPConn) {
			w.do(c.Resume)
			peer.CloseWrite()
			d.want("ended", nil, 0)
			w.do(c.Pause)
			reset(peer)
		}, []entry{{"failed", unix.EPIPE, 0}}},
		{"with the end still to be read", func(c *Conn, d *diary, peer *net.TCPConn) {
			peer.Write(noise(30_000))
			peer.CloseWrite()
			reset(peer)
			d.wantNothing(w)
			w.do(c.Resume)
		}, []entry{{"ended", nil, 30_000}, {"failed", unix.EPIPE, 30_000}}},
		{"with the end in the same batch", func(c *Conn, d *diary, peer *net.TCPConn) {
			w.do(c.Resume)
			release := w.hold()
			peer.CloseWrite()
			reset(peer)
			release()
		}, []entry{{"ended", nil, 0}, {"failed", unix.EPIPE, 0}}},
		{"while much is unsent", func(c *Conn, d *diary, peer *net.TCPConn) {
			d.ignoresSent.Store(true) // whether a reset comes first is a race
			w.do(func() {
				c.Resume()
				for c.Unsent() == 0 {
					c.Send(make([]byte, readSize))
				}
			})
			reset(peer)
		}, []entry{{"failed", unix.ECONNRESET, 0}}},
	} {
		t.Run(story.name, func(t *testing.T) {
			w.t = t
			d := newDiary(t)
			c, peer := w.open(d)
			story.act(c, d, peer)
			for _, e := range story.events {
				d.want(e.what, e.err, e.size)
			}
			d.wantNothing(w)
			w.do(func() {
				if c.fd >= 0 {
					t.Error("still open")
				}
			})
		})
	}
}

// Sent releases whoever waits to send more, even when a reset took what was
// unsent: else a paused connection would be waited for without an end.
func TestAResetWithMuchUnsentEndsTheWaitForSent(t *testing.T) {
	w, d := start(t), newDiary(t)
	c, peer := w.open(d)
	w.do(func() {
		for c.Unsent() == 0 {
			c.Send(make([]byte, readSize))
		}
	})
	peer.Write([]byte("last words"))
	reset(peer)
	d.want("sent", nil, 0)
	w.do(func() { c.Send(make([]byte, 100)) })
	d.wantNothing(w)
	w.do(c.Resume)
	d.want("failed", unix.ECONNRESET, 10)
}

// Urgent data makes reads short although more is there; the rest must not wait
// for another event.
func TestUrgentDataDoesNotHoldBackTheRest(t *testing.T) {
	w, d := start(t), newDiary(t)
	c, peer := w.open(d)
	w.do(c.Resume)
	release := w.hold()
	raw, err := peer.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	peer.Write([]byte("before"))
	raw.Write(func(fd uintptr) bool {
		err = unix.Send(int(fd), []byte("!"), unix.MSG_OOB)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	peer.Write([]byte("after"))
	release()
	deadline := time.Now().Add(2 * time.Second)
	for !bytes.HasSuffix(d.data(), []byte("after")) {
		if time.Now().After(deadline) {
			t.Fatalf("only %q came", d.data())
		}
		w.do(func() {})
	}
}

func TestTimersOfConnections(t *testing.T) {
	w := start(t)
	type firing struct{ now, due time.Duration }
	fired := make(chan firing, 10)
	var due time.Duration
	c, _ := w.open(&hooks{expired: func(c *Conn) { fired <- firing{c.Loop().Now(), due} }})
	set := func(d time.Duration) func() {
		return func() { due = w.Now() + d; c.SetTimer(d) }
	}
	for _, d := range []time.Duration{0, 1, tick, 30 * time.Millisecond, 100 * time.Millisecond} {
		w.do(set(time.Hour))
		w.do(set(d))
		if f := within(t, fired, "a timer did not fire"); f.now < f.due {
			t.Fatalf("a timer of %v fired %v early", d, f.due-f.now)
		}
	}
	w.do(set(20 * time.Millisecond))
	w.do(c.StopTimer)
	other, _ := w.open(&hooks{expired: func(*Conn) { fired <- firing{1, 0} }})
	w.do(func() { other.SetTimer(60 * time.Millisecond) })
	if f := within(t, fired, "a timer did not fire"); f.now != 1 {
		t.Fatal("a stopped timer fired")
	}
	w.do(set(10 * time.Millisecond))
	w.do(c.Close)
	w.do(func() { other.SetTimer(60 * time.Millisecond) })
	if f := within(t, fired, "a timer did not fire"); f.now != 1 {
		t.Fatal("the timer of a closed connection fired")
	}
}
