package limit

import (
	"sync"
	"sync/atomic"
	"testing"
)

// loop is a Waiter. It notes in which order those of a story were woken.
type loop struct {
	name  string
	gone  bool
	woken *string
}

func (l *loop) Wake() bool {
	*l.woken += l.name
	return !l.gone
}

// story returns a gate with no place left, and those that wait at it, called a, b,
// c … in the order in which they came.
func story(t *testing.T, most, waiters int) (g *Gate, waiting []*loop, woken *string) {
	t.Helper()
	g, woken = NewGate(most), new(string)
	for range most {
		if !g.Enter(&loop{}) {
			t.Fatal("a place is free, and not given")
		}
	}
	for i := range waiters {
		l := &loop{name: string(rune('a' + i)), woken: woken}
		if g.Enter(l) {
			t.Fatal("a place is given that there is not")
		}
		waiting = append(waiting, l)
	}
	return g, waiting, woken
}

func wantWoken(t *testing.T, woken *string, want string) {
	t.Helper()
	if *woken != want {
		t.Fatalf("woken %q, want %q", *woken, want)
	}
}

func TestWhoHasWaitedLongestIsWoken(t *testing.T) {
	g, waiting, woken := story(t, 2, 3)
	g.Enter(waiting[0]) // asks again, and keeps its turn
	g.Leave()
	wantWoken(t, woken, "a")
	if !g.Enter(waiting[0]) || g.Enter(waiting[0]) {
		t.Fatal("one place was free")
	}
	g.Leave()
	g.Leave()
	wantWoken(t, woken, "abc")
	if !g.Enter(waiting[2]) || !g.Enter(waiting[1]) {
		t.Fatal("two places were free")
	}
	g.Leave()
	wantWoken(t, woken, "abca")
	g.Leave()
	wantWoken(t, woken, "abca")
}

// A place that a Waiter has no use for, or that is gone, is the next one's.
func TestAPlaceIsPassedOn(t *testing.T) {
	g, waiting, woken := story(t, 1, 4)
	waiting[0].gone, waiting[1].gone = true, true
	g.Leave()
	wantWoken(t, woken, "abc")
	g.WakeNext()
	wantWoken(t, woken, "abcd")
	g.WakeNext()
	wantWoken(t, woken, "abcd")
}

// resting is a Waiter that is there to be woken.
type resting chan struct{}

func (r resting) Wake() bool {
	select {
	case r <- struct{}{}:
	default: // it has not looked up since it was woken before
	}
	return true
}

// Many take places at the same time; there are never more than the limit, and all
// come in.
func TestAGateIsExact(t *testing.T) {
	const loops, each = 8, 500
	for _, most := range []int{1, 5} {
		g := NewGate(most)
		var open, entered atomic.Int64
		var all sync.WaitGroup
		for range loops {
			all.Go(func() {
				r := make(resting, 1)
				for range each {
					for !g.Enter(r) {
						<-r
					}
					if n := open.Add(1); n > int64(most) {
						t.Errorf("%d are open, want up to %d", n, most)
					}
					entered.Add(1)
					open.Add(-1)
					g.Leave()
				}
				select {
				case <-r: // for a place that it has no use for any more
					g.WakeNext()
				default:
				}
			})
		}
		all.Wait()
		if n := entered.Load(); n != loops*each {
			t.Errorf("%d have come in, want %d", n, loops*each)
		}
		if g.open.Load() != 0 || g.waits.Load() != 0 {
			t.Errorf("%d places are taken by nobody, %d wait for one", g.open.Load(), g.waits.Load())
		}
	}
}

// A place that is given back at the very moment in which somebody finds none is
// taken, or wakes that one.
func TestNoPlaceIsOverlooked(t *testing.T) {
	g := NewGate(1)
	waits := &loop{woken: new(string)}
	for range 20_000 {
		g.Enter(waits)
		var both sync.WaitGroup
		both.Go(g.Leave)
		entered := g.Enter(waits)
		both.Wait()
		if entered {
			g.Leave()
		}
		if n := g.waits.Load(); n != 0 {
			t.Fatal("somebody waits though a place is free")
		}
	}
}

func TestWithoutALimit(t *testing.T) {
	g := NewGate(0)
	for range 10 {
		if !g.Enter(nil) {
			t.Fatal("there is a limit")
		}
	}
	g.Leave()
	g.WakeNext()
}

func TestAGateThatIsWidenedLetsThoseInWhoWait(t *testing.T) {
	g := NewGate(1)
	var woken atomic.Int32
	first, second := &sleeper{&woken}, &sleeper{&woken}
	if !g.Enter(first) || g.Enter(first) || g.Enter(second) {
		t.Fatal("one place is to be had")
	}
	g.Limit(3)
	if n := woken.Load(); n != 2 {
		t.Fatalf("%d were woken, want both", n)
	}
	if !g.Enter(first) || !g.Enter(second) || g.Enter(first) {
		t.Fatal("three places are to be had")
	}
	g.Limit(1)
	g.Leave()
	if g.Enter(second) {
		t.Fatal("two are open though one may be")
	}
	g.Limit(0)
	for range 10 {
		if !g.Enter(first) {
			t.Fatal("there is a limit")
		}
	}
}

type sleeper struct{ woken *atomic.Int32 }

func (s *sleeper) Wake() bool { s.woken.Add(1); return true }
