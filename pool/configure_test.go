package pool

import (
	"strings"
	"testing"
)

// Another algorithm is that of the very next choice. Leases, counts and totals stay.
func TestConfigureChangesTheAlgorithm(t *testing.T) {
	w := start(t, LeastConnections, 1, 1, 1)
	w.acquire(3)
	w.release("bc")
	w.want(1, 0, 0)
	if err := w.Configure(Options{Algorithm: RoundRobin}); err != nil {
		t.Fatal(err)
	}
	if w.Algorithm() != RoundRobin {
		t.Errorf("the algorithm is %q", w.Algorithm())
	}
	if order := w.turns(6); strings.Count(order, "a") != 2 {
		t.Errorf("the order is %q, in which a, the busiest, has not its two turns", order)
	}
	w.want(1, 0, 0)
	if err := w.Configure(Options{}); err != nil || w.Algorithm() != LeastConnections {
		t.Fatalf("the algorithm is %q, error %v, want the default", w.Algorithm(), err)
	}
	if order := w.turns(6); strings.Contains(order, "a") {
		t.Errorf("the order is %q, in which a is not the least busy", order)
	}
	same(t, "totals", w.totals(), []int64{3, 6, 6})
}

// What cannot be leaves the pool as it was, and those who wait where they are.
func TestConfigureToWhatCannotBeChangesNothing(t *testing.T) {
	w := newQueue(t, RoundRobin, 1)
	w.ready("a", 1, 1)
	w.acquire(1)
	granted := w.waits(t)
	for _, o := range []Options{
		{Algorithm: "fastest"},
		{QueueLength: -1},
		{QueueLength: 9, Retries: &Retries{Attempts: MaxTries}},
		{QueueLength: 9, Retries: &Retries{Percent: 101}},
	} {
		if err := w.Configure(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	if w.Algorithm() != RoundRobin {
		t.Errorf("the algorithm is %q", w.Algorithm())
	}
	if err := w.Await(&Waiter{}); err != ErrQueueFull {
		t.Errorf("the second to wait: %v, want the queue full at 1", err)
	}
	w.release("a")
	lease := <-granted
	lease.Release(Served)
	w.want(0)
}

// waits has somebody wait, and returns where the lease will come.
func (w *world) waits(t *testing.T) (granted chan Lease) {
	t.Helper()
	granted = make(chan Lease, 1)
	if err := w.Await(&Waiter{Granted: func(l Lease, err error) {
		if err != nil {
			t.Errorf("told %v", err)
		}
		granted <- l
	}}); err != nil {
		t.Fatal(err)
	}
	return granted
}

// A queue that becomes shorter keeps those who wait, in their order, and lets nobody
// else in before there is room by the new length.
func TestConfigureChangesTheQueue(t *testing.T) {
	w := newQueue(t, LeastConnections, 3)
	w.ready("a", 1, 1)
	w.acquire(1)
	var queue []chan Lease
	for range 3 {
		queue = append(queue, w.waits(t))
	}
	wantFull := func() {
		t.Helper()
		if err := w.Await(&Waiter{}); err != ErrQueueFull {
			t.Errorf("with %d in the queue: %v, want it full", w.Queued(), err)
		}
	}
	if err := w.Configure(Options{QueueLength: 2}); err != nil {
		t.Fatal(err)
	}
	wantFull()
	w.release("a")
	first := <-queue[0]
	wantFull() // two wait
	first.Release(Served)
	second := <-queue[1]
	queue = append(queue, w.waits(t))
	wantFull()
	if err := w.Configure(Options{QueueLength: 3}); err != nil {
		t.Fatal(err)
	}
	queue = append(queue, w.waits(t))
	if err := w.Configure(Options{}); err != nil {
		t.Fatal(err)
	}
	wantFull()
	second.Release(Served)
	for _, next := range queue[2:] {
		lease := <-next
		lease.Release(Served)
	}
	same(t, "queued", w.Queued(), 0)
	w.want(0)
}

// A server that is given more places has those who wait served at once.
func TestALimitThatIsRaisedServesTheQueue(t *testing.T) {
	w := newQueue(t, LeastConnections, 2)
	server := w.ready("a", 1, 1)
	w.acquire(1)
	first, second := w.waits(t), w.waits(t)
	w.Upload(ServerSpec{Address: "a", MaxConnections: 2})
	one := <-first
	w.want(2)
	if len(second) > 0 {
		t.Error("more are served than there are places")
	}
	w.Upload(ServerSpec{Address: "a", MaxConnections: 1})
	one.Release(Served)
	if len(second) > 0 || server.Active() != 1 {
		t.Error("somebody is served beyond a limit that was lowered")
	}
	w.release("a")
	last := <-second
	last.Release(Served)
	w.want(0)
}

// How many may be tried changes for those who are about to ask.
func TestConfigureChangesTheRetries(t *testing.T) {
	w := start(t, LeastConnections, 1, 1, 1)
	tried := &Tried{}
	tried.Add(w.Find("a"))
	for _, attempts := range []int{1, 0, 7} {
		if err := w.Configure(Options{Retries: &Retries{Attempts: attempts}}); err != nil {
			t.Fatal(err)
		}
		if may := w.Retry(tried, false); may != (attempts > 0) {
			t.Errorf("with %d attempts: retry %t", attempts, may)
		}
	}
}
