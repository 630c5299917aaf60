package httpproxy

import (
	"errors"
	"time"

	"fulcrum/loop"
)

// farewellFor is how long the two sides of a WebSocket have to take leave.
const farewellFor = time.Second

// A farewell ends a WebSocket in the way of RFC 6455, section 7: each side is sent a
// Close frame, and both connections are closed when both have answered by one. It is
// the loop.Handler of both. What comes from either goes no further.
//
// A Close frame can only stand where another frame has ended, so that a side in the
// middle of one is told nothing; neither is one that has got a Close frame of the
// other's already.
type farewell struct {
	t     *tunnel
	ended Ending  // of the tunnel
	told  [2]bool // by side: a Close frame was sent to it
	gone  [2]bool // it will send no more
}

// leave ends the tunnel, whatever it carries: soon if it is a WebSocket whose sides can
// be told, else at once.
func (t *tunnel) leave(ended Ending) {
	if t.leaving {
		return
	}
	f := &farewell{t: t, ended: ended}
	for side := range f.told {
		passed := &t.passed[1-side]
		f.told[side] = passed.between() || passed.closed != 0
	}
	if !t.webSocket || t.c.stage == arriving || f.told == [2]bool{} || !t.pair.Leave(f) {
		t.c.close(ended)
		return
	}
	t.leaving = true
	for side, conn := range t.sides() {
		conn.SetTimer(farewellFor)
		if f.told[side] && t.passed[1-side].closed == 0 {
			conn.Send(appendClose(t.c.w.out[:0], side == upstreamSide))
		}
	}
	f.finish()
}

// finish ends the tunnel when nobody is waited for any more.
func (f *farewell) finish() {
	for side, conn := range f.t.sides() {
		if f.told[side] && !f.gone[side] && (conn.Unsent() > 0 || f.t.passed[side].closed == 0) {
			return
		}
	}
	f.t.c.close(f.ended)
}

// Data looks for a Close frame.
func (f *farewell) Data(c *loop.Conn, b []byte) {
	f.t.passed[f.t.sideOf(c)].pass(b)
	f.finish()
}

// Sent: the Close frame has gone out.
func (f *farewell) Sent(*loop.Conn) { f.finish() }

// Ended: this side takes leave without a word.
func (f *farewell) Ended(c *loop.Conn) {
	f.gone[f.t.sideOf(c)] = true
	f.finish()
}

// Failed: this side is gone, or there was a panic here.
func (f *farewell) Failed(c *loop.Conn, err error) {
	if errors.Is(err, loop.ErrPanicked) {
		f.t.c.close(InternalError)
		return
	}
	f.Ended(c)
}

// Expired: who has not answered by now does not.
func (f *farewell) Expired(*loop.Conn) { f.t.c.close(f.ended) }

// These never come: both connections stand, and nothing is spliced.
func (f *farewell) Connected(*loop.Conn, error) {}
func (f *farewell) Spliced(*loop.Conn, int)     {}
