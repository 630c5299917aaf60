package pool

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// notes is an observer that writes down what it is told.
type notes struct {
	lines []string
	begun time.Time
}

func (n *notes) ServerChanged(now Status, was Standing, since time.Time) {
	n.note("%s %s: %s for %v", now.Address, now.Standing, was, now.Since.Sub(since))
	if now.Ready != (now.Standing == Ready) || (now.Standing == Unhealthy) != (now.Reason == "connection refused") {
		n.note("but ready %t, reason %q", now.Ready, now.Reason)
	}
}

func (n *notes) PoolChanged(ready bool, why string) { n.note("pool ready %t: %s", ready, why) }

func (n *notes) QueueFull(refused int64, length int) { n.note("%d refused by %d", refused, length) }

func (n *notes) note(format string, args ...any) {
	n.lines = append(n.lines, fmt.Sprintf("%v ", time.Since(n.begun))+fmt.Sprintf(format, args...))
}

// want compares what was noted since the last time.
func (n *notes) want(t *testing.T, lines ...string) {
	t.Helper()
	same(t, "noted", strings.Join(n.lines, "\n"), strings.Join(lines, "\n"))
	n.lines = nil
}

// observed runs a story of an observed pool, in virtual time.
func observed(t *testing.T, o Options, story func(w *world, n *notes)) {
	synctest.Test(t, func(t *testing.T) {
		n := &notes{begun: time.Now()}
		o.Observer = n
		p, err := New("web", o)
		if err != nil {
			t.Fatal(err)
		}
		story(&world{Pool: p, t: t, held: map[string][]*Lease{}}, n)
	})
}

// Each change of standing is told once, with what it was before and since when.
func TestObserverIsToldOfServers(t *testing.T) {
	observed(t, Options{}, func(w *world, n *notes) {
		upload := func() *Server { s, _ := w.Upload(ServerSpec{Address: "a"}); return s }
		a := upload()
		n.want(t)
		time.Sleep(time.Second)
		w.SetHealth(a, passed())
		n.want(t, "1s a ready: unchecked for 1s", "1s pool ready true: 1 ready")
		w.SetHealth(a, passed())
		upload()
		if err := w.Configure(Options{Observer: n}); err != nil {
			t.Fatal(err)
		}
		n.want(t)
		time.Sleep(time.Minute)
		w.SetHealth(a, failed())
		n.want(t, "1m1s a not healthy: ready for 1m0s", "1m1s pool ready false: 1 not healthy")
		other := failed()
		other.Reason = "no answer"
		w.SetHealth(a, other)
		same(t, "decided by", w.Status()[0].Reason, "connection refused")
		time.Sleep(time.Second)
		w.Drain(a)
		w.Drain(a)
		w.SetHealth(a, passed())
		n.want(t, "1m2s a draining: not healthy for 1s")
		time.Sleep(time.Second)
		upload()
		n.want(t, "1m3s a ready: draining for 1s", "1m3s pool ready true: 1 ready")
		status := w.Status()[0]
		same(t, "stands", fmt.Sprint(status.Standing, status.Since.Sub(n.begun)), "ready 1m3s")
		w.Drain(a)
		w.RemoveDrained(a)
		n.want(t, "1m3s a draining: ready for 0s", "1m3s pool ready false: 1 draining")
	})
}

// A pool is not ready when it has lost its last ready server, or all first checks
// were in vain; before that nothing is known, and a pool without servers is as its
// config says.
func TestObserverIsToldOfThePool(t *testing.T) {
	observed(t, Options{}, func(w *world, n *notes) {
		if err := w.Configure(Options{Observer: n}); err != nil {
			t.Fatal(err)
		}
		n.want(t)
		a, _ := w.Upload(ServerSpec{Address: "a"})
		b, _ := w.Upload(ServerSpec{Address: "b"})
		w.SetHealth(a, failed())
		n.want(t, "0s a not healthy: unchecked for 0s")
		w.SetHealth(b, failed())
		n.want(t, "0s b not healthy: unchecked for 0s", "0s pool ready false: 2 not healthy")
		w.SetHealth(a, passed())
		w.SetHealth(b, passed())
		n.want(t, "0s a ready: not healthy for 0s", "0s pool ready true: 1 ready, 1 not healthy", "0s b ready: not healthy for 0s")
		w.Upload(ServerSpec{Address: "c"})
		w.Drain(a)
		w.Drain(b)
		n.want(t, "0s a draining: ready for 0s", "0s b draining: ready for 0s", "0s pool ready false: 2 draining, 1 unchecked")
		w.RemoveDrained(a)
		w.RemoveDrained(b)
		n.want(t)
	})
}

// Of a flood of refusals the first is told at once, and the others by their number.
func TestObserverIsToldOfAFullQueue(t *testing.T) {
	observed(t, Options{QueueLength: 1}, func(w *world, n *notes) {
		w.ready("a", 1, 1)
		w.acquire(1)
		n.lines = nil
		waiting := &Waiter{Granted: func(Lease, error) {}}
		same(t, "the first", w.Await(waiting), nil)
		defer w.Cancel(waiting)
		n.want(t)
		for range 1000 {
			same(t, "one more", w.Await(&Waiter{}), ErrQueueFull)
			time.Sleep(15 * time.Millisecond)
		}
		n.want(t, "0s 1 refused by 1", "10.005s 667 refused by 1")
		time.Sleep(time.Hour)
		same(t, "one more", w.Await(&Waiter{}), ErrQueueFull)
		n.want(t, "1h0m15s 333 refused by 1")
	})
}
