package pool

import (
	"fmt"
	"slices"
	"testing"
)

// line is the waiters of a story. It notes in which order they were told what:
// "one=a" was given a lease on a, which it holds, "two:full" an error.
type line struct {
	*world
	told  []string
	named map[string]*Waiter
}

func (w *world) line() *line { return &line{world: w, named: map[string]*Waiter{}} }

// await lets a waiter into the queue that does not want the servers named.
func (l *line) await(name, tried string) {
	l.t.Helper()
	if err := l.try(name, tried); err != nil {
		l.t.Fatalf("%s may not wait: %v", name, err)
	}
}

func (l *line) try(name, tried string) error {
	w := &Waiter{Tried: &Tried{}}
	for _, c := range tried {
		w.Tried.Add(l.Find(string(c)))
	}
	w.Granted = func(lease Lease, err error) {
		switch err {
		case nil:
			address := lease.Server().Address()
			l.held[address] = append(l.held[address], &lease)
			l.told = append(l.told, name+"="+address)
		case ErrNoneReady:
			l.told = append(l.told, name+":none")
		case ErrQueueFull:
			l.told = append(l.told, name+":full")
		default:
			l.t.Errorf("%s was told %v", name, err)
		}
	}
	l.named[name] = w
	return l.Await(w)
}

// want compares what was told since the last time, and how many still wait.
func (l *line) wantTold(waiting int, told ...string) {
	l.t.Helper()
	if !slices.Equal(l.told, told) {
		l.t.Fatalf("told %q, want %q", l.told, told)
	}
	if l.Queued() != waiting || l.waiters.Len() != waiting {
		l.t.Fatalf("%d wait, want %d", l.Queued(), waiting)
	}
	l.told = nil
}

func (l *line) wantAwaitErr(tried string, want error) {
	l.t.Helper()
	if err := l.try("refused", tried); err != want {
		l.t.Fatalf("await answered %v, want %v", err, want)
	}
}

func TestPlacesAreHandedOverInOrder(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		l := newQueue(t, algorithm, 5).line()
		l.ready("a", 1, 1)
		l.ready("b", 1, 2)
		l.acquire(3)
		for i := range 5 {
			l.await(fmt.Sprint(i), "")
		}
		l.wantAwaitErr("", ErrQueueFull)
		l.wantTold(5)
		l.release("b")
		l.wantTold(4, "0=b")
		l.wantErr(nil, ErrFull)
		l.await("5", "")
		l.release("ab")
		l.wantTold(3, "1=a", "2=b")
		l.want(1, 2)
		l.release("aabb")
		l.wantTold(0, "3=a", "4=a", "5=b")
		l.want(1, 1)
		same(t, "total", sum(l.totals()), 9)
		l.acquire(1)
		l.want(1, 2)
	})
}

func TestNobodyWaitsWithoutAQueue(t *testing.T) {
	l := newWorld(t, LeastConnections).line()
	l.wantAwaitErr("", ErrNoneReady)
	l.ready("a", 1, 1)
	l.await("early", "") // a place has come free since Acquire answered ErrFull
	l.wantTold(0, "early=a")
	l.wantErr(nil, ErrFull)
	l.wantAwaitErr("", ErrQueueFull)
	l.wantAwaitErr("a", ErrNoneReady)
	l.wantTold(0)
	l.release("a")
	l.wantTold(0)
	if p, err := New("web", Options{QueueLength: -1}); p != nil || err == nil {
		t.Error("a pool with a negative queue was made")
	}
}

// While somebody waits a newcomer gets nothing from Acquire, even if there is a
// place that those who wait do not want; it gets that from Await.
func TestNobodyOvertakes(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		l := newQueue(t, algorithm, 2).line()
		l.ready("a", 1, 2)
		b := l.ready("b", 1, 1)
		l.acquire(2)
		l.want(1, 1)
		l.await("one", "a")
		l.wantTold(1)
		l.wantErr(nil, ErrFull)
		l.await("two", "")
		l.wantTold(1, "two=a")
		l.await("three", "")
		l.wantAwaitErr("", ErrQueueFull)
		l.release("a")
		l.wantTold(1, "three=a") // one has tried it
		l.await("four", "")
		b.active.Add(-1) // a release that has come as far as this
		l.wantAwaitErr("", ErrQueueFull)
		l.wantTold(1, "one=b")
		l.handOver(b)
		l.wantTold(1)
		l.release("a")
		l.wantTold(0, "four=a")
	})
}

// Who does not wait gets a place that those who do have no use for, and no other.
func TestAPlaceAtOnce(t *testing.T) {
	l := newQueue(t, LeastConnections, 9).line()
	l.ready("a", 1, 2)
	l.ready("b", 1, 1)
	l.acquire(2)
	l.await("one", "a")
	l.wantErr(nil, ErrFull)
	atOnce := func() error {
		return l.Await(&Waiter{AtOnce: true, Granted: func(lease Lease, err error) {
			l.told = append(l.told, "at once="+lease.Server().Address())
		}})
	}
	if err := atOnce(); err != nil {
		t.Errorf("with a place left: %v", err)
	}
	l.wantTold(1, "at once=a")
	if err := atOnce(); err != ErrQueueFull {
		t.Errorf("without: %v", err)
	}
	l.wantTold(1)
	l.release("b")
	l.wantTold(0, "one=b")
}

