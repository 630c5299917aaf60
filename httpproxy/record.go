package httpproxy

import (
	"net/netip"
	"strconv"
	"time"

	"fulcrum/accesslog"
)

// An entry is what there is to say of a request that has ended, or of a connection
// that ended without one. Its slices are only read.
type entry struct {
	time     time.Time // when it ended; its zone is the one that the combined format shows
	listener string
	client   netip.AddrPort // invalid: none

	method, target, host, protocol []byte // as sent; method empty: no head was understood
	referer, userAgent             []byte // empty: none

	status         int    // of the final answer or the 101; 0: none was begun
	received, sent int64  // payload bytes of the bodies, from the client and to it; of a tunnel: all behind the heads
	route          string // empty: none
	pool, server   string // empty: none
	tries          int    // connections, kept or new, that the request was to go on
	reused         bool   // the last of these was a kept one

	queue     time.Duration // waiting for a server; these four are negative where it did not come to that
	connect   time.Duration // from dialling the last server to being connected
	firstByte time.Duration // from sending the request to the head of the answer
	total     time.Duration // from when the head had come to the end
	ended     Ending
}

// appendJSON appends the entry as a line with a JSON object, without the members
// that are not known. Texts are at most accesslog.MaxText long.
//
//	time                         when it ended
//	listener                     its name
//	client                       address and port; not of unix sockets
//	method, host, target, protocol, referer, user_agent
//	                             as the client sent them
//	received                     bytes of the request's body, without its framing
//	status                       of the answer, if one was begun
//	sent                         bytes of the answer's body, without its framing
//	route, pool, server          where the request was to go
//	tried                        how many connections to servers it was tried on
//	reused                       whether the last of these was a kept one
//	queue_ms                     waiting for a server
//	connect_ms                   from dialling the server to being connected
//	first_byte_ms                from sending the request to the head of the answer
//	duration_ms                  from when the head had come to the end
//	ended                        the Ending
func (e *entry) appendJSON(b []byte) []byte {
	l := accesslog.Begin(b, e.time).Text("listener", e.listener)
	if e.client.IsValid() {
		l = l.Address("client", e.client)
	}
	l = e.appendMessages(l)
	l = e.appendWay(l)
	l = appendPhase(l, "queue_ms", e.queue)
	l = appendPhase(l, "connect_ms", e.connect)
	l = appendPhase(l, "first_byte_ms", e.firstByte)
	l = appendPhase(l, "duration_ms", e.total)
	return l.Text("ended", e.ended.String()).End()
}

// appendMessages appends what was asked and answered.
func (e *entry) appendMessages(l accesslog.Line) accesslog.Line {
	l = appendKnown(l, "method", e.method)
	l = appendKnown(l, "host", e.host)
	l = appendKnown(l, "target", e.target)
	l = appendKnown(l, "protocol", e.protocol)
	l = appendKnown(l, "referer", e.referer)
	l = appendKnown(l, "user_agent", e.userAgent)
	if len(e.method) > 0 {
		l = l.Number("received", e.received)
	}
	if e.status > 0 {
		l = l.Number("status", int64(e.status)).Number("sent", e.sent)
	}
	return l
}

// appendWay appends where the request went.
func (e *entry) appendWay(l accesslog.Line) accesslog.Line {
	l = appendKnown(l, "route", []byte(e.route))
	l = appendKnown(l, "pool", []byte(e.pool))
	l = appendKnown(l, "server", []byte(e.server))
	if e.tries > 0 {
		l = l.Number("tried", int64(e.tries)).Bool("reused", e.reused)
	}
	return l
}

func appendKnown(l accesslog.Line, name string, text []byte) accesslog.Line {
	if len(text) == 0 {
		return l
	}
	return l.Bytes(name, text)
}

func appendPhase(l accesslog.Line, name string, d time.Duration) accesslog.Line {
	if d < 0 {
		return l
	}
	return l.Millis(name, d)
}

// appendCombined appends the entry as a line in the combined format of Apache and
// nginx, in printable ASCII: client, two that are never known, time, request line,
// status, bytes sent, referer and user agent. What is not known is "-". Texts are
// at most accesslog.MaxText long and escaped as nginx does it.
func (e *entry) appendCombined(b []byte) []byte {
	if e.client.IsValid() {
		b = e.client.Addr().WithZone("").AppendTo(b)
	} else {
		b = append(b, '-')
	}
	b = append(b, " - - ["...)
	b = e.time.AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, `] "`...)
	if len(e.method) > 0 {
		b = append(accesslog.AppendEscaped(b, e.method), ' ')
		b = append(accesslog.AppendEscaped(b, e.target), ' ')
		b = accesslog.AppendEscaped(b, e.protocol)
	} else {
		b = append(b, '-')
	}
	b = append(b, `" `...)
	if e.status > 0 {
		b = strconv.AppendInt(b, int64(e.status), 10)
	} else {
		b = append(b, '-')
	}
	b = strconv.AppendInt(append(b, ' '), e.sent, 10)
	b = appendInQuotes(b, e.referer)
	b = appendInQuotes(b, e.userAgent)
	return append(b, '\n')
}

// appendInQuotes appends a blank and a text in quotes.
func appendInQuotes(b, text []byte) []byte {
	b = append(b, ` "`...)
	if len(text) == 0 {
		b = append(b, '-')
	}
	return append(accesslog.AppendEscaped(b, text), '"')
}
