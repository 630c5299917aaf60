package l4

import (
	"maps"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

// eventually waits for something that nobody announces.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (w *world) actives() (all []int64) {
	for _, s := range w.pool.Status() {
		all = append(all, s.Active)
	}
	return all
}

// wantActive waits until the servers have that many active.
func (w *world) wantActive(want ...int64) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !slices.Equal(w.actives(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("active %v, want %v", w.actives(), want)
		}
	}
}

// counts is what most stories look at of Stats.
type counts struct{ Accepted, Active, Refused, ToUpstream, ToClient int64 }

func (w *world) counts() counts {
	s := w.Stats()
	return counts{s.Accepted, s.Active, s.Refused(), s.ToUpstream, s.ToClient}
}

// wantStats waits until all connections have ended and compares the counts.
func (w *world) wantStats(want counts) {
	w.t.Helper()
	eventually(w.t, "no connection is active", func() bool { return w.Stats().Active == want.Active })
	if got := w.counts(); got != want {
		w.t.Errorf("counts %+v, want %+v", got, want)
	}
}

// ends are how many connections ended by each cause.
type ends map[Cause]int64

// wantEnds waits until the connections that are not active any more ended so.
func (w *world) wantEnds(want ends) {
	w.t.Helper()
	var got ends
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		got = ends{}
		for c, n := range w.Stats().Ends {
			if n > 0 {
				got[Cause(c)] = n
			}
		}
		if maps.Equal(got, want) {
			return
		}
	}
	w.t.Errorf("ended %v, want %v", got, want)
}

// leftovers returns a check that no descriptor and no goroutine has been left
// since.
func leftovers(t testing.TB) (check func()) {
	count := func() (files, goroutines int) {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all), runtime.NumGoroutine()
	}
	files, goroutines := count()
	return func() {
		t.Helper()
		eventually(t, "descriptors and goroutines are as before", func() bool {
			f, g := count()
			return f <= files && g <= goroutines
		})
	}
}
