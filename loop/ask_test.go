package loop

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
)

// Every loop answers for itself; one that hangs is not waited for after ctx has ended,
// and one that has ended is told of.
func TestAsk(t *testing.T) {
	var loops []*Loop
	for range 3 {
		l, err := New(testIO(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Stop)
		loops = append(loops, l)
	}
	twice := func(i int) int { return 2 * i }
	all, err := Ask(t.Context(), loops, twice)
	if slices.Sort(all); !slices.Equal(all, []int{0, 2, 4}) || err != nil {
		t.Errorf("got %v, error %v", all, err)
	}

	hangs, goOn := make(chan struct{}), make(chan struct{})
	loops[1].Post(func() { close(hangs); <-goOn })
	<-hangs
	ctx, cancel := context.WithCancel(t.Context())
	all, err = Ask(ctx, loops, func(i int) int {
		if i == 2 {
			cancel()
		}
		return i
	})
	if !errors.Is(err, context.Canceled) || slices.Contains(all, 1) {
		t.Errorf("got %v, error %v", all, err)
	}
	close(goOn)

	loops[0].Stop()
	if _, err := Ask(t.Context(), loops, twice); !errors.Is(err, ErrStopped) {
		t.Errorf("error is %v", err)
	}
}
