package loop

import (
	"time"

	"golang.org/x/sys/unix"
)

// How a connection lives on io_uring as long as it is not direct: a receive is
// always in flight and brings data in the ring's buffers, one send at a time
// takes data out, when it can straight out of the buffer that it came in. A send
// ends at once. If the socket has not taken all of it, the connection becomes
// direct, and the rest goes out when it can.

const (
	mostInTurn = readSize               // bytes received in one turn, and
	mostStored = 2                      // receive buffers that wait for a handler before the connection becomes direct
	lookAfter  = 100 * time.Millisecond // the end was read; after that long the connection is watched for an error
)

// operations is the part of a Conn that io_uring needs.
type operations struct {
	inFlight     int8 // operations that the kernel has
	stored       parcels
	turnOf       uint32 // the turn in which
	inTurn       int32  // so many bytes came in
	receiveError int32  // what receiving ended with, told after what is stored
	receiving    bool   // a receive is in flight
	starved      bool   // there was no buffer to receive into, the last time
	endCame      bool   // the end was received, to be told after what is stored
	awaited      bool   // Unsent has told of bytes: Sent is to follow
	leaving      bool   // becomes direct as soon as nothing is in flight
}

// completed takes in the result of an operation.
func (c *Conn) completed(op operation, result int32, flags uint32) {
	if flags&completionMore == 0 {
		c.inFlight--
	}
	if c.fd < 0 {
		c.leftover(op, flags)
		return
	}
	defer c.survive()
	switch op {
	case polled:
		c.pollCompleted(result, flags)
	case connected:
		c.connectCompleted(result)
	case received:
		c.receiveCompleted(result, flags)
	case sent:
		c.sendCompleted(result)
	}
}

// leftover clears up after a connection that is closed already.
func (c *Conn) leftover(op operation, flags uint32) {
	u := c.loop.ring
	if op == received && flags&completionBuffer != 0 {
		u.giveBuffer(uint16(flags >> 16))
	}
	if op == sent {
		c.dropFlight()
		c.settle()
	}
	if c.inFlight == 0 {
		u.forget(c.slot)
	}
}

func (c *Conn) pollCompleted(result int32, flags uint32) {
	switch {
	case result < 0:
		c.fail(unix.Errno(-result))
	case c.connecting:
		c.connectCompleted(0)
	case flags&completionMore == 0:
		c.loop.ring.watch(c)
		fallthrough
	default:
		c.event(uint32(result))
	}
}

func (c *Conn) connectCompleted(result int32) {
	var err error
	if result < 0 {
		err = unix.Errno(-result)
	}
	c.connected(err)
	c.depart()
	c.arm()
}

func (c *Conn) receiveCompleted(result int32, flags uint32) {
	c.receiving = flags&completionMore != 0
	if result <= 0 && flags&completionBuffer != 0 {
		c.loop.ring.giveBuffer(uint16(flags >> 16)) // nothing came, but a buffer was taken for it
	}
	switch {
	case result > 0:
		c.starved = false
		c.came(uint16(flags>>16), int(result))
	case result == 0:
		c.endCame = true
	case result == -int32(unix.ENOBUFS):
		c.starve()
		return
	case result == -int32(unix.ECANCELED), result == -int32(unix.EINTR), result == -int32(unix.EAGAIN):
	default:
		c.receiveError = -result
	}
	c.proceed()
}

// starve asks for more buffers. Without any the connection has another try in
// the next turn, when others have given theirs back, and then does without them.
func (c *Conn) starve() {
	if !c.loop.ring.offerBuffers() && c.starved {
		c.leave()
	}
	c.starved = true
	c.enqueue()
}

// came passes data on, or keeps it until the handler wants it; then more comes
// in than can be passed on.
func (c *Conn) came(buffer uint16, n int) {
	u := c.loop.ring
	much := c.tookMuch()
	if !c.still() && c.stored.empty() && !much {
		u.lend(c, buffer, n)
		return
	}
	u.store(&c.stored, buffer, n)
	if c.stored.count >= mostStored || much {
		c.bulk = c.spliceTo != nil
		c.leave()
	}
}

// tookMuch reports whether the others on the loop are to have their turns.
func (c *Conn) tookMuch() bool {
	if now := uint32(c.loop.turns.Load()); c.turnOf != now {
		c.turnOf, c.inTurn = now, 0
	}
	return c.inTurn >= mostInTurn
}

