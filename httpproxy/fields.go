package httpproxy

import "bytes"

// kind says what a field is to this proxy.
type kind uint8

const (
	ordinary kind = iota
	hostField
	lengthField
	codingField
	connectionField
	upgradeField
	teField
	trailerField
	keepAliveField
	proxyConnectionField
	expectField
	forwardedField // Forwarded (RFC 7239)
	forwardedForField
	forwardedHostField
	forwardedProtoField
	forwardedPrefixField
	claimField        // another one that tells a server about its client
	aliasField        // one of these but for what stands in the place of "-", which some servers take for it
	framingAliasField // Content-Length or Transfer-Encoding likewise
)

// kinds is a set of them.
type kinds uint32

const (
	// What tells a server about its client.
	claims kinds = 1<<forwardedField | 1<<forwardedForField | 1<<forwardedHostField | 1<<forwardedProtoField |
		1<<forwardedPrefixField | 1<<claimField | 1<<aliasField
	// What concerns one connection only (RFC 9110, section 7.6.1), or is written by
	// this proxy itself.
	hopByHop = ^(1<<ordinary | 1<<hostField | 1<<expectField | claims)
)

func (k kinds) has(one kind) bool { return k&(1<<one) != 0 }

func kindOf(name []byte) kind {
	switch len(name) {
	case 2:
		return kindIf(name, "te", teField)
	case 4:
		return kindIf(name, "host", hostField)
	case 6:
		return kindIf(name, "expect", expectField)
	case 7:
		if k := kindIf(name, "trailer", trailerField); k != ordinary {
			return k
		}
		return kindIf(name, "upgrade", upgradeField)
	case 9:
		if is(name, "forwarded") {
			return forwardedField
		}
		if isLike(name, "x-real-ip") {
			return kindOfClaim(name)
		}
		return ordinary
	case 10:
		if k := kindIf(name, "connection", connectionField); k != ordinary {
			return k
		}
		return kindIf(name, "keep-alive", keepAliveField)
	}
	return kindOfLong(name)
}

func kindOfLong(name []byte) kind {
	const relatives = "x-forwarded-"
	switch n := len(name); {
	case n >= len(relatives) && isLike(name[:len(relatives)], relatives):
		return kindOfClaim(name)
	case n == 14 && isLike(name, "content-length"):
		return kindOfFraming(name, "content-length", lengthField)
	case n == 16:
		return kindIf(name, "proxy-connection", proxyConnectionField)
	case n == 17 && isLike(name, "transfer-encoding"):
		return kindOfFraming(name, "transfer-encoding", codingField)
	}
	return ordinary
}

// kindOfFraming tells a field that frames a message from one that some servers take
// for it.
func kindOfFraming(name []byte, lower string, k kind) kind {
	if is(name, lower) {
		return k
	}
	return framingAliasField
}

// kindOfClaim tells X-Forwarded-… and X-Real-IP apart.
func kindOfClaim(name []byte) kind {
	switch {
	case isAlias(name):
		return aliasField
	case is(name, "x-forwarded-for"):
		return forwardedForField
	case is(name, "x-forwarded-host"):
		return forwardedHostField
	case is(name, "x-forwarded-proto"):
		return forwardedProtoField
	case is(name, "x-forwarded-prefix"):
		return forwardedPrefixField
	}
	return claimField
}

func kindIf(name []byte, lower string, k kind) kind {
	if is(name, lower) {
		return k
	}
	return ordinary
}

func is(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if toLower(c) != lower[i] {
			return false
		}
	}
	return true
}

// isLike is as is, but takes what is neither a letter nor a digit for "-", as some
// servers do, most of them "_".
func isLike(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if toLower(c) != lower[i] && (lower[i] != '-' || isAlphanumeric(c)) {
			return false
		}
	}
	return true
}

// isAlias reports whether a name has anything but letters, digits and "-".
func isAlias(name []byte) bool {
	return bytes.ContainsFunc(name, func(r rune) bool { return r != '-' && !isAlphanumeric(byte(r)) })
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func toLower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// Which bytes may stand where.
var (
	tokenBytes = bytesOf("!#$%&'*+-.^_`|~") // and letters and digits (RFC 9110, section 5.6.2)
	// Those of a reg-name (RFC 3986, section 3.2.2) but for the comma, which could
	// be taken for a list's.
	hostBytes  = bytesOf("-._~%!$&'()*+;=")
	valueBytes = func() (set [256]bool) {
		for c := range set {
			set[c] = c >= ' ' && c != 0x7f || c == '\t'
		}
		return set
	}()
)

// bytesOf returns the set of letters, digits and those given.
func bytesOf(others string) (set [256]bool) {
	for c := range set {
		set[c] = isAlphanumeric(byte(c))
	}
	for _, c := range []byte(others) {
		set[c] = true
	}
	return set
}

func isToken(b []byte) bool {
	for _, c := range b {
		if !tokenBytes[c] {
			return false
		}
	}
	return len(b) > 0
}

func isValue(b []byte) bool {
	for _, c := range b {
		if !valueBytes[c] {
			return false
		}
	}
	return true
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
