package httpproxy

import (
	"bytes"
	"net/netip"
)

// Forwarded is what a listener does about the fields that tell a server who sent
// a request: X-Forwarded-…, X-Real-IP and Forwarded (RFC 7239). Servers may rely on
// them with the first two; a client can write whatever it likes with the third.
type Forwarded uint8

const (
	// ForwardedReplace removes what a client says, also in names with "_" for "-",
	// and writes X-Forwarded-For (the client's IP), -Host (as the client sent Host),
	// -Proto, and -Prefix if something was taken off the front of the target.
	ForwardedReplace Forwarded = iota

	// ForwardedAppend believes what a client says, and goes on with it. All that it
	// sent in X-Forwarded-For becomes one list with its own IP at the end, and so does
	// Forwarded, if the client sent it, but for values in which a quotation has no
	// end. What was taken off the target is put at the end of X-Forwarded-Prefix. -Host
	// and -Proto are written if they are missing. The rest is left alone, but for names
	// with "_", which are removed.
	ForwardedAppend

	// ForwardedOff neither removes nor writes any of them.
	ForwardedOff
)

// replaced returns the kinds of fields that do not go on to the server as they
// came.
func (o *onward) replaced(prefix []byte) kinds {
	switch {
	case o.off:
		return 0
	case !o.claims:
		return claims
	case len(prefix) > 0:
		return 1<<aliasField | 1<<forwardedField | 1<<forwardedForField | 1<<forwardedPrefixField
	}
	return 1<<aliasField | 1<<forwardedField | 1<<forwardedForField
}

// appendForwarded writes what the server is told about the client and about what
// it asked for. prefix is what was taken off the front of the target.
func (r *request) appendForwarded(dst []byte, o *onward, prefix []byte) []byte {
	ip := o.client.Addr().Unmap().WithZone("")
	if !o.edits.dropsKind(forwardedForField) {
		dst = r.appendForwardedFor(dst, ip, o.claims)
	}
	if r.host != nil && !o.edits.dropsKind(forwardedHostField) && !(o.claims && r.has(forwardedHostField)) {
		dst = appendField(dst, "X-Forwarded-Host", r.host)
	}
	if !o.edits.dropsKind(forwardedProtoField) && !(o.claims && r.has(forwardedProtoField)) {
		dst = append(dst, "X-Forwarded-Proto: http\r\n"...)
	}
	if len(prefix) > 0 && !o.edits.dropsKind(forwardedPrefixField) {
		dst = r.appendForwardedPrefix(dst, prefix, o.claims)
	}
	if o.claims && r.has(forwardedField) && !o.edits.dropsKind(forwardedField) {
		dst = r.appendForwardedElement(dst, ip)
	}
	return dst
}

func (r *request) appendForwardedFor(dst []byte, ip netip.Addr, believed bool) []byte {
	from := len(dst)
	dst = append(dst, "X-Forwarded-For: "...)
	values := len(dst)
	if believed {
		dst = r.appendValues(dst, forwardedForField)
	}
	switch {
	case ip.IsValid():
		dst = ip.AppendTo(appendComma(dst, values))
	case len(dst) == values:
		return dst[:from]
	}
	return append(dst, "\r\n"...)
}

// appendForwardedPrefix puts prefix, without a "/" at its end, behind what other
// proxies took off before.
func (r *request) appendForwardedPrefix(dst []byte, prefix []byte, believed bool) []byte {
	from := len(dst)
	dst = append(dst, "X-Forwarded-Prefix: "...)
	values := len(dst)
	if believed {
		dst = bytes.TrimSuffix(r.appendValues(dst, forwardedPrefixField), []byte("/"))
	}
	dst = append(dst, bytes.TrimSuffix(prefix, []byte("/"))...)
	if len(dst) == values {
		return dst[:from]
	}
	return append(dst, "\r\n"...)
}

// appendForwardedElement goes on with a list of RFC 7239, section 4.
func (r *request) appendForwardedElement(dst []byte, ip netip.Addr) []byte {
	dst = append(dst, "Forwarded: "...)
	values := len(dst)
	dst = appendComma(r.appendValues(dst, forwardedField), values)
	switch {
	case ip.Is4():
		dst = ip.AppendTo(append(dst, "for="...))
	case ip.Is6():
		dst = append(ip.AppendTo(append(dst, `for="[`...)), `]"`...)
	default:
		dst = append(dst, "for=unknown"...)
	}
	if r.host != nil {
		dst = appendWord(append(dst, ";host="...), r.host)
	}
	return append(dst, ";proto=http\r\n"...)
}

// appendValues appends as one list what the client said in fields of one kind.
func (r *request) appendValues(dst []byte, k kind) []byte {
	from := len(dst)
	for i := range r.fields {
		f := &r.fields[i]
		if f.kind != k || len(f.value) == 0 || r.names(f.name) || k == forwardedField && !quotesEnd(f.value) {
			continue
		}
		dst = append(appendComma(dst, from), f.value...)
	}
	return dst
}

// appendComma separates what comes next from what a list that begins at from has
// already.
func appendComma(dst []byte, from int) []byte {
	if len(dst) == from {
		return dst
	}
	return append(dst, ", "...)
}

// has reports whether a field of some kind came that goes on.
func (h *head) has(k kind) bool {
	for i := range h.fields {
		if f := &h.fields[i]; f.kind == k && !h.names(f.name) {
			return true
		}
	}
	return false
}

// appendWord appends a token as it is, and anything else as a quoted string (RFC
// 9110, section 5.6.4).
func appendWord(dst, word []byte) []byte {
	if isToken(word) {
		return append(dst, word...)
	}
	dst = append(dst, '"')
	for _, c := range word {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// quotesEnd reports whether every quoted string in a value has an end. One that
// has not would take in what is put behind it.
func quotesEnd(value []byte) bool {
	within := false
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '"':
			within = !within
		case value[i] == '\\' && within:
			i++
		}
	}
	return !within
}
