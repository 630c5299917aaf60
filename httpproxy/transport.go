package httpproxy

import (
	"math"
	"time"

	"fulcrum/loop"
)

// A transport is the bytes of a connection. *loop.Conn is one, and says what the
// methods do; what comes in is told to the connection's loop.Handler, whose
// *loop.Conn this package does not look at.
type transport interface {
	Send(b []byte)
	Unsent() int
	Broken() bool
	Pending() bool
	Progress() time.Duration
	CloseWrite()
	Pause()
	Resume()
	SetTimer(d time.Duration)
	Close()
	Abort()
	Recycle()
	Do(f func())
}

const (
	mostUnsent = 32 << 10 // what a connection may owe before its source has to wait,
	bulk       = 16 << 10 // if no more than this comes at a time; else it may owe nothing
)

// full reports whether the source of what a connection is sent, n bytes just now,
// has to wait until the connection has taken it. With io_uring much of what was
// sent is on its way without being late.
func full(to transport, n int) bool {
	unsent := to.Unsent()
	return unsent > mostUnsent || unsent > 0 && n > bulk
}

// closedTransport takes the place of a connection that was closed and given back.
type closedTransport struct{}

func (closedTransport) Send([]byte)             {}
func (closedTransport) Unsent() int             { return 0 }
func (closedTransport) Broken() bool            { return true }
func (closedTransport) Pending() bool           { return false }
func (closedTransport) Progress() time.Duration { return 0 }
func (closedTransport) CloseWrite()             {}
func (closedTransport) Pause()                  {}
func (closedTransport) Resume()                 {}
func (closedTransport) SetTimer(time.Duration)  {}
func (closedTransport) Close()                  {}
func (closedTransport) Abort()                  {}
func (closedTransport) Recycle()                {}
func (closedTransport) Do(f func())             { f() }

// sockets returns the sockets under two transports, for what is done to sockets
// only.
func sockets(a, b transport) (x, y *loop.Conn, ok bool) {
	x, okX := a.(*loop.Conn)
	y, okY := b.(*loop.Conn)
	return x, y, okX && okY
}

// An alarm is a time limit on a connection that costs next to nothing to move
// away: the connection's timer goes off at some moment not after it, and is then
// set again.
type alarm struct {
	at  time.Duration // in the loop's time; 0: none
	set time.Duration // when the timer goes off; 0: it is not set
}

// start has it go off after d, in place of what was set before.
func (a *alarm) start(c transport, now, d time.Duration) {
	a.at = max(now+d, 1)
	if a.set == 0 || a.at < a.set {
		a.set = a.at
		c.SetTimer(d)
	}
}

func (a *alarm) stop() { a.at = 0 }

// left returns how long it is until it goes off.
func (a *alarm) left(now time.Duration) time.Duration {
	if a.at == 0 {
		return math.MaxInt64
	}
	return max(a.at-now, 0)
}

// rang is to be called when the timer has gone off. It reports whether the limit
// is reached.
func (a *alarm) rang(c transport, now time.Duration) bool {
	a.set = 0
	switch {
	case a.at == 0:
		return false
	case a.at <= now:
		a.at = 0
		return true
	}
	a.set = a.at
	c.SetTimer(a.at - now)
	return false
}