// A newcomer that comes between a release and its hand-over waits like everybody.
func TestANewcomerFindsAPlaceForAnother(t *testing.T) {
	l := newQueue(t, RoundRobin, 9).line()
	a := l.ready("a", 1, 2)
	l.acquire(2)
	l.await("one", "")
	l.await("two", "")
	a.active.Add(-2)
	l.await("three", "")
	l.wantTold(1, "one=a", "two=a")
	l.handOver(a)
	l.handOver(a)
	l.wantTold(1)
	l.want(2)
}

func TestCancelledWaitersAreNotTold(t *testing.T) {
	l := newQueue(t, LeastConnections, 3).line()
	same(t, "cancelled", l.Cancel(&Waiter{}), false)
	l.ready("a", 1, 1)
	l.acquire(1)
	for _, name := range []string{"one", "two", "three"} {
		l.await(name, "")
	}
	same(t, "cancelled", l.Cancel(l.named["one"]), true)
	same(t, "cancelled", l.Cancel(l.named["one"]), false)
	if err := l.Await(l.named["one"]); err != nil { // again, now the last
		t.Fatal(err)
	}
	same(t, "cancelled", l.Cancel(l.named["two"]), true)
	l.release("a")
	l.wantTold(1, "three=a")
	same(t, "cancelled", l.Cancel(l.named["three"]), false)
	l.release("a")
	l.wantTold(0, "one=a")
	l.release("a")
	l.acquire(1)
}

// What operators and checks change serves the queue, or leaves it waiting.
func TestChangesServeTheQueue(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		l := newQueue(t, algorithm, 9).line()
		a := l.ready("a", 1, 1)
		b, _ := l.Upload(ServerSpec{Address: "b", MaxConnections: 2})
		l.SetHealth(b, failed())
		l.acquire(1)
		for i := range 8 {
			l.await(fmt.Sprint(i), "")
		}
		l.SetHealth(b, passed())
		l.wantTold(6, "0=b", "1=b")
		l.Upload(ServerSpec{Address: "a", MaxConnections: 3})
		l.wantTold(4, "2=a", "3=a")
		l.Upload(ServerSpec{Address: "a", MaxConnections: 2}) // lower than what is active
		l.release("a")
		l.wantTold(4)
		l.release("a")
		l.wantTold(3, "4=a")

		l.Drain(a)
		l.release("a")
		l.wantTold(3)
		l.SetHealth(b, failed())
		l.release("b")
		l.wantTold(3) // none is ready, and they go on waiting,
		l.wantErr(nil, ErrNoneReady)
		l.wantAwaitErr("", ErrNoneReady) // which nobody begins to
		l.RemoveDrained(a)
		l.release("a")
		l.wantTold(3)
		l.SetHealth(b, passed())
		l.wantTold(2, "5=b")
		l.Upload(ServerSpec{Address: "b"}) // without a limit
		l.wantTold(0, "6=b", "7=b")
		l.acquire(5)
	})
}

// Servers that a waiter has tried are no reason to tell it anything.
func TestWhoHasTriedAllThatIsReadyWaitsOn(t *testing.T) {
	l := newQueue(t, LeastConnections, 9).line()
	l.ready("a", 1, 1)
	b := l.ready("b", 1, 1)
	l.acquire(2)
	l.await("one", "a")
	l.await("two", "b")
	l.await("three", "")
	l.Upload(ServerSpec{Address: "a", MaxConnections: 2})
	l.wantTold(2, "two=a")
	l.Drain(b)
	l.Upload(ServerSpec{Address: "a", MaxConnections: 3})
	l.wantTold(1, "three=a")
	l.release("aaa")
	l.wantTold(1)
	l.ready("c", 1, 0)
	l.wantTold(0, "one=c")
}

// Granted runs with no lock of the pool held.
func TestGrantedMayUseThePool(t *testing.T) {
	w := newQueue(t, LeastConnections, 1000)
	a := w.ready("a", 1, 1)
	first := w.must(nil)
	told := 0
	for range 1000 {
		waiter := &Waiter{}
		waiter.Granted = func(lease Lease, err error) {
			told++
			if w.Cancel(waiter) || err != nil || lease.Server() != a {
				t.Errorf("told %v and error %v", lease.Server(), err)
			}
			w.wantErr(nil, ErrFull)
			w.Upload(ServerSpec{Address: "a", MaxConnections: 1})
			lease.Release(Served) // as for an owner that is gone
		}
		if err := w.Await(waiter); err != nil {
			t.Fatal(err)
		}
	}
	first.Release(Served)
	same(t, "told", told, 1000)
	w.want(0)
	same(t, "waiting", w.Queued(), 0)
}
