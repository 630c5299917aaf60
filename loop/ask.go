package loop

import (
	"context"
	"errors"
)

// ErrStopped is what asking a loop comes to that has ended.
var ErrStopped = errors.New("the event loop has ended")

// Ask calls f for each of some loops, by its index and on the loop, and returns what
// came of it, in no order. A loop that hangs in a handler answers when it goes on:
// after an error, because ctx has ended before or a loop has, some answers are missing.
// f may still be called then.
func Ask[T any](ctx context.Context, loops []*Loop, f func(i int) T) (all []T, err error) {
	answers := make(chan T, len(loops)) // has room for all: no loop waits for who asks
	for i, l := range loops {
		if !l.Post(func() { answers <- f(i) }) {
			return nil, ErrStopped
		}
	}
	for range loops {
		select {
		case a := <-answers:
			all = append(all, a)
		case <-ctx.Done():
			return all, ctx.Err()
		}
	}
	return all, nil
}
