package proxyproto

import "net/netip"

// ipv6 reads an IPv6 address in any form that RFC 4291 section 2.2 allows, which
// includes an IPv4 address in the place of the last two groups.
func (l *line) ipv6() (netip.Addr, error) {
	g := groups{gap: -1}
	c, err := l.peek()
	if err != nil {
		return netip.Addr{}, err
	}
	if c == ':' {
		if err := l.literal("::"); err != nil {
			return netip.Addr{}, err
		}
		g.gap = 0
		if c, err = l.peek(); err != nil {
			return netip.Addr{}, err
		}
	}
	for more := g.gap < 0 || c != ' '; more; {
		if more, err = l.group(&g); err != nil {
			return netip.Addr{}, err
		}
	}
	if g.gap < 0 && g.n < len(g.a) {
		return netip.Addr{}, l.unexpected("a colon: an IPv6 address has eight groups")
	}
	return g.address(), nil
}

// groups is an IPv6 address being read: the bytes so far, and how many there
// were where two colons stood for zeros (-1: nowhere yet).
type groups struct {
	a   [16]byte
	n   int
	gap int
}

// room returns how many more bytes there may be. Two colons stand for at least
// one group.
func (g *groups) room() int {
	if g.gap >= 0 {
		return len(g.a) - 2 - g.n
	}
	return len(g.a) - g.n
}

func (g *groups) address() netip.Addr {
	if g.gap >= 0 {
		tail := g.n - g.gap
		copy(g.a[len(g.a)-tail:], g.a[g.gap:g.n])
		clear(g.a[g.gap : len(g.a)-tail])
	}
	return netip.AddrFrom16(g.a)
}

// group reads one group and what separates it from the next, and reports
// whether there is a next.
func (l *line) group(g *groups) (more bool, err error) {
	if g.room() == 0 {
		return false, l.unexpected("the end of an IPv6 address")
	}
	start := l.at
	value, err := l.hex()
	if err != nil {
		return false, err
	}
	c, err := l.peek()
	if err != nil {
		return false, err
	}
	if c == '.' && l.at > start && g.mayEndInIPv4() {
		l.at = start
		tail, err := l.ipv4()
		if err != nil {
			return false, err
		}
		a := tail.As4()
		g.n += copy(g.a[g.n:], a[:])
		return false, nil
	}
	if l.at == start {
		return false, l.unexpected("a hexadecimal digit")
	}
	g.a[g.n], g.a[g.n+1] = byte(value>>8), byte(value)
	g.n += 2
	if c == ' ' {
		return false, nil
	}
	return l.separator(g)
}

// mayEndInIPv4 reports whether the four bytes of an IPv4 address may come next,
// and so be the last.
func (g *groups) mayEndInIPv4() bool {
	return g.room() == 4 || g.gap >= 0 && g.room() > 4
}

// separator reads one colon or, once in an address, two.
func (l *line) separator(g *groups) (more bool, err error) {
	if g.room() == 0 {
		return false, l.unexpected("the end of an IPv6 address")
	}
	if err := l.literal(":"); err != nil {
		return false, err
	}
	c, err := l.peek()
	if err != nil || c != ':' {
		return true, err
	}
	if g.gap >= 0 {
		return false, l.unexpected("no second pair of colons")
	}
	l.at++
	g.gap = g.n
	c, err = l.peek()
	return c != ' ', err
}

// hex reads up to four hexadecimal digits.
func (l *line) hex() (value int, err error) {
	for range 4 {
		c, err := l.peek()
		if err != nil {
			return 0, err
		}
		switch {
		case c >= '0' && c <= '9':
			value = value<<4 | int(c-'0')
		case c >= 'a' && c <= 'f':
			value = value<<4 | int(c-'a'+10)
		case c >= 'A' && c <= 'F':
			value = value<<4 | int(c-'A'+10)
		default:
			return value, nil
		}
		l.at++
	}
	return value, nil
}
