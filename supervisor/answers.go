package supervisor

import "context"

// Answers asks every event loop for a sign of life and reports whether all have
// given one: false once ctx has ended before, or a loop has. A loop that hangs in
// a handler gives none until it goes on, however long that takes.
func (s *Supervisor) Answers(ctx context.Context) bool {
	loops := s.current.Load().loops
	alive := make(chan struct{}, len(loops)) // has room for all: no loop waits for who asks
	for _, lp := range loops {
		if !lp.Post(func() { alive <- struct{}{} }) {
			return false
		}
	}
	for range loops {
		select {
		case <-alive:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
