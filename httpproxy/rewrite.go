package httpproxy

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// hopByHop are the fields that concern one connection only (RFC 9110, section
// 7.6.1), and those that this proxy writes itself.
var hopByHop = []string{
	"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length",
}

// forwarded are the fields that tell a server about its client.
var forwarded = []string{"forwarded", "x-real-ip", "x-forwarded-"}

// appendEndToEnd appends the fields that are meant for the other end, as they
// came.
func (h *head) appendEndToEnd(dst []byte, drop func(name []byte) bool) []byte {
	for _, f := range h.fields {
		named := h.has(string(f.name)) && !is(f.name, "host")
		if named || slices.ContainsFunc(hopByHop, func(n string) bool { return is(f.name, n) }) || drop(f.name) {
			continue
		}
		dst = appendField(dst, string(f.name), f.value)
	}
	return dst
}

// append writes the request as it goes to a server. serverHost is for a request
// without a Host; a client of a unix socket has no IP.
func (r *request) append(dst []byte, clientIP, serverHost string) []byte {
	dst = append(dst, r.parsed.Method()...)
	dst = append(dst, ' ')
	dst = append(dst, r.target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	if r.host == nil {
		dst = appendField(dst, "Host", []byte(serverHost))
	}
	dst = r.appendEndToEnd(dst, func(name []byte) bool {
		return isForwarded(name) || r.http10 && is(name, "expect")
	})
	if clientIP != "" {
		dst = appendField(dst, "X-Forwarded-For", []byte(clientIP))
	}
	if r.host != nil {
		dst = appendField(dst, "X-Forwarded-Host", r.host)
	}
	dst = appendField(dst, "X-Forwarded-Proto", []byte("http"))
	var options []string
	if r.trailers() {
		dst = appendField(dst, "TE", []byte("trailers"))
		options = append(options, "TE")
	}
	if r.upgrades {
		dst = appendField(dst, "Upgrade", r.upgrade)
		options = append(options, "Upgrade")
	}
	if options != nil {
		dst = appendField(dst, "Connection", []byte(strings.Join(options, ", ")))
	}
	return appendFraming(dst, r.length)
}

// trailers reports whether the client's TE lists trailers.
func (r *request) trailers() bool {
	for _, f := range r.fields {
		if !is(f.name, "te") {
			continue
		}
		for coding := range bytes.SplitSeq(f.value, []byte(",")) {
			if is(bytes.Trim(coding, " \t"), "trailers") {
				return true
			}
		}
	}
	return false
}

// isForwarded reports whether a server might take a field for one of the
// forwarded ones; some do not tell "_" from "-".
func isForwarded(name []byte) bool {
	lower := strings.ReplaceAll(strings.ToLower(string(name)), "_", "-")
	for _, n := range forwarded {
		if lower == n || strings.HasSuffix(n, "-") && strings.HasPrefix(lower, n) {
			return true
		}
	}
	return false
}

// appendFinal writes the answer as it goes to the client. connection is the
// value of its Connection field, if any; length that of the body on that side.
func (a *answer) appendFinal(dst []byte, connection string, length int64) []byte {
	dst = a.appendStart(dst)
	if connection != "" {
		dst = appendField(dst, "Connection", []byte(connection))
	}
	return appendFraming(dst, length)
}

// appendInterim writes a 1xx answer as it goes to the client.
func (a *answer) appendInterim(dst []byte) []byte {
	dst = a.appendStart(dst)
	if a.parsed.StatusCode() == 101 {
		dst = appendField(dst, "Connection", []byte("Upgrade"))
		dst = appendField(dst, "Upgrade", a.upgrade)
	}
	return append(dst, "\r\n"...)
}

func (a *answer) appendStart(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(a.parsed.StatusCode()), 10)
	dst = append(dst, ' ')
	dst = append(dst, a.parsed.StatusMessage()...)
	dst = append(dst, "\r\n"...)
	return a.appendEndToEnd(dst, func([]byte) bool { return false })
}

func appendField(dst []byte, name string, value []byte) []byte {
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
