package loop

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLoopStats(t *testing.T) {
	w := start(t)
	w.do(func() {})
	before := w.Stats()
	w.do(func() {
		for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
		}
	})
	w.do(func() {})
	after := w.Stats()
	if before.Turns < 1 || after.Turns < before.Turns+2 || after.Pauses != 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	// Others may have had the processor, but not without it being told.
	if busy := after.CPU + after.Queued - before.CPU - before.Queued; after.CPU == 0 || busy < 20*time.Millisecond {
		t.Errorf("busy for %v of 50 ms", busy)
	}
	time.Sleep(50 * time.Millisecond)
	if idle := w.Stats().CPU - after.CPU; idle > 25*time.Millisecond {
		t.Errorf("%v of processor time while it waits", idle)
	}
}

// A loop that has no descriptors for those who come says how often it paused.
func TestPausesAreCounted(t *testing.T) {
	w := start(t)
	ln, _ := w.listen(&accepting{stopped: make(chan struct{})})
	for n := range int64(2) {
		if got := w.Stats().Pauses; got != n {
			t.Errorf("%d pauses, want %d", got, n)
		}
		w.do(func() { ln.rest(unix.EMFILE) })
	}
}
