package pool

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNewKnowsItsAlgorithms(t *testing.T) {
	for given, want := range map[string]string{
		"":               LeastConnections,
		LeastConnections: LeastConnections,
		RoundRobin:       RoundRobin,
	} {
		p, err := New("web", Options{Algorithm: given})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "algorithm", p.Algorithm(), want)
		same(t, "name", p.Name(), "web")
		same(t, "servers", len(p.Servers()), 0)
	}
	p, err := New("web", Options{Algorithm: "fastest"})
	if p != nil || err == nil {
		t.Fatal("a pool was made with an unknown algorithm")
	}
	same(t, "error", err, `algorithm "fastest" is not known; use one of ["least_connections" "round_robin"]`)
}

func TestUploadCreatesThenUpdates(t *testing.T) {
	w := newWorld(t, LeastConnections)
	var old, moved net.Addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9001}, &net.UnixAddr{Name: "/run/a.sock", Net: "unix"}
	server, created := w.Upload(ServerSpec{Address: "a.test:9001", Resolved: old})
	same(t, "created", created, true)
	same(t, "weight left out", w.Status()[0].Weight, 1)
	same(t, "address", server.Address(), "a.test:9001")
	same(t, "resolved", server.Resolved(), old)

	again, created := w.Upload(ServerSpec{Address: "a.test:9001", Resolved: moved, Weight: 4, MaxConnections: 9})
	same(t, "created", created, false)
	same(t, "the same server", again == server, true)
	same(t, "resolved", server.Resolved(), moved)
	status := w.Status()
	same(t, "servers", len(status), 1)
	same(t, "weight", status[0].Weight, 4)
	same(t, "limit", status[0].MaxConnections, 9)

	same(t, "found", w.Find("a.test:9001") == server, true)
	same(t, "found", w.Find("b.test:9001") == nil, true)
}

func TestServersKeepTheirOrder(t *testing.T) {
	w := start(t, RoundRobin, 1, 1, 1)
	b := w.Find("b")
	w.Drain(b)
	w.RemoveDrained(b)
	w.ready("b", 1, 0)
	listed := w.Servers()
	var order string
	for _, s := range listed {
		order += s.Address()
	}
	same(t, "order", order, "acb")
	listed[0] = nil // a copy: the pool does not notice
	same(t, "first", w.Servers()[0].Address(), "a")
}

func TestTrafficFollowsHealth(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		w := newWorld(t, algorithm)
		a, _ := w.Upload(ServerSpec{Address: "a"})
		b, _ := w.Upload(ServerSpec{Address: "b"})
		w.wantErr(nil, ErrUnchecked)
		w.SetHealth(a, failed())
		w.wantErr(nil, ErrUnchecked) // b may still pass
		w.SetHealth(b, passed())
		w.acquire(2)
		w.want(0, 2)

		rising := failed()
		rising.Passed, rising.Reason = true, "answered 200"
		w.SetHealth(a, rising) // passed once, but not yet healthy
		w.acquire(1)
		w.want(0, 3)
		same(t, "reason", w.Status()[0].Health, rising)
		w.SetHealth(a, passed())
		w.release("bbb")
		w.acquire(4)
		w.want(2, 2)

		falling := passed()
		falling.Passed, falling.Reason = false, "timed out"
		w.SetHealth(b, falling) // failed once, but still healthy
		w.acquire(2)
		w.want(3, 3)
		same(t, "reason", w.Status()[1].Health, falling)
		w.SetHealth(b, failed())
		w.acquire(2)
		w.want(5, 3) // what is in flight on b goes on
		w.SetHealth(a, failed())
		w.wantErr(nil, ErrNoneReady)
	})
}

