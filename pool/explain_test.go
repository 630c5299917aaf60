package pool

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever has become of a pool, what Explain says is what Acquire then does, and
// saying it changes nothing.
func TestExplainSaysWhatAcquireDoes(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		for seed := range uint64(300) {
			explainRandomly(t, algorithm, rand.New(rand.NewPCG(seed, 1)))
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	})
}

// explainRandomly changes a pool in any way, and compares again and again.
func explainRandomly(t *testing.T, algorithm string, random *rand.Rand) {
	w := newQueue(t, algorithm, random.IntN(3))
	var leases []*Lease
	var waiters []*Waiter
	release := func(l *Lease) { l.Release(Outcome(random.IntN(3))) }
	defer func() {
		for _, l := range leases {
			release(l)
		}
	}()
	for range 60 {
		address := letter(random.IntN(6))
		switch random.IntN(9) {
		case 0:
			s, _ := w.Upload(ServerSpec{Address: address, Weight: 1 + random.IntN(5), MaxConnections: random.IntN(4)})
			if random.IntN(3) > 0 {
				w.SetHealth(s, passed())
			}
		case 1:
			if s := w.Find(address); s != nil && random.IntN(3) == 0 {
				w.SetHealth(s, failed())
			}
		case 2:
			if s := w.Find(address); s != nil && random.IntN(3) == 0 {
				w.Drain(s)
			}
		case 3:
			if len(leases) > 0 {
				i := random.IntN(len(leases))
				release(leases[i])
				leases = append(leases[:i], leases[i+1:]...)
			}
		case 4:
			waiter := &Waiter{Granted: func(l Lease, _ error) { leases = append(leases, &l) }}
			if w.Await(waiter) == nil {
				waiters = append(waiters, waiter)
			}
		case 5:
			if len(waiters) > 0 && random.IntN(2) == 0 {
				w.Cancel(waiters[random.IntN(len(waiters))])
			}
		default:
			before := fmt.Sprint(w.Explain())
			said := w.Explain()
			if again := fmt.Sprint(said); again != before {
				t.Fatalf("explaining has changed\n%s\nto\n%s", before, again)
			}
			lease, err := w.Acquire(nil)
			got := ""
			if err == nil {
				got = lease.Server().Address()
				leases = append(leases, &lease)
			}
			if got != said.Next || err != said.Err {
				t.Fatalf("acquired %q, %v; explained %+v", got, err, said)
			}
		}
	}
}

func TestExplainSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newQueue(t, LeastConnections, 5)
		w.ready("a", 2, 3)
		w.ready("b", 1, 0)
		w.acquire(4) // a, b and a twice
		w.want(3, 1)
		time.Sleep(time.Second)
		w.SetHealth(w.ready("c", 1, 0), failed())
		w.Drain(w.ready("d", 1, 0))
		w.Upload(ServerSpec{Address: "e", Weight: 7})
		want := func(next string, err error, servers ...string) {
			t.Helper()
			e := w.Explain()
			same(t, "next", e.Next, next)
			same(t, "error", e.Err, err)
			for i, s := range e.Servers {
				same(t, s.Address, fmt.Sprintf("%s %s %d/%g full %t", s.Address, s.Standing, s.Active, s.Score, s.Full), servers[i])
			}
		}
		c, d, e := "c not healthy 0/0 full false", "d draining 0/0 full false", "e unchecked 0/0 full false"
		want("b", nil, "a ready 3/1.5 full true", "b ready 1/1 full false", c, d, e)
		if reason := w.Explain().Servers[2].Health.Reason; reason != "connection refused" {
			t.Errorf("c is not healthy for %q", reason)
		}
		w.ready("b", 1, 1)
		want("", ErrFull, "a ready 3/1.5 full true", "b ready 1/1 full true", c, d, e)
		waiter := &Waiter{Granted: func(l Lease, _ error) { w.held["a"] = append(w.held["a"], &l) }}
		same(t, "await", w.Await(waiter), nil)
		same(t, "queue", fmt.Sprint(w.Explain().Queued, " of ", w.Explain().QueueLength), "1 of 5")
		w.release("a")
		same(t, "queue", w.Explain().Queued, 0)
		want("", ErrFull, "a ready 3/1.5 full true", "b ready 1/1 full true", c, d, e)
		w.SetHealth(w.Find("a"), failed())
		w.SetHealth(w.Find("b"), failed())
		want("", ErrUnchecked, "a not healthy 3/1.5 full false", "b not healthy 1/1 full false", c, d, e)
		w.SetHealth(w.Find("e"), failed())
		want("", ErrNoneReady, "a not healthy 3/1.5 full false", "b not healthy 1/1 full false", c, d, "e not healthy 0/0 full false")
	})
}

func TestExplainTellsRetries(t *testing.T) {
	w := start(t, LeastConnections, 1, 1)
	tried := &Tried{}
	tried.Add(w.Find("a"))
	for left := budgetLeast; left >= 0; left-- {
		same(t, "left", w.Explain().RetriesLeft, left)
		same(t, "retry", w.Retry(tried, false), left > 0)
	}
	same(t, "left", w.Explain().RetriesLeft, 0)
}
