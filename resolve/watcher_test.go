package resolve

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"fulcrum/pool"
)

const halfMinute = 30 * time.Second

// A name moves to another address, and traffic with it within an interval.
func TestANameMoves(t *testing.T) {
	inVirtualTime(t, halfMinute, func(t *testing.T, w *world) {
		w.answers("app.example", "192.0.2.1")
		s := w.upload("app.example:80", "192.0.2.1:80")
		pass(10 * time.Minute)
		w.leads(s, "192.0.2.1:80")
		if suspect(s) {
			t.Error("to be checked although it stays where it is")
		}
		w.logged()

		w.answers("app.example", "192.0.2.7", "192.0.2.8")
		pass(33 * time.Second)
		w.leads(s, "192.0.2.7:80")
		if !suspect(s) {
			t.Error("not to be checked at its new address")
		}
		w.logged(`level=INFO msg="server's name leads elsewhere" pool=web server=app.example:80 address=192.0.2.7:80 before=192.0.2.1:80`)
	})
}

// Resolvers turn the answers round from one lookup to the next.
func TestTheOrderOfAnswersMovesNobody(t *testing.T) {
	inVirtualTime(t, halfMinute, func(t *testing.T, w *world) {
		w.answers("app.example", "192.0.2.1", "192.0.2.2")
		s := w.upload("app.example:80", "192.0.2.2:80")
		for i := range 20 {
			if i%2 == 0 {
				w.answers("app.example", "192.0.2.2", "192.0.2.3", "192.0.2.1")
			} else {
				w.answers("app.example", "192.0.2.1", "2001:db8::1", "192.0.2.2")
			}
			pass(33 * time.Second)
			w.leads(s, "192.0.2.2:80")
		}
		w.logged()
		if suspect(s) {
			t.Error("to be checked although it stays where it is")
		}
	})
}

// The resolver fails for an hour, and answers that the name is empty for another.
func TestTheLastGoodAddressIsKept(t *testing.T) {
	inVirtualTime(t, halfMinute, func(t *testing.T, w *world) {
		s := w.upload("app.example:80", "192.0.2.1:80")
		pass(time.Hour)
		w.leads(s, "192.0.2.1:80")
		w.logged(`level=WARN msg="server's name could not be resolved" pool=web server=app.example:80 error="lookup app.example: server misbehaving" address=192.0.2.1:80`)
		w.answers("app.example")
		pass(time.Hour)
		w.leads(s, "192.0.2.1:80")
		w.answers("app.example", "0.0.0.0")
		pass(time.Hour)
		w.leads(s, "192.0.2.1:80")
		w.logged()
		if suspect(s) {
			t.Error("to be checked although it stays where it is")
		}

		w.answers("app.example", "192.0.2.9", "192.0.2.1")
		pass(33 * time.Second)
		w.leads(s, "192.0.2.1:80")
		w.logged(`level=INFO msg="server's name is resolved" pool=web server=app.example:80 address=192.0.2.1:80`)
		w.fails("app.example")
		pass(33 * time.Second)
		w.answers("app.example", "192.0.2.9")
		pass(33 * time.Second)
		w.leads(s, "192.0.2.9:80")
		w.logged(`level=WARN msg="server's name could not be resolved" pool=web server=app.example:80 error="lookup app.example: server misbehaving" address=192.0.2.1:80`,
			`level=INFO msg="server's name is resolved" pool=web server=app.example:80 address=192.0.2.9:80`)
	})
}

// A name that could not be resolved at start is tried again soon, then less and
// less often, until it is.
func TestANameThatIsNotKnownYet(t *testing.T) {
	inVirtualTime(t, halfMinute, func(t *testing.T, w *world) {
		begun := time.Now()
		s := w.upload("app.example:80", "")
		pass(5 * time.Minute)
		w.leads(s, "none")
		before := 0.0
		for i, at := range w.lookups("app.example", begun) {
			want := min(float64(int(1)<<i), 30)
			if waited := at - before; waited < .9*want-1e-9 || waited > 1.1*want+1e-9 {
				t.Errorf("lookup %d came after another %v seconds, want %v", i, waited, want)
			}
			before = at
		}
		w.logged(`level=WARN msg="server's name could not be resolved" pool=web server=app.example:80 error="lookup app.example: server misbehaving" address=none`)

		w.answers("app.example", "2001:db8::1")
		pass(33 * time.Second)
		w.leads(s, "[2001:db8::1]:80")
		if !suspect(s) {
			t.Error("not to be checked at once")
		}
		w.logged(`level=INFO msg="server's name is resolved" pool=web server=app.example:80 address=[2001:db8::1]:80`)
	})
}

func TestAShortIntervalBoundsTheRetries(t *testing.T) {
	inVirtualTime(t, 200*time.Millisecond, func(t *testing.T, w *world) {
		begun := time.Now()
		w.upload("app.example:80", "")
		pass(10 * time.Second)
		if n := len(w.lookups("app.example", begun)); n < 45 || n > 56 {
			t.Errorf("%d lookups in 10 seconds, want about 50", n)
		}
	})
}

