package httpproxy

import (
	"net/netip"
	"strconv"
)

// appendEndToEnd appends the fields that are meant for the other end, as they
// came, but for those of two kinds.
func (h *head) appendEndToEnd(dst []byte, but1, but2 kind) []byte {
	for i := range h.fields {
		f := &h.fields[i]
		if f.kind != ordinary && (f.kind.hopByHop() || f.kind == but1 || f.kind == but2) {
			continue
		}
		if len(h.options) > 0 && f.kind != hostField && h.names(f.name) {
			continue
		}
		dst = appendField(dst, f.name, f.value)
	}
	return dst
}

// append writes the request as it goes to a server. serverHost is for a request
// without a Host; a client of a unix socket has no IP.
func (r *request) append(dst []byte, client netip.Addr, serverHost string) []byte {
	dst = append(dst, r.parsed.Method()...)
	dst = append(dst, ' ')
	dst = append(dst, r.target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	if r.host == nil {
		dst = append(dst, "Host: "...)
		dst = append(dst, serverHost...)
		dst = append(dst, "\r\n"...)
	}
	expect := forwardedField
	if r.http10 {
		expect = expectField
	}
	dst = r.appendEndToEnd(dst, forwardedField, expect)
	if client.IsValid() {
		dst = append(dst, "X-Forwarded-For: "...)
		dst = client.AppendTo(dst)
		dst = append(dst, "\r\n"...)
	}
	if r.host != nil {
		dst = append(dst, "X-Forwarded-Host: "...)
		dst = append(dst, r.host...)
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, "X-Forwarded-Proto: http\r\n"...)
	if r.takesTrailers {
		dst = append(dst, "TE: trailers\r\n"...)
	}
	if r.upgrades {
		dst = append(dst, "Upgrade: "...)
		dst = append(dst, r.upgrade...)
		dst = append(dst, "\r\n"...)
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

// appendFinal writes the answer as it goes to the client. connection is the
// value of its Connection field, if any; length that of the body on that side.
func (a *answer) appendFinal(dst []byte, connection string, length int64, trailers bool) []byte {
	dst = a.appendStart(dst)
	if connection != "" {
		dst = append(dst, "Connection: "...)
		dst = append(dst, connection...)
		dst = append(dst, "\r\n"...)
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
	dst = a.appendStart(dst)
	if a.parsed.StatusCode() == 101 {
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
		dst = append(dst, a.upgrade...)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

func (a *answer) appendStart(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(a.parsed.StatusCode()), 10)
	dst = append(dst, ' ')
	dst = append(dst, a.parsed.StatusMessage()...)
	dst = append(dst, "\r\n"...)
	return a.appendEndToEnd(dst, connectionField, connectionField)
}

func appendField(dst, name, value []byte) []byte {
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
