package health

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fulcrum/pool"
)

// puppet stands in for the servers in virtual time, and notes when each was
// checked.
type puppet struct {
	mu     sync.Mutex
	fails  map[string]bool             // guarded by mu
	void   bool                        // guarded by mu: this machine cannot check
	starts map[string][]time.Time      // guarded by mu
	takes  func(context.Context) error // how a check goes by; nil: no time
}

func (p *puppet) probe(ctx context.Context, s *pool.Server) finding {
	p.mu.Lock()
	p.starts[s.Address()] = append(p.starts[s.Address()], time.Now())
	fails, void := p.fails[s.Address()], p.void
	p.mu.Unlock()
	switch {
	case void:
		return finding{reason: "too many open files", void: true}
	case p.takes != nil && p.takes(ctx) != nil:
		return finding{reason: "no answer"}
	case fails:
		return finding{reason: "refused"}
	}
	return finding{reason: "connected", passed: true}
}

func (p *puppet) set(address string, fails bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails[address] = fails
}

// checks returns when a server was checked, as seconds since the given time.
func (p *puppet) checks(address string, since time.Time) (all []float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.starts[address] {
		all = append(all, at.Sub(since).Seconds())
	}
	return all
}

func takes(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// inVirtualTime runs a story with servers that are puppets.
func inVirtualTime(t *testing.T, o Options, story func(t *testing.T, w *world, p *puppet)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, o)
		p := &puppet{fails: map[string]bool{}, starts: map[string][]time.Time{}}
		w.probe = p.probe
		story(t, w, p)
	})
}

// tenSeconds is the usual check of these stories.
var tenSeconds = Options{Interval: 10 * time.Second, Timeout: 5 * time.Second, Rise: 2, Fall: 3}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func gaps(at []float64) (between []float64) {
	for i := range len(at) - 1 {
		between = append(between, at[i+1]-at[i])
	}
	return between
}

func TestIntervalIsFromStartToStart(t *testing.T) {
	for name, checkTakes := range map[string]time.Duration{"no time": 0, "three seconds": 3 * time.Second, "all it may": time.Minute} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, tenSeconds, func(t *testing.T, w *world, p *puppet) {
				p.takes = takes(checkTakes)
				begun := time.Now()
				w.upload("a")
				pass(1000 * time.Second)
				at := p.checks("a", begun)
				if at[0] != 0 {
					t.Errorf("the first check came after %vs", at[0])
				}
				between := gaps(at)
				if first := between[0]; first > 11 {
					t.Errorf("the second check came after %vs", first)
				}
				if least, most := slices.Min(between[1:]), slices.Max(between[1:]); least < 9-1e-9 || most > 11+1e-9 {
					t.Errorf("between two checks %v to %v seconds, want 9 to 11", least, most)
				}
			})
		})
	}
}

func TestServersAreNotCheckedInStep(t *testing.T) {
	inVirtualTime(t, tenSeconds, func(t *testing.T, w *world, p *puppet) {
		names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		begun := time.Now()
		for _, name := range names {
			upload(w.Pool, name)
		}
		w.Reconcile()
		pass(2000 * time.Second)
		first := map[float64]bool{}
		for _, name := range names {
			at := p.checks(name, begun)
			if at[0] != 0 {
				t.Errorf("the first check of %s came after %vs", name, at[0])
			}
			first[at[1]] = true
			if between := gaps(at[1:]); slices.Max(between)-slices.Min(between) < 1 {
				t.Errorf("the checks of %s are as regular as %v to %v", name, slices.Min(between), slices.Max(between))
			}
		}
		if len(first) != len(names) {
			t.Errorf("second checks at only %d times", len(first))
		}
	})
}

func TestASuspectIsCheckedAtOnce(t *testing.T) {
	inVirtualTime(t, tenSeconds, func(t *testing.T, w *world, p *puppet) {
		begun := time.Now()
		w.upload("a")
		pass(30 * time.Second)
		if h := w.status("a").Health; h.Since != begun || !h.At.After(begun) {
			t.Errorf("healthy since %v, want %v; checked last at %v", h.Since, begun, h.At)
		}
		count := func() int { return len(p.checks("a", begun)) }
		for soon := count(); count() == soon; { // the next one is far away then
			pass(time.Second)
		}
		pass(time.Second)
		before, suspected := count(), time.Now()
		fail(t, w)
		synctest.Wait()
		at := p.checks("a", suspected)
		if len(at) != before+1 || at[before] != 0 {
			t.Errorf("checked at %v, want a check at 0", at[before:])
		}
		if !w.status("a").Ready {
			t.Error("ejected by traffic alone")
		}
	})
}

// fail is traffic that could not connect.
func fail(t *testing.T, w *world) {
	t.Helper()
	lease, err := w.Acquire(nil)
	if err != nil {
		t.Fatal(err)
	}
	lease.Release(pool.ConnectFailed)
}

