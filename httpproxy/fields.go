package httpproxy

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
	forwardedField // tells a server about its client
)

// hopByHop reports whether a field concerns one connection only (RFC 9110,
// section 7.6.1), or is one that this proxy writes itself.
func (k kind) hopByHop() bool {
	switch k {
	case ordinary, hostField, expectField, forwardedField:
		return false
	}
	return true
}

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
		if isForwarded(name, "forwarded") || isForwarded(name, "x-real-ip") {
			return forwardedField
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
	const claims = "x-forwarded-"
	switch n := len(name); {
	case n >= len(claims) && isForwarded(name[:len(claims)], claims):
		return forwardedField
	case n == 14:
		return kindIf(name, "content-length", lengthField)
	case n == 16:
		return kindIf(name, "proxy-connection", proxyConnectionField)
	case n == 17:
		return kindIf(name, "transfer-encoding", codingField)
	}
	return ordinary
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

// isForwarded is as is, but does not tell "_" from "-", as some servers do not.
func isForwarded(name []byte, lower string) bool {
	for i, c := range name {
		if c == '_' {
			c = '-'
		}
		if toLower(c) != lower[i] {
			return false
		}
	}
	return true
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
		set[c] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
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