// Every check counts, and so does every change of a server's health.
func TestChecksAreCounted(t *testing.T) {
	w := newWorld(t, RoundRobin)
	a, _ := w.Upload(ServerSpec{Address: "a"})
	same(t, "before the first", a.Status().Checks, Checks{})
	w.SetHealth(a, failed())
	same(t, "after the first", a.Status().Checks, Checks{Ended: 1, Failed: 1, Changes: 1})
	w.SetHealth(a, failed())
	w.SetHealth(a, passed())
	w.SetHealth(a, passed())
	w.Upload(ServerSpec{Address: "a", Weight: 2})
	same(t, "in the end", a.Status().Checks, Checks{Ended: 4, Failed: 2, Changes: 2})
	same(t, "of all", w.Status()[0].Checks, a.Status().Checks)
}

func TestADrainingServerFinishesItsWork(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		w := start(t, algorithm, 1, 1)
		a, b := w.Find("a"), w.Find("b")
		w.acquire(4)
		same(t, "removed", w.RemoveDrained(a), false) // it is not draining
		same(t, "known", w.Drain(a), true)
		same(t, "known", w.Drain(a), true)
		status := w.Status()[0]
		same(t, "healthy, draining, ready", []bool{status.Health.Healthy, status.Draining, status.Ready}, []bool{true, true, false})
		w.acquire(2)
		w.want(2, 4)
		w.SetHealth(a, passed()) // checks do not end the draining
		w.acquire(1)
		w.want(2, 5)
		w.release("a")
		w.want(1, 5)

		same(t, "removed", w.RemoveDrained(a), true)
		same(t, "removed", w.RemoveDrained(a), false)
		same(t, "known", w.Drain(a), false)
		same(t, "found", w.Find("a") == nil, true)
		w.want(5)
		w.release("a") // a lease outlives its server's place in the pool
		same(t, "active", a.Active(), 0)
		w.Drain(b)
		w.wantErr(nil, ErrNoneReady)
	})
}

func TestUploadRevivesADrainingServer(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		w := start(t, algorithm, 1)
		a := w.Find("a")
		w.acquire(3)
		w.Drain(a)
		w.wantErr(nil, ErrNoneReady)
		again, created := w.Upload(ServerSpec{Address: "a", MaxConnections: 4})
		same(t, "created", created, false)
		same(t, "the same server", again == a, true)
		same(t, "removed by who began the draining", w.RemoveDrained(a), false)
		w.acquire(1) // without another check
		w.want(4)
		w.wantErr(nil, ErrFull) // its 3 from before count
		same(t, "total", w.totals(), []int64{4})
	})
}

// Who drains by what the operator says of it stays, however often that is said, and
// gets no new work on the way from one spec to another.
func TestAServerThatDrainsBySpecStays(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		w := start(t, algorithm, 1)
		a := w.Find("a")
		w.acquire(2)
		w.Upload(ServerSpec{Address: "a", Draining: true})
		w.Upload(ServerSpec{Address: "a", Draining: true, Weight: 3})
		now := a.Status()
		same(t, "draining, leaving, ready", []bool{now.Draining, now.Leaving, now.Ready}, []bool{true, false, false})
		same(t, "removed", w.RemoveDrained(a), false)
		w.wantErr(nil, ErrNoneReady)
		w.release("a")
		w.Upload(ServerSpec{Address: "a", Weight: 3})
		w.acquire(1) // without another check
		w.want(2)
		w.Drain(a)
		now = a.Status()
		same(t, "draining, leaving", []bool{now.Draining, now.Leaving}, []bool{true, true})
		same(t, "removed", w.RemoveDrained(a), true)
	})
}

func TestARemovedServerComesBackAsAnother(t *testing.T) {
	w := start(t, LeastConnections, 1)
	old := w.Find("a")
	w.acquire(2)
	w.Drain(old)
	w.RemoveDrained(old)
	fresh, created := w.Upload(ServerSpec{Address: "a"})
	same(t, "created", created, true)
	w.SetHealth(old, passed()) // says nothing of the new one
	w.wantErr(nil, ErrUnchecked)
	w.SetHealth(fresh, passed())
	w.acquire(1)
	w.want(1)
	w.release("aa")
	same(t, "active of the old", old.Active(), 0)
	w.want(1)
}

