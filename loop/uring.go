package loop

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// operation says what a completion belongs to.
type operation uint8

const (
	ignored operation = iota // nobody waits for it
	polled
	connected
	received
	sent
)

const fewResults = 2 // at a time

const farewell = time.Second // how long the end of what was cancelled is awaited when a loop stops

// uring is the poller over io_uring. Connections begin with receives and sends
// that the kernel carries out, into and out of the ring's buffers. One that more
// comes in on than can be passed on, or that has more to send than its socket
// takes, goes over to readiness, as over epoll: bulk is better spliced, and what
// waits is better left with the kernel.
//
// The slot of a source is kept until the last of its operations has ended.
type uring struct {
	*ring
	loop  *Loop
	lent  int32  // the buffer whose bytes are on loan to a handler, or noBuffer: none, or somebody has kept it
	loan  []byte // the bytes
	quiet bool   // little has come in: sending at once is cheaper than having it done with others
	busy  int    // closed sources of which an operation is in flight

	after   [ringBuffers]uint16 // of each buffer the next one in the same queue
	lengths [ringBuffers]uint16 // of each buffer how much is in it

	addresses [ringEntries]unix.RawSockaddrInet6 // of the connect in the same place of the queue

	ended []*Conn // their ends were read a while ago
	look  timer   // when to look at those
}

const noBuffer = -1

func newUring(l *Loop) (*uring, error) {
	r, err := newRing()
	if err != nil {
		return nil, err
	}
	u := &uring{ring: r, loop: l, lent: noBuffer}
	u.look.owner = u
	l.ring = u
	l.sources.put(waker{l})
	u.watchWake()
	return u, nil
}

func (u *uring) watchWake() { u.poll(int32(u.loop.wake), 0, unix.EPOLLIN) }

// watch has the readiness of a direct connection told.
func (u *uring) watch(c *Conn) {
	c.inFlight++
	u.poll(c.fd, c.slot, connEvents&^unix.EPOLLET)
}

func (u *uring) wait(ms int, seen bool) bool {
	if u.pending() > 0 {
		ms = 0
	}
	least := uintptr(1)
	if ms == 0 {
		least = 0
	}
	u.enter(least, time.Duration(ms)*time.Millisecond, !seen)
	return u.pending() > 0
}

func (u *uring) dispatch() {
	n := u.pending()
	u.quiet = n <= fewResults
	for ; n > 0; n-- {
		c := u.take()
		if op := operation(c.userData >> 32); op != ignored {
			u.loop.sources.all[uint32(c.userData)].source.completed(op, c.result, c.flags)
		}
	}
}

func (u *uring) adopt(c *Conn) error {
	c.slot = u.loop.sources.put(c)
	return nil
}

