package loop

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// run is the loop's goroutine: wait, then one turn, until Stop.
func (l *Loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(l.done)
	for !l.closed { // written by this goroutine only
		n := l.wait()
		l.turn(n)
	}
	l.sources.each(func(s source) { s.discard() })
	for _, p := range l.pipes {
		p.close()
	}
	unix.Close(l.epfd)
	unix.Close(l.wake)
}

// turn handles the events of one wait, what other goroutines asked for among
// them, then what earlier turns left over, then the timers that are due.
func (l *Loop) turn(events int) {
	l.now = time.Since(l.start)
	for i := range l.events[:events] {
		e := &l.events[i]
		if s := l.sources.get(e.Fd, e.Pad); s != nil {
			s.event(e.Events)
		}
	}
	l.resumeUnblocked()
	if l.stopping {
		l.runPosted()
	}
	l.timers.advance(l.now)
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

// wait returns the number of events that have come in. It blocks the thread
// for up to busyWait behind the scheduler's back, and if nothing came, the next
// call blocks in the scheduler's sight for as long as it takes.
func (l *Loop) wait() int {
	limit := l.timers.next(l.now) // ms; negative: no timer is set
	if len(l.unblock) > 0 || l.stopping {
		limit = 0
	}
	if l.idle && limit != 0 {
		l.idle = false
		n, err := unix.EpollWait(l.epfd, l.events[:], limit)
		if err != nil {
			return 0
		}
		return n
	}
	if limit < 0 || limit > busyWait {
		limit = busyWait
	}
	n := rawEpollWait(l.epfd, l.events[:], limit)
	l.idle = n <= 0 // after an interruption too: the scheduler may have asked for the processor
	return max(n, 0)
}

// A source is what an epoll event is about.
type source interface {
	event(events uint32)
	discard() // closes the descriptor, without a word to anybody
}

// waker is the source behind Post.
type waker struct{ loop *Loop }

func (w waker) event(uint32) {
	drainEventfd(w.loop.wake)
	w.loop.runPosted()
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

// event returns what epoll is to report for the source with that number.
func (s *slots) event(number int32, events uint32) *unix.EpollEvent {
	return &unix.EpollEvent{Events: events, Fd: number, Pad: s.all[number].generation}
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