// leave makes the connection direct, if it is not, as soon as nothing is in flight.
func (c *Conn) leave() {
	if c.direct || c.leaving {
		return
	}
	c.leaving = true
	if c.receiving {
		c.loop.ring.cancelReceive(c)
	}
	c.enqueue()
}

// holdsReceived reports whether something was received that the handler has not
// been told of.
func (c *Conn) holdsReceived() bool {
	return !c.stored.empty() || c.receiveError != 0 || c.endCame && !c.ended
}

// proceed does what can be done now.
func (c *Conn) proceed() {
	u := c.loop.ring
	for !c.stored.empty() && !c.still() && c.fd >= 0 {
		if c.tookMuch() {
			c.enqueue()
			break
		}
		buffer, n := u.unstore(&c.stored)
		u.lend(c, buffer, n)
	}
	switch {
	case c.still() && !c.ended || !c.stored.empty() || c.fd < 0:
	case c.receiveError != 0:
		c.fail(unix.Errno(c.receiveError))
	case c.endCame && !c.ended:
		c.ended = true
		if c.failure == 0 {
			c.handler.Ended(c)
			u.lookLater(c)
		}
	}
	if c.fd >= 0 && c.ended && c.failure != 0 {
		c.fail(c.failure)
	}
	c.arm()
}

// arm sees to it that what comes in is told.
func (c *Conn) arm() {
	switch {
	case c.fd < 0 || c.receiving || c.direct || c.connecting || c.frozen:
	case c.leaving:
		if c.outgoing == nil || c.flight == nil {
			c.becomeDirect()
		}
	case !c.ended && !c.paused && !c.holdsReceived():
		c.loop.ring.receive(c)
	}
}

// becomeDirect goes over to readiness: how it stands now is told at once.
func (c *Conn) becomeDirect() {
	c.direct, c.leaving = true, false
	c.loop.ring.watch(c)
}

// launch sends by an operation.
func (c *Conn) launch(b []byte) {
	c.takeOut()
	c.flight, c.flightBuffer = b, c.loop.ring.keep(b)
	if c.flightBuffer == noBuffer {
		c.flight = append(c.loop.takeBuffer(), b...)
	}
	c.loop.ring.send(c)
}

func (c *Conn) sendCompleted(result int32) {
	switch err := unix.Errno(-result); {
	case result >= 0:
	case err == unix.EAGAIN, err == unix.EINTR:
		result = 0
	default:
		c.dropFlight()
		c.sendFailed(err)
		if !c.ended {
			c.tellSent()
		}
		return
	}
	if int(result) < len(c.flight) {
		c.landed(int(result))
		return
	}
	c.dropFlight()
	if c.depart() {
		return
	}
	c.settle()
	if c.leaving {
		c.enqueue()
	}
	if c.endWanted {
		rawShutdown(int(c.fd))
	}
	c.tellSent()
}

// landed ends a flight of which the socket has taken n bytes and no more.
func (c *Conn) landed(n int) {
	rest := append(c.loop.takeBuffer(), c.flight[n:]...)
	rest = append(rest, c.unsent...)
	c.dropFlight()
	c.dropUnsent()
	c.takeOut()
	c.unsent = rest
	c.leave()
	c.enqueue()
}

func (c *Conn) tellSent() {
	if c.awaited {
		c.awaited = false
		c.handler.Sent(c)
	}
}

// depart sends what has waited, and reports whether there was anything.
func (c *Conn) depart() bool {
	if c.fd < 0 || c.outgoing == nil || c.unsent == nil || c.flight != nil {
		return false
	}
	c.flight, c.unsent = c.unsent, nil
	c.loop.ring.send(c)
	return true
}

// dropFlight gives back the buffer of a send that has ended.
func (c *Conn) dropFlight() {
	if c.flightBuffer != noBuffer {
		c.loop.ring.giveBuffer(uint16(c.flightBuffer))
	} else {
		c.loop.giveBuffer(c.flight)
	}
	c.flight, c.flightBuffer = nil, noBuffer
}

// parcels is a queue of receive buffers with data in them, linked by the ring.
type parcels struct {
	first, last uint16
	count       uint16
}

func (p *parcels) empty() bool { return p.count == 0 }
