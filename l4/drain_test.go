package l4

import (
	"context"
	"errors"
	"testing"
	"time"

	"fulcrum/pool"
)

// CloseAll ends what is relayed and what is still looking for its way; who comes later
// is served.
func TestCloseAll(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	passes := w.unchecked()
	w.start()
	waiting := w.dial()
	eventually(t, "it waits", func() bool { return w.Stats().Accepted == 1 })
	closeAll := func(last *client) {
		t.Helper()
		w.CloseAll()
		last.wantClosed()
		if _, _, err := w.Remaining(t.Context()); err != nil { // the other loop has closed, too
			t.Fatal(err)
		}
	}
	closeAll(waiting)
	passes()
	relayed := w.dial()
	relayed.wantEcho()
	closeAll(relayed)
	w.wantActive(0)
	if ends := w.Stats().Ends; ends[Drained] != 2 {
		t.Errorf("ended as %v", ends)
	}
	w.dial().wantEcho()
}

func TestRemaining(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	w.start()
	patient, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	remains := func() (connections int64, oldest time.Duration) {
		t.Helper()
		connections, oldest, err := w.Remaining(patient)
		if err != nil {
			t.Fatal(err)
		}
		return connections, oldest
	}
	if n, oldest := remains(); n != 0 || oldest != 0 {
		t.Errorf("%d and %v of nothing", n, oldest)
	}
	var all []*client
	for range 3 {
		all = append(all, w.dial())
		all[len(all)-1].wantEcho()
	}
	eventually(t, "they are some milliseconds old", func() bool {
		n, oldest := remains()
		return n == 3 && oldest > 5*time.Millisecond && oldest < time.Minute
	})
	for _, c := range all {
		c.Close()
	}
	eventually(t, "nothing remains", func() bool { n, oldest := remains(); return n == 0 && oldest == 0 })

	release := w.hold()
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := w.Remaining(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error of loops that hang: %v", err)
	}
	release()
}
