package httpproxy

import (
	"bytes"

	"fulcrum/pool"
	"fulcrum/relay"
)

// A tunnel is what an upgrade turns a client's and a server's connection into.
type tunnel struct {
	c     *client
	u     *upstream
	pair  relay.Pair
	lease pool.Lease
}

// upgrade passes a 101 on and then whatever comes, beginning with what was already
// read: early from the server, and what the client had behind its request.
func (x *exchange) upgrade(early []byte) {
	c, u := x.c, x.u
	client, server, ok := sockets(c.conn, u.conn)
	if !x.req.upgrades || !bytes.EqualFold(x.ans.upgrade, x.req.upgrade) || !x.ans.wantsUpgrade || !ok {
		x.failed(errSyntax)
		return
	}
	out := x.ans.appendInterim(x.w.out[:0])
	x.w.send(c.conn, append(out, early...))
	u.conn.Send(c.in)
	sent := len(c.in)
	t := &tunnel{c: c, u: u, lease: x.lease}
	t.pair.Client, t.pair.Upstream = client, server
	x.lease = pool.Lease{}
	x.u, u.x = nil, nil
	c.x, c.stage = nil, tunneling
	c.tunnel, u.tunnel = t, t
	c.in, u.in = x.w.keep(c.in, nil), x.w.keep(u.in, nil)
	x.w.giveExchange(x)
	t.pair.Start(&x.w.tunnels, t, sent)
	if c.ended {
		t.pair.Ended(client)
	}
}

// Answered is of no interest: the answer was the 101.
func (t *tunnel) Answered(*relay.Pair) {}

// Relayed: both connections are closed.
func (t *tunnel) Relayed(*relay.Pair, relay.Cause) { t.c.close() }

// end is the tunnel's part of closing its client.
func (t *tunnel) end() {
	t.c.tunnel, t.u.tunnel = nil, nil
	t.u.drop()
	t.lease.Release(pool.Served)
}
