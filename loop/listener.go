package loop

import (
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
	// Admit is asked before each try to accept. False leaves the connection in the
	// kernel's queue; the handler is to Pause the listener then, and Resume it when
	// it would answer otherwise.
	Admit() bool
	// Unadmit takes an Admit back: there was nothing to accept, or no Accepted
	// comes of it.
	Unadmit()
	// Resting: descriptors have run out, and clients wait in the kernel's queue until
	// some are free again. It is told at most once a minute.
	Resting(err error)
	// Accepted gives a new connection, paused and without a handler: SetHandler
	// must be called before Accepted returns, unless the connection is closed.
	Accepted(c *Conn)
	// Stopped: after Drain, the last connection was accepted and the socket is
	// closed.
	Stopped(ln *Listener)
}

// A Listener is a listening socket on a loop.
type Listener struct {
	loop     *Loop
	handler  AcceptHandler
	fd       int // -1 once closed
	slot     int32
	inFlight int8 // operations of io_uring
	timer    timer
	file     socketFile // of a unix socket

	paused   bool // by Pause
	resting  bool // until descriptors may be free again
	draining bool
	deadline time.Duration // when a drain may end
	said     time.Duration // when it was last said that descriptors ran out; 0: never
}

// SetOptions changes the options that sockets inherit which are accepted from now on.
// It is called on the loop, and does nothing once the socket is closed.
func (ln *Listener) SetOptions(o SocketOptions) error {
	if ln.fd < 0 || ln.file.path != "" {
		return nil
	}
	if err := clearOptions(ln.fd); err != nil {
		return err
	}
	return o.set(ln.fd)
}

// Listen accepts connections from a listening socket, which from then on belongs
// to the loop. On error the socket is closed.
func (l *Loop) Listen(socket int, h AcceptHandler) (*Listener, error) {
	ln := &Listener{loop: l, handler: h, fd: socket, file: fileOf(socket)}
	ln.timer.owner = ln
	if err := l.poller.listen(ln); err != nil {
		unix.Close(socket)
		return nil, err
	}
	return ln, nil
}

// Pause leaves new connections in the kernel's queue until Resume: none is
// accepted any more, not even in the batch at hand. Pause and Resume may be
// called at any time, during a drain too.
func (ln *Listener) Pause() { ln.setPaused(true) }

// Resume ends a Pause.
func (ln *Listener) Resume() { ln.setPaused(false) }

func (ln *Listener) setPaused(paused bool) {
	if ln.paused != paused && ln.fd >= 0 {
		ln.paused = paused
		ln.watch()
	}
}

// Drain stops accepting without resetting anybody: new handshakes are ignored,
// the connections of those that were under way are still accepted; what a Pause
// leaves in the queue, after Resume. A unix socket's file is removed, so that no
// client finds it. Stopped follows.
func (ln *Listener) Drain() {
	if ln.draining || ln.fd < 0 {
		return
	}
	ln.draining = true
	if err := ln.refuse(); err != nil {
		ln.loop.log.Warn("connections that come in now may be reset", "error", err)
	}
	ln.deadline = ln.loop.now + drainWindow
	ln.loop.timers.start(&ln.timer, ln.deadline)
}

func (ln *Listener) refuse() error {
	if ln.file.path != "" {
		return ln.file.remove()
	}
	return refuseHandshakes(ln.fd)
}

// Close closes the socket at once; connections in its queue are reset. A unix
// socket's file is removed, also for those that share the socket. Stopped does
// not follow.
func (ln *Listener) Close() {
	if ln.fd < 0 {
		return
	}
	ln.loop.timers.stop(&ln.timer)
	if err := ln.file.remove(); err != nil {
		ln.loop.log.Warn("the file of a unix socket is left behind", "path", ln.file.path, "error", err)
	}
	ln.loop.poller.unlisten(ln)
	ln.fd = -1
}

func (ln *Listener) discard() { ln.Close() }

// event accepts a batch. What it leaves in the queue comes up in the next turn.
func (ln *Listener) event(uint32) { ln.accept(acceptBatch) }

// completed is told by io_uring that there is something to accept, once for
// each time that it was asked.
func (ln *Listener) completed(_ operation, _ int32, _ uint32) {
	ln.inFlight--
	if ln.fd < 0 {
		ln.loop.ring.forget(ln.slot)
		return
	}
	if ln.accepting() {
		ln.accept(acceptBatch)
	}
	ln.watch()
}

// accept takes connections off the queue. It reports false when descriptors have
// run out, and is called again then.
func (ln *Listener) accept(most int) bool {
	for range most {
		if ln.fd < 0 || ln.paused {
			break
		}
		if !ln.loop.reserve.hold(ln.loop.wake) {
			ln.rest(unix.EMFILE)
			return false
		}
		if !ln.handler.Admit() {
			break
		}
		fd, err := rawAccept(ln.fd)
		if err != nil {
			ln.handler.Unadmit()
		}
		switch {
		case err == nil:
			ln.accepted(fd)
		case err == unix.EAGAIN:
			return true
		case Exhausted(err):
			ln.rest(err)
			return false
		}
		// Any other error belongs to a connection that is gone already.
	}
	return true
}

func (ln *Listener) accepted(fd int) {
	ln.deadline = ln.loop.now + drainWindow
	c, err := ln.loop.Adopt(fd, nil)
	if err != nil {
		ln.handler.Unadmit()
		ln.loop.log.Error("an accepted connection is closed", "error", err)
		return
	}
	c.hangup = ln.file.path != ""
	defer c.survive()
	ln.handler.Accepted(c)
}

// rest leaves the queue alone until descriptors may have been freed.
func (ln *Listener) rest(err error) {
	if ln.said == 0 || ln.loop.now-ln.said > sayAgain {
		ln.said = ln.loop.now
		ln.loop.log.Warn("accepting is paused until descriptors are free again", "error", err)
		ln.handler.Resting(err)
	}
	ln.resting = true
	ln.loop.pauses.Add(1)
	ln.watch()
	ln.loop.timers.start(&ln.timer, ln.loop.now+acceptPause)
}

// watch has it told that there is something to accept, or not.
func (ln *Listener) watch() { ln.loop.poller.accept(ln) }

func (ln *Listener) accepting() bool { return ln.fd >= 0 && !ln.paused && !ln.resting }

// expired ends a rest, or a drain once nothing has come in for a while.
func (ln *Listener) expired() {
	if ln.resting {
		ln.resting = false
		ln.watch()
	}
	if ln.draining {
		ln.drained()
	}
}

// drained ends a drain if nothing is left in the queue, and otherwise looks
// again later.
func (ln *Listener) drained() {
	if ln.loop.now >= ln.deadline {
		if !ln.accept(2 * backlog) {
			return // those left in the queue are waiting for descriptors
		}
		if ln.paused && ln.Waiting() {
			ln.deadline = ln.loop.now + drainWindow
		}
	}
	switch {
	case ln.fd < 0:
	case ln.loop.now < ln.deadline:
		ln.loop.timers.start(&ln.timer, ln.deadline)
	default:
		ln.Close()
		ln.loop.guarded(func() { ln.handler.Stopped(ln) })
	}
}

// Waiting reports whether there are connections in the kernel's queue, or may be.
// It asks the kernel.
func (ln *Listener) Waiting() bool {
	if ln.fd < 0 {
		return false
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(ln.fd), Events: unix.POLLIN}}, 0)
	return n > 0 || err != nil
}
