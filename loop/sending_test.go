package loop

import (
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel tells an error once: to whoever sends a long text, it must not be
// hidden in the count of what went out before.
func TestAResetIsNoEndForWhoIsSending(t *testing.T) {
	w, d := start(t), newDiary(t)
	d.ignoresSent.Store(true)
	c, peer := w.open(d)
	const much = 16 << 20
	unsent := 0
	w.do(func() {
		c.Resume()
		c.Send(make([]byte, much))
		unsent = c.Unsent()
	})
	if _, err := io.ReadFull(peer, make([]byte, much-unsent+2<<20)); err != nil {
		t.Fatal(err)
	}
	d.wantNothing(w)
	release := w.hold()
	reset(peer)
	release()
	d.want("failed", unix.ECONNRESET, 0)
}

// A peer may write all it has before it reads anything.
func TestWhoIsBusySendingGoesOnReceiving(t *testing.T) {
	w := start(t)
	const much = 32 << 20
	ended := make(chan int, 1)
	got := 0
	c, peer := w.open(&hooks{
		data:  func(_ *Conn, b []byte) { got += len(b) },
		ended: func(*Conn) { ended <- got },
	})
	w.do(func() {
		c.Resume()
		c.Send(make([]byte, much))
		c.CloseWrite()
	})
	if n, err := peer.Write(make([]byte, much)); err != nil {
		t.Fatalf("after %d bytes: %v", n, err)
	}
	peer.CloseWrite()
	if n := within(t, ended, "the end does not come"); n != much {
		t.Fatalf("%d bytes came", n)
	}
	if n := len(readAll(t, peer)); n != much {
		t.Fatalf("the peer got %d bytes", n)
	}
}

func TestTheEndMayBeAnnouncedBeforeTheConnectionStands(t *testing.T) {
	w := start(t)
	d := newDiary(t)
	w.do(func() {
		c, err := w.Dial(w.port.Addr(), SocketOptions{}, d)
		if err != nil {
			t.Error(err)
			return
		}
		c.CloseWrite()
	})
	w.port.SetDeadline(time.Now().Add(patience))
	peer, err := w.port.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	peer.SetDeadline(time.Now().Add(patience))
	if got := readAll(t, peer); len(got) > 0 {
		t.Fatalf("%q came", got)
	}
	d.want("connected", nil, 0)
}

func TestAnEndAnnouncedEarlyDoesNotEndConnecting(t *testing.T) {
	w, d := start(t), newDiary(t)
	c := w.dial(silent(t), d)
	w.do(c.CloseWrite)
	d.wantNothing(w)
	w.do(c.Close)
}
