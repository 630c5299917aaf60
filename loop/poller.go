package loop

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// IO says by which of the kernel's interfaces a loop works.
type IO uint8

const (
	Epoll IO = iota
	IOUring
)

func (io IO) String() string { return [...]string{"epoll", "io_uring"}[io] }

// A poller is a loop's side of one of the kernel's interfaces. All methods are
// called on the loop's thread.
type poller interface {
	// wait returns when something has come in or after ms milliseconds; negative:
	// no limit. The scheduler learns of the wait only if it is to be seen.
	wait(ms int, seen bool) (came bool)
	// dispatch tells the sources what has come in.
	dispatch()

	adopt(c *Conn) error
	// connect connects a socket that is not connected at once (sa is not nil), and
	// has it told how that went.
	connect(c *Conn, sa *unix.RawSockaddrAny, size uintptr) error
	listen(ln *Listener) error
	accept(ln *Listener)
	unlisten(ln *Listener)
	// release forgets a connection, whose descriptor stays open.
	release(c *Conn)
	// closed closes a descriptor and forgets its source.
	closed(fd int, slot int32, inFlight int8)
	close()
}

// A source is what the kernel has something to tell about.
type source interface {
	event(events uint32)                                // readiness, in epoll's words
	completed(op operation, result int32, flags uint32) // the end or a result of an operation of io_uring
	discard()                                           // closes the descriptor, without a word to anybody
}

func (l *Loop) open(io IO) (err error) {
	if io == IOUring {
		l.ring, err = newUring(l)
		l.poller = l.ring
		return err
	}
	l.poller, err = newEpoll(l)
	return err
}

// run is the loop's goroutine: wait, then one turn, until Stop.
func (l *Loop) run(io IO, opened chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(l.done)
	defer unix.Close(l.wake)
	l.tid = unix.Gettid()
	l.reserve.hold(l.wake)
	defer func() { l.reserve.giveUp(unix.EMFILE) }()
	if err := l.open(io); err != nil {
		opened <- err
		return
	}
	opened <- nil
	for !l.closed { // written by this goroutine only
		l.wait()
		l.turn()
	}
	l.sources.each(func(s source) { s.discard() })
	for _, p := range l.pipes {
		p.close()
	}
	l.poller.close()
}

// turn handles what came in, what other goroutines asked for among it, then
// what earlier turns left over, then the timers that are due.
func (l *Loop) turn() {
	l.now = time.Since(l.start)
	l.turns.Add(1)
	l.poller.dispatch()
	l.resumeUnblocked()
	if l.stopping {
		l.runPosted()
	}
	l.timers.advance(l.now)
	l.recycle()
	l.tellLaps()
}

// resumeUnblocked gives a turn to each connection that has something to do
// without an event; those that ask again meanwhile wait for the next turn.
func (l *Loop) resumeUnblocked() {
	todo := l.unblock
	l.unblock, l.resumed = l.resumed[:0], nil
	for _, c := range todo {
		c.queued = false
		if c.fd >= 0 {
			c.turn()
		}
	}
	clear(todo)
	l.resumed = todo
}

// wait blocks the thread for up to busyWait behind the scheduler's back, and if
// nothing came, the next call blocks in the scheduler's sight for as long as it
// takes.
func (l *Loop) wait() {
	limit := l.timers.next(l.now) // ms; negative: no timer is set
	if len(l.unblock) > 0 || l.stopping {
		limit = 0
	}
	if l.idle && limit != 0 {
		l.idle = false
		l.poller.wait(limit, true)
		return
	}
	if limit < 0 || limit > busyWait {
		limit = busyWait
	}
	// Nothing comes after an interruption too: the scheduler may have asked for
	// the processor.
	l.idle = !l.poller.wait(limit, false)
}

// waker is the source behind Post.
type waker struct{ loop *Loop }

func (w waker) event(uint32) {
	drainEventfd(w.loop.wake)
	w.loop.runPosted()
}

func (w waker) completed(op operation, result int32, flags uint32) {
	w.event(0)
	if flags&completionMore == 0 {
		w.loop.ring.watchWake()
	}
}

func (w waker) discard() {}

// slots gives sources a number that the kernel can hold in place of a pointer.
// The generation tells a source from an earlier one with the same number, of
// which events may still be in the batch at hand.
type slots struct {
	all  []slot
	free []int32
}

type slot struct {
	source     source
	generation int32
}

func (s *slots) put(src source) (number int32) {
	if n := len(s.free); n > 0 {
		number = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		number = int32(len(s.all))
		s.all = append(s.all, slot{})
	}
	s.all[number].source = src
	return number
}

func (s *slots) get(number, generation int32) source {
	if at := &s.all[number]; at.generation == generation {
		return at.source
	}
	return nil
}

func (s *slots) remove(number int32) {
	at := &s.all[number]
	at.source = nil
	at.generation++
	s.free = append(s.free, number)
}

func (s *slots) each(f func(source)) {
	for _, at := range s.all {
		if at.source != nil {
			f(at.source)
		}
	}
}

// Auto returns the best of the interfaces that can be used here.
func Auto() IO {
	if ProbeIOUring() != nil {
		return Epoll
	}
	return IOUring
}

// ProbeIOUring returns nil if the kernel has all that a loop needs of io_uring
// and lets this process use it, and otherwise why not.
func ProbeIOUring() error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and ends with the goroutine, as the ring's
		result <- probe()
	}()
	return <-result
}

// probe receives a message through a ring in the way that loops do.
func probe() error {
	r, err := newRing()
	if err != nil {
		return err
	}
	defer r.close()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("create a pair of sockets: %w", err)
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	receive := r.next()
	receive.opcode, receive.fd, receive.flags = opReceive, int32(ends[0]), flagBufferSelect
	receive.priority, receive.group = receiveMulti, bufferGroup
	if _, err := unix.Write(ends[1], []byte{1}); err != nil {
		return fmt.Errorf("write to a socket: %w", err)
	}
	r.enter(1, time.Second, false)
	if r.pending() == 0 {
		return errors.New("io_uring does not receive")
	}
	const wanted = completionBuffer | completionMore
	if c := r.take(); c.result < 0 {
		return fmt.Errorf("receive by io_uring: %w", unix.Errno(-c.result))
	} else if c.flags&wanted != wanted {
		return errors.New("io_uring does not go on receiving")
	}
	return nil
}
