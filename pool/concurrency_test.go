package pool

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// together runs what n goroutines do, all let go at the same moment.
func together(n int, do func(i int)) {
	var all sync.WaitGroup
	gate := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-gate
			do(i)
		})
	}
	close(gate)
	all.Wait()
}

// However many choose at once, none overlooks the choice of another: no server
// gets a second one before each of its equals has its first.
func TestABurstSpreadsEvenly(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		// Many servers take long to look over, so that the others come between.
		const goroutines, each = 16, 50
		for _, servers := range []int{2, 3, 7, 100, 333} {
			w := &world{Pool: crowd(t, algorithm, servers, 1), t: t}
			together(goroutines, func(int) {
				for range each {
					if _, err := w.Acquire(nil); err != nil {
						t.Error(err)
					}
				}
			})
			counts := w.actives()
			same(t, "active in all", sum(counts), goroutines*each)
			if least, most := slices.Min(counts), slices.Max(counts); most-least > 1 {
				t.Fatalf("%d servers: between %d and %d active: %v", servers, least, most, counts)
			}
			same(t, "total", w.totals(), counts)
		}
	})
}

// In a burst no server is ever chosen while another has less per weight, so
// without its last one none has more than any other.
func TestABurstFollowsTheWeights(t *testing.T) {
	const goroutines, each, heaviest = 16, 50, 4
	for servers := 2; servers < 300; servers += 37 {
		w := &world{Pool: crowd(t, LeastConnections, servers, heaviest), t: t}
		together(goroutines, func(int) {
			for range each {
				w.Acquire(nil)
			}
		})
		counts := w.actives()
		same(t, "active in all", sum(counts), goroutines*each)
		all := w.Status()
		for _, a := range all {
			for _, b := range all {
				if (a.Active-1)*int64(b.Weight) > b.Active*int64(a.Weight) {
					t.Fatalf("%d active with weight %d beside %d with %d", a.Active, a.Weight, b.Active, b.Weight)
				}
			}
		}
	}
}

func TestTheLimitHoldsUnderConcurrency(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		const goroutines, each = 16, 2000
		w := newWorld(t, algorithm)
		limits := map[*Server]int64{}
		for i, limit := range []int{1, 2, 5} {
			limits[w.ready(letter(i), 1+i, limit)] = int64(limit)
		}
		var given, full atomic.Int64
		together(goroutines, func(int) {
			var held []*Lease
			for n := range each {
				lease, err := w.Acquire(nil)
				switch {
				case err == nil:
					given.Add(1)
					held = append(held, &lease)
					if s := lease.Server(); s.Active() > limits[s] {
						t.Errorf("%q has more active than its limit of %d", s.Address(), limits[s])
					}
				case err == ErrFull:
					full.Add(1)
				default:
					t.Error(err)
				}
				if len(held) > n%3 {
					held[0].Release(Served)
					held = held[1:]
				}
			}
			for _, lease := range held {
				lease.Release(Served)
			}
		})
		same(t, "given or refused", given.Load()+full.Load(), goroutines*each)
		same(t, "total", sum(w.totals()), given.Load())
		w.want(0, 0, 0)
		w.acquire(8) // all the limits together can be had, and no more
		w.want(1, 2, 5)
		w.wantErr(nil, ErrFull)
	})
}

// A limit of one is a lock: what it guards needs no other.
func TestALimitOfOneIsExclusive(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		const goroutines, each = 8, 30000 // the gap between looking and counting is narrow
		w := newWorld(t, algorithm)
		w.ready("a", 1, 1)
		var inside, given int // guarded by the lease
		together(goroutines, func(int) {
			for range each {
				lease, err := w.Acquire(nil)
				if err != nil {
					continue
				}
				if inside++; inside != 1 {
					t.Errorf("%d are inside", inside)
				}
				given++
				inside--
				lease.Release(Served)
			}
		})
		same(t, "total", w.totals(), []int{given})
		w.want(0)
	})
}

// As many acquire at once as the limits allow: all are given a server.
func TestNoneIsRefusedBelowTheLimits(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		for range 50 {
			w := newWorld(t, algorithm)
			for i := range 4 {
				w.ready(letter(i), 1+i*i, 3)
			}
			together(12, func(int) {
				if _, err := w.Acquire(nil); err != nil {
					t.Error(err)
				}
			})
			w.want(3, 3, 3, 3)
			w.wantErr(nil, ErrFull)
		}
	})
}

// Everything at once. Afterwards nothing is active, every acquire was counted
// as one in total, and the pool serves as if nothing had happened.
func TestCountsSurviveEverythingAtOnce(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		const operators, clients, each = 3, 8, 1500
		w := newWorld(t, algorithm)
		var everSeen sync.Map // *Server
		var given atomic.Int64
		together(operators+clients, func(i int) {
			random := rand.New(rand.NewPCG(uint64(i), 7))
			for range each {
				if i < operators {
					w.operate(random, &everSeen)
				} else {
					given.Add(w.useSome(random, &everSeen))
				}
			}
		})
		var total int64
		everSeen.Range(func(key, _ any) bool {
			s := key.(*Server)
			same(t, "active on "+s.Address(), s.Active(), 0)
			total += s.total.Load()
			return true
		})
		same(t, "total", total, given.Load())
		for _, s := range w.Servers() {
			w.Drain(s)
			same(t, "removed", w.RemoveDrained(s), true)
		}
		w.wantErr(nil, ErrNoneReady)
		w.ready("z", 1, 0)
		same(t, "turns", w.turns(2), "zz")
	})
}

// operate makes one random change, as an operator or package health would.
func (w *world) operate(random *rand.Rand, everSeen *sync.Map) {
	address := letter(random.IntN(6))
	server := w.Find(address)
	if server == nil || random.IntN(8) == 0 {
		server, _ = w.Upload(ServerSpec{Address: address, Weight: random.IntN(9), MaxConnections: random.IntN(5)})
		everSeen.Store(server, true)
	}
	switch random.IntN(8) {
	case 0:
		w.Drain(server)
	case 1:
		w.RemoveDrained(server)
	case 2:
		w.SetHealth(server, failed())
	case 3:
		w.Status()
	default:
		w.SetHealth(server, passed())
	}
}

// useSome acquires a few times as a listener does, never from the same server
// twice, and returns how many leases it was given and has released.
func (w *world) useSome(random *rand.Rand, everSeen *sync.Map) (given int64) {
	var tried Tried
	var held []*Lease
	for range 1 + random.IntN(MaxTries) {
		lease, err := w.Acquire(&tried)
		if err != nil {
			continue
		}
		given++
		server := lease.Server()
		if tried.has(server) {
			w.t.Errorf("%q was given again", server.Address())
		}
		everSeen.Store(server, true)
		held = append(held, &lease)
		tried.Add(server)
	}
	for _, lease := range held {
		lease.Release(Outcome(random.IntN(3)))
	}
	return given
}
