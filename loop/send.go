package loop

import (
	"time"

	"golang.org/x/sys/unix"
)

// outgoing is what a connection has been given to send and the socket has not
// taken yet. Only connections that have something unsent have one.
type outgoing struct {
	unsent []byte // waits, in a buffer of the loop's
	offset int    // how much of unsent has gone out meanwhile
	pipe   *pipe  // what was spliced to the connection

	progress time.Duration // when the socket last took some of it, in the loop's time

	flight       []byte // what an operation of io_uring is sending
	flightBuffer int32  // the ring's buffer that flight lies in, or noBuffer: one of the loop's
}

// outgoings is how many unused outgoing structs a loop keeps.
const outgoings = 1024

// takeOut gives the connection a place for what is unsent.
func (c *Conn) takeOut() {
	if c.outgoing != nil {
		return
	}
	l := c.loop
	if n := len(l.outgoings); n > 0 {
		c.outgoing = l.outgoings[n-1]
		l.outgoings = l.outgoings[:n-1]
		return
	}
	c.outgoing = &outgoing{flightBuffer: noBuffer}
}

// settle gives the place back when nothing is left in it.
func (c *Conn) settle() {
	o := c.outgoing
	if o == nil || o.unsent != nil || o.pipe != nil || o.flight != nil {
		return
	}
	c.outgoing, o.progress = nil, 0
	if len(c.loop.outgoings) < outgoings {
		c.loop.outgoings = append(c.loop.outgoings, o)
	}
}

// Unsent returns how many bytes given to Send the socket has not taken yet. The
// caller keeps this small by pausing the source until Sent is called.
func (c *Conn) Unsent() int {
	if c.outgoing == nil || c.fd < 0 {
		return 0
	}
	n := len(c.flight) + len(c.unsent) - c.offset
	if c.pipe != nil {
		n += c.pipe.held
	}
	c.awaited = n > 0
	return n
}

func (c *Conn) hasUnsent() bool { return c.outgoing != nil }

// Progress returns when the socket last took some of what is unsent, in the loop's
// time: 0 if nothing is unsent, or none of it was taken yet.
func (c *Conn) Progress() time.Duration {
	if c.outgoing == nil {
		return 0
	}
	return c.progress
}

// Pending reports whether there is, or may be, input that the handler has not been
// told of: more than one turn allows for had come.
func (c *Conn) Pending() bool { return c.readable || c.holdsReceived() }

// Broken reports whether sending has failed, so that Send drops what it is given.
// Failed is still to come, once the connection is not paused.
func (c *Conn) Broken() bool { return c.failure != 0 }

// Send passes bytes on: at once as far as the socket takes them, the rest as
// soon as it can. After an error they are dropped, and Failed follows once what
// the other side sent before has been read. b may be reused afterwards, except
// that bytes on loan from Data must not be changed any more.
func (c *Conn) Send(b []byte) {
	if c.fd < 0 || c.failure != 0 || len(b) == 0 {
		return
	}
	switch {
	case c.hasUnsent() || c.connecting && !c.direct:
		c.hold(b)
	case c.direct || c.loop.ring.quiet:
		c.sendNow(b)
	default:
		c.launch(b)
	}
}

// sendNow sends what the socket takes and holds the rest.
func (c *Conn) sendNow(b []byte) {
	n, err := rawSend(int(c.fd), b)
	switch {
	case err != nil:
		c.sendFailed(err)
	case n < len(b):
		c.writable = false
		c.hold(b[n:])
		c.leave()
	}
}

// hold keeps bytes until they can be sent.
func (c *Conn) hold(b []byte) {
	c.takeOut()
	if c.unsent == nil {
		c.unsent = c.loop.takeBuffer()
	}
	c.unsent = append(c.unsent, b...)
}

// CloseWrite tells the other side, once everything has been sent, that no more
// will come. Data goes on coming in.
func (c *Conn) CloseWrite() {
	c.endWanted = true
	if !c.hasUnsent() && !c.connecting && c.fd >= 0 {
		rawShutdown(int(c.fd))
	}
}

// flush sends what is unsent: what was spliced comes before what Send was given.
func (c *Conn) flush() {
	done, err := c.flushPipe()
	if done && err == nil {
		done, err = c.flushBuffer()
	}
	switch {
	case err != nil:
		c.sendFailed(err)
		if !c.ended {
			c.handler.Sent(c)
		}
	case !done:
		c.writable = false
	default:
		c.settle()
		if c.endWanted {
			rawShutdown(int(c.fd))
		}
		c.handler.Sent(c)
	}
}

// flushBuffer reports whether nothing is left of what Send was given.
func (c *Conn) flushBuffer() (done bool, err error) {
	if c.unsent == nil {
		return true, nil
	}
	n, err := rawSend(int(c.fd), c.unsent[c.offset:])
	if n > 0 {
		c.progress = c.loop.now
	}
	if c.offset += n; err != nil || c.offset < len(c.unsent) {
		return false, err
	}
	c.dropBuffer()
	return true, nil
}

// sendFailed remembers why sending failed. What the other side sent before may
// still be there to be read, so that the failure is told after it.
func (c *Conn) sendFailed(err error) {
	c.failure = asErrno(err)
	c.dropUnsent()
	c.readable, c.hangup = true, true
	c.leave()
	c.enqueue()
}

func (c *Conn) dropBuffer() {
	c.loop.giveBuffer(c.unsent)
	c.unsent, c.offset = nil, 0
}

// dropUnsent drops all but what the kernel is sending.
func (c *Conn) dropUnsent() {
	if c.outgoing == nil {
		return
	}
	if c.unsent != nil {
		c.dropBuffer()
	}
	if c.pipe != nil {
		c.loop.givePipe(c.pipe)
		c.pipe = nil
	}
	c.settle()
}

// asErrno returns what went wrong with a socket.
func asErrno(err error) unix.Errno {
	if errno, ok := err.(unix.Errno); ok {
		return errno
	}
	return unix.EIO
}

// takeBuffer returns an empty buffer that holds what is left of one read.
func (l *Loop) takeBuffer() []byte {
	if n := len(l.spare); n > 0 {
		b := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return b
	}
	return make([]byte, 0, readSize)
}

func (l *Loop) giveBuffer(b []byte) {
	if len(l.spare) < spareBuffers && cap(b) == readSize {
		l.spare = append(l.spare, b[:0])
	}
}
