package pool

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// bell makes a waiter that notes its name when woken.
func bell(order *[]string, name string) *Waiter {
	return &Waiter{Wake: func() { *order = append(*order, name) }}
}

// await registers a waiter, and expects that there is something to wait for.
func (w *world) await(waiter *Waiter) {
	w.t.Helper()
	w.wantErr(nil, ErrUnchecked)
	if !w.Await(waiter) {
		w.t.Fatal("await refused although no server has been checked")
	}
}

// Those who wait are woken when there is a server for them, or when the last
// first check has told that there is none.
func TestWaitersAreWokenInTheirOrder(t *testing.T) {
	for name, story := range map[string]struct {
		results []Health
		wakes   int // which of the results wakes
	}{
		"the first passed":  {[]Health{passed(), failed()}, 0},
		"the second passed": {[]Health{failed(), passed()}, 1},
		"all failed":        {[]Health{failed(), failed()}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, LeastConnections)
			w.Upload(ServerSpec{Address: "a"})
			w.Upload(ServerSpec{Address: "b"})
			var woken []string
			for i := range 4 {
				w.await(bell(&woken, letter(i)))
			}
			for i, result := range story.results {
				want := []string{}
				if i > story.wakes {
					want = []string{"a", "b", "c", "d"}
				}
				same(t, "woken", woken, want)
				w.SetHealth(w.Servers()[i], result)
			}
			same(t, "woken", woken, []string{"a", "b", "c", "d"})

			w.SetHealth(w.Servers()[0], failed())
			w.SetHealth(w.Servers()[0], passed())
			same(t, "woken once", len(woken), 4)
			if w.Await(bell(&woken, "late")) {
				t.Error("await accepted a waiter although all servers have been checked")
			}
		})
	}
}

func TestACancelledWaiterIsNotWoken(t *testing.T) {
	w := newWorld(t, RoundRobin)
	a, _ := w.Upload(ServerSpec{Address: "a"})
	var woken []string
	first, second, third := bell(&woken, "first"), bell(&woken, "second"), bell(&woken, "third")
	w.Cancel(first) // never registered
	for _, waiter := range []*Waiter{first, second, third} {
		w.await(waiter)
	}
	w.Cancel(second)
	w.Cancel(second)
	w.await(second) // again, now the last
	w.Cancel(first)
	w.SetHealth(a, passed())
	same(t, "woken", woken, []string{"third", "second"})
	w.Cancel(third) // woken already
}

func TestUploadsDoNotWakeButTheirResultsDo(t *testing.T) {
	w := newWorld(t, LeastConnections)
	w.wantErr(nil, ErrNoneReady) // an empty pool has nothing to wait for
	var woken []string
	if w.Await(bell(&woken, "early")) {
		t.Fatal("await accepted a waiter for an empty pool")
	}
	w.Upload(ServerSpec{Address: "a"})
	w.await(bell(&woken, "one"))
	b, _ := w.Upload(ServerSpec{Address: "b"})
	w.Upload(ServerSpec{Address: "a", Weight: 5})
	w.await(bell(&woken, "two"))
	same(t, "woken by uploads", len(woken), 0)
	w.SetHealth(b, passed())
	same(t, "woken", woken, []string{"one", "two"})
	same(t, "chosen", w.turns(3), "bbb")
}

func TestRemovingTheLastUncheckedServerWakes(t *testing.T) {
	w := newWorld(t, LeastConnections)
	a, _ := w.Upload(ServerSpec{Address: "a"})
	b, _ := w.Upload(ServerSpec{Address: "b"})
	var woken []string
	w.await(bell(&woken, "one"))
	w.Drain(a)
	w.RemoveDrained(a)
	w.SetHealth(a, passed()) // its check was under way
	same(t, "woken while b is unchecked", len(woken), 0)
	w.wantErr(nil, ErrUnchecked)
	w.Drain(b)
	w.RemoveDrained(b)
	same(t, "woken", woken, []string{"one"})
	w.wantErr(nil, ErrNoneReady)
}

