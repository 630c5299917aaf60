package l4

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"fulcrum/l4/clienthello"
	"fulcrum/loop"
	"fulcrum/proxyproto"
)

var (
	errLate = errors.New("it did not come in time")
	errLeft = errors.New("the connections to the server were closed")
)

// identifies reports whether the address of every client is asked for.
func (w *worker) identifies() bool {
	p := w.plan
	return p.AccessLog != nil || p.MaxPerClient > 0 || len(p.AcceptProxy) > 0 || p.routes.tellClients || w.debugs()
}

// identify asks the kernel who the client is, at once: of one that has reset the
// connection it cannot tell later, and what such a client sent must not reach a
// server under anybody else's name. It reports whether the client is still there.
func (s *session) identify() bool {
	d := s.detail()
	d.client = s.pair.Client.RemoteAddr()
	if s.plan.routes.tellClients {
		d.destination = s.pair.Client.LocalAddr()
	}
	_, isUnix := s.worker.parent.address.(*net.UnixAddr)
	return isUnix || d.client.IsValid() && (!s.plan.routes.tellClients || d.destination.IsValid())
}

// catchUp goes over to another plan that there is by now, and asks the kernel for what
// that needs to know of the client. It reports whether the client is still there.
func (s *session) catchUp() bool {
	if s.plan == s.worker.plan {
		return true
	}
	s.plan = s.worker.plan
	d := s.detail()
	return !s.worker.identifies() || d.client.IsValid() && d.destination.IsValid() || s.identify()
}

// fromProxy reports whether a client with that address must begin with a PROXY
// header.
func (o *Options) fromProxy(client netip.AddrPort) bool {
	for _, network := range o.AcceptProxy {
		if network.Contains(client.Addr()) {
			return true
		}
	}
	return false
}

// await reads from the client until the header, or the hello, is there.
func (s *session) await(what stage) {
	s.stage = what
	s.pair.Client.SetTimer(s.prefaceTimeout())
	s.pair.Client.Resume()
	s.preface()
}

func (s *session) prefaceTimeout() time.Duration {
	if s.stage == awaitsHeader {
		return s.plan.AcceptProxyTimeout
	}
	return s.plan.HelloTimeout
}

// Data keeps what a client sends before it is relayed. The parsers, which
// refuse what is longer than they need, bound how much that is.
func (s *session) Data(_ *loop.Conn, b []byte) {
	d := s.detail()
	d.read = append(d.read, b...)
	s.preface()
}

// preface looks whether what was read is enough to go on.
func (s *session) preface() {
	switch {
	case len(s.detail().read) == 0:
	case s.stage == awaitsHeader:
		s.readHeader()
	case s.stage == awaitsHello:
		s.readHello()
	}
}

func (s *session) readHeader() {
	d := s.details
	h, n, err := proxyproto.Parse(d.read)
	switch {
	case errors.Is(err, proxyproto.ErrIncomplete):
		return
	case err != nil:
		s.end(BadHeader, err)
		return
	}
	d.read = d.read[n:]
	if !h.Local && h.Source.IsValid() && h.Destination.IsValid() {
		d.client, d.destination = h.Source, h.Destination
	}
	s.identified()
}

func (s *session) readHello() {
	name, err := clienthello.ServerName(s.details.read)
	if !errors.Is(err, clienthello.ErrIncomplete) && !s.catchUp() {
		s.end(ClientReset, nil)
		return
	}
	to := s.plan.routes.otherwise
	switch {
	case errors.Is(err, clienthello.ErrIncomplete):
		return
	case errors.Is(err, clienthello.ErrNotTLS) && to != nil:
	case err != nil:
		s.end(NoHello, err)
		return
	default:
		s.details.name = name
		to = s.plan.routes.find(name)
	}
	s.goTo(to)
}

// Ended: the client has no more to say, and what it said is not enough.
func (s *session) Ended(*loop.Conn) {
	switch {
	case len(s.detail().read) == 0:
		s.end(ClientClosed, nil)
	case s.stage == awaitsHeader:
		s.end(BadHeader, proxyproto.ErrIncomplete)
	default:
		s.end(NoHello, clienthello.ErrIncomplete)
	}
}

// sendPreface sends the server what comes before what is relayed, and returns
// how much of it is the client's. The upstream keeps what it cannot pass on yet.
func (s *session) sendPreface() (ofClient int) {
	b := s.worker.scratch[:0]
	if v := s.to.SendProxy; v != 0 {
		b = proxyproto.Append(b, v, s.details.client, s.details.destination)
	}
	if d := s.details; d != nil {
		ofClient = len(d.read)
		b = append(b, d.read...)
		d.read = nil
	}
	s.pair.Upstream.Send(b)
	s.worker.scratch = b
	return ofClient
}
