package relay

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"fulcrum/loop"
)

// inspector keeps what its pair shows it. Its fields belong to the loop.
type inspector struct {
	*world
	shown [2]bytes.Buffer // to the server, to the client
}

func (i *inspector) Passing(p *Pair, from *loop.Conn, b []byte) {
	if from == p.Client {
		i.shown[0].Write(b)
	} else {
		i.shown[1].Write(b)
	}
}

// startInspected begins a pair that shows what passes.
func startInspected(t *testing.T) (*world, *inspector) {
	t.Helper()
	w, open := prepare(t, time.Hour)
	i := &inspector{world: w}
	w.options.Inspected, w.owner = true, i
	open()
	return w, i
}

// An inspector is shown all that passes, in order, however much it is: nothing is
// spliced past it.
func TestInspectorIsShownAll(t *testing.T) {
	const size = 16 << 20
	w, i := startInspected(t)
	var sent, got [2][32]byte
	var n [2]int
	var all sync.WaitGroup
	all.Go(func() { sent[0] = pump(t, w.client, size, 1) })
	all.Go(func() { sent[1] = pump(t, w.upstream, size, 2) })
	all.Go(func() { n[0], got[0] = swallow(t, w.upstream, 128<<10) })
	all.Go(func() { n[1], got[1] = swallow(t, w.client, 100_003) })
	all.Wait()
	w.wantOver(ClientEnded, UpstreamEnded)
	w.wantMoved(size, size)
	w.do(func() {
		for d := range i.shown {
			if shown := sha256.Sum256(i.shown[d].Bytes()); n[d] != size || got[d] != sent[d] || shown != sent[d] {
				t.Errorf("direction %d: %d bytes came, right: %v; shown %d, right: %v", d, n[d], got[d] == sent[d], i.shown[d].Len(), shown == sent[d])
			}
		}
	})
}

// heir is the handler that the connections of a pair go to.
type heir struct {
	loop.Handler
	got chan string
}

func (h heir) Data(_ *loop.Conn, b []byte) { h.got <- string(b) }
func (heir) Sent(*loop.Conn)               {}

// A pair that is left goes no further: what comes is its heir's, what was sent still
// arrives, and the owner hears nothing.
func TestLeave(t *testing.T) {
	w := start(t, time.Hour)
	w.client.Write([]byte("before"))
	w.wantRead(w.upstream, "before")
	h := heir{got: make(chan string, 10)}
	w.do(func() {
		if !w.pair.Leave(h) {
			t.Error("not left")
		}
		w.pair.Upstream.Send([]byte("farewell"))
	})
	w.wantRead(w.upstream, "farewell")
	for _, peer := range []interface{ Write([]byte) (int, error) }{w.client, w.upstream} {
		peer.Write([]byte("late"))
		if got := within(t, h.got, "the heir gets nothing"); got != "late" {
			t.Errorf("got %q", got)
		}
	}
	w.wantGoingOn()
	w.do(w.pair.Close)
}

// One that is held back by the other side is read again.
func TestLeaveUnderBackPressure(t *testing.T) {
	w, _ := startInspected(t)
	w.stuff(w.client)
	h := heir{got: make(chan string, 1<<20)}
	w.do(func() { w.pair.Leave(h) })
	within(t, h.got, "the client is not read")
	w.do(w.pair.Close)
}

// Once a direction has ended a pair cannot be left.
func TestLeaveAfterAnEnd(t *testing.T) {
	eachWay(t, time.Hour, func(t *testing.T, w *world, actor, other *net.TCPConn, _ Cause) {
		actor.CloseWrite()
		w.wantEnd(other, io.EOF)
		w.do(func() {
			if w.pair.Leave(heir{}) {
				t.Error("left")
			}
		})
		other.CloseWrite()
		w.wantOver(w.endedBy(actor))
	})
}
