package pool

import "testing"

// Those who wait for the first checks are told when there is a server for them,
// or when the last first check has found that there is none.
func TestFirstChecksEndTheWait(t *testing.T) {
	for name, story := range map[string]struct {
		results []Health
		ends    int // which of the results ends it
		told    []string
	}{
		"the first passed":  {[]Health{passed(), failed()}, 0, []string{"one=a", "two=a", "three=a"}},
		"the second passed": {[]Health{failed(), passed()}, 1, []string{"one=b", "two=b", "three=b"}},
		"all failed":        {[]Health{failed(), failed()}, 1, []string{"one:none", "two:none", "three:none"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newWorld(t, LeastConnections).line()
			l.wantAwaitErr("", ErrNoneReady) // an empty pool has nothing to wait for
			l.Upload(ServerSpec{Address: "a"})
			l.wantErr(nil, ErrUnchecked)
			l.await("one", "")
			l.Upload(ServerSpec{Address: "b"})
			l.Upload(ServerSpec{Address: "a", Weight: 5})
			l.await("two", "")
			l.await("three", "")
			for i, result := range story.results {
				if i <= story.ends {
					l.wantTold(3)
				}
				l.SetHealth(l.Servers()[i], result)
				if i == story.ends {
					l.wantTold(0, story.told...)
				}
			}
			l.SetHealth(l.Servers()[0], failed())
			l.SetHealth(l.Servers()[0], passed())
			l.wantTold(0)
		})
	}
}

// The queue's length does not limit who waits for the first checks, but who
// waits on after them.
func TestFirstChecksLeaveThoseForWhomThereIsRoom(t *testing.T) {
	l := newQueue(t, RoundRobin, 2).line()
	a, _ := l.Upload(ServerSpec{Address: "a", MaxConnections: 1})
	for _, name := range []string{"one", "two", "three", "four", "five"} {
		l.await(name, "")
	}
	same(t, "cancelled", l.Cancel(l.named["two"]), true)
	l.SetHealth(a, passed())
	l.wantTold(2, "one=a", "five:full")
	l.wantErr(nil, ErrFull)
	l.wantAwaitErr("", ErrQueueFull)
	l.release("a")
	l.wantTold(1, "three=a")
	l.await("six", "")
	l.release("a")
	l.release("a")
	l.wantTold(0, "four=a", "six=a")
}

// Those who waited because all were full stay first when all are gone and a new
// server is waited for.
func TestWaitersOfBothKinds(t *testing.T) {
	l := newQueue(t, LeastConnections, 1).line()
	a := l.ready("a", 1, 1)
	l.acquire(1)
	l.await("one", "")
	l.Drain(a)
	l.wantTold(1)
	b, _ := l.Upload(ServerSpec{Address: "b", MaxConnections: 2})
	l.await("two", "")
	l.await("three", "")
	l.await("four", "")
	l.release("a")
	l.wantTold(4)
	l.SetHealth(b, passed())
	l.wantTold(1, "one=b", "two=b", "four:full")
	l.Drain(b)
	l.release("b")
	l.wantTold(1)
	c, _ := l.Upload(ServerSpec{Address: "c"})
	l.await("five", "")
	l.SetHealth(c, failed())
	l.wantTold(1, "five:none")
	l.Upload(ServerSpec{Address: "b", MaxConnections: 2})
	l.wantTold(0, "three=b")
}

func TestTheLastUncheckedServerLeaves(t *testing.T) {
	l := newWorld(t, LeastConnections).line()
	a, _ := l.Upload(ServerSpec{Address: "a"})
	b, _ := l.Upload(ServerSpec{Address: "b"})
	l.await("one", "")
	l.Drain(a)
	l.RemoveDrained(a)
	l.SetHealth(a, passed()) // its check was under way
	l.wantTold(1)
	l.wantErr(nil, ErrUnchecked)
	l.Drain(b)
	l.wantTold(0, "one:none")
	l.wantErr(nil, ErrNoneReady)
}

// A server that is unchecked is worth waiting for when no other is ready.
func TestUncheckedBesideChecked(t *testing.T) {
	l := newWorld(t, RoundRobin).line()
	a, _ := l.Upload(ServerSpec{Address: "a"})
	l.SetHealth(a, failed())
	l.wantErr(nil, ErrNoneReady)
	l.Upload(ServerSpec{Address: "b"})
	l.wantErr(nil, ErrUnchecked)
	l.await("one", "")
	l.SetHealth(a, passed())
	l.wantTold(0, "one=a")
	same(t, "chosen", l.turns(2), "aa")
}
