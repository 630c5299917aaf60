package pool

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// retrying returns a world of two ready servers whose retries are bounded.
func retrying(t *testing.T, attempts, percent int) *world {
	t.Helper()
	p, err := New("web", Options{Retries: &Retries{attempts, percent}})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Pool: p, t: t, held: map[string][]*Lease{}}
	w.ready("a", 1, 0)
	w.ready("b", 1, 0)
	return w
}

// timed runs a story with a clock that time.Sleep moves, and nothing else.
func timed(t *testing.T, story func(t *testing.T)) { synctest.Test(t, story) }

// wantRetries tries again until it may not, which it may so many times; each time
// another server is acquired.
func (w *world) wantRetries(want int) {
	w.t.Helper()
	tried := new(Tried)
	tried.Add(w.Servers()[0])
	n := 0
	for ; n <= want && w.Retry(tried, false); n++ {
		w.must(tried).Release(ConnectFailed)
	}
	if n != want {
		w.t.Fatalf("tried again %d times, want %d", n, want)
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	for _, attempts := range []int{0, 1, 3, MaxTries - 1} {
		for _, free := range []bool{false, true} {
			w := retrying(t, attempts, 20)
			for i := range MaxTries + 1 {
				w.ready(letter(2+i), 1, 0)
			}
			tried, more := new(Tried), true
			for more {
				lease := w.must(tried)
				tried.Add(lease.Server())
				lease.Release(ConnectFailed)
				more = w.Retry(tried, free)
			}
			same(t, "servers tried", tried.Len(), 1+attempts)
		}
	}
}

func TestRetriesAreChecked(t *testing.T) {
	for want, r := range map[string]Retries{
		"8 attempts after the first are not possible; use 0 to 7":  {Attempts: 8},
		"-1 attempts after the first are not possible; use 0 to 7": {Attempts: -1},
		"101 percent of retries are not possible; use 0 to 100":    {Percent: 101},
		"-1 percent of retries are not possible; use 0 to 100":     {Percent: -1},
	} {
		p, err := New("web", Options{Retries: &r})
		if p != nil || err == nil {
			t.Fatalf("a pool was made with %+v", r)
		}
		same(t, "error", err, want)
	}
	same(t, "left out", *newWorld(t, "").options.Retries, Retries{MaxTries - 1, 20})
}

// Some may always be tried again, as few as connections may be.
func TestAFewRetriesNeedNoTraffic(t *testing.T) {
	timed(t, func(t *testing.T) {
		w := retrying(t, 7, 20)
		w.wantRetries(30)
		time.Sleep(9 * time.Second)
		w.wantRetries(0)
		time.Sleep(time.Second)
		w.wantRetries(30)
		time.Sleep(time.Hour)
		w.wantRetries(30)
	})
}

func TestRetriesAreAShareOfTheTraffic(t *testing.T) {
	for percent, want := range map[int]int{0: 30, 20: 230, 100: 1030} {
		timed(t, func(t *testing.T) {
			w := retrying(t, 7, percent)
			w.turns(1000)
			time.Sleep(time.Second)
			w.wantRetries(want)
			time.Sleep(5 * time.Second)
			w.wantRetries(0) // what was tried again is no traffic of its own
			w.turns(100)
			time.Sleep(time.Second)
			w.wantRetries(percent)
			time.Sleep(10 * time.Second)
			w.wantRetries(30)
		})
	}
}

// The traffic of a time in which nobody tried again counts as if it had been even.
func TestALongTimeWithoutRetriesSavesNothingUp(t *testing.T) {
	timed(t, func(t *testing.T) {
		w := retrying(t, 7, 20)
		for range 3600 {
			w.turns(50)
			time.Sleep(time.Second)
		}
		w.wantRetries(30 + 50*10*20/100)
		time.Sleep(time.Hour)
		w.wantRetries(30)
	})
}

// While everything fails, no ten seconds have more retries than they may.
func TestRetriesOfEveryTenSecondsAreBounded(t *testing.T) {
	timed(t, func(t *testing.T) {
		const each, most = 100, 30 + 10*100*20/100
		w := retrying(t, 7, 20)
		tried := new(Tried)
		tried.Add(w.Servers()[0])
		var last [10]int
		for i := range 200 {
			n := 0
			for range each {
				w.must(nil).Release(ConnectFailed)
				if w.Retry(tried, false) {
					n++
					w.must(tried).Release(ConnectFailed)
				}
			}
			last[i%10] = n
			all := 0
			for _, n := range last {
				all += n
			}
			if all > most || i >= 20 && all < most*9/10 {
				t.Fatalf("%d retries in 10 seconds, want up to %d, and nearly as many", all, most)
			}
			time.Sleep(time.Second)
		}
	})
}

func TestARefusalCostsNothing(t *testing.T) {
	timed(t, func(t *testing.T) {
		w := retrying(t, 7, 20)
		tried := new(Tried)
		tried.Add(w.Servers()[0])
		for range 1000 {
			same(t, "may be tried again", w.Retry(tried, true), true)
			w.must(tried).Release(ConnectFailed)
		}
		time.Sleep(time.Second)
		w.wantRetries(30)
	})
}

// Servers come and go; the traffic that went to them counts once.
func TestTheTrafficOfRemovedServersCounts(t *testing.T) {
	timed(t, func(t *testing.T) {
		w := retrying(t, 7, 10)
		for i := range 10 {
			w.wantRetries(30)
			w.turns(1000)
			time.Sleep(time.Second)
			old := w.Servers()[0]
			w.ready(letter(2+i), 1, 0)
			w.Drain(old)
			w.RemoveDrained(old)
			w.wantRetries(100)
			time.Sleep(10 * time.Second)
		}
	})
}

// Who waits for another server after one has failed is no new traffic.
func TestAnAttemptThatHadToWaitIsNoTraffic(t *testing.T) {
	l := newQueue(t, LeastConnections, 5).line()
	l.ready("a", 1, 1)
	l.ready("b", 1, 1)
	l.acquire(2)
	l.await("one", "b")
	l.release("a")
	l.await("two", "a")
	l.await("three", "")
	l.release("ab")
	l.wantTold(0, "one=a", "three=a", "two=b")
	same(t, "begun", l.begunLocked(), 3)
}

func TestRetriesAreExactUnderConcurrency(t *testing.T) {
	timed(t, func(t *testing.T) {
		w := retrying(t, 7, 20)
		w.turns(1000)
		time.Sleep(time.Second)
		var granted atomic.Int64
		together(8, func(int) {
			tried := new(Tried)
			tried.Add(w.Servers()[0])
			for range 200 {
				if w.Retry(tried, false) {
					granted.Add(1)
				}
			}
		})
		same(t, "tried again", granted.Load(), 230)
	})
}

func TestRetryAllocatesNothing(t *testing.T) {
	w := retrying(t, 7, 20)
	tried := new(Tried)
	tried.Add(w.Servers()[0])
	if n := testing.AllocsPerRun(200, func() {
		w.budget.now = -1 // as if a second had passed
		w.Retry(tried, false)
		w.Retry(tried, true)
	}); n != 0 {
		t.Errorf("%v allocations for 2 retries", n)
	}
}
