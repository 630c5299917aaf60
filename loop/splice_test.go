package loop

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

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
	for until := time.Now().Add(patience); time.Now().Before(until); {
		var n int
		p.do(func() { n = p.pipesOpen - len(p.pipes) })
		if n == inUse {
			return
		}
	}
	p.t.Fatalf("not %d pipes are in use", inUse)
}

// direct has both connections read and written when they are ready to be.
func (p *passage) direct() {
	p.t.Helper()
	for is := false; !is; {
		p.do(func() {
			for _, c := range []*Conn{p.from, p.to} {
				if !c.direct && !c.leaving {
					c.leave()
				}
			}
			is = p.from.direct && p.to.direct
		})
	}
}

// leave puts bytes into a pipe, as splicing does for a receiver that takes no
// more. It is called on the loop.
func (p *passage) leave(b []byte) {
	p.to.takeOut()
	p.to.pipe = p.takePipe()
	n, err := unix.Write(p.to.pipe.w, b)
	if n != len(b) || err != nil {
		p.t.Errorf("the pipe took %d bytes, %v", n, err)
	}
	p.to.pipe.held = n
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
		echo := func() (copied bool) {
			before := p.copied.Load()
			p.source.Write([]byte("small"))
			if _, err := io.ReadFull(p.sink, got[:5]); err != nil || string(got[:5]) != "small" {
				t.Fatalf("got %q, %v", got[:5], err)
			}
			return p.copied.Load() > before
		}
		// As long as each comes before the turn of the one before it has ended,
		// they are spliced like the bulk.
		for n := 0; !echo(); n++ {
			if n == 10000 {
				t.Fatal("small messages are spliced")
			}
		}
		for range 10 {
			if !echo() {
				t.Error("a small message among others was spliced")
			}
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

// What a receiver has left in a pipe comes before what is sent afterwards and
// before the end, and the pipe goes back when it is empty.
func TestWhatIsLeftInAPipeComesFirst(t *testing.T) {
	p := newPassage(t)
	p.direct()
	left := noise(256 << 10)
	p.do(func() {
		p.leave(left)
		p.to.Send([]byte("afterwards"))
		p.to.CloseWrite()
		if n := p.to.Unsent(); n != len(left)+len("afterwards") {
			t.Errorf("%d bytes are unsent", n)
		}
		p.to.writable = true
		p.to.enqueue()
	})
	if got := readAll(t, p.sink); !bytes.Equal(got, append(left, "afterwards"...)) {
		t.Errorf("%d bytes came, or in another order", len(got))
	}
	p.wantPipes(0)
	p.do(func() {
		if n := p.to.Unsent(); n != 0 {
			t.Errorf("%d bytes are unsent in the end", n)
		}
	})
}

func TestAReceiverThatBreaksDownLosesItsPipe(t *testing.T) {
	p := newPassage(t)
	p.direct()
	p.do(func() { p.leave(noise(256 << 10)) })
	reset(p.sink)
	if err := within(t, p.failed, "the reset is not told"); err != unix.ECONNRESET && err != unix.EPIPE {
		t.Errorf("failed with %v", err)
	}
	p.do(func() {
		if p.pipesOpen != 0 || len(p.pipes) != 0 {
			t.Errorf("%d pipes are open, %d of them kept for another connection", p.pipesOpen, len(p.pipes))
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
