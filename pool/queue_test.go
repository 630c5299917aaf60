package pool

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// owner is one that acquires as a listener does, on a goroutine of its own.
type owner struct {
	t      *testing.T
	p      *Pool
	random *rand.Rand
	told   atomic.Int64 // how often Granted was called
	waited int64        // how often that, or to cancel, was its right
}

func newOwner(t *testing.T, p *Pool, i int) *owner {
	return &owner{t: t, p: p, random: rand.New(rand.NewPCG(uint64(i), 11))}
}

type answer struct {
	lease Lease
	err   error
}

// acquire acquires or waits; impatient ones cancel, perhaps at once.
func (o *owner) acquire(tried *Tried, impatient bool) (Lease, error) {
	lease, err := o.p.Acquire(tried)
	if err != ErrUnchecked && err != ErrFull {
		return lease, err
	}
	answers := make(chan answer, 2)
	w := &Waiter{Tried: tried, Granted: func(l Lease, err error) {
		o.told.Add(1)
		answers <- answer{l, err}
	}}
	if err := o.p.Await(w); err != nil {
		return Lease{}, err
	}
	o.waited++
	if impatient {
		select {
		case a := <-answers:
			return a.lease, a.err
		default:
		}
		if o.p.Cancel(w) {
			o.waited--
			return Lease{}, err
		}
	}
	select {
	case a := <-answers:
		return a.lease, a.err
	case <-time.After(patience):
		o.t.Errorf("nothing was granted within %v; %d wait", patience, o.p.Queued())
		o.p.Cancel(w)
		return Lease{}, err
	}
}

// wantOver expects that whoever waited was told once and that nothing is left.
func wantOver(t *testing.T, w *world, owners []*owner) {
	t.Helper()
	for i, o := range owners {
		if told := o.told.Load(); told != o.waited {
			t.Errorf("owner %d was told %d times for %d waits", i, told, o.waited)
		}
	}
	same(t, "queued", w.Queued(), 0)
	same(t, "waiters", w.waiters.Len(), 0)
	same(t, "full", w.full, 0)
	same(t, "active", sum(w.actives()), 0)
}

// Everybody who waits is served, since those who are served leave: no place that
// comes free is overlooked, and the limits hold.
func TestNoPlaceIsLost(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		const goroutines, each = 8, 4000
		w := newQueue(t, algorithm, goroutines)
		limits := map[*Server]int64{w.ready("a", 1, 1): 1, w.ready("b", 2, 2): 2}
		owners := make([]*owner, goroutines)
		together(goroutines, func(i int) {
			o := newOwner(t, w.Pool, i)
			owners[i] = o
			for range each {
				lease, err := o.acquire(nil, false)
				if err != nil {
					t.Errorf("not served: %v", err)
					return
				}
				if s := lease.Server(); s.Active() > limits[s] {
					t.Errorf("%d active on %q, which may have %d", s.Active(), s.Address(), limits[s])
				}
				lease.Release(Served)
			}
		})
		wantOver(t, w, owners)
		same(t, "total", sum(w.totals()), goroutines*each)
	})
}

// The only place is freed while somebody begins to wait for it, and nobody else
// comes by: when both calls have returned, it has been granted.
func TestAReleaseMeetsAnAwait(t *testing.T) {
	const rounds = 50000
	w := newQueue(t, RoundRobin, 1)
	w.ready("a", 1, 1)
	var begun, awaited atomic.Int64
	var granted []Lease // by one of the two, never both at once
	waiter := &Waiter{Granted: func(l Lease, _ error) { granted = append(granted, l) }}
	together(2, func(i int) {
		for round := range int64(rounds) {
			if i == 0 {
				reach(&begun, round+1)
				if err := w.Await(waiter); err != nil {
					t.Error(err)
				}
				awaited.Store(round + 1)
				continue
			}
			lease := w.must(nil)
			begun.Store(round + 1)
			dawdle(int(round) % 500) // so that the two meet at every point
			lease.Release(Served)
			reach(&awaited, round+1)
			if len(granted) != 1 {
				t.Errorf("round %d: a place is free while somebody waits for it", round)
				w.Cancel(waiter)
				granted = []Lease{{}}
			}
			granted[0].Release(Served)
			granted = granted[:0]
		}
	})
	w.want(0)
}

