package httpproxy

import (
	"fmt"

	"fulcrum/loop"
)

// An Arrival is a client that has come from another listener and is about to go on.
// Either Begin or Abandon follows.
type Arrival struct {
	client     *client
	connection *Connection
}

// Take makes ready to go on with a client that another listener gave, on one of the
// loops and counted beyond any limit. Its sockets are the proxy's then. After an error,
// which says what is unknown here, they are still the caller's. One that stays is not
// given again.
func (p *Proxy) Take(c *Connection, stays bool) (a *Arrival, err error) {
	w := p.workers[p.turn.Add(1)%uint64(len(p.workers))]
	err = errStopped
	w.loop.Call(func() { a, err = w.takeIn(c, stays) })
	return a, err
}

func (w *worker) takeIn(from *Connection, stays bool) (*Arrival, error) {
	if w.retiring {
		return nil, errStopped
	}
	c := &client{w: w, address: from.Address, destination: from.Destination, stage: arriving, stays: stays}
	conn, err := w.loop.Attach(from.Client, c)
	if err != nil {
		return nil, err
	}
	c.conn = conn
	if from.Tunnel != nil {
		if err := w.takeInTunnel(c, conn, from); err != nil {
			conn.Freeze()
			_, _, _, _ = conn.Detach() // at once: nothing goes on on it
			return nil, err
		}
	}
	w.carried.Add(1)
	w.p.gate.Count()
	c.trusted = w.plan.trusts(c.address)
	if w.plan.MaxPerClient > 0 && c.address.IsValid() {
		c.limited = true
		w.p.perClient.Count(c.address.Addr())
	}
	w.add(c)
	return &Arrival{c, from}, nil
}

func (w *worker) takeInTunnel(c *client, client *loop.Conn, from *Connection) error {
	t := from.Tunnel
	to := w.plan.upstreamNamed(t.Pool)
	if to == nil {
		return fmt.Errorf("the listener does not feed pool %q", t.Pool)
	}
	server := to.Pool.Find(t.Server)
	if server == nil {
		return fmt.Errorf("pool %q has no server %q", t.Pool, t.Server)
	}
	conn, err := w.loop.Attach(from.Upstream, c)
	if err != nil {
		return err
	}
	u := &upstream{w: w, conn: conn, to: server.Resolved(), born: w.loop.Now() - t.Age}
	w.setOf(server, to).add(u)
	tunnel := &tunnel{c: c, u: u, lease: server.Continue(), early: t.Early, wayName: t.Route, webSocket: t.WebSocket != nil, entry: c.entryOf(t)}
	if t.WebSocket != nil {
		tunnel.passed = [2]frames{t.WebSocket[0].frames(), t.WebSocket[1].frames()}
	}
	tunnel.trace = trace{route: w.countsNamed(t.Route), server: w.countsOf(server), at: server, began: w.loop.Now() - t.Age}
	tunnel.trace.route.carried.Add(1)
	tunnel.trace.server.carried.Add(1)
	tunnel.pair.Client, tunnel.pair.Upstream = client, conn
	c.tunnel, u.tunnel = tunnel, tunnel
	return nil
}

// countsNamed returns what a route counts by, or what requests do that no route is for.
func (w *worker) countsNamed(route string) *counts {
	for i := range w.ways {
		if w.ways[i].name == route {
			return w.ways[i].counts
		}
	}
	return w.ways[len(w.ways)-1].counts
}

// Begin has the client go on, unless it was closed since.
func (a *Arrival) Begin() {
	c := a.client
	c.w.loop.Call(func() {
		switch {
		case c.stage == gone:
		case c.tunnel != nil:
			c.stage = tunneling
			how := &c.w.tunnels
			if c.tunnel.webSocket {
				how = &c.w.webSockets
			}
			c.tunnel.pair.Continue(how, c.tunnel, &a.connection.Tunnel.Relay)
		default:
			c.beginIdle(a.connection)
		}
	})
}

// beginIdle waits for the next request of a client, or the rest of it.
func (c *client) beginIdle(from *Connection) {
	c.stage, c.late = reading, from.Begun
	c.in = c.w.keep(c.in, from.In)
	left := from.Left
	if !from.Begun {
		left = c.w.patience(left)
	}
	c.alarm.start(c.conn, c.w.loop.Now(), min(left, c.w.plan.IdleTimeout))
	c.conn.Resume()
	c.proceed()
}

// Abandon closes the sockets, which are nobody's loss: who gave the client still has
// them, and goes on with it.
func (a *Arrival) Abandon() {
	c := a.client
	c.w.loop.Call(func() {
		if c.stage == gone {
			return
		}
		if c.tunnel != nil {
			c.tunnel.pair.Close()
		}
		c.depart()
	})
}
