// Package loop runs event loops on Linux. A Loop is one goroutine locked to its
// thread that owns any number of connections and tells their handlers, one
// completion after the other, what has happened: connected, data, sent, ended,
// failed, expired. It knows nothing of pools or HTTP.
//
// A Loop is set going with New and ended with Stop. Listen, Dial, Adopt and all
// methods of Conn and Listener may be called on the loop only: from a handler, or
// from a function given to Post, which is the one way in from other goroutines.
// Handlers must not block: everything on the loop waits for them.
//
// No method of Conn calls a handler; handlers are called by the loop's turn
// alone, one at a time. A handler that panics loses its connection, is told so
// by Failed, and the panic is logged with its stack; the loop goes on.
//
// Underneath is epoll or io_uring (see IO), and who uses a Conn need not know
// which. Over epoll each socket is registered once, edge-triggered; a connection
// is read and written when it is ready to be, which is called direct. Over
// io_uring the kernel receives and sends for it, in batches with the others, as
// long as no more comes in than is passed on; then it becomes direct too.
//
// While there is work the loop waits by raw system calls that the Go scheduler
// never sees: entering and leaving the scheduler on every wait costs a third of
// the CPU. After some empty milliseconds it falls back to an ordinary blocking
// wait and gives its processor away. Until then it keeps it, so the process
// should have one processor (GOMAXPROCS) more than loops.
//
// The way in is poller.go (run, turn, wait); conn.go is what a Conn can do, with
// send.go, dial.go and splice.go; epoll.go and uring.go are the two ways of
// waiting, operations.go how a Conn lives on the second, ring.go the kernel's
// side of it.
package loop

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readSize   = 64 << 10  // the read buffer shared by a loop's connections
	readBudget = 256 << 10 // bytes that one connection may read in one turn

	// busyWait is how many ms of raw wait come before the loop blocks. A timer
	// that is due before the kernel's own tick (1 to 10 ms) would have to be set
	// in the hardware for every single wait.
	busyWait = 10

	spareBuffers = 64 // buffers kept for reuse by a loop
)

// ErrPanicked is what Failed is told after a panic in a handler.
var ErrPanicked = errors.New("handler panicked")

// A Loop owns connections and listening sockets. See the package comment for
// which methods may be called from where.
type Loop struct {
	log   *slog.Logger
	wake  int // an eventfd that ends a wait
	done  chan struct{}
	start time.Time
	tid   int // of its thread

	turns  atomic.Int64 // so far; the loop alone writes
	pauses atomic.Int64 // times that a listening socket rested for want of descriptors; likewise

	mu       sync.Mutex
	posted   []func() // guarded by mu
	closed   bool     // guarded by mu: no more posts are taken
	signaled bool     // guarded by mu: wake is already written to

	// What follows belongs to the loop.
	now        time.Duration // since start, read once per turn
	poller     poller
	ring       *uring // the poller, if that is io_uring; else nil
	sources    slots
	address    unix.RawSockaddrAny // what is dialled at the moment
	buffer     []byte              // what was read last; shared by all connections
	spare      [][]byte            // buffers for unsent bytes, to be used again
	outgoings  []*outgoing         // unused ones
	pipes      []*pipe             // empty pipes, to be used again
	pipesOpen  int                 // those and the ones in use
	unblock    []*Conn             // connections with something to do in the next turn
	retired    []*Conn             // closed, to be recycled
	spareConns []*Conn             // to be used again
	resumed    []*Conn             // the list that unblock takes turns with, empty
	timers     wheel
	reserve    reserve
	laps       []func(took time.Duration) // to be told how long this turn takes
	idle       bool                       // the last raw wait ended empty
	stopping   bool
}

// New starts a loop on a goroutine of its own. Stop must follow.
func New(io IO, log *slog.Logger) (*Loop, error) {
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create an eventfd: %w", err)
	}
	l := &Loop{
		log:    log,
		wake:   wake,
		done:   make(chan struct{}),
		start:  time.Now(),
		buffer: make([]byte, readSize),
	}
	opened := make(chan error)
	go l.run(io, opened)
	if err := <-opened; err != nil {
		return nil, err
	}
	return l, nil
}

// Stop ends the loop and waits for it. Functions already posted still run;
// then whatever connections and listening sockets are left are closed without
// a word to their handlers.
func (l *Loop) Stop() {
	l.Post(func() { l.stopping = true })
	<-l.done
}

// Post has f called on the loop, soon, and reports whether it will be: false
// means that the loop has ended. It may be called from any goroutine and never
// blocks.
func (l *Loop) Post(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.posted = append(l.posted, f)
	if !l.signaled {
		l.signaled = true
		wakeUp(l.wake)
	}
	return true
}

// Now returns the time of the current turn, counted from when the loop was
// made: coarse, monotonic and free.
func (l *Loop) Now() time.Duration { return l.now }

func (l *Loop) runPosted() {
	l.mu.Lock()
	todo := l.posted
	l.posted = nil
	l.signaled = false
	if l.stopping && len(todo) == 0 {
		l.closed = true
	}
	l.mu.Unlock()
	for _, f := range todo {
		l.guarded(f)
	}
}

func (l *Loop) guarded(f func()) {
	defer func() {
		if r := recover(); r != nil {
			l.logPanic(r)
		}
	}()
	f()
}

func (l *Loop) logPanic(r any) {
	l.log.Error("a bug: panic on an event loop; the connection concerned is closed", "panic", r, "stack", string(debug.Stack()))
}