// reach spins until a counter has reached a value.
func reach(counter *atomic.Int64, value int64) {
	for i := 1; counter.Load() < value; i++ {
		if i%1000 == 0 {
			runtime.Gosched()
		}
	}
}

//go:noinline
func dawdle(n int) {
	for i := range n {
		runtime.KeepAlive(i)
	}
}

// Some cancel, some have tried a server, some are refused because the queue is
// full; nobody is told twice, nothing stays counted and the limits hold.
func TestTheQueueUnderPressure(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		const goroutines, each = 8, 4000
		w := newQueue(t, algorithm, 4)
		var servers []*Server
		for i, limit := range []int{1, 2} {
			servers = append(servers, w.ready(letter(i), 1, limit))
		}
		owners := make([]*owner, goroutines)
		together(goroutines, func(i int) {
			o := newOwner(t, w.Pool, i)
			owners[i] = o
			for n := range each {
				if t.Failed() {
					return
				}
				tried := &Tried{}
				if o.random.IntN(3) == 0 {
					tried.Add(servers[o.random.IntN(2)])
				}
				lease, err := o.acquire(tried, o.random.IntN(2) == 0)
				if err != nil {
					continue
				}
				s := lease.Server()
				if s.Active() > int64(s.spec.MaxConnections) || tried.has(s) {
					t.Errorf("given %q with %d active", s.Address(), s.Active())
				}
				lease.Release(Outcome(n % 3))
			}
		})
		wantOver(t, w, owners)
		w.acquire(3)
		w.want(1, 2)
	})
}

// With operators and checks that change the servers all the while. At the end a
// server without a limit is ready, and everybody who still waits is served.
func TestTheQueueUnderChanges(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		const clients, each, changes = 6, 1500, 3000
		w := newQueue(t, algorithm, 3)
		owners := make([]*owner, clients)
		var all sync.Map // *Server
		together(clients+2, func(i int) {
			if i >= clients {
				random := rand.New(rand.NewPCG(uint64(i), 7))
				for range changes {
					w.operate(random, &all)
				}
				w.ready("last", 1, 0)
				return
			}
			o := newOwner(t, w.Pool, i)
			owners[i] = o
			for range each {
				if t.Failed() {
					return
				}
				lease, err := o.acquire(nil, o.random.IntN(4) == 0)
				if err == nil {
					all.Store(lease.Server(), true)
				}
				lease.Release(Served)
			}
		})
		wantOver(t, w, owners)
		all.Range(func(s, _ any) bool {
			same(t, "active on "+s.(*Server).Address(), s.(*Server).Active(), 0)
			return true
		})
	})
}

// A limit of one, and everybody in the queue: each is served in the order in
// which it entered, whoever releases.
func TestTheOrderIsExact(t *testing.T) {
	const waiting, releasers = 2000, 8
	w := newQueue(t, LeastConnections, waiting)
	w.ready("a", 1, 1)
	leases := make(chan Lease, 1)
	lease := w.must(nil)
	var order []int // guarded by the lease
	for i := range waiting {
		if err := w.Await(&Waiter{Granted: func(l Lease, err error) {
			order = append(order, i)
			leases <- l
		}}); err != nil {
			t.Fatal(err)
		}
	}
	leases <- *lease
	pass := func() {
		select {
		case l := <-leases:
			l.Release(Served)
		case <-time.After(patience):
			t.Error("the lease was not handed over")
		}
	}
	together(releasers, func(int) {
		for range waiting / releasers {
			pass()
		}
	})
	pass()
	same(t, "served", len(order), waiting)
	for i, n := range order {
		if i != n {
			t.Fatalf("number %d was served as number %d", n, i)
		}
	}
	w.want(0)
}