func (u *uring) connect(c *Conn, sa *unix.RawSockaddrAny, size uintptr) error {
	c.inFlight++
	if sa == nil {
		u.submit(opPollAdd, c.fd, polled, c.slot).opFlags = unix.EPOLLOUT
		return nil
	}
	s := u.submit(opConnect, c.fd, connected, c.slot)
	// The kernel copies the address when it takes the operation.
	at := &u.addresses[(u.tail-1)&u.sqMask]
	*at = *(*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
	s.address, s.offset = uint64(uintptr(unsafe.Pointer(at))), uint64(size)
	return nil
}

func (u *uring) listen(ln *Listener) error {
	ln.slot = u.loop.sources.put(ln)
	u.accept(ln)
	return nil
}

// accept asks once to be told that there is something to accept.
func (u *uring) accept(ln *Listener) {
	if ln.inFlight == 0 && ln.accepting() {
		ln.inFlight++
		u.submit(opPollAdd, int32(ln.fd), polled, ln.slot).opFlags = unix.EPOLLIN
	}
}

func (u *uring) unlisten(ln *Listener) { u.closed(ln.fd, ln.slot, ln.inFlight) }

// submit queues an operation that tells the source in a slot of its results.
func (u *uring) submit(opcode uint8, fd int32, op operation, slot int32) *sqe {
	s := u.next()
	s.opcode, s.fd = opcode, fd
	s.userData = uint64(op)<<32 | uint64(uint32(slot))
	return s
}

// poll has every change of a descriptor's readiness told, and how it is now.
func (u *uring) poll(fd, slot int32, events uint32) {
	s := u.submit(opPollAdd, fd, polled, slot)
	s.length = pollMulti
	s.opFlags = events
}

func (u *uring) cancelReceive(c *Conn) {
	s := u.submit(opCancel, -1, ignored, 0)
	s.flags = flagSkipSuccess
	s.address = uint64(received)<<32 | uint64(uint32(c.slot))
}

// cancel ends all operations on a descriptor.
func (u *uring) cancel(fd int32) {
	s := u.submit(opCancel, fd, ignored, 0)
	s.flags = flagSkipSuccess
	s.opFlags = cancelFD | cancelAll
}

func (u *uring) receive(c *Conn) {
	c.receiving = true
	c.inFlight++
	s := u.submit(opReceive, c.fd, received, c.slot)
	s.flags = flagBufferSelect
	s.priority = receiveMulti
	s.group = bufferGroup
}

// send queues what is in flight. The kernel is not to wait until the socket takes
// all of it: what it waits for cannot be cancelled at every moment and costs a
// thread of the kernel's if the other side has sent its end (up to Linux 6.18),
// and an error that ends the wait is lost in the count of what went out before,
// so that a reset would be received as an end.
func (u *uring) send(c *Conn) {
	c.inFlight++
	s := u.submit(opSend, c.fd, sent, c.slot)
	s.address = uint64(uintptr(unsafe.Pointer(&c.flight[0])))
	s.length = uint32(len(c.flight))
	s.opFlags = unix.MSG_NOSIGNAL | unix.MSG_DONTWAIT
}

// release ends what is in flight on a connection, at once: the descriptor may soon
// be another one.
func (u *uring) release(c *Conn) {
	if c.inFlight == 0 {
		u.loop.sources.remove(c.slot)
		return
	}
	u.busy++
	s := u.submit(opCancel, -1, ignored, 0)
	s.flags = flagSkipSuccess
	s.address = uint64(polled)<<32 | uint64(uint32(c.slot))
	u.enter(0, 0, true)
}

// closed closes a descriptor after ending what is in flight on it.
func (u *uring) closed(fd int, slot int32, inFlight int8) {
	if inFlight > 0 {
		u.busy++
		u.cancel(int32(fd))
	} else {
		u.loop.sources.remove(slot)
	}
	s := u.submit(opClose, int32(fd), ignored, 0)
	s.flags = flagSkipSuccess
}

// keep takes over the buffer that b lies in, if that is what is on loan.
func (u *uring) keep(b []byte) (buffer int32) {
	buffer = u.lent
	if buffer == noBuffer || &b[0] != &u.loan[0] {
		return noBuffer
	}
	u.lent = noBuffer
	return buffer
}

// lend passes the content of a buffer to a connection's handler. The kernel gets
// the buffer back unless the handler sends what is in it.
func (u *uring) lend(c *Conn, buffer uint16, n int) {
	u.lent, u.loan = int32(buffer), u.buffer(buffer)[:n]
	defer u.returnLent()
	c.inTurn += int32(n)
	c.handler.Data(c, u.loan)
}

func (u *uring) returnLent() {
	if u.lent != noBuffer {
		u.giveBuffer(uint16(u.lent))
		u.lent = noBuffer
	}
}

// store puts a buffer at the end of a queue.
func (u *uring) store(p *parcels, buffer uint16, n int) {
	u.lengths[buffer] = uint16(n)
	if p.empty() {
		p.first = buffer
	} else {
		u.after[p.last] = buffer
	}
	p.last = buffer
	p.count++
}

// unstore takes the first buffer off a queue that is not empty.
func (u *uring) unstore(p *parcels) (buffer uint16, n int) {
	buffer = p.first
	p.first = u.after[buffer]
	p.count--
	return buffer, int(u.lengths[buffer])
}

// forget frees the slot of a closed source: nothing of its is in flight any more.
func (u *uring) forget(slot int32) {
	u.busy--
	u.loop.sources.remove(slot)
}

// lookLater has a connection watched whose end was read, if it is not closed
// soon: an error may still come.
func (u *uring) lookLater(c *Conn) {
	u.ended = append(u.ended, c)
	if !u.look.set {
		u.loop.timers.start(&u.look, u.loop.now+lookAfter)
	}
}

func (u *uring) expired() {
	for _, c := range u.ended {
		if c.fd >= 0 && c.ended {
			c.leave()
		}
	}
	clear(u.ended)
	u.ended = u.ended[:0]
}

// close waits until the sockets that were closed are free of operations: only
// then their ends are sent and their addresses free.
func (u *uring) close() {
	until := time.Now().Add(farewell)
	for u.busy > 0 && time.Now().Before(until) {
		u.enter(1, 10*time.Millisecond, false)
		u.dispatch()
	}
	u.enter(0, 0, true)
	u.ring.close()
}