// However much traffic fails, a server is not checked more than ten times a
// second; and when traffic has stopped failing it is as before.
func TestSuspicionDoesNotFloodTheServer(t *testing.T) {
	inVirtualTime(t, tenSeconds, func(t *testing.T, w *world, p *puppet) {
		w.upload("a")
		begun := time.Now()
		for range 10000 {
			pass(time.Millisecond)
			fail(t, w)
		}
		at := p.checks("a", begun)
		if n := len(at); n < 90 || n > 101 {
			t.Errorf("%d checks in 10 seconds", n)
		}
		if least := slices.Min(gaps(at)); least < .1-1e-9 {
			t.Errorf("two checks within %v seconds", least)
		}
		before := len(at)
		pass(time.Minute)
		if n := len(p.checks("a", begun)) - before; n < 5 || n > 8 {
			t.Errorf("%d checks in the minute after", n)
		}
	})
}

// A server that dies under traffic is out long before an interval is over.
func TestADeadServerIsOutSoon(t *testing.T) {
	inVirtualTime(t, tenSeconds, func(t *testing.T, w *world, p *puppet) {
		w.upload("a")
		pass(15 * time.Second)
		p.set("a", true)
		for died := time.Now(); w.status("a").Ready; pass(time.Millisecond) {
			fail(t, w)
			if time.Since(died) > 400*time.Millisecond {
				t.Fatal("still in use after 400ms")
			}
		}
		s := w.status("a")
		if s.Health.Reason != "refused" || s.Health.Since != s.Health.At {
			t.Errorf("recorded %+v", s.Health)
		}
		p.set("a", false)
		pass(25 * time.Second)
		if !w.status("a").Ready {
			t.Error("not back after two intervals")
		}
		if since := w.status("a").Health.Since; !since.After(s.Health.Since) {
			t.Errorf("healthy since %v, unhealthy since %v", since, s.Health.Since)
		}
		if n := len(w.log.take()); n != 3 {
			t.Errorf("%d lines for three changes", n)
		}
	})
}

func TestReconcile(t *testing.T) {
	inVirtualTime(t, tenSeconds, func(t *testing.T, w *world, p *puppet) {
		begun := time.Now()
		a, b := w.upload("a"), w.upload("b")
		pass(15 * time.Second)
		w.Reconcile() // nothing changed
		synctest.Wait()
		if n := len(p.checks("a", begun)); n > 3 {
			t.Errorf("a was checked %d times in 15 seconds", n)
		}

		w.Drain(a)
		w.Reconcile()
		before := len(p.checks("a", begun))
		pass(30 * time.Second)
		if len(p.checks("a", begun)) < before+2 {
			t.Error("a draining server is not checked, it may be uploaded again")
		}

		w.remove(a)
		synctest.Wait()
		before = len(p.checks("a", begun))
		pass(time.Hour)
		if n := len(p.checks("a", begun)); n != before {
			t.Errorf("a was removed and checked %d times after that", n-before)
		}
		if n := len(p.checks("b", begun)); n < 300 {
			t.Errorf("b was checked %d times in an hour", n)
		}

		p.set("a", true)
		again := time.Now()
		if w.upload("a") == a {
			t.Fatal("the same server came back")
		}
		synctest.Wait()
		if at := p.checks("a", again); at[len(at)-1] != 0 {
			t.Error("not checked at once after it came back")
		}
		if w.status("a").Ready || !w.status("b").Ready {
			t.Error("the health of the one that was removed counts still")
		}
		w.remove(b)
	})
}

// A server is removed, and another stopped, in the middle of a check.
func TestRemovedInTheMiddleOfACheck(t *testing.T) {
	o := tenSeconds
	o.Interval, o.Timeout = 2*time.Hour, time.Hour
	inVirtualTime(t, o, func(t *testing.T, w *world, p *puppet) {
		p.takes = takes(24 * time.Hour)
		a := w.upload("a")
		w.upload("b")
		synctest.Wait()
		begun := time.Now()
		w.remove(a)
		synctest.Wait()
		w.Stop()
		if took := time.Since(begun); took != 0 {
			t.Errorf("stopped after %v", took)
		}
		if w.status("b").Health.Checked() || len(w.log.take()) != 0 {
			t.Error("a check that did not end was recorded")
		}
		w.upload("c")
		synctest.Wait()
		if n := len(p.checks("c", begun)); n != 0 {
			t.Error("checked after Stop")
		}
	})
}

// What takes longer than the timeout has failed.
func TestTimeout(t *testing.T) {
	inVirtualTime(t, tenSeconds, func(t *testing.T, w *world, p *puppet) {
		p.takes = takes(time.Hour)
		w.upload("a")
		pass(tenSeconds.Timeout)
		if h := w.status("a").Health; !h.Checked() || h.Passed || h.Took != tenSeconds.Timeout || h.Reason != "no answer" {
			t.Errorf("recorded %+v", h)
		}
	})
}
