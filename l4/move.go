package l4

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"fulcrum/loop"
	"fulcrum/relay"
)

// Sockets returns the listening sockets, for another process. The caller closes them.
func (l *Listener) Sockets() (sockets []int, err error) {
	for _, w := range l.workers {
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
func (l *Listener) Leave() {
	for _, w := range l.workers {
		w.loop.Call(w.leave)
	}
}

// errStopped is what becomes of what is asked of a loop, or a listener, that is no more.
var errStopped = errors.New("the listener has stopped")

// A Connection is one that leaves a listener to go on at another, in another process:
// its two sockets, which are its holder's, and all else there is to know of it.
type Connection struct {
	Client   int `json:"-"`
	Upstream int `json:"-"`

	Pool        string         `json:"pool"`
	Server      string         `json:"server"`
	Address     netip.AddrPort `json:"address,omitzero"`     // of the client, if anybody asked
	Destination netip.AddrPort `json:"destination,omitzero"` // what it connected to, likewise
	Name        string         `json:"sni,omitempty"`        // that it asked for

	Age         time.Duration `json:"age"`          // since it was accepted
	Relayed     time.Duration `json:"relayed"`      // since its server was connected
	ConnectTime time.Duration `json:"connect_time"` // how long that took
	FirstByte   time.Duration `json:"first_byte"`   // from then to the server's first byte

	Relay relay.State `json:"relay"`
}

// Give takes up to so many of the relayed connections off the listener, which no longer
// counts them. Those that do not come to rest within a moment go on, for another call.
// It is not called by two goroutines at a time, nor after the loops have stopped.
func (l *Listener) Give(most int) (given []Connection) {
	for _, w := range l.workers {
		if room := most - len(given); room > 0 {
			given = append(given, w.give(room)...)
		}
	}
	return given
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
	w.each(func(s *session) {
		if most > 0 && s.stage == relaying && !s.stays && !s.pair.Failing() {
			most--
			s.leaving = true
			s.pair.Freeze()
		}
	})
}

// take returns those of the frozen sessions that have come to rest. When it is late
// the others go on, as those do that fail; else left says how many there are.
func (w *worker) take(late bool) (taken []Connection, left int) {
	w.each(func(s *session) {
		switch {
		case !s.leaving:
		case s.pair.Frozen():
			if c, err := s.leave(); err == nil {
				taken = append(taken, c)
			}
		case late, s.pair.Failing():
			s.leaving = false
			s.pair.Thaw()
		default:
			left++
		}
	})
	return taken, left
}

// leave ends the session here, with both sockets open.
func (s *session) leave() (c Connection, err error) {
	now := s.worker.loop.Now()
	c = Connection{
		Pool:        s.to.Pool.Name(),
		Server:      s.lease.Server().Address(),
		Age:         now - s.began,
		Relayed:     now - s.since,
		ConnectTime: s.connectTime.duration(),
		FirstByte:   s.firstByte.duration(),
	}
	if d := s.details; d != nil {
		c.Address, c.Destination, c.Name = d.client, d.destination, d.name
	}
	c.Client, c.Upstream, c.Relay, err = s.pair.Detach()
	if err != nil {
		s.end(InternalError, err)
		return c, err
	}
	s.over = true
	s.depart()
	return c, nil
}

// depart has the session no longer counted here.
func (s *session) depart() {
	w := s.worker
	w.carried.Add(-1)
	s.counts.carried.Add(-1)
	s.counts.open--
	w.retire(s.lease.Server(), s.counts)
	s.lease.Move()
	s.giveBack()
	w.remove(s)
	w.recycle(s)
}

// An Arrival is a connection that has come from another listener and is about to go on.
// Either Begin or Abandon follows.
type Arrival struct {
	session    *session
	connection *Connection
}

// Take makes ready to go on with a connection that another listener gave, on one of the
// loops and counted beyond any limit. Its sockets are the listener's then. After an
// error, which says what is unknown here, they are still the caller's. One that stays is
// not given again.
func (l *Listener) Take(c *Connection, stays bool) (a *Arrival, err error) {
	w := l.workers[l.turn.Add(1)%uint64(len(l.workers))]
	err = errStopped
	w.loop.Call(func() { a, err = w.takeIn(c, stays) })
	return a, err
}

func (w *worker) takeIn(c *Connection, stays bool) (*Arrival, error) {
	if w.stopping {
		return nil, errStopped
	}
	to := w.plan.upstream(c.Pool)
	if to == nil {
		return nil, fmt.Errorf("the listener does not feed pool %q", c.Pool)
	}
	server := to.Pool.Find(c.Server)
	if server == nil {
		return nil, fmt.Errorf("pool %q has no server %q", c.Pool, c.Server)
	}
	now := w.loop.Now()
	s := w.newSession()
	s.worker, s.plan, s.to, s.stage, s.stays = w, w.plan, to, arriving, stays
	s.began, s.since = now-c.Age, now-c.Relayed
	s.connectTime, s.firstByte = microsOf(c.ConnectTime), microsOf(c.FirstByte)
	var err error
	if s.pair.Client, err = w.loop.Attach(c.Client, s); err != nil {
		return nil, err
	}
	if s.pair.Upstream, err = w.loop.Attach(c.Upstream, s); err != nil {
		s.pair.Client.Freeze()
		_, _, _, _ = s.pair.Client.Detach() // at once: nothing goes on on it
		return nil, err
	}
	s.lease = server.Continue()
	s.counts = w.countsOf(server)
	s.counts.open++
	s.counts.carried.Add(1)
	w.carried.Add(1)
	w.parent.gate.Count()
	w.add(s)
	s.remember(c)
	return &Arrival{s, c}, nil
}

// Begin has the connection go on, unless it was closed by order since.
func (a *Arrival) Begin() {
	s := a.session
	s.worker.loop.Call(func() {
		if !s.over {
			s.stage = relaying
			s.pair.Continue(&s.counts.relay, s, &a.connection.Relay)
		}
	})
}

// Abandon closes the sockets, which are nobody's loss: who gave the connection still has
// them, and goes on with it.
func (a *Arrival) Abandon() {
	s := a.session
	s.worker.loop.Call(func() {
		if !s.over {
			s.over = true
			s.pair.Client.Close()
			s.pair.Upstream.Close()
			s.depart()
		}
	})
}

// remember keeps what is known of a client that came from elsewhere, as far as
// somebody asks for it here.
func (s *session) remember(c *Connection) {
	if !s.worker.identifies() {
		return
	}
	d := s.detail()
	d.client, d.destination, d.name = c.Address, c.Destination, c.Name
	if !d.client.IsValid() {
		d.client = s.pair.Client.RemoteAddr()
	}
	if s.plan.MaxPerClient > 0 && d.client.IsValid() {
		s.limited = true
		s.worker.parent.clients.Count(d.client.Addr())
	}
}

// upstream returns the one that leads to a pool, nil if there is none.
func (p *plan) upstream(pool string) *Upstream {
	if p.Default != nil && p.Default.Pool.Name() == pool {
		return p.Default
	}
	for _, r := range p.Routes {
		if r.Upstream != nil && r.Pool.Name() == pool {
			return r.Upstream
		}
	}
	return nil
}
