package l4

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"fulcrum/loop"
	"fulcrum/pool"
	"fulcrum/stats"
)

const spareSessions = 1024 // kept by a worker

// worker is a listener's part on one loop: its listening socket and the sessions
// of the connections that came in by it. All of it belongs to the loop but for
// the counters, which the loop alone writes, and servers.
type worker struct {
	parent   *Listener
	plan     *plan
	loop     *loop.Loop
	port     *loop.Listener // nil before it listens and after it has stopped
	sessions *session       // the newest; they are linked
	spare    []*session     // over, to be used again
	scratch  []byte         // for what is put together and used up at once
	stopping bool
	finished chan struct{} // closed when the socket and all sessions are, after stopping was set
	warnedAt time.Duration // when exhausted last said so, in the loop's time

	accepted atomic.Int64
	carried  atomic.Int64 // taken from other processes, less those given to them
	added    stats.Histogram
	sampler  *loop.Sampler[*session]        // for added
	ends     endCounts                      // of sessions that were not relayed
	servers  map[*pool.Server]*serverCounts // the loop reads; it writes, and others read, under parent.mu
}

func newWorker(l *Listener, lp *loop.Loop, p *plan) *worker {
	w := &worker{parent: l, plan: p, loop: lp, finished: make(chan struct{}), servers: map[*pool.Server]*serverCounts{}}
	w.sampler = loop.NewSampler[*session](lp, w.added.Observe)
	return w
}

func (w *worker) listen(socket int) {
	var err error
	if w.port, err = w.loop.Listen(socket, w); err != nil {
		w.plan.Logger.Error("a loop does not accept connections", "listener", w.plan.Name, "error", err)
		return
	}
	if w.parent.inherited {
		w.setOptions(w.plan)
	}
}

// setOptions changes what is inherited by the connections that will be accepted.
func (w *worker) setOptions(p *plan) {
	if err := w.port.SetOptions(p.Socket); err != nil {
		p.Logger.Warn("options of a listening socket could not be changed", "listener", p.Name, "error", err)
	}
}

// update goes over to another plan. The sessions that are looking for their way do so
// as they go on.
func (w *worker) update(p *plan) {
	if w.port != nil && p.Socket != w.plan.Socket {
		w.setOptions(p)
	}
	hurry := p.IdleTimeout != w.plan.IdleTimeout || p.HalfClosedTimeout != w.plan.HalfClosedTimeout
	w.plan = p
	for _, c := range w.servers {
		c.relay.Idle, c.relay.HalfClosed = p.IdleTimeout, p.HalfClosedTimeout
	}
	if hurry {
		w.each(func(s *session) {
			if s.stage == relaying {
				s.pair.Hurry()
			}
		})
	}
}

// Admit takes a place for a connection that is about to be accepted, or leaves
// clients in the kernel's queue until one is free.
func (w *worker) Admit() bool {
	if w.parent.gate.Enter(w) {
		return true
	}
	w.port.Pause()
	return false
}

// Unadmit gives a place back.
func (w *worker) Unadmit() { w.parent.gate.Leave() }

// Wake tells, from any loop, that a place has become free.
func (w *worker) Wake() bool { return w.loop.Post(w.resume) }

// resume goes on accepting, or lets another worker if there is nothing to accept.
func (w *worker) resume() {
	if w.port != nil {
		w.port.Resume()
		if w.port.Waiting() {
			return
		}
	}
	w.parent.gate.WakeNext()
}

// Resting passes on that descriptors have run out.
func (w *worker) Resting(err error) {
	if told := w.plan.Resting; told != nil {
		told(err)
	}
}

// Accepted begins a session.
func (w *worker) Accepted(c *loop.Conn) {
	w.accepted.Add(1)
	s := w.newSession()
	s.worker, s.plan, s.began = w, w.plan, w.loop.Now()
	s.pair.Client = c
	c.SetHandler(s)
	w.add(s)
	w.sampler.Begin(s)
	s.begin()
}

// Stopped: nothing more will be accepted.
func (w *worker) Stopped(*loop.Listener) {
	w.port = nil
	w.finish()
}

// drain stops accepting; the worker finishes with its last session.
func (w *worker) drain() {
	w.stopping = true
	switch {
	case w.port == nil:
		w.finish()
	case w.parent.borrowed:
		w.leave()
	default:
		w.port.Drain()
	}
}

// leave stops accepting, and leaves who comes to others that have the socket too.
func (w *worker) leave() {
	if w.port != nil {
		w.port.Leave()
		w.port = nil
	}
	w.finish()
}

// stopNow ends what a drain has left.
func (w *worker) stopNow() {
	if w.port != nil {
		w.port.Close()
		w.port = nil
	}
	w.closeAll()
	w.finish()
}

func (w *worker) closeAll() {
	w.each(func(s *session) { s.end(Drained, nil) })
}

// remaining is what a worker has not finished.
type remaining struct {
	connections int64
	oldest      time.Duration
}

func (w *worker) remaining() (r remaining) {
	w.each(func(s *session) {
		r.connections++
		r.oldest = max(r.oldest, w.loop.Now()-s.began)
	})
	return r
}

func (w *worker) leaveServer(server *pool.Server) {
	w.each(func(s *session) {
		if s.lease.Server() == server {
			s.leaveServer()
		}
	})
}

// each calls do, which may end the session, for every session.
func (w *worker) each(do func(*session)) {
	for s := w.sessions; s != nil; {
		next := s.next
		do(s)
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
	w.finish()
}

func (w *worker) newSession() *session {
	n := len(w.spare)
	if n == 0 {
		return new(session)
	}
	s := w.spare[n-1]
	w.spare = w.spare[:n-1]
	*s = session{}
	return s
}

// recycle gives back the connections of a session that is over, and keeps the
// session for another one. It stays as it is until then: whoever has just ended
// it may still look at it.
func (w *worker) recycle(s *session) {
	s.pair.Client.Recycle()
	if s.pair.Upstream != nil {
		s.pair.Upstream.Recycle()
	}
	if len(w.spare) < spareSessions && s.stage != arriving && (s.details == nil || !s.details.waited) {
		w.spare = append(w.spare, s)
	}
}

// exhausted warns, not too often, that this machine cannot open connections.
func (w *worker) exhausted(err error) {
	if w.warnedAt == 0 || w.loop.Now()-w.warnedAt > time.Minute {
		w.warnedAt = w.loop.Now()
		w.plan.Logger.Warn("connections are refused for want of resources", "listener", w.plan.Name, "error", err)
	}
}

// debugs reports whether anybody listens to what there is to say about each
// connection.
func (w *worker) debugs() bool {
	return w.plan.Logger.Enabled(context.Background(), slog.LevelDebug)
}

// finish says so when a drain has come to its end.
func (w *worker) finish() {
	if !w.stopping || w.port != nil || w.sessions != nil {
		return
	}
	select {
	case <-w.finished:
	default:
		close(w.finished)
	}
}
