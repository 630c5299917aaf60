package httpproxy

import (
	"context"
	"time"

	"fulcrum/loop"
)

// drainGrace is for a request already on its way to an idle connection.
const drainGrace = 500 * time.Millisecond

// Drain makes every answer from now on the last of its connection, and closes
// idle client connections after a short grace. New clients are still served. With
// false it ends that, but not what Stop has begun.
func (p *Proxy) Drain(on bool) {
	p.draining.Store(on)
	if !on {
		return
	}
	for _, w := range p.workers {
		w.loop.Post(w.drain)
	}
}

// CloseAll closes the connections of all clients that there are, in use or not, soon.
// WebSockets are told by a Close frame on both sides and have a second to answer.
func (p *Proxy) CloseAll() {
	for _, w := range p.workers {
		w.loop.Post(w.closeAll)
	}
}

// Remaining returns how many connections of clients are open, how many requests and
// tunnels are in flight and how long the oldest of these has been. It is an error when
// ctx ends before all loops have told.
func (p *Proxy) Remaining(ctx context.Context) (connections, requests int64, oldest time.Duration, err error) {
	loops := make([]*loop.Loop, len(p.workers))
	for i, w := range p.workers {
		loops[i] = w.loop
	}
	all, err := loop.Ask(ctx, loops, func(i int) remaining { return p.workers[i].remaining() })
	for _, r := range all {
		connections += r.connections
		requests += r.requests
		oldest = max(oldest, r.oldest)
	}
	return connections, requests, oldest, err
}

// draining reports whether every answer is to be the last of its connection.
func (w *worker) draining() bool { return w.retiring || w.p.draining.Load() }

// patience returns how long to wait for something that the proxy can do without.
func (w *worker) patience(d time.Duration) time.Duration {
	if w.draining() {
		return min(d, drainGrace)
	}
	return d
}

// drain closes idle clients soon.
func (w *worker) drain() {
	for c := w.clients; c != nil; c = c.next {
		if c.stage == reading && len(c.in) == 0 {
			c.hurry(drainGrace)
		}
	}
}

// closeAll ends all that there is, WebSockets soon.
func (w *worker) closeAll() {
	for c := w.clients; c != nil; {
		next := c.next
		if c.tunnel != nil {
			c.tunnel.leave(Drained)
		} else {
			c.close(Drained)
		}
		c = next
	}
}

// remaining is what a worker has not finished.
type remaining struct {
	connections, requests int64
	oldest                time.Duration
}

func (w *worker) remaining() (r remaining) {
	for c := w.clients; c != nil; c = c.next {
		r.connections++
		var began time.Duration
		switch {
		case c.x != nil:
			began = c.x.began
		case c.tunnel != nil:
			began = c.tunnel.trace.began
		default:
			continue
		}
		r.requests++
		r.oldest = max(r.oldest, w.loop.Now()-began)
	}
	return r
}
