package l4

import (
	"time"

	"fulcrum/accesslog"
)

// record writes the access log's line on a connection that has ended: a JSON
// object, without the members that are not known.
//
//	time           when it ended
//	listener       its name
//	client         address and port; not of unix sockets
//	server, pool   that it was relayed to, or was being connected to
//	sni            the server name that was asked for
//	tried          how many servers it was tried to connect to, this one included
//	to_upstream    bytes from the client to the server
//	to_client      bytes from the server to the client
//	connect_ms     from dialling the server to being connected
//	first_byte_ms  from then to the server's first byte
//	duration_ms    from accepting the client to the end
//	ended          the Cause
func (s *session) record(cause Cause) {
	log := s.worker.plan.AccessLog
	if log == nil {
		return
	}
	l := accesslog.Begin(s.worker.scratch[:0], time.Now())
	l = l.Text("listener", s.plan.Name)
	l = s.appendWay(l)
	l = s.appendMoved(l)
	l = l.Millis("duration_ms", s.worker.loop.Now()-s.began)
	l = l.Text("ended", cause.String())
	s.worker.scratch = l.End()
	log.Write(s.worker.scratch)
}

// appendWay appends where the connection came from and went to.
func (s *session) appendWay(l accesslog.Line) accesslog.Line {
	if d := s.detail(); d.client.IsValid() {
		l = l.Address("client", d.client)
	}
	tried := 0
	if t := s.tried(); t != nil {
		tried = t.Len()
	}
	if server := s.lease.Server(); server != nil {
		l = l.Text("server", server.Address())
		tried++
	}
	if s.to != nil {
		l = l.Text("pool", s.to.Pool.Name())
	}
	if s.detail().name != "" {
		l = l.Text("sni", s.detail().name)
	}
	if tried > 0 {
		l = l.Number("tried", int64(tried))
	}
	return l
}

// appendMoved appends how it went, if it was relayed.
func (s *session) appendMoved(l accesslog.Line) accesslog.Line {
	if s.counts == nil {
		return l
	}
	toUpstream, toClient := s.pair.Moved()
	l = l.Number("to_upstream", toUpstream)
	l = l.Number("to_client", toClient)
	l = l.Millis("connect_ms", s.connectTime.duration())
	if toClient > 0 {
		l = l.Millis("first_byte_ms", s.firstByte.duration())
	}
	return l
}
