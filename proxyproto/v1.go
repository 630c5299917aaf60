package proxyproto

import (
	"fmt"
	"net/netip"
)

const (
	v1Start = "PROXY "
	// maxV1 is the longest line there may be, with its end (section 2.1).
	maxV1 = 107
)

// parseV1 reads the line of version 1, section 2.1.
func parseV1(b []byte) (Header, int, error) {
	l := line{b: b[:min(len(b), maxV1)]}
	h, err := l.header()
	if err == ErrIncomplete && len(l.b) == maxV1 {
		err = fmt.Errorf("the PROXY line has not ended after %d bytes", maxV1)
	}
	if err != nil {
		return Header{}, 0, err
	}
	return h, l.at, nil
}

// line is a line of version 1 being read. Its methods go forward over what they
// are named for; their error is ErrIncomplete where the bytes end.
type line struct {
	b  []byte
	at int
}

func (l *line) header() (Header, error) {
	if err := l.literal(v1Start); err != nil {
		return Header{}, err
	}
	c, err := l.peek()
	if err != nil {
		return Header{}, err
	}
	if c == 'U' {
		return Header{}, l.unknown()
	}
	if err := l.literal("TCP"); err != nil {
		return Header{}, err
	}
	if c, err = l.peek(); err != nil {
		return Header{}, err
	}
	if c != '4' && c != '6' {
		return Header{}, l.unexpected("4 or 6")
	}
	l.at++
	if err := l.literal(" "); err != nil {
		return Header{}, err
	}
	return l.addresses(c)
}

// addresses reads all that follows TCP4 and TCP6; family is '4' or '6'.
func (l *line) addresses(family byte) (Header, error) {
	var hosts [2]netip.Addr
	var ports [2]int
	var err error
	for i := range hosts {
		if family == '4' {
			hosts[i], err = l.ipv4()
		} else {
			hosts[i], err = l.ipv6()
		}
		if err != nil {
			return Header{}, err
		}
		if err = l.literal(" "); err != nil {
			return Header{}, err
		}
	}
	for i, end := range [2]string{" ", "\r\n"} {
		if ports[i], err = l.number(65535); err != nil {
			return Header{}, err
		}
		if err = l.literal(end); err != nil {
			return Header{}, err
		}
	}
	return Header{
		Source:      addrPort(hosts[0], uint16(ports[0])),
		Destination: addrPort(hosts[1], uint16(ports[1])),
	}, nil
}

// unknown reads UNKNOWN and the rest of the line, which means nothing.
func (l *line) unknown() error {
	if err := l.literal("UNKNOWN"); err != nil {
		return err
	}
	c, err := l.peek()
	if err != nil {
		return err
	}
	if c != ' ' && c != '\r' {
		return l.unexpected("a space or the end of the line")
	}
	for ; c != '\r'; c, err = l.peek() {
		if err != nil {
			return err
		}
		l.at++
	}
	return l.literal("\r\n")
}

func (l *line) ipv4() (netip.Addr, error) {
	var a [4]byte
	for i := range a {
		if i > 0 {
			if err := l.literal("."); err != nil {
				return netip.Addr{}, err
			}
		}
		n, err := l.number(255)
		if err != nil {
			return netip.Addr{}, err
		}
		a[i] = byte(n)
	}
	return netip.AddrFrom4(a), nil
}

// number reads a decimal number of at most limit, written without needless
// zeros, and the fact that another byte follows it.
func (l *line) number(limit int) (int, error) {
	start, n := l.at, 0
	for {
		c, err := l.peek()
		switch {
		case err != nil:
			return 0, err
		case c < '0' || c > '9':
			if l.at == start {
				return 0, l.unexpected("a digit")
			}
			return n, nil
		case n == 0 && l.at > start:
			return 0, l.unexpected("no digit after a leading zero")
		}
		if n = n*10 + int(c-'0'); n > limit {
			return 0, fmt.Errorf("the number %q in the PROXY line exceeds %d", l.b[start:l.at+1], limit)
		}
		l.at++
	}
}

func (l *line) literal(s string) error {
	for i := range len(s) {
		c, err := l.peek()
		if err != nil {
			return err
		}
		if c != s[i] {
			return l.unexpected(fmt.Sprintf("%q", s))
		}
		l.at++
	}
	return nil
}

func (l *line) peek() (byte, error) {
	if l.at == len(l.b) {
		return 0, ErrIncomplete
	}
	return l.b[l.at], nil
}

// unexpected is the error for the byte that comes next.
func (l *line) unexpected(want string) error {
	return fmt.Errorf("byte %d of the PROXY line is %q; want %s", l.at, l.b[l.at:l.at+1], want)
}
