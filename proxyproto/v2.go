package proxyproto

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
)

const (
	v2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	v2Fixed     = len(v2Signature) + 4 // then command, family and a length

	// The 13th byte: version 2 and a command.
	commandLocal = 0x20
	commandProxy = 0x21

	// The 14th byte: the address family and the transport.
	familyUnspecified = 0x00
	familyTCP4        = 0x11
	familyTCP6        = 0x21

	// What the addresses take, in bytes.
	addresses4    = 2*4 + 2*2
	addresses6    = 2*16 + 2*2
	addressesUnix = 2 * 108

	typeCRC32C = 0x03
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	noChecksum [4]byte // what stands in a checksum's place while it is computed
)

// parseV2 reads the block of version 2, section 2.2.
func parseV2(b []byte) (Header, int, error) {
	for i := range min(len(b), len(v2Signature)) {
		if b[i] != v2Signature[i] {
			return Header{}, 0, fmt.Errorf("byte %d of the PROXY header is %q; want %q of its signature", i, b[i:i+1], v2Signature[i])
		}
	}
	if len(b) > 12 && b[12] != commandLocal && b[12] != commandProxy {
		return Header{}, 0, fmt.Errorf("the version and command of the PROXY header are %#x; want %#x or %#x", b[12], commandLocal, commandProxy)
	}
	addresses, discard := 0, true
	if len(b) > 13 && b[12] == commandProxy {
		var err error
		if addresses, discard, err = layout(b[13]); err != nil {
			return Header{}, 0, err
		}
	}
	if len(b) < v2Fixed {
		return Header{}, 0, ErrIncomplete
	}
	n := v2Fixed + int(binary.BigEndian.Uint16(b[14:]))
	if n > MaxHeader {
		return Header{}, 0, fmt.Errorf("the PROXY header has %d bytes; at most %d are accepted", n, MaxHeader)
	}
	if n < v2Fixed+addresses {
		return Header{}, 0, fmt.Errorf("the PROXY header has %d bytes; its addresses alone need %d", n, v2Fixed+addresses)
	}
	b = b[:min(len(b), n)]
	if !discard {
		if err := extensions(b, v2Fixed+addresses, n); err != nil {
			return Header{}, 0, err
		}
	}
	if len(b) < n {
		return Header{}, 0, ErrIncomplete
	}
	h := Header{Local: b[12] == commandLocal}
	if !h.Local {
		h.Source, h.Destination = v2Addresses(b)
	}
	return h, n, nil
}

// layout says how many bytes the addresses of a family take. discard: neither
// these nor what follows mean anything.
func layout(family byte) (addresses int, discard bool, err error) {
	if family>>4 > 3 || family&0xf > 2 {
		return 0, false, fmt.Errorf("the address family of the PROXY header is %#x, which is not assigned", family)
	}
	if family>>4 == 0 || family&0xf == 0 {
		return 0, true, nil
	}
	return [...]int{1: addresses4, 2: addresses6, 3: addressesUnix}[family>>4], false, nil
}

func v2Addresses(b []byte) (source, destination netip.AddrPort) {
	rest := b[v2Fixed:]
	switch b[13] {
	case familyTCP4:
		ports := rest[2*4:]
		return addrPort(netip.AddrFrom4([4]byte(rest)), binary.BigEndian.Uint16(ports)),
			addrPort(netip.AddrFrom4([4]byte(rest[4:])), binary.BigEndian.Uint16(ports[2:]))
	case familyTCP6:
		ports := rest[2*16:]
		return addrPort(netip.AddrFrom16([16]byte(rest)), binary.BigEndian.Uint16(ports)),
			addrPort(netip.AddrFrom16([16]byte(rest[16:])), binary.BigEndian.Uint16(ports[2:]))
	}
	return netip.AddrPort{}, netip.AddrPort{}
}

// extensions checks those of a header's extensions that have come. They go from
// byte at to the header's end, byte end; b may be shorter.
func extensions(b []byte, at, end int) error {
	for at < end {
		if end-at < 3 {
			return fmt.Errorf("byte %d of the PROXY header is too near its end for an extension", at)
		}
		if len(b) < at+3 {
			return nil
		}
		size := int(binary.BigEndian.Uint16(b[at+1:]))
		value := at + 3
		if value+size > end {
			return fmt.Errorf("extension %#x of the PROXY header has %d bytes; only %d are left", b[at], size, end-value)
		}
		if b[at] == typeCRC32C {
			if err := checksum(b, value, size, end); err != nil {
				return err
			}
		}
		at = value + size
	}
	return nil
}

// checksum checks the CRC32c at byte value, section 2.2.3, if the header is
// complete: it counts every byte, itself as zeros.
func checksum(b []byte, value, size, end int) error {
	if size != 4 {
		return fmt.Errorf("the checksum of the PROXY header has %d bytes; want 4", size)
	}
	if len(b) < end {
		return nil
	}
	sum := crc32.Checksum(b[:value], castagnoli)
	sum = crc32.Update(sum, castagnoli, noChecksum[:])
	sum = crc32.Update(sum, castagnoli, b[value+4:end])
	if told := binary.BigEndian.Uint32(b[value:]); told != sum {
		return fmt.Errorf("the checksum of the PROXY header is %#08x; want %#08x", told, sum)
	}
	return nil
}