func TestReleaseCountsTheOutcomeOnce(t *testing.T) {
	w := start(t, LeastConnections, 1)
	for i, story := range []struct {
		outcome  Outcome
		failures int64
	}{{Served, 0}, {ConnectFailed, 1}, {AnswerFailed, 2}, {Served, 2}} {
		lease := w.must(nil)
		w.want(1)
		lease.Release(story.outcome)
		same(t, "server of a released lease", lease.Server() == nil, true)
		lease.Release(story.outcome)
		lease.Release(ConnectFailed)
		w.want(0)
		same(t, "total", w.totals(), []int{i + 1})
		same(t, "failures", w.Status()[0].Failures, story.failures)
	}
	var zero Lease
	zero.Release(ConnectFailed)
}

func TestAFailedConnectMakesSuspect(t *testing.T) {
	w := start(t, RoundRobin, 1, 1)
	a, b := w.Find("a"), w.Find("b")
	suspects := func() (n int) {
		for {
			select {
			case <-a.Suspect():
				n++
			default:
				return n
			}
		}
	}
	fail := func(times int, outcome Outcome) {
		var notA Tried
		notA.Add(b)
		for range times {
			w.must(&notA).Release(outcome)
		}
	}
	fail(1, ConnectFailed)
	same(t, "suspected after a failed connect", suspects(), 1)
	fail(100, ConnectFailed)
	same(t, "suspected after many", suspects(), 1)
	fail(1, ConnectFailed)
	same(t, "suspected again", suspects(), 1)
	fail(1, Served)
	fail(1, AnswerFailed)
	same(t, "suspected although it was connected to", suspects(), 0)
	same(t, "b is suspected", len(b.Suspect()), 0)
	same(t, "still ready", w.Status()[0].Ready, true)
}

// Servers that are changed together are so at one moment: who waits is spread over all
// that take work again, and does not crowd on the first.
func TestServersAreChangedTogether(t *testing.T) {
	w := newQueue(t, LeastConnections, 10)
	for _, name := range []string{"a", "b", "c"} {
		w.ready(name, 1, 1)
	}
	w.acquire(3)
	w.want(1, 1, 1)
	var got []string
	for range 3 {
		same(t, "await", w.Await(&Waiter{Granted: func(l Lease, err error) { got = append(got, l.Server().Address()) }}), nil)
	}
	w.UploadAll([]ServerSpec{{Address: "a", MaxConnections: 3}, {Address: "b", MaxConnections: 3}, {Address: "c", MaxConnections: 3}})
	slices.Sort(got)
	same(t, "who waited got", strings.Join(got, " "), "a b c")
	w.UploadAll(nil)
	w.UploadAll([]ServerSpec{{Address: "a", Draining: true}, {Address: "b", Draining: true}, {Address: "c", Draining: true}})
	w.wantErr(nil, ErrNoneReady)
}

// What is known of several servers is known at one moment: who waited is spread over all
// of them.
func TestHealthOfManyAtOneMoment(t *testing.T) {
	w := newWorld(t, LeastConnections)
	all := make(map[*Server]Health)
	for _, address := range []string{"a", "b", "c"} {
		s, _ := w.Upload(ServerSpec{Address: address})
		all[s] = Health{Healthy: true, At: time.Now()}
	}
	var got []string
	for range 3 {
		same(t, "await", w.Await(&Waiter{Granted: func(l Lease, err error) { got = append(got, l.Server().Address()) }}), nil)
	}
	w.SetHealthAll(nil)
	same(t, "who waited got", strings.Join(got, " "), "")
	w.SetHealthAll(all)
	slices.Sort(got)
	same(t, "who waited got", strings.Join(got, " "), "a b c")
}
