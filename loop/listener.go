package loop

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	acceptBatch = 64                     // connections accepted in one turn
	acceptPause = 100 * time.Millisecond // until the next try when descriptors have run out
	drainWindow = 100 * time.Millisecond // without a connection, until all handshakes under way have ended
	sayAgain    = time.Minute            // between two messages on descriptors
)

// An AcceptHandler is told, on the loop, what happens on a listening socket.
type AcceptHandler interface {
	// Accepted gives a new connection, paused and without a handler: SetHandler
	// must be called before Accepted returns, unless the connection is closed.
	Accepted(c *Conn, from netip.AddrPort)
	// Stopped: after Drain, the last connection was accepted and the socket is
	// closed.
	Stopped(ln *Listener)
}

// A Listener is a listening socket on a loop.
type Listener struct {
	loop    *Loop
	handler AcceptHandler
	fd      int // -1 once closed
	slot    int32
	timer   timer

	draining bool
	deadline time.Duration // when a drain may end
	said     time.Duration // when it was last said that descriptors ran out; 0: never
}

// Listen accepts connections from a listening socket, which from then on belongs
// to the loop. On error the socket is closed.
func (l *Loop) Listen(socket int, h AcceptHandler) (*Listener, error) {
	ln := &Listener{loop: l, handler: h, fd: socket}
	ln.timer.owner = ln
	slot, err := l.register(socket, ln, unix.EPOLLIN)
	if err != nil {
		unix.Close(socket)
		return nil, err
	}
	ln.slot = slot
	return ln, nil
}

// Drain stops accepting without resetting anybody: new handshakes are ignored,
// the connections of those that were under way are still accepted. Stopped
// follows.
func (ln *Listener) Drain() {
	if ln.draining || ln.fd < 0 {
		return
	}
	ln.draining = true
	if err := RefuseHandshakes(ln.fd); err != nil {
		ln.loop.log.Warn("connections that come in now may be reset", "error", err)
	}
	ln.deadline = ln.loop.now + drainWindow
	ln.loop.timers.start(&ln.timer, ln.deadline)
}

// Close closes the socket at once; connections in its queue are reset. Stopped
// does not follow.
func (ln *Listener) Close() {
	if ln.fd < 0 {
		return
	}
	ln.loop.sources.remove(ln.slot)
	ln.loop.timers.stop(&ln.timer)
	unix.Close(ln.fd)
	ln.fd = -1
}

func (ln *Listener) discard() { ln.Close() }

// event accepts a batch. The socket is the one kind that is registered
// level-triggered: what a batch leaves in the queue comes up in the next turn.
func (ln *Listener) event(uint32) { ln.accept(acceptBatch) }

// accept takes connections off the queue. It reports false when descriptors have
// run out, and is called again then.
func (ln *Listener) accept(most int) bool {
	for range most {
		if ln.fd < 0 {
			break
		}
		fd, from, err := rawAccept(ln.fd)
		switch {
		case err == nil:
			ln.accepted(fd, from)
		case err == unix.EAGAIN:
			return true
		case Exhausted(err):
			ln.pause(err)
			return false
		}
		// Any other error belongs to a connection that is gone already.
	}
	return true
}

func (ln *Listener) accepted(fd int, from netip.AddrPort) {
	ln.deadline = ln.loop.now + drainWindow
	c, err := ln.loop.Adopt(fd, nil)
	if err != nil {
		ln.loop.log.Error("an accepted connection is closed", "error", err)
		return
	}
	defer c.survive()
	ln.handler.Accepted(c, from)
}

// pause leaves the queue alone until descriptors may have been freed.
func (ln *Listener) pause(err error) {
	if ln.said == 0 || ln.loop.now-ln.said > sayAgain {
		ln.said = ln.loop.now
		ln.loop.log.Warn("accepting is paused until descriptors are free again", "error", err)
	}
	rawEpollModify(ln.loop.epfd, ln.fd, ln.loop.sources.event(ln.slot, 0))
	ln.loop.timers.start(&ln.timer, ln.loop.now+acceptPause)
}

// expired ends a pause, or a drain once nothing has come in for a while.
func (ln *Listener) expired() {
	switch {
	case !ln.draining || ln.loop.now < ln.deadline:
		rawEpollModify(ln.loop.epfd, ln.fd, ln.loop.sources.event(ln.slot, unix.EPOLLIN))
		if ln.draining {
			ln.loop.timers.start(&ln.timer, ln.deadline)
		}
	case !ln.accept(2 * backlog):
		// Those left in the queue are waiting for descriptors.
	case ln.loop.now < ln.deadline:
		ln.loop.timers.start(&ln.timer, ln.deadline)
	default:
		ln.Close()
		ln.loop.guarded(func() { ln.handler.Stopped(ln) })
	}
}
