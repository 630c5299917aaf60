// Package proxyproto writes and reads the header of the PROXY protocol, by which
// a proxy tells the server behind it whom it speaks for. Both versions are as in
// haproxy's proxy-protocol.txt: one line of text (v1), or a binary block (v2).
//
// Append and AppendLocal write a header to send before the first byte of a
// connection. Parse reads one from the bytes that have come so far; it neither
// blocks nor keeps anything, so it is called again with all of them whenever
// there are more, until it answers something else than ErrIncomplete. A byte
// that no header could have there is refused as soon as it is seen.
//
// Who may send a header, and how long it may take, is for the caller to decide.
// The extensions of v2 (TLVs) are skipped, but their shape is checked, and a
// checksum among them must be right; what a LOCAL or UNSPEC header carries is
// not looked at. This package imports nothing of ours.
package proxyproto

import (
	"errors"
	"fmt"
	"net/netip"
)

// Version is a version of the protocol. The zero value is none.
type Version uint8

// The versions that there are.
const (
	V1 Version = 1 // a line of text, 107 bytes at most
	V2 Version = 2 // binary, may carry extensions
)

// MaxHeader is the length in bytes of the longest header that Parse accepts; it
// never needs more. A v2 header that announces more is refused.
const MaxHeader = 4096

// ErrIncomplete is the answer of Parse when all bytes so far are valid and more
// are needed.
var ErrIncomplete = errors.New("the PROXY header is incomplete")

// Header is what a header says. An address that is not valid was not told: the
// connection is not TCP over IP, or the sender does not know. Then, and when
// Local, the connection's own addresses are the ones to use.
type Header struct {
	Source      netip.AddrPort // the client
	Destination netip.AddrPort // what the client connected to
	Local       bool           // v2 only: the sender itself speaks, as in a health check
}

// Parse reads the header at the beginning of b and says how many bytes it takes;
// what follows them belongs to the connection. The error is ErrIncomplete when
// all of b is valid but more is needed, else it says what is wrong with the
// header. IPv4 addresses in IPv6 form are given as IPv4.
func Parse(b []byte) (h Header, n int, err error) {
	if len(b) == 0 {
		return Header{}, 0, ErrIncomplete
	}
	switch b[0] {
	case v1Start[0]:
		return parseV1(b)
	case v2Signature[0]:
		return parseV2(b)
	}
	return Header{}, 0, fmt.Errorf("byte %q cannot begin a PROXY header", b[:1])
}

func addrPort(a netip.Addr, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Unmap(), port)
}
