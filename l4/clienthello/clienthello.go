// Package clienthello finds the server name in the first bytes of a TLS
// connection, so that a connection can be routed by it without being decrypted.
//
// ServerName reads the ClientHello from the bytes that have come so far; it
// neither blocks nor keeps anything, so it is called again with all of them
// whenever there are more, until it answers something else than ErrIncomplete.
// The hello may be split over TLS records, and over reads, at any byte. A byte
// that could not be there is refused as soon as it is seen, but for those behind
// the server name: they are the server's to judge, which gets every byte.
//
// It negotiates nothing, and an encrypted name (ECH) is not looked into: such a
// hello has the name that its outer part tells. This package imports nothing of
// ours.
package clienthello

import (
	"errors"
	"fmt"
)

// Max is how many bytes ServerName looks at: more are never needed. It refuses a
// ClientHello that announces more, or that is in so many records that these
// bytes hold neither its server name nor its end.
const Max = 16 << 10

var (
	// ErrIncomplete: all bytes so far are valid, and more are needed.
	ErrIncomplete = errors.New("the ClientHello is incomplete")
	// ErrNotTLS: the bytes do not begin like a TLS handshake.
	ErrNotTLS = errors.New("the connection does not begin with a TLS handshake")
)

// The numbers of RFC 8446 (sections 4, 4.1.2 and 5.1) and RFC 6066 (section 3).
const (
	recordHandshake     = 22
	recordHeader        = 5
	maxRecord           = 1 << 14
	handshakeHello      = 1
	handshakeHeader     = 4
	versionMajor        = 3
	lengthRandom        = 32
	maxSessionID        = 32
	minHello            = 2 + lengthRandom + 1 + 2 + 2 + 1 + 1
	maxHello            = Max - recordHeader - handshakeHeader
	extensionServerName = 0
	nameTypeHost        = 0
	maxName             = 255
	maxLabel            = 63
)

// ServerName returns the host name that the client at whose connection's
// beginning b was received asks for by the server_name extension (RFC 6066,
// section 3), in lower case and without a trailing dot; "" when it does not say.
// The error is ErrIncomplete when more bytes are needed, ErrNotTLS, or says what
// is wrong with the hello. A name of anything but letters, digits, '-', '_' and
// dots between labels is wrong.
func ServerName(b []byte) (string, error) {
	if len(b) > 0 && b[0] != recordHandshake || len(b) > 1 && b[1] != versionMajor {
		return "", ErrNotTLS
	}
	r := reader{b: b[:min(len(b), Max)]}
	var name [maxName]byte
	n, err := r.hello(&name)
	if err == ErrIncomplete && len(r.b) == Max {
		err = fmt.Errorf("the ClientHello is longer than %d bytes", Max)
	}
	if err != nil {
		return "", err
	}
	return string(name[:n]), nil
}

// hello reads a ClientHello as far as its server name, which it puts into name.
func (r *reader) hello(name *[maxName]byte) (int, error) {
	r.end = handshakeHeader
	kind, err := r.number(1)
	if err != nil {
		return 0, err
	}
	if kind != handshakeHello {
		return 0, fmt.Errorf("the TLS handshake begins with message %d; want %d, a ClientHello", kind, handshakeHello)
	}
	size, err := r.number(3)
	if err != nil {
		return 0, err
	}
	if size < minHello || size > maxHello {
		return 0, fmt.Errorf("the ClientHello announces %d bytes; want %d to %d", size, minHello, maxHello)
	}
	r.end = handshakeHeader + size
	if err := r.preamble(); err != nil {
		return 0, err
	}
	if r.at == r.end {
		return 0, nil
	}
	size, err = r.length(2, 0, 1<<16-1, "extensions")
	if err != nil {
		return 0, err
	}
	if r.at+size != r.end {
		return 0, fmt.Errorf("extensions of %d bytes in the ClientHello; %d are left", size, r.end-r.at)
	}
	return r.extensions(name)
}

// preamble reads what comes before the extensions.
func (r *reader) preamble() error {
	version, err := r.number(2)
	if err != nil {
		return err
	}
	if version>>8 != versionMajor {
		return fmt.Errorf("the version of the ClientHello is %#04x; want %#04x or another %d.x", version, 0x0303, versionMajor)
	}
	if err := r.skip(lengthRandom); err != nil {
		return err
	}
	if err := r.vector(1, 0, maxSessionID, "session id"); err != nil {
		return err
	}
	suites, err := r.length(2, 2, 1<<16-2, "cipher suites")
	if err != nil {
		return err
	}
	if suites%2 != 0 {
		return fmt.Errorf("cipher suites of %d bytes in the ClientHello, which is odd", suites)
	}
	if err := r.skip(suites); err != nil {
		return err
	}
	return r.vector(1, 1, 1<<8-1, "compression methods")
}

// extensions reads extensions until one is the server name or none is left.
func (r *reader) extensions(name *[maxName]byte) (int, error) {
	for r.at < r.end {
		kind, err := r.number(2)
		if err != nil {
			return 0, err
		}
		size, err := r.length(2, 0, 1<<16-1, "extension")
		if err != nil {
			return 0, err
		}
		if kind == extensionServerName {
			return r.serverName(name, size)
		}
		if err := r.skip(size); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// serverName reads the extension of that name, which has size bytes. It is a
// list with room for names of other kinds, but no other kind exists: as in
// OpenSSL, it must hold exactly one host name.
func (r *reader) serverName(name *[maxName]byte, size int) (int, error) {
	r.end = r.at + size
	list, err := r.length(2, 4, 1<<16-1, "server name list")
	if err != nil {
		return 0, err
	}
	if r.at+list != r.end {
		return 0, fmt.Errorf("server name list of %d bytes in the ClientHello; want %d", list, r.end-r.at)
	}
	kind, err := r.number(1)
	if err != nil {
		return 0, err
	}
	if kind != nameTypeHost {
		return 0, fmt.Errorf("the server name of the ClientHello is of type %d; want %d, a host name", kind, nameTypeHost)
	}
	n, err := r.length(2, 1, maxName, "server name")
	if err != nil {
		return 0, err
	}
	if r.at+n != r.end {
		return 0, fmt.Errorf("the server name list of the ClientHello holds %d bytes beyond its first name; want one name", r.end-r.at-n)
	}
	return r.host(name[:n])
}

// host reads a host name that fills name, and returns its length without a
// trailing dot.
func (r *reader) host(name []byte) (int, error) {
	label := 0
	for i := range name {
		c, err := r.byte()
		if err != nil {
			return 0, err
		}
		switch {
		case c == '.' && label == 0:
			return 0, fmt.Errorf("the server name %q has an empty label", string(name[:i])+".")
		case c == '.':
			label = -1
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return 0, fmt.Errorf("the server name has %q after %q; a host name has letters, digits, '-', '_' and dots", string(rune(c)), string(name[:i]))
		}
		if label++; label > maxLabel {
			return 0, fmt.Errorf("the server name has more than %d bytes without a dot: %q", maxLabel, string(name[:i]))
		}
		name[i] = c
	}
	if label == 0 {
		return len(name) - 1, nil
	}
	return len(name), nil
}
