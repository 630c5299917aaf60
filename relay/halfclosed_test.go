package relay

import (
	"io"
	"net"
	"testing"
	"time"
)

// Once one side has sent its end, the shorter timeout holds, in both directions.
func TestAHalfClosedPairIsClosedSooner(t *testing.T) {
	for name, idle := range map[string]time.Duration{"an hour": time.Hour, "forever": 0} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, idle, func(t *testing.T, w *world, actor, other *net.TCPConn, _ Cause) {
				const limit = 150 * time.Millisecond
				w.do(func() { w.options.HalfClosed = limit })
				begin := time.Now()
				actor.CloseWrite()
				w.wantEnd(other, io.EOF)
				w.wantOver(HalfClosedIdle)
				if took := time.Since(begin); took < limit-10*time.Millisecond { // the loop's time is that of its turn
					t.Errorf("closed %v after the end, before the timeout of %v", took, limit)
				}
				w.wantEnd(actor, io.EOF)
			})
		})
	}
}

// The open direction keeps the pair as long as bytes move in it.
func TestAHalfClosedPairLivesAsLongAsBytesMove(t *testing.T) {
	eachWay(t, time.Hour, func(t *testing.T, w *world, actor, other *net.TCPConn, _ Cause) {
		const limit = 400 * time.Millisecond
		w.do(func() { w.options.HalfClosed = limit })
		actor.CloseWrite()
		tick := time.NewTicker(limit / 8)
		defer tick.Stop()
		for range 16 {
			<-tick.C
			other.Write([]byte("x"))
			w.wantRead(actor, "x")
		}
		w.wantOver(HalfClosedIdle)
	})
}

// Before an end it is the idle timeout that holds, also when it is the shorter.
func TestTheIdleTimeoutHoldsBeforeAnEnd(t *testing.T) {
	w, open := prepare(t, 150*time.Millisecond)
	w.options.HalfClosed = time.Hour
	open()
	w.wantOver(Idle)

	w, open = prepare(t, 150*time.Millisecond)
	w.options.HalfClosed = 600 * time.Millisecond
	open()
	begin := time.Now()
	w.client.CloseWrite()
	w.wantEnd(w.upstream, io.EOF)
	w.wantOver(HalfClosedIdle)
	if took := time.Since(begin); took < 590*time.Millisecond {
		t.Errorf("closed %v after the end", took)
	}
}

// Bytes of the client's that the owner had sent on before, more of them than the
// server's sockets take, come before what the client sends later.
func TestWhatWasSentBeforeGoesFirst(t *testing.T) {
	const early, late = 8 << 20, 1 << 20
	w, _ := prepare(t, time.Hour)
	a, client := w.connect()
	b, upstream := w.connect()
	w.client, w.upstream = client, upstream
	client.Write(make([]byte, late))
	var unsent int
	w.do(func() {
		before := make([]byte, early)
		for i := range before {
			before[i] = 'e'
		}
		b.Send(before)
		if unsent = b.Unsent(); unsent == 0 {
			t.Error("the socket takes everything at once")
		}
		w.pair.Client, w.pair.Upstream = a, b
		w.pair.Start(&w.options, w, early)
	})
	w.wantGoingOn()
	w.do(func() {
		if n := b.Unsent(); n > unsent {
			t.Errorf("%d bytes are held, %d more than before the client was let go on", n, n-unsent)
		}
	})
	got := make([]byte, early+late)
	if _, err := io.ReadFull(upstream, got); err != nil {
		t.Fatal(err)
	}
	for i, c := range got {
		if (c == 'e') != (i < early) {
			t.Fatalf("byte %d of %d is %q", i, len(got), c)
		}
	}
	client.Close()
	upstream.Close()
	w.wantOver(ClientEnded, UpstreamEnded)
	w.wantMoved(early+late, 0)
}
