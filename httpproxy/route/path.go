package route

// ends are the characters that may end a name: what separates names, and what
// begins parameters, a query or a fragment.
var ends = [256]bool{'/': true, '\\': true, ';': true, '?': true, '#': true}

// unreserved characters are the same escaped or not (RFC 3986, section 2.3).
var unreserved = func() (set [256]bool) {
	for c := range set {
		set[c] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	for _, c := range "-._~" {
		set[c] = true
	}
	return set
}()

// steady reports whether every server takes path to be at or below each of its
// names, one after the other. All of it has to be looked at: a step up leads out of
// what a rule is for from any depth.
func steady(path []byte) bool {
	dots, other := false, false // what the name consists of so far, with its parameters
	for i := 0; i < len(path); {
		if unreserved[path[i]] && path[i] != '.' {
			other = true
			i++
			continue
		}
		c, width, ok := decode(path[i:])
		i += width
		switch {
		case !ok, c < ' ', c == 0x7f, c == ' ' && width == 1:
			return false
		case ends[c]:
			if dots && !other {
				return false
			}
			dots, other = false, c != '/' && c != '\\'
		case c == '.':
			dots = true
		case c != ' ':
			other = true
		}
	}
	return other || !dots
}

// readName returns the name that path, a steady one, begins with, as the most
// liberal server reads it, or the beginning of one that is too long for a rule, and
// how many bytes of path it takes. plain: every server reads it so. The name is in
// buf.
func readName(buf *[maxName + 1]byte, path []byte) (name []byte, size int, plain bool) {
	n, plain := 0, true
	for size < len(path) && n < len(buf) {
		c, width, _ := decode(path[size:])
		if ends[c] {
			return buf[:n], size, plain && path[size] == '/'
		}
		plain = plain && (width == 1 || width == 3 && unreserved[c])
		buf[n] = c
		n, size = n+1, size+width
	}
	return buf[:n], size, plain
}

// decode returns the character that b, which is not empty, begins with, after as
// many escapes as may be decoded, and how many bytes stand for it. ok: there is no
// broken escape, nor one behind two others.
func decode(b []byte) (c byte, width int, ok bool) {
	if b[0] != '%' {
		return b[0], 1, true
	}
	return decodeTwice(b)
}

func decodeTwice(b []byte) (c byte, width int, ok bool) {
	c, width = unescape(b)
	if width == 0 {
		return '%', 1, false
	}
	if c != '%' {
		return c, width, true
	}
	high, n := unescape(b[width:])
	low, m := unescape(b[width+n:])
	if !isHex(high) || !isHex(low) {
		return c, width, true
	}
	c = hexValue(high)<<4 | hexValue(low)
	return c, width + n + m, c != '%'
}

// unescape returns the character or the escaped one that b begins with, and how many
// bytes stand for it: 0 if there is none.
func unescape(b []byte) (c byte, width int) {
	switch {
	case len(b) > 0 && b[0] != '%':
		return b[0], 1
	case len(b) > 2 && isHex(b[1]) && isHex(b[2]):
		return hexValue(b[1])<<4 | hexValue(b[2]), 3
	}
	return 0, 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
