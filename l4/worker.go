package l4

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"fulcrum/loop"
	"fulcrum/relay"
)

// worker is a listener's part on one loop: its listening socket and the sessions
// of the connections that came in by it. All of it belongs to the loop but for
// the counters, which the loop alone writes.
type worker struct {
	options  *Options
	loop     *loop.Loop
	listener *loop.Listener
	sessions *session // the newest; they are linked
	relay    relay.Options
	finished chan struct{} // closed when the socket and all sessions are
	warnedAt time.Duration // when exhausted last said so, in the loop's time

	accepted, ended, refused atomic.Int64
	moved                    relay.Bytes
}

func newWorker(o *Options, lp *loop.Loop) *worker {
	w := &worker{options: o, loop: lp, finished: make(chan struct{})}
	w.relay = relay.Options{Idle: o.IdleTimeout, Moved: &w.moved}
	return w
}

func (w *worker) listen(socket int) {
	var err error
	if w.listener, err = w.loop.Listen(socket, w); err != nil {
		w.options.Logger.Error("a loop does not accept connections", "listener", w.options.Name, "error", err)
	}
}

// Accepted begins a session.
func (w *worker) Accepted(c *loop.Conn) {
	w.accepted.Add(1)
	s := &session{worker: w, client: c}
	if w.debugs() {
		s.from = c.RemoteAddr()
	}
	c.SetHandler(s)
	w.add(s)
	s.acquire()
}

// Stopped: nothing more will be accepted.
func (w *worker) Stopped(*loop.Listener) {
	w.listener = nil
	w.finish()
}

func (w *worker) drain() {
	if w.listener != nil {
		w.listener.Drain()
	} else {
		w.finish()
	}
}

// stopNow ends what a drain has left.
func (w *worker) stopNow() {
	if w.listener != nil {
		w.listener.Close()
		w.listener = nil
	}
	w.closeSessions(func(*session) bool { return true })
	w.finish()
}

func (w *worker) closeSessions(which func(*session) bool) {
	for s := w.sessions; s != nil; {
		next := s.next
		if which(s) {
			s.close()
		}
		s = next
	}
}

func (w *worker) add(s *session) {
	if s.next = w.sessions; s.next != nil {
		s.next.prev = s
	}
	w.sessions = s
}

func (w *worker) remove(s *session) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		w.sessions = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	w.ended.Add(1)
	w.finish()
}

// exhausted warns, not too often, that this machine cannot open connections.
func (w *worker) exhausted(err error) {
	if w.warnedAt == 0 || w.loop.Now()-w.warnedAt > time.Minute {
		w.warnedAt = w.loop.Now()
		w.options.Logger.Warn("connections are refused for want of resources", "listener", w.options.Name, "error", err)
	}
}

// debugs reports whether anybody listens to what there is to say about each
// connection.
func (w *worker) debugs() bool {
	return w.options.Logger.Enabled(context.Background(), slog.LevelDebug)
}

// finish says so when a drain has come to its end.
func (w *worker) finish() {
	if w.listener != nil || w.sessions != nil {
		return
	}
	select {
	case <-w.finished:
	default:
		close(w.finished)
	}
}
