package loop

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// freezeFor is how long connections may take to come to rest, on a loop that has
	// much to do, before they go on here.
	freezeFor = 2 * time.Second
	// freezePoll is how often it is looked whether they have.
	freezePoll = time.Millisecond
)

// A connection leaves its loop, for another one or another process, in two steps:
// Freeze, until Frozen says that nothing goes on any more, then Detach. Between
// the two what comes in waits; two connections that are frozen both can so be
// detached at one moment, with nothing on the way between them.

// Freeze has the handler told of no more Data, Spliced and Ended, as a Pause does
// but beside it, and has the kernel stop receiving. Thaw takes it back. What is
// unsent still goes out, and the connection may still fail.
func (c *Conn) Freeze() {
	if c.fd < 0 || c.frozen {
		return
	}
	c.frozen = true
	if c.receiving {
		c.loop.ring.cancelReceive(c)
	}
}

// Thaw ends a Freeze.
func (c *Conn) Thaw() {
	if c.fd < 0 || !c.frozen {
		return
	}
	c.frozen = false
	if !c.paused {
		c.Resume()
	}
	if c.leaving {
		c.enqueue()
	}
}

// Frozen reports whether the connection can be detached. Until then there is still
// something in the kernel's hands, or the connection is to be told that it failed.
func (c *Conn) Frozen() bool {
	return c.frozen && c.fd >= 0 && !c.connecting && !c.receiving && !c.Failing() &&
		(c.outgoing == nil || c.flight == nil)
}

// Failing reports whether Failed is to come, once what came in before has been told of.
// Such a connection is not Frozen before.
func (c *Conn) Failing() bool { return c.receiveError != 0 || c.failure != 0 }

// Detach takes a frozen connection off the loop without closing it. The descriptor
// is the caller's from then on. received is what had come in that the handler was not
// told of, unsent what was given to Send and not taken by the socket; who goes on
// with the descriptor is to see to both. The Conn is closed. After an error it is
// too, and so is the descriptor.
func (c *Conn) Detach() (fd int, received, unsent []byte, err error) {
	if !c.Frozen() {
		return -1, nil, nil, errors.New("the connection is not frozen")
	}
	received = c.takeReceived()
	unsent, err = c.takeUnsent()
	if err != nil {
		c.Abort()
		return -1, nil, nil, err
	}
	c.loop.timers.stop(&c.timer)
	fd = int(c.fd)
	c.loop.poller.release(c)
	c.fd = -1
	return fd, received, unsent, nil
}

// Attach makes a connection of a connected socket that was detached. It begins paused.
// On error the socket stays the caller's.
func (l *Loop) Attach(fd int, h Handler) (*Conn, error) {
	c, err := l.adopt(fd, h)
	if err != nil {
		return nil, err
	}
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	c.hangup = err != nil || family == unix.AF_UNIX
	return c, nil
}

// Reset closes a descriptor that was detached, by a reset.
func Reset(fd int) {
	rawResetOnClose(fd)
	rawClose(fd)
}

// takeReceived empties the queue of what was received.
func (c *Conn) takeReceived() (all []byte) {
	for !c.stored.empty() {
		buffer, n := c.loop.ring.unstore(&c.stored)
		all = append(all, c.loop.ring.buffer(buffer)[:n]...)
		c.loop.ring.giveBuffer(buffer)
	}
	return all
}

// takeUnsent empties what is unsent: what was spliced comes first.
func (c *Conn) takeUnsent() (all []byte, err error) {
	if c.outgoing == nil {
		return nil, nil
	}
	if p := c.pipe; p != nil && p.held > 0 {
		all = make([]byte, p.held)
		for rest := all; len(rest) > 0; {
			n, err := unix.Read(p.r, rest)
			if err != nil {
				return nil, err
			}
			rest = rest[n:]
		}
		p.held = 0
	}
	if c.unsent != nil {
		all = append(all, c.unsent[c.offset:]...)
	}
	c.dropUnsent()
	return all, nil
}

// Call has f run on the loop and waits for that. It reports whether it did: false means
// that the loop has ended. It must not be called on the loop.
func (l *Loop) Call(f func()) bool {
	done := make(chan struct{})
	if !l.Post(func() { defer close(done); f() }) {
		return false
	}
	<-done
	return true
}

// Part has connections leave the loop: freeze begins with as many as it likes, and
// detach is called again and again, until it says that none of those is left. Late, it
// is to thaw those that are still not frozen. Both run on the loop, from where Part must
// not be called.
func (l *Loop) Part(freeze func(), detach func(late bool) (left int)) {
	tick := time.NewTicker(freezePoll)
	defer tick.Stop()
	until := time.Now().Add(freezeFor)
	l.Call(freeze)
	for left := 1; left > 0; <-tick.C {
		left = 0
		l.Call(func() { left = detach(time.Now().After(until)) })
	}
}
