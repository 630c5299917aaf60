package httpproxy

import (
	"bytes"
	"net/netip"
	"strconv"
)

// An onward says how a request goes on to a server.
type onward struct {
	client     netip.AddrPort // who sent it; invalid: has no address, as behind a unix socket
	claims     bool           // what the client says about others is believed and continued
	off        bool           // nothing about the client is written or removed
	serverHost string         // Host of a request that came without one
	host       string         // in place of Host; "": it is kept
	covered    int            // bytes to take off the front of the target
	edits      *edits         // nil: none
}

// append writes the request as it goes to a server.
func (r *request) append(dst []byte, o *onward) []byte {
	dst = append(dst, r.parsed.Method()...)
	dst = append(dst, ' ')
	prefix, rest := o.cut(r.target)
	if len(prefix) > 0 {
		dst = append(dst, '/')
	}
	dst = append(dst, rest...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	if r.host == nil {
		host := o.serverHost
		if o.host != "" {
			host = o.host
		}
		dst = appendField(dst, "Host", host)
	}
	but := o.replaced(prefix)
	if r.http10 {
		but |= 1 << expectField
	}
	dst = r.appendEndToEnd(dst, but, o.host, o.edits)
	if !o.off {
		dst = r.appendForwarded(dst, o, prefix)
	}
	dst = o.edits.append(dst)
	return r.appendConnection(dst)
}

// cut splits a target into what is taken off its front and what is left, but for
// what would make that look as if it began with a host: to some servers "//" and
// "/\" do.
func (o *onward) cut(target []byte) (prefix, rest []byte) {
	n := min(o.covered, len(target))
	if n == 0 {
		return nil, target
	}
	return target[:n], bytes.TrimLeft(target[n:], `/\`)
}

// appendConnection writes the fields of a request that are about this connection,
// and ends the head.
func (r *request) appendConnection(dst []byte) []byte {
	if r.takesTrailers {
		dst = append(dst, "TE: trailers\r\n"...)
	}
	if r.upgrades {
		dst = appendField(dst, "Upgrade", r.upgrade)
	}
	switch {
	case r.takesTrailers && r.upgrades:
		dst = append(dst, "Connection: TE, Upgrade\r\n"...)
	case r.takesTrailers:
		dst = append(dst, "Connection: TE\r\n"...)
	case r.upgrades:
		dst = append(dst, "Connection: Upgrade\r\n"...)
	}
	return appendFraming(dst, r.length)
}

// appendEndToEnd appends the fields that are meant for the other end, as they
// came, but for those of some kinds and those that are edited away. host is in
// place of Host, unless it is empty.
func (h *head) appendEndToEnd(dst []byte, but kinds, host string, e *edits) []byte {
	but |= hopByHop
	for i := range h.fields {
		f := &h.fields[i]
		switch {
		case but.has(f.kind), e.drops(f.name), f.kind != hostField && h.names(f.name):
		case f.kind == hostField && host != "":
			dst = appendField(dst, f.name, host)
		default:
			dst = appendField(dst, f.name, f.value)
		}
	}
	return dst
}

// appendFinal writes the answer as it goes to the client. connection is the
// value of its Connection field, if any; length that of the body on that side.
func (a *answer) appendFinal(dst []byte, connection string, length int64, trailers bool, e *edits) []byte {
	dst = e.append(a.appendStart(dst, e))
	if connection != "" {
		dst = appendField(dst, "Connection", connection)
	}
	if trailers {
		for i := range a.fields {
			if f := &a.fields[i]; f.kind == trailerField {
				dst = appendField(dst, f.name, f.value)
			}
		}
	}
	return appendFraming(dst, length)
}

// appendInterim writes a 1xx answer as it goes to the client.
func (a *answer) appendInterim(dst []byte) []byte {
	dst = a.appendStart(dst, nil)
	if a.parsed.StatusCode() == 101 {
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
		dst = append(dst, a.upgrade...)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

func (a *answer) appendStart(dst []byte, e *edits) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(a.parsed.StatusCode()), 10)
	dst = append(dst, ' ')
	dst = append(dst, a.parsed.StatusMessage()...)
	dst = append(dst, "\r\n"...)
	return a.appendEndToEnd(dst, 0, "", e)
}

func appendField[N, V []byte | string](dst []byte, name N, value V) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// appendFraming says how long the body is and ends the head.
func appendFraming(dst []byte, length int64) []byte {
	switch {
	case length == lengthChunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case length >= 0:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, length, 10)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}
