package loop

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// passage is a connection on a loop whose data goes to another one, as a relay
// would do it, and the peers at both ends.
type passage struct {
	*world
	from, to        *Conn
	source, sink    *net.TCPConn
	spliced, copied atomic.Int64
	failed          chan error // of to
}

func newPassage(t *testing.T) *passage {
	p := &passage{world: start(t), failed: make(chan error, 1)}
	passed := func() {
		if p.to.Unsent() > 0 {
			p.from.Pause()
		}
	}
	p.from, p.source = p.open(&hooks{
		data:    func(_ *Conn, b []byte) { p.copied.Add(int64(len(b))); p.to.Send(b); passed() },
		spliced: func(_ *Conn, n int) { p.spliced.Add(int64(n)); passed() },
		ended:   func(*Conn) { p.to.CloseWrite() },
	})
	p.to, p.sink = p.open(&hooks{
		sent:   func(*Conn) { p.from.Resume() },
		failed: func(_ *Conn, err error) { p.failed <- err },
	})
	p.do(func() {
		p.from.SpliceTo(p.to)
		p.from.Resume()
		p.to.Resume()
	})
	return p
}

// send has the source send bytes and, if asked, their end.
func (p *passage) send(b []byte, end bool) {
	go func() {
		p.source.Write(b)
		if end {
			p.source.CloseWrite()
		}
	}()
}

// wantPipes waits until so many pipes are in use.
func (p *passage) wantPipes(inUse int) {
	p.t.Helper()
	for range 2000 {
		var n int
		p.do(func() { n = p.pipesOpen - len(p.pipes) })
		if n == inUse {
			return
		}
	}
	p.t.Errorf("not %d pipes are in use", inUse)
}

func TestBulkIsSplicedAndSmallMessagesAreNot(t *testing.T) {
	p := newPassage(t)
	bulk := noise(32 << 20)
	got := make([]byte, len(bulk))
	for range 2 {
		p.send(bulk, false)
		if _, err := io.ReadFull(p.sink, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, bulk) {
			t.Fatal("bulk came out changed")
		}
		p.wantPipes(0)
		before := p.copied.Load()
		for range 10 { // the first of them may still be spliced
			p.source.Write([]byte("small"))
			if _, err := io.ReadFull(p.sink, got[:5]); err != nil || string(got[:5]) != "small" {
				t.Fatalf("got %q, %v", got[:5], err)
			}
		}
		if n := p.copied.Load() - before; n < 9*5 {
			t.Errorf("of 10 small messages %d bytes were copied", n)
		}
	}
	if spliced := p.spliced.Load(); spliced < int64(len(bulk)) {
		t.Errorf("%d bytes were spliced, %d copied", spliced, p.copied.Load())
	}
	p.send(bulk, true)
	if rest := readAll(t, p.sink); !bytes.Equal(rest, bulk) {
		t.Error("the end came before all bytes, or they changed")
	}
	p.wantPipes(0)
}

// A receiver that does not read leaves bytes in a pipe. They come before what is
// sent afterwards and before the end, and the pipe goes back when it is empty.
func TestWhatIsLeftInAPipeComesFirst(t *testing.T) {
	p := newPassage(t)
	bulk := noise(64 << 20)
	p.send(bulk, true)
	p.wantPipes(1)
	p.do(func() {
		if held := p.to.pipe.held; held == 0 || p.to.Unsent() != held {
			t.Errorf("%d bytes are unsent, %d in the pipe", p.to.Unsent(), held)
		}
		p.from.Pause()
		p.from.SetHandler(&hooks{}) // the rest goes nowhere
		p.to.Send([]byte("afterwards"))
		p.to.CloseWrite()
	})
	got := readAll(t, p.sink)
	passed := p.spliced.Load() + p.copied.Load()
	if want := append(bulk[:passed:passed], "afterwards"...); !bytes.Equal(got, want) {
		t.Errorf("%d bytes came, want %d, those of the pipe before those sent afterwards", len(got), len(want))
	}
	p.wantPipes(0)
}

func TestAReceiverThatBreaksDownLosesItsPipe(t *testing.T) {
	p := newPassage(t)
	p.send(noise(64<<20), false)
	p.wantPipes(1)
	reset(p.sink)
	if err := within(t, p.failed, "the reset is not told"); err != unix.ECONNRESET && err != unix.EPIPE {
		t.Errorf("failed with %v", err)
	}
	p.wantPipes(0)
	p.do(func() {
		if len(p.pipes) > 0 {
			t.Error("a pipe that may hold bytes is kept for another connection")
		}
	})
}

func TestWithoutPipesBulkIsCopied(t *testing.T) {
	p := newPassage(t)
	p.do(func() { p.pipesOpen += mostPipes })
	bulk := noise(8 << 20)
	p.send(bulk, true)
	if got := readAll(t, p.sink); !bytes.Equal(got, bulk) {
		t.Error("bytes changed on the way")
	}
	if p.spliced.Load() > 0 || p.copied.Load() != int64(len(bulk)) {
		t.Errorf("%d bytes were spliced, %d copied", p.spliced.Load(), p.copied.Load())
	}
	p.do(func() { p.pipesOpen -= mostPipes })
}
