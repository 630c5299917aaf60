package httpproxy

import (
	"errors"

	"fulcrum/loop"
)

// errStopped is what becomes of what is asked of a loop, or a listener, that is no more.
var errStopped = errors.New("the listener has stopped")

// Sockets returns the listening sockets, for another process. The caller closes them.
func (p *Proxy) Sockets() (sockets []int, err error) {
	for _, w := range p.workers {
		fd := -1
		err := errStopped
		w.loop.Call(func() {
			if w.port != nil {
				fd, err = w.port.Duplicate()
			}
		})
		if err != nil {
			loop.Disown(sockets)
			return nil, err
		}
		sockets = append(sockets, fd)
	}
	return sockets, nil
}

// Leave stops accepting for good, and leaves who comes from then on to the process that
// has got the Sockets. Those that are open go on. Stop follows.
func (p *Proxy) Leave() {
	for _, w := range p.workers {
		w.loop.Call(w.leavePort)
	}
}

// Give takes up to so many clients off the proxy that are idle or in a tunnel, and no
// longer counts them. From the first call on no client is served another request here
// once it has become idle: it waits for the next call, or for Keep. It is not called by
// two goroutines at a time, nor after the loops have stopped.
func (p *Proxy) Give(most int) (given []Connection) {
	for _, w := range p.workers {
		if room := most - len(given); room > 0 {
			given = append(given, w.give(room)...)
		}
	}
	return given
}

// Keep ends what Give has begun: those that have not left are served here.
func (p *Proxy) Keep() {
	for _, w := range p.workers {
		w.loop.Post(w.keepAll)
	}
}

func (w *worker) give(most int) (given []Connection) {
	w.loop.Part(func() { w.freeze(most) }, func(late bool) (left int) {
		taken, left := w.take(late)
		given = append(given, taken...)
		return left
	})
	return given
}

func (w *worker) freeze(most int) {
	w.giving = true
	for c := w.clients; c != nil && most > 0; c = c.next {
		if !c.stays && c.movable() {
			most--
			c.rest()
		}
	}
}

// movable reports whether there is nothing to the client but what a Connection tells.
func (c *client) movable() bool {
	switch c.stage {
	case reading:
		return !c.held && c.conn.Unsent() == 0 && !c.conn.Broken()
	case tunneling:
		return !c.tunnel.leaving && !c.tunnel.pair.Failing()
	}
	return false
}

// rest has nothing more told of the client, which is to leave.
func (c *client) rest() {
	if c.leaving {
		return
	}
	conn, ok := c.conn.(*loop.Conn)
	switch {
	case c.tunnel != nil:
		c.leaving = true
		c.tunnel.pair.Freeze()
	case ok:
		c.leaving = true
		conn.Freeze()
	}
}

// goOn ends that.
func (c *client) goOn() {
	if !c.leaving {
		return
	}
	c.leaving = false
	switch {
	case c.tunnel != nil:
		c.tunnel.pair.Thaw()
	case c.stage != gone:
		c.conn.(*loop.Conn).Thaw()
		c.proceed()
	}
}

func (w *worker) keepAll() {
	w.giving = false
	for c := w.clients; c != nil; {
		next := c.next
		c.goOn()
		c = next
	}
}

// take returns those of the clients that were to leave which have come to rest. When it
// is late the others go on, as those do that cannot leave any more; else left says how
// many there are.
func (w *worker) take(late bool) (taken []Connection, left int) {
	for c := w.clients; c != nil; {
		next := c.next
		switch {
		case !c.leaving:
		case c.movable() && c.resting():
			if moved, err := c.leave(); err == nil {
				taken = append(taken, moved)
			}
		case late, !c.movable(), c.failing():
			c.goOn()
		default:
			left++
		}
		c = next
	}
	return taken, left
}

func (c *client) failing() bool {
	if c.tunnel != nil {
		return c.tunnel.pair.Failing()
	}
	return c.conn.(*loop.Conn).Failing()
}

func (c *client) resting() bool {
	if c.tunnel != nil {
		return c.tunnel.pair.Frozen()
	}
	return c.conn.(*loop.Conn).Frozen()
}

// leave takes the client off the listener with its sockets open.
func (c *client) leave() (moved Connection, err error) {
	moved = Connection{Address: c.address, Destination: c.destination, Upstream: -1}
	if c.tunnel != nil {
		moved.Tunnel, moved.Client, moved.Upstream, err = c.tunnel.detach()
	} else {
		var came []byte
		moved.Begun = c.late
		moved.Left = c.alarm.left(c.w.loop.Now())
		moved.Client, came, _, err = c.conn.(*loop.Conn).Detach()
		moved.In = append(append(moved.In, c.in...), came...)
	}
	if err != nil {
		c.close(InternalError)
		return moved, err
	}
	c.depart()
	return moved, nil
}

// depart has the client, whose connection is closed or was detached, no longer counted
// here.
func (c *client) depart() {
	c.stage = gone
	if c.limited {
		c.w.p.perClient.Leave(c.address.Addr())
	}
	if t := c.tunnel; t != nil {
		c.tunnel, t.u.tunnel = nil, nil
		t.u.drop()
		t.lease.Move()
		t.trace.route.carried.Add(-1)
		t.trace.server.carried.Add(-1)
	}
	for len(c.kept) > 0 {
		c.kept[0].drop()
	}
	c.in = c.w.keep(c.in, nil)
	c.conn.Close()
	c.conn.Recycle()
	c.conn = closedTransport{}
	c.w.carried.Add(-1)
	c.w.removeFrom(c)
}

func (t *tunnel) detach() (moved *Tunnel, client, upstream int, err error) {
	moved = &Tunnel{
		Route:  t.wayName,
		Pool:   t.u.set.to.Pool.Name(),
		Server: t.u.set.server.Address(),
		Age:    t.c.w.loop.Now() - t.trace.began,
		Early:  t.early,
		Record: t.entry.asRecord(),
	}
	if t.webSocket {
		moved.WebSocket = &[2]FrameState{t.passed[0].state(), t.passed[1].state()}
	}
	client, upstream, moved.Relay, err = t.pair.Detach()
	return moved, client, upstream, err
}
