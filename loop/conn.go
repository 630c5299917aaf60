package loop

import (
	"time"

	"golang.org/x/sys/unix"
)

// A Handler is told what happens on a connection, on the connection's loop, one
// call at a time. After Close or Abort no more calls come.
type Handler interface {
	// Connected: the connection that Dial began stands, or err says why not
	// and it is closed already.
	Connected(c *Conn, err error)
	// Data has come in. The bytes are on loan until Data returns; Send may be
	// given them, it takes what it must keep.
	Data(c *Conn, b []byte)
	// Spliced: n bytes have come in and gone to the connection given to SpliceTo,
	// as if Data had passed them to its Send.
	Spliced(c *Conn, n int)
	// Ended: the other side has sent all it will send. This side may go on.
	Ended(c *Conn)
	// Sent: after Unsent told of bytes, all have gone out by now, or have been
	// dropped because the connection broke down; then Failed is still to come.
	Sent(c *Conn)
	// Failed: the connection was reset or broke down, and is closed already.
	// With ErrPanicked it may come even after Close.
	Failed(c *Conn, err error)
	// Expired: the time given to SetTimer is over.
	Expired(c *Conn)
}

// A Conn is one connected (or connecting) stream socket on a loop. Whoever
// accepted, adopted or dialled it closes it, by Close or Abort, unless Failed or
// a failed Connected came first.
type Conn struct {
	loop    *Loop
	handler Handler
	fd      int32 // -1 once closed
	slot    int32
	timer   timer

	operations

	loopbackPort uint16 // dialled on loopback, where a socket can connect to itself; else 0

	*outgoing
	failure unix.Errno // why sending failed; told when reading has come to its end

	spliceTo   *Conn // where bulk may go without passing through the process,
	spliceLeft int64 // and how much of it

	direct     bool // read and written when it is ready to be; always so over epoll
	connecting bool // Connected is still to come
	readable   bool // there may be something to read
	writable   bool // the socket may take more
	hangup     bool // an end, an error or urgent data is to be read, or it is a unix socket: a short read may leave something
	broken     bool // the kernel said that an error is to be read
	paused     bool // the handler wants no data
	frozen     bool // it is told of none, whether it wants any or not
	ended      bool // the end was read
	endWanted  bool // CloseWrite was called; done once unsent is empty
	retired    bool // given back by Recycle
	queued     bool // in the loop's list for the next turn
	bulk       bool // so much comes in that splicing pays
}

const connEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET

// Adopt makes a connection of a non-blocking connected socket, which from then
// on belongs to the loop. It begins paused. On error the socket is closed.
func (l *Loop) Adopt(fd int, h Handler) (*Conn, error) {
	c, err := l.adopt(fd, h)
	if err != nil {
		rawClose(fd)
	}
	return c, err
}

func (l *Loop) adopt(fd int, h Handler) (*Conn, error) {
	c := l.newConn()
	*c = Conn{loop: l, handler: h, fd: int32(fd), paused: true}
	c.timer.owner = c
	if err := l.poller.adopt(c); err != nil {
		return nil, err
	}
	return c, nil
}

// Loop returns the loop that the connection lives on.
func (c *Conn) Loop() *Loop { return c.loop }

// SetHandler hands the connection over to another handler.
func (c *Conn) SetHandler(h Handler) { c.handler = h }

// Pause stops Data and Ended until Resume, so that the sender feels the
// back-pressure. A reset may go unnoticed meanwhile.
func (c *Conn) Pause() { c.paused = true }

// still reports whether the handler is to be told of nothing that comes in.
func (c *Conn) still() bool { return c.paused || c.frozen }

// Resume ends a Pause, or begins reading at all.
func (c *Conn) Resume() {
	c.paused = false
	switch {
	case c.readable, c.holdsReceived():
		c.enqueue()
	default:
		c.arm()
	}
}

// Close closes the connection; what is still unsent is dropped. Closing a
// closed connection does nothing.
func (c *Conn) Close() {
	if c.fd < 0 {
		return
	}
	c.loop.timers.stop(&c.timer)
	c.dropUnsent()
	for !c.stored.empty() {
		buffer, _ := c.loop.ring.unstore(&c.stored)
		c.loop.ring.giveBuffer(buffer)
	}
	c.loop.poller.closed(int(c.fd), c.slot, c.inFlight)
	c.fd = -1
}

