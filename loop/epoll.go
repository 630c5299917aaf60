package loop

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const eventBatch = 256 // events taken in one wait

// epoll is the poller that tells of readiness. Each socket is registered once,
// edge-triggered; closing it is what removes it.
type epoll struct {
	fd      int
	sources *slots
	events  [eventBatch]unix.EpollEvent
	came    int // how many of events the last wait has filled
}

func newEpoll(l *Loop) (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create an epoll instance: %w", err)
	}
	e := &epoll{fd: fd, sources: &l.sources}
	if _, err := e.register(l.wake, waker{l}, unix.EPOLLIN); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return e, nil
}

func (e *epoll) register(fd int, s source, events uint32) (slot int32, err error) {
	slot = e.sources.put(s)
	if err := rawEpollControl(e.fd, unix.EPOLL_CTL_ADD, fd, e.event(slot, events)); err != nil {
		e.sources.remove(slot)
		return 0, fmt.Errorf("register with epoll: %w", err)
	}
	return slot, nil
}

// event returns what epoll is to report for the source with that number.
func (e *epoll) event(slot int32, events uint32) *unix.EpollEvent {
	return &unix.EpollEvent{Events: events, Fd: slot, Pad: e.sources.all[slot].generation}
}

func (e *epoll) wait(ms int, seen bool) bool {
	if seen {
		n, _ := unix.EpollWait(e.fd, e.events[:], ms)
		e.came = max(n, 0)
	} else {
		e.came = max(rawEpollWait(e.fd, e.events[:], ms), 0)
	}
	return e.came > 0
}

func (e *epoll) dispatch() {
	for i := range e.events[:e.came] {
		at := &e.events[i]
		if s := e.sources.get(at.Fd, at.Pad); s != nil {
			s.event(at.Events)
		}
	}
}

func (e *epoll) adopt(c *Conn) (err error) {
	c.direct = true
	c.slot, err = e.register(int(c.fd), c, connEvents)
	return err
}

// connect needs nothing more: that the socket is writable will be told.
func (e *epoll) connect(c *Conn, sa *unix.RawSockaddrAny, size uintptr) error {
	if sa == nil {
		return nil
	}
	return rawConnect(int(c.fd), sa, size)
}

func (e *epoll) close() { unix.Close(e.fd) }

// Listening sockets are the one kind that is registered level-triggered: what a
// batch leaves in the queue comes up in the next turn.
func (e *epoll) listen(ln *Listener) (err error) {
	ln.slot, err = e.register(ln.fd, ln, unix.EPOLLIN)
	return err
}

func (e *epoll) accept(ln *Listener) {
	events := uint32(0)
	if ln.accepting() {
		events = unix.EPOLLIN
	}
	rawEpollControl(e.fd, unix.EPOLL_CTL_MOD, ln.fd, e.event(ln.slot, events))
}

// unlisten closes a listening socket. It is taken out by name: one that other
// loops share stays open, and would go on being reported.
func (e *epoll) unlisten(ln *Listener) {
	rawEpollControl(e.fd, unix.EPOLL_CTL_DEL, ln.fd, &unix.EpollEvent{})
	e.closed(ln.fd, ln.slot, 0)
}

// release takes a connection out by name: its descriptor stays open.
func (e *epoll) release(c *Conn) {
	rawEpollControl(e.fd, unix.EPOLL_CTL_DEL, int(c.fd), &unix.EpollEvent{})
	e.sources.remove(c.slot)
}

func (e *epoll) closed(fd int, slot int32, _ int8) {
	e.sources.remove(slot)
	rawClose(fd)
}
