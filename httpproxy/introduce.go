package httpproxy

import (
	"errors"
	"net"
	"net/netip"

	"fulcrum/loop"
	"fulcrum/proxyproto"
)

// identify asks the kernel who the client is, at once: of one that has reset the
// connection it cannot tell later, and what such a client sent must not reach a
// server under nobody's name. It may be for a PROXY header to say.
func (c *client) identify(conn *loop.Conn) {
	p := c.w.plan
	c.address = conn.RemoteAddr()
	if _, unix := c.w.p.address.(*net.UnixAddr); !unix && !c.address.IsValid() {
		c.close(ClientReset)
		return
	}
	if p.sendsProxy {
		c.destination = conn.LocalAddr()
	}
	conn.Resume()
	if contains(p.AcceptProxy, c.address.Addr()) {
		c.alarm.start(conn, c.w.loop.Now(), p.AcceptProxyTimeout)
		return
	}
	c.identified()
}

// introduce takes the PROXY header, if it is there as a whole.
func (c *client) introduce(b []byte) (used int) {
	h, n, err := proxyproto.Parse(b)
	switch {
	case errors.Is(err, proxyproto.ErrIncomplete):
		return 0
	case err != nil:
		c.unintroduced()
		return len(b)
	}
	if !h.Local && h.Source.IsValid() && h.Destination.IsValid() {
		c.address, c.destination = h.Source, h.Destination
	}
	c.identified()
	return n
}

// unintroduced closes a client that did not begin with a PROXY header. It is told
// nothing: who does not know that it has to say one does not speak HTTP here.
func (c *client) unintroduced() {
	c.finish(failure{ended: BadHeader})
	c.close(BadHeader)
}

// identified goes on, once it is known who the client is.
func (c *client) identified() {
	p := c.w.plan
	c.stage = reading
	if p.MaxPerClient > 0 && c.address.IsValid() {
		c.limited = c.w.p.perClient.Enter(c.address.Addr())
		if !c.limited {
			c.refuse(failure{code: 429, reason: "too many connections from this address", ended: ClientLimit}, true)
			c.linger()
			return
		}
	}
	c.trusted = p.trusts(c.address)
	c.alarm.start(c.conn, c.w.loop.Now(), c.w.patience(p.HeaderTimeout))
}

// trusts reports whether what a client says of others is believed.
func (o *Options) trusts(client netip.AddrPort) bool {
	return o.Forwarded == ForwardedAppend || contains(o.Trusted, client.Addr())
}

// follow has a client that came before go by another plan from its next request on.
func (c *client) follow(next *plan) {
	c.trusted = next.trusts(c.address)
	if conn, ok := c.conn.(*loop.Conn); ok && next.sendsProxy && !c.destination.IsValid() {
		c.destination = conn.LocalAddr()
	}
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
