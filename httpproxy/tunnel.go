package httpproxy

import (
	"bytes"
	"time"

	"fulcrum/loop"
	"fulcrum/pool"
	"fulcrum/relay"
)

// The sides of a tunnel.
const (
	clientSide = iota
	upstreamSide
)

// A tunnel is what an upgrade turns a client's and a server's connection into.
type tunnel struct {
	c       *client
	u       *upstream
	pair    relay.Pair
	lease   pool.Lease
	wayName string // of the route
	early   int    // bytes of the server's that were sent on before the pair began
	trace   trace
	entry   *entry // of the request; nil: there is no access log

	webSocket bool
	leaving   bool      // there is a farewell
	passed    [2]frames // of a WebSocket: those that came from each side
}

// upgrade passes a 101 on and then whatever comes, beginning with what was already
// read: early from the server, and what the client had behind its request.
func (x *exchange) upgrade(early []byte) {
	c, u := x.c, x.u
	client, server, ok := sockets(c.conn, u.conn)
	if !x.req.upgrades || !bytes.EqualFold(x.ans.upgrade, x.req.upgrade) || !x.ans.wantsUpgrade || !ok {
		x.failed(errSyntax, BadAnswer)
		return
	}
	x.answered()
	out := x.ans.appendInterim(x.w.out[:0])
	x.w.send(c.conn, append(out, early...))
	u.conn.Send(c.in)
	sent := len(c.in)
	t := &tunnel{c: c, u: u, lease: x.lease, wayName: x.way.name, early: len(early), trace: x.trace, webSocket: is(x.req.upgrade, "websocket")}
	how := &x.w.tunnels
	if t.webSocket {
		how = &x.w.webSockets
		t.passed[clientSide].pass(c.in)
		t.passed[upstreamSide].pass(early)
	}
	if x.w.plan.AccessLog != nil {
		t.entry = x.entry(Upgraded).clone()
	}
	t.pair.Client, t.pair.Upstream = client, server
	x.lease = pool.Lease{}
	x.u, u.x = nil, nil
	c.x, c.stage = nil, tunneling
	c.tunnel, u.tunnel = t, t
	c.in, u.in = x.w.keep(c.in, nil), x.w.keep(u.in, nil)
	x.w.giveExchange(x)
	t.pair.Start(how, t, sent)
	if c.ended {
		t.pair.Ended(client)
	}
}

// Answered is of no interest: the answer was the 101.
func (t *tunnel) Answered(*relay.Pair) {}

// Passing follows the frames of a WebSocket.
func (t *tunnel) Passing(_ *relay.Pair, from *loop.Conn, b []byte) { t.passed[t.sideOf(from)].pass(b) }

func (t *tunnel) sides() [2]*loop.Conn { return [2]*loop.Conn{t.pair.Client, t.pair.Upstream} }

func (t *tunnel) sideOf(c *loop.Conn) int {
	if c == t.pair.Client {
		return clientSide
	}
	return upstreamSide
}

// hurry has the tunnel heed a time limit that has become shorter.
func (t *tunnel) hurry() {
	if !t.leaving {
		t.pair.Hurry()
	}
}

// Relayed: both connections are closed.
func (t *tunnel) Relayed(_ *relay.Pair, cause relay.Cause) {
	ended := Upgraded
	switch cause {
	case relay.Idle, relay.HalfClosedIdle:
		ended = Idle
	case relay.Panicked:
		ended = InternalError
	}
	t.c.close(ended)
}

// end is the tunnel's part of closing its client.
func (t *tunnel) end(ended Ending) {
	t.c.tunnel, t.u.tunnel = nil, nil
	t.pair.Close()
	t.u.drop()
	t.lease.Release(pool.Served)
	received, sent := t.pair.Moved()
	sent += int64(t.early)
	for _, c := range [...]*counts{t.trace.route, t.trace.server} {
		c.end(ended, received, sent)
	}
	if e := t.entry; e != nil {
		e.time, e.total, e.ended = time.Now(), t.c.w.loop.Now()-t.trace.began, ended
		e.received, e.sent = received, sent
		t.c.w.log(e)
	}
}
