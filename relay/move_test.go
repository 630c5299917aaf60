package relay

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"fulcrum/loop"
)

// move takes the pair to another loop, by way of what could be written down, and
// reports whether it was still there to be moved.
func (w *world) move(to *loop.Loop) bool {
	w.t.Helper()
	w.do(w.pair.Freeze)
	var client, upstream int
	var text []byte
	var gone State
	for frozen := false; !frozen; {
		if w.told.Load() > 0 {
			return false
		}
		w.do(func() {
			if frozen = w.told.Load() == 0 && w.pair.Frozen(); !frozen {
				return
			}
			var s State
			var err error
			if client, upstream, s, err = w.pair.Detach(); err == nil {
				gone = s
				text, err = json.Marshal(s)
			}
			if err != nil {
				w.t.Error(err)
			}
		})
	}
	w.loop = to
	w.do(func() {
		var s State
		if err := json.Unmarshal(text, &s); err != nil {
			w.t.Error(err)
		}
		for i, part := range s.Parts() {
			*part = *gone.Parts()[i]
		}
		var err, errToo error
		w.pair.Client, err = to.Attach(client, &dialling{})
		w.pair.Upstream, errToo = to.Attach(upstream, &dialling{})
		if err != nil || errToo != nil {
			w.t.Error(err, errToo)
			return
		}
		w.pair.Continue(&w.options, w.owner, &s)
	})
	return true
}

// loops returns the pair's loop and another one, of the other kind where there is one.
func (w *world) loops() [2]*loop.Loop {
	w.t.Helper()
	kind := loop.Epoll
	if testIO() == loop.Epoll {
		kind = loop.Auto()
	}
	other, err := loop.New(kind, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(other.Stop)
	return [2]*loop.Loop{w.loop, other}
}

// Not a byte is lost, doubled or reordered by a pair that moves all the time, however
// much is on the way, and it ends as any other.
func TestAPairThatMovesIsExact(t *testing.T) {
	const size = 32 << 20
	for _, story := range []struct {
		name             string
		up, down         int
		readUp, readDown int
	}{
		{name: "both at once", up: size, down: size, readUp: 128 << 10, readDown: 100_003},
		{name: "slow server", up: size / 2, down: size / 2, readUp: 1701, readDown: 128 << 10},
		{name: "slow client", up: size / 2, down: size / 2, readUp: 128 << 10, readDown: 1701},
		{name: "one way only", up: 0, down: size, readUp: 1, readDown: 128 << 10},
	} {
		t.Run(story.name, func(t *testing.T) {
			w := start(t, time.Hour)
			between := w.loops()
			var sentUp, sentDown, gotUp, gotDown [32]byte
			var nUp, nDown int
			var all sync.WaitGroup
			all.Go(func() { sentUp = pump(t, w.client, story.up, 1) })
			all.Go(func() { sentDown = pump(t, w.upstream, story.down, 2) })
			all.Go(func() { nUp, gotUp = swallow(t, w.upstream, story.readUp) })
			all.Go(func() { nDown, gotDown = swallow(t, w.client, story.readDown) })
			moves := 0
			for w.move(between[(moves+1)%2]) {
				moves++
			}
			all.Wait()
			if nUp != story.up || nDown != story.down || sentUp != gotUp || sentDown != gotDown {
				t.Errorf("%d and %d bytes came, and the checksums are right: %v, %v", nUp, nDown, sentUp == gotUp, sentDown == gotDown)
			}
			if moves < 3 {
				t.Errorf("it was moved %d times only", moves)
			}
			w.wantOver(ClientEnded, UpstreamEnded)
			w.wantMoved(story.up, story.down)
		})
	}
}

// What one side has stuffed the pair with goes along, and so does who waits for whom.
func TestAPairThatIsStuckMoves(t *testing.T) {
	eachWay(t, time.Hour, func(t *testing.T, w *world, actor, other *net.TCPConn, _ Cause) {
		between := w.loops()
		n := w.stuff(actor)
		for i := range 4 {
			w.move(between[(i+1)%2])
		}
		w.wantGoingOn()
		other.Write([]byte("still fine"))
		w.wantRead(actor, "still fine")
		actor.CloseWrite()
		if got, _ := swallow(t, other, 1<<20); got != n {
			t.Errorf("%d bytes came of %d", got, n)
		}
		other.Close()
		w.wantOver(w.endedBy(actor))
	})
}

// An end that was passed on stays passed on, and it is remembered whose it was.
func TestAHalfClosedPairMoves(t *testing.T) {
	eachWay(t, time.Hour, func(t *testing.T, w *world, actor, other *net.TCPConn, _ Cause) {
		between := w.loops()
		actor.Write([]byte("a question"))
		actor.CloseWrite()
		w.wantRead(other, "a question")
		w.wantEnd(other, io.EOF)
		for i := range 4 {
			w.move(between[(i+1)%2])
			other.Write([]byte("an answer"))
			w.wantRead(actor, "an answer")
		}
		w.wantGoingOn()
		other.CloseWrite()
		w.wantEnd(actor, io.EOF)
		w.wantOver(w.endedBy(actor))
	})
}

// The time without a byte goes on where it was.
func TestAPairThatMovesIsIdleAllTheSame(t *testing.T) {
	const idle = 400 * time.Millisecond
	w := start(t, idle)
	between := w.loops()
	begin, moves := time.Now(), 0
	for w.move(between[(moves+1)%2]) {
		moves++
		time.Sleep(idle / 8)
		if time.Since(begin) > patience {
			t.Fatal("it lives for ever")
		}
	}
	w.wantOver(Idle)
	if moves < 2 {
		t.Errorf("it was moved %d times only", moves)
	}
}

func TestAResetIsPassedOnAfterAMove(t *testing.T) {
	eachWay(t, time.Hour, func(t *testing.T, w *world, actor, other *net.TCPConn, failed Cause) {
		w.move(w.loops()[1])
		reset(actor)
		w.wantOver(failed)
		w.wantReset(other)
	})
}

// Who changes his mind goes on as if nothing had been.
func TestAPairThaws(t *testing.T) {
	w := start(t, time.Hour)
	var sent, got [32]byte
	var n int
	var all sync.WaitGroup
	all.Go(func() { sent = pump(t, w.client, 32<<20, 3) })
	all.Go(func() { n, got = swallow(t, w.upstream, 64<<10) })
	over := make(chan struct{})
	go func() { defer close(over); all.Wait() }()
	for freezes := 0; ; freezes++ {
		w.do(func() {
			if w.told.Load() == 0 {
				w.pair.Freeze()
			}
		})
		w.do(func() {})
		w.do(func() {
			if w.told.Load() == 0 {
				w.pair.Thaw()
			}
		})
		select {
		case <-over:
		default:
			continue
		}
		if freezes < 5 {
			t.Errorf("frozen %d times only", freezes)
		}
		break
	}
	if n != 32<<20 || sent != got {
		t.Errorf("%d bytes came, and the checksum is right: %v", n, sent == got)
	}
	w.upstream.Close()
	w.wantOver(ClientEnded)
}
