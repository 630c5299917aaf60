package httpproxy

import (
	"bytes"
	"net/netip"
	"strconv"
	"time"
)

// scan splits a head into its fields, not more than most, and refuses what RFC
// 9112 leaves open to interpretation.
func (h *head) scan(b []byte, most int) error {
	*h = head{fields: h.fields[:0], options: h.options[:0], length: lengthNone}
	end := bytes.IndexByte(b, '\n')
	if end < 1 || b[end-1] != '\r' || !isValue(b[:end-1]) {
		return errSyntax
	}
	for b = b[end+1:]; len(b) > 2; b = b[end+1:] {
		if len(h.fields) == most {
			return errHeadTooLarge
		}
		end = bytes.IndexByte(b, '\n')
		if end < 1 || b[end-1] != '\r' {
			return errSyntax
		}
		name, value, ok := splitField(b[:end-1])
		if !ok {
			return errSyntax
		}
		f := field{name, value, kindOf(name)}
		h.fields = append(h.fields, f)
		if f.kind != ordinary {
			if err := h.note(&f); err != nil {
				return err
			}
		}
	}
	return nil
}

// splitField splits a line, and reports whether it is a field.
func splitField(line []byte) (name, value []byte, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 || !isToken(line[:colon]) {
		return nil, nil, false
	}
	value = line[colon+1:]
	for len(value) > 0 && (value[0] == ' ' || value[0] == '\t') {
		value = value[1:]
	}
	for n := len(value); n > 0 && (value[n-1] == ' ' || value[n-1] == '\t'); n-- {
		value = value[:n-1]
	}
	return line[:colon], value, isValue(value)
}

// note takes in what a field says about the message itself.
func (h *head) note(f *field) error {
	switch f.kind {
	case lengthField:
		n, err := strconv.ParseUint(string(f.value), 10, 62)
		if h.length != lengthNone || err != nil {
			return errFraming
		}
		h.length = int64(n)
	case codingField:
		if h.length != lengthNone || !is(f.value, "chunked") {
			return errFraming
		}
		h.length = lengthChunked
	case framingAliasField:
		return errFraming
	case connectionField:
		return h.noteOptions(f.value)
	case upgradeField:
		if h.upgrade != nil {
			return errSyntax
		}
		h.upgrade = f.value
	case teField:
		for coding := range bytes.SplitSeq(f.value, []byte(",")) {
			h.takesTrailers = h.takesTrailers || is(bytes.Trim(coding, " \t"), "trailers")
		}
	case expectField:
		h.expects = is(f.value, "100-continue")
	case keepAliveField:
		h.patience = keepAliveTimeout(f.value)
	}
	return nil
}

func (h *head) noteOptions(value []byte) error {
	for option := range bytes.SplitSeq(value, []byte(",")) {
		if h.named == maxOptions {
			return errSyntax
		}
		h.named++
		option = bytes.Trim(option, " \t")
		switch {
		case is(option, "keep-alive"):
			h.keepsAlive = true
		case is(option, "upgrade"):
			h.wantsUpgrade = true
		case is(option, "close"):
			h.closes = true
			fallthrough
		default:
			h.options = append(h.options, option)
		}
	}
	return nil
}

// keepAliveTimeout returns what "timeout" says in a Keep-Alive field, 0 if nothing.
func keepAliveTimeout(value []byte) time.Duration {
	for part := range bytes.SplitSeq(value, []byte(",")) {
		name, seconds, _ := bytes.Cut(bytes.Trim(part, " \t"), []byte("="))
		if is(name, "timeout") {
			n, err := strconv.ParseUint(string(seconds), 10, 16)
			if err != nil {
				return 0
			}
			return max(time.Duration(n)*time.Second, 1) // 0: not at all
		}
	}
	return 0
}

// names reports whether Connection names a field.
func (h *head) names(field []byte) bool {
	for _, o := range h.options {
		if bytes.EqualFold(o, field) {
			return true
		}
	}
	return false
}

// isHost reports whether b can be the value of Host: a name or an IPv4 address,
// or an IPv6 address in brackets, with or without a port.
func isHost(b []byte) bool {
	if rest, ok := bytes.CutPrefix(b, []byte("[")); ok {
		ip, port, ok := bytes.Cut(rest, []byte("]"))
		a, err := netip.ParseAddr(string(ip))
		return ok && err == nil && a.Is6() && a.Zone() == "" && (len(port) == 0 || port[0] == ':' && isDigits(port[1:]))
	}
	name, port, _ := bytes.Cut(b, []byte(":"))
	for _, c := range name {
		if !hostBytes[c] {
			return false
		}
	}
	return len(name) > 0 && isDigits(port)
}