// A server that is unchecked is worth waiting for when no other is ready, unless
// it is to go.
func TestUncheckedBesideChecked(t *testing.T) {
	w := newWorld(t, RoundRobin)
	a, _ := w.Upload(ServerSpec{Address: "a"})
	w.SetHealth(a, failed())
	w.wantErr(nil, ErrNoneReady)
	b, _ := w.Upload(ServerSpec{Address: "b"})
	var woken []string
	w.await(bell(&woken, "one"))
	w.Drain(b)
	same(t, "woken", woken, []string{"one"})
	w.wantErr(nil, ErrNoneReady)
	w.Upload(ServerSpec{Address: "b"})
	w.await(bell(&woken, "two"))
	w.SetHealth(a, passed())
	same(t, "woken", woken, []string{"one", "two"})
	same(t, "chosen", w.turns(2), "aa")
}

// A server that is uploaded again may have changed: it is to be checked at once.
func TestUploadedAgainIsSuspect(t *testing.T) {
	w := newWorld(t, LeastConnections)
	a, _ := w.Upload(ServerSpec{Address: "a"})
	same(t, "suspect when new", len(a.Suspect()), 0)
	w.Upload(ServerSpec{Address: "a", Weight: 2})
	same(t, "suspect when uploaded again", len(a.Suspect()), 1)
}

// Wake runs with no lock of the pool held.
func TestWakeMayUseThePool(t *testing.T) {
	w := newWorld(t, LeastConnections)
	a, _ := w.Upload(ServerSpec{Address: "a"})
	var lease Lease
	var err error
	waiter := &Waiter{}
	waiter.Wake = func() {
		lease, err = w.Acquire(nil)
		w.Cancel(waiter)
		w.Upload(ServerSpec{Address: "b"})
	}
	w.await(waiter)
	w.SetHealth(a, passed())
	if err != nil || lease.Server() != a {
		t.Fatalf("acquired %v and error %v when woken", lease.Server(), err)
	}
	lease.Release(Served)
}

// Goroutines that were refused as unchecked register while the first result
// comes in: each is either told to try again or woken.
func TestNoWakeUpIsLost(t *testing.T) {
	const rounds, goroutines = 200, 8
	for round := range rounds {
		w := newWorld(t, LeastConnections)
		server, _ := w.Upload(ServerSpec{Address: "a"})
		var all sync.WaitGroup
		failures := make(chan error, goroutines)
		for range goroutines {
			all.Go(func() {
				if err := acquireOrAwait(w.Pool); err != nil {
					failures <- err
				}
			})
		}
		all.Go(func() {
			if round%2 == 0 {
				w.SetHealth(server, passed())
				return
			}
			w.Drain(server)
			w.RemoveDrained(server)
		})
		all.Wait()
		close(failures)
		for err := range failures {
			if round%2 == 0 || err != ErrNoneReady {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		same(t, "active", server.Active(), 0)
	}
}

// acquireOrAwait is what a listener does with a client that comes early.
func acquireOrAwait(p *Pool) error {
	for {
		lease, err := p.Acquire(nil)
		if err == nil {
			lease.Release(Served)
			return nil
		}
		if err != ErrUnchecked {
			return err
		}
		woken := make(chan struct{})
		waiter := &Waiter{Wake: func() { close(woken) }}
		if !p.Await(waiter) {
			continue
		}
		select {
		case <-woken:
		case <-time.After(patience):
			p.Cancel(waiter)
			return fmt.Errorf("not woken within %v", patience)
		}
	}
}

// Those that give up race with the result. Each waiter is woken at most once,
// and those that stayed exactly once.
func TestCancelRacesWithTheResult(t *testing.T) {
	const rounds, goroutines = 200, 6
	for range rounds {
		w := newWorld(t, LeastConnections)
		server, _ := w.Upload(ServerSpec{Address: "a"})
		var woken [goroutines]chan struct{}
		var waiters [goroutines]*Waiter
		for i := range waiters {
			woken[i] = make(chan struct{}, 2)
			waiters[i] = &Waiter{Wake: func() { woken[i] <- struct{}{} }}
			w.await(waiters[i])
		}
		var all sync.WaitGroup
		for i := range goroutines / 2 {
			all.Go(func() { w.Cancel(waiters[i]) })
		}
		all.Go(func() { w.SetHealth(server, passed()) })
		all.Wait()
		for i := range woken {
			if n := len(woken[i]); n > 1 || i >= goroutines/2 && n == 0 {
				t.Fatalf("waiter %d of %d was woken %d times", i, goroutines, n)
			}
		}
		same(t, "still waiting", w.waiters.Len(), 0)
	}
}