// Abort closes the connection by a reset (RFC 9293, section 3.5.2). Unix sockets
// have none: there the other side sees an end.
func (c *Conn) Abort() {
	if c.fd >= 0 {
		rawResetOnClose(int(c.fd))
		c.Close()
	}
}

// SetTimer has Expired called after d, once. It replaces the time set before.
func (c *Conn) SetTimer(d time.Duration) {
	if c.fd >= 0 {
		c.loop.timers.start(&c.timer, c.loop.now+d)
	}
}

// StopTimer ends the wait begun by SetTimer.
func (c *Conn) StopTimer() { c.loop.timers.stop(&c.timer) }

func (c *Conn) discard() { c.Close() }

func (c *Conn) expired() {
	defer c.survive()
	c.handler.Expired(c)
}

func (c *Conn) event(events uint32) {
	const end = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	c.readable = c.readable || events&(unix.EPOLLIN|end) != 0
	c.hangup = c.hangup || events&(end|unix.EPOLLPRI) != 0
	c.broken = c.broken || events&unix.EPOLLERR != 0
	c.writable = c.writable || events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0
	c.turn()
}

// turn does what can be done now, and calls the handler with what came of it.
func (c *Conn) turn() {
	defer c.survive()
	if !c.direct {
		c.proceed()
		return
	}
	if c.connecting && (c.writable || c.hangup) {
		c.connected(socketError(int(c.fd)))
	}
	if c.hasUnsent() && c.writable {
		c.flush()
	}
	if c.holdsReceived() {
		c.proceed()
	}
	if c.readable && !c.still() && !c.ended && !c.connecting && !c.holdsReceived() {
		c.read()
	}
	if c.ended && c.broken && c.failure == 0 && c.fd >= 0 {
		if err := socketError(int(c.fd)); err != nil {
			c.failure = asErrno(err)
		}
	}
	if c.ended && c.failure != 0 && c.fd >= 0 {
		c.fail(c.failure)
	}
}

// read passes on what has come in, up to the budget of one turn.
func (c *Conn) read() {
	for budget := readBudget; budget > 0 && !c.still() && c.fd >= 0; {
		if c.bulk && c.splices() {
			c.splice()
			break
		}
		n, err := rawReceive(int(c.fd), c.loop.buffer)
		if n == 0 || err != nil {
			c.readEnd(err)
			return
		}
		budget -= n
		// A read that was not filled has emptied the socket, and more will be
		// announced by an event; an end that was announced already will not.
		filled := n == len(c.loop.buffer)
		c.readable = filled || c.hangup
		c.bulk = filled && c.spliceTo != nil
		c.handler.Data(c, c.loop.buffer[:n])
		if !c.readable {
			return
		}
	}
	if c.fd >= 0 && c.readable && !c.still() {
		c.enqueue()
	}
}

// readEnd deals with a read that brought nothing: there is nothing now (EAGAIN),
// or never again (no error).
func (c *Conn) readEnd(err error) {
	switch {
	case err == unix.EAGAIN:
		c.readable = false
	case err != nil:
		c.fail(err)
	default:
		c.readable, c.ended = false, true
		if c.failure == 0 {
			c.handler.Ended(c)
		}
	}
}

func (c *Conn) fail(err error) {
	c.Close()
	c.handler.Failed(c, err)
}

// Do calls f, a function that was posted for this connection: a panic in it costs what
// one in a handler does. It is the loop's.
func (c *Conn) Do(f func()) {
	defer c.survive()
	f()
}

// survive is deferred around calls of the handler.
func (c *Conn) survive() {
	r := recover()
	if r == nil {
		return
	}
	c.loop.logPanic(r)
	c.Close()
	if c.handler != nil {
		c.loop.guarded(func() { c.handler.Failed(c, ErrPanicked) })
	}
}

func (c *Conn) enqueue() {
	if !c.queued && c.fd >= 0 {
		c.queued = true
		c.loop.unblock = append(c.loop.unblock, c)
	}
}