func TestLookupsAreNotInStep(t *testing.T) {
	inVirtualTime(t, halfMinute, func(t *testing.T, w *world) {
		begun := time.Now()
		firsts := map[float64]bool{}
		const servers = 8
		for i := range servers {
			host := fmt.Sprintf("%c.example", 'a'+i)
			w.answers(host, "192.0.2.1")
			w.upload(host+":80", "192.0.2.1:80")
		}
		pass(time.Hour)
		for i := range servers {
			at := w.lookups(fmt.Sprintf("%c.example", 'a'+i), begun)
			firsts[at[0]] = true
			var waits []float64
			for j := range len(at) - 1 {
				waits = append(waits, at[j+1]-at[j])
			}
			least, most := slices.Min(waits), slices.Max(waits)
			if at[0] > 30 || least < 27-1e-9 || most > 33+1e-9 || most-least < 1 {
				t.Errorf("first after %v seconds, then every %v to %v", at[0], least, most)
			}
		}
		if len(firsts) != servers {
			t.Errorf("%d servers looked up first at only %d times", servers, len(firsts))
		}
	})
}

// A resolver that never answers costs a bounded number of lookups, each of a
// bounded time, and keeps nobody from stopping.
func TestAResolverThatHangs(t *testing.T) {
	inVirtualTime(t, halfMinute, func(t *testing.T, w *world) {
		w.slow(24 * time.Hour)
		begun := time.Now()
		s := w.upload("app.example:80", "")
		pass(1100*time.Millisecond + 4900*time.Millisecond)
		at := w.lookups("app.example", begun)
		if len(at) != 1 {
			t.Fatalf("looked up at %v", at)
		}
		pass(time.Second)
		w.logged(`level=WARN msg="server's name could not be resolved" pool=web server=app.example:80 error="context deadline exceeded" address=none`)
		for i := range 3 * maxLookups {
			w.upload(fmt.Sprintf("%d.example:80", i), "")
		}
		pass(2 * time.Second)
		if w.most != maxLookups {
			t.Errorf("up to %d lookups at the same time, want %d", w.most, maxLookups)
		}
		stopping := time.Now()
		w.Stop()
		if took := time.Since(stopping); took != 0 {
			t.Errorf("stopped after %v", took)
		}
		w.leads(s, "none")
		w.log.Reset()
	})
}

// No lookup takes longer than the interval.
func TestAnIntervalBoundsALookup(t *testing.T) {
	inVirtualTime(t, time.Second, func(t *testing.T, w *world) {
		w.slow(1500 * time.Millisecond)
		w.answers("app.example", "192.0.2.2")
		s := w.upload("app.example:80", "192.0.2.1:80")
		pass(2 * time.Minute)
		w.leads(s, "192.0.2.1:80")
		w.slow(900 * time.Millisecond)
		pass(4 * time.Second)
		w.leads(s, "192.0.2.2:80")
	})
}

func TestReconcile(t *testing.T) {
	inVirtualTime(t, halfMinute, func(t *testing.T, w *world) {
		begun := time.Now()
		for _, host := range []string{"a.example", "b.example"} {
			w.answers(host, "192.0.2.1")
		}
		w.upload("192.0.2.1:80", "192.0.2.1:80")
		w.upload("[2001:db8::1]:80", "[2001:db8::1]:80")
		w.upload("unix:/run/app.sock", "")
		a, b := w.upload("a.example:80", "192.0.2.1:80"), w.upload("b.example:80", "192.0.2.1:80")
		twin := w.upload("a.example:81", "192.0.2.1:81")
		pass(10 * time.Minute)
		w.Reconcile() // nothing changed
		if len(w.asked) != 2 || w.watched.Running() != 3 {
			t.Errorf("looked up %v for %d servers", w.asked, w.watched.Running())
		}

		w.answers("a.example", "192.0.2.2")
		w.remove(a)
		pass(33 * time.Second)
		w.leads(a, "192.0.2.1:80")
		w.leads(twin, "192.0.2.2:81")
		w.remove(twin)
		synctest.Wait()
		before := len(w.lookups("a.example", begun))
		pass(time.Hour)
		if n := len(w.lookups("a.example", begun)); n != before {
			t.Errorf("a was removed and looked up %d times after that", n-before)
		}
		if n := len(w.lookups("b.example", begun)); n < 100 {
			t.Errorf("b was looked up %d times in an hour", n)
		}

		again := w.upload("a.example:80", "192.0.2.1:80")
		pass(33 * time.Second)
		w.leads(again, "192.0.2.2:80")
		w.remove(b)
		w.Stop()
		w.Reconcile()
		w.upload("late.example:80", "")
		if w.watched.Running() != 1 {
			t.Errorf("%d servers are looked up after Stop", w.watched.Running())
		}
		w.log.Reset()
	})
}

// remove takes a server out and has its lookups ended.
func (w *world) remove(s *pool.Server) {
	w.Drain(s)
	w.RemoveDrained(s)
	w.Reconcile()
}

// A server is removed in the middle of a lookup: what comes of it is not told
// to the pool, nor to anybody.
func TestRemovedInTheMiddleOfALookup(t *testing.T) {
	inVirtualTime(t, halfMinute, func(t *testing.T, w *world) {
		w.slow(4 * time.Second)
		w.answers("app.example", "192.0.2.2")
		s := w.upload("app.example:80", "")
		pass(2 * time.Second)
		if w.under != 1 {
			t.Fatalf("%d lookups are under way", w.under)
		}
		w.remove(s)
		pass(time.Hour)
		w.leads(s, "none")
		w.logged()
	})
}
