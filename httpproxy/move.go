package httpproxy

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"fulcrum/loop"
	"fulcrum/relay"
)

// errStopped is what becomes of what is asked of a loop, or a listener, that is no more.
var errStopped = errors.New("the listener has stopped")

// A Connection is a client, idle or in a tunnel, that leaves a listener to go on at
// another, in another process: its sockets, which are its holder's, and all else there
// is to know of it.
type Connection struct {
	Client   int `json:"-"`
	Upstream int `json:"-"` // of a tunnel

	Address     netip.AddrPort `json:"address,omitzero"`     // who the client is
	Destination netip.AddrPort `json:"destination,omitzero"` // what it connected to, if that is to be told to servers
	Tunnel      *Tunnel        `json:"tunnel,omitempty"`     // nil: it is idle

	// Of one that is idle: the beginning of a request, which Parts has, and how long it
	// may take until its head is there, or, if it has not begun, until it does.
	In    []byte        `json:"-"`
	Begun bool          `json:"begun,omitempty"`
	Left  time.Duration `json:"left,omitempty"`
}

// A Tunnel is what there is to know of an upgraded request.
type Tunnel struct {
	Route  string `json:"route"` // its name
	Pool   string `json:"pool"`
	Server string `json:"server"`

	Age       time.Duration  `json:"age"`                 // since the head of the request
	Early     int            `json:"early"`               // bytes of the server's that are not in Relay
	WebSocket *[2]FrameState `json:"websocket,omitempty"` // by side, the client's first; nil: it is another protocol
	Record    *Record        `json:"record,omitempty"`    // nil: there is no access log
	Relay     relay.State    `json:"relay"`
}

// A FrameState is where a WebSocket is, in one direction, within its frames.
type FrameState struct {
	Left     uint64 `json:"left,omitempty"`
	Length   uint64 `json:"length,omitempty"`
	Came     uint8  `json:"came,omitempty"`
	LengthTo uint8  `json:"length_to,omitempty"`
	HeadTo   uint8  `json:"head_to,omitempty"`
	Closes   uint8  `json:"closes,omitempty"`
	Closed   uint8  `json:"closed,omitempty"`
}

// A Record is what the access log is to say of a tunnel when it ends.
type Record struct {
	Method    []byte        `json:"method"`
	Target    []byte        `json:"target"`
	Host      []byte        `json:"host"`
	Protocol  []byte        `json:"protocol"`
	Referer   []byte        `json:"referer,omitempty"`
	UserAgent []byte        `json:"user_agent,omitempty"`
	Status    int           `json:"status"`
	Tries     int           `json:"tries"`
	Reused    bool          `json:"reused,omitempty"`
	Queue     time.Duration `json:"queue"`
	Connect   time.Duration `json:"connect"`
	FirstByte time.Duration `json:"first_byte"`
}

// Parts returns what of a Connection is not in its JSON, to be read or set.
func (c *Connection) Parts() []*[]byte {
	if c.Tunnel != nil {
		return c.Tunnel.Relay.Parts()
	}
	return []*[]byte{&c.In}
}

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

func (f *frames) state() FrameState {
	return FrameState{f.left, f.length, f.came, f.lengthTo, f.headTo, f.closes, f.closed}
}

func (s *FrameState) frames() frames {
	return frames{s.Left, s.Length, s.Came, s.LengthTo, s.HeadTo, s.Closes, s.Closed}
}

func (e *entry) asRecord() *Record {
	if e == nil {
		return nil
	}
	return &Record{e.method, e.target, e.host, e.protocol, e.referer, e.userAgent,
		e.status, e.tries, e.reused, e.queue, e.connect, e.firstByte}
}

// entryOf returns what the access log is to say of a tunnel that has come from another
// listener, nil if there is none or nothing is known.
func (c *client) entryOf(t *Tunnel) *entry {
	r := t.Record
	if r == nil || c.w.plan.AccessLog == nil {
		return nil
	}
	return &entry{
		listener: c.w.plan.Name, client: c.address, route: t.Route, pool: t.Pool, server: t.Server,
		method: r.Method, target: r.Target, host: r.Host, protocol: r.Protocol, referer: r.Referer, userAgent: r.UserAgent,
		status: r.Status, tries: r.Tries, reused: r.Reused, queue: r.Queue, connect: r.Connect, firstByte: r.FirstByte,
	}
}

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
