package health

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fulcrum/pool"
)

// OnUnhealthy hears of each server that falls, once for each fall, and when it
// hears of it nobody can choose that server any more.
func TestOnUnhealthy(t *testing.T) {
	o := tenSeconds
	var w *world
	var mu sync.Mutex
	var fallen []string // guarded by mu
	o.OnUnhealthy = func(s *pool.Server) {
		if w.status(s.Address()).Ready {
			t.Errorf("%s can still be chosen", s.Address())
		}
		mu.Lock()
		defer mu.Unlock()
		fallen = append(fallen, s.Address())
	}
	inVirtualTime(t, o, func(t *testing.T, in *world, p *puppet) {
		w = in
		told := func(want ...string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(fallen)
			if !slices.Equal(fallen, want) {
				t.Errorf("told of %q, want %q", fallen, want)
			}
			fallen = nil
		}
		p.set("never healthy", true)
		a := w.upload("a")
		w.upload("b")
		w.upload("never healthy")
		pass(5 * time.Minute)
		told()

		for range 2 {
			p.set("a", true)
			pass(time.Minute)
			told("a")
			p.set("a", false)
			pass(time.Minute)
			told()
		}

		p.set("b", true)
		pass(2 * time.Second)
		w.Drain(a)
		p.cannot(true)
		pass(time.Minute)
		told()
		p.cannot(false)
		p.set("a", true)
		pass(time.Minute)
		told("a", "b")
	})
}

// A server that is removed in the middle of the check that would have felled it.
func TestOnUnhealthyIsNotToldOfWhatIsGone(t *testing.T) {
	o := tenSeconds
	o.Fall = 1
	o.OnUnhealthy = func(*pool.Server) { t.Error("told") }
	inVirtualTime(t, o, func(t *testing.T, w *world, p *puppet) {
		a := w.upload("a")
		synctest.Wait()
		p.takes = takes(time.Hour)
		for len(p.checks("a", time.Now())) < 2 {
			pass(time.Second)
		}
		w.remove(a)
		pass(time.Hour)
	})
}
