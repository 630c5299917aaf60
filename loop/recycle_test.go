package loop

import (
	"net"
	"testing"
)

func TestAClosedConnectionBecomesAnotherOne(t *testing.T) {
	w := start(t)
	first, peer := w.open(echoes)
	w.do(first.Resume)
	echoOnce(t, peer, []byte("first"))
	w.do(func() {
		first.Recycle() // is open: nothing happens
		first.Close()
		first.Recycle()
		first.Recycle()
		if next := w.newConn(); next == first {
			t.Error("a connection was recycled in the turn that closed it")
		}
	})
	w.do(func() {}) // what was in flight has ended
	w.do(func() {
		if len(w.retired) != 0 || len(w.spareConns) != 1 {
			t.Errorf("%d connections wait to be recycled, %d are", len(w.retired), len(w.spareConns))
		}
	})
	second, peer := w.open(echoes)
	if second != first {
		t.Error("a new struct was made")
	}
	w.do(second.Resume)
	echoOnce(t, peer, []byte("second"))
}

// A pointer that was kept by mistake does no harm until the connection is another
// one.
func TestARecycledConnectionIsClosed(t *testing.T) {
	w := start(t)
	c, _ := w.open(&hooks{})
	w.do(func() { c.Close(); c.Recycle() })
	w.wantState(c, func(*Conn) bool { return len(w.spareConns) == 1 })
	w.do(func() {
		c.Resume()
		c.Send([]byte("x"))
		c.CloseWrite()
		c.SetTimer(1)
		c.StopTimer()
		c.Abort()
		c.Recycle()
	})
	w.do(func() {
		if len(w.spareConns) != 1 || len(w.retired) != 0 {
			t.Errorf("%d connections are spare, %d wait to be", len(w.spareConns), len(w.retired))
		}
	})
}

// A closed connection is not another one's as long as the kernel may still tell
// something of it, or the loop has it in a list.
func TestWhatIsReferredToIsNotRecycled(t *testing.T) {
	w := start(t)
	c, _ := w.open(echoes)
	w.do(func() {
		c.Resume()
		c.enqueue()
		c.Close()
		c.Recycle()
		c.inFlight++
		w.recycle()
		c.inFlight--
		w.recycle()
		if len(w.spareConns) != 0 {
			t.Error("recycled while something refers to it")
		}
	})
}

// Opening and closing connections makes no garbage.
func BenchmarkAcceptAndClose(b *testing.B) {
	w := start(b)
	closed := make(chan struct{})
	h := &hooks{ended: func(c *Conn) {
		c.Close()
		c.Recycle()
		closed <- struct{}{}
	}}
	_, at := w.listen(&accepting{accepted: func(c *Conn) {
		c.SetHandler(h)
		c.Resume()
	}})
	b.ReportAllocs()
	for b.Loop() {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
		<-closed
	}
}
