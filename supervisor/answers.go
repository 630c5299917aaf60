package supervisor

import (
	"context"

	"fulcrum/loop"
)

// Answers asks every event loop for a sign of life and reports whether all have
// given one: false once ctx has ended before, or a loop has. A loop that hangs in
// a handler gives none until it goes on, however long that takes.
func (s *Supervisor) Answers(ctx context.Context) bool {
	_, err := loop.Ask(ctx, s.current.Load().loops, func(int) struct{} { return struct{}{} })
	return err == nil
}
