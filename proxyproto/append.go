package proxyproto

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

const v1Unknown = "PROXY UNKNOWN\r\n"

// Append appends to b the header for a connection from source to destination.
// When either is not valid, or one is IPv4 and the other IPv6, the header says
// that the addresses are not known; in v2 as LOCAL, for some receivers refuse
// PROXY without addresses. Zones are left out: they mean nothing on
// another machine.
func Append(b []byte, v Version, source, destination netip.AddrPort) []byte {
	from, to := source.Addr().Unmap().WithZone(""), destination.Addr().Unmap().WithZone("")
	known := from.IsValid() && to.IsValid() && from.Is4() == to.Is4()
	switch {
	case v == V1 && known:
		return appendV1(b, from, to, source.Port(), destination.Port())
	case v == V1:
		return append(b, v1Unknown...)
	case !known:
		return AppendLocal(b, v)
	case from.Is4():
		b = appendV2Start(b, commandProxy, familyTCP4, addresses4)
		source4, destination4 := from.As4(), to.As4()
		b = append(append(b, source4[:]...), destination4[:]...)
	default:
		b = appendV2Start(b, commandProxy, familyTCP6, addresses6)
		source6, destination6 := from.As16(), to.As16()
		b = append(append(b, source6[:]...), destination6[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, source.Port())
	return binary.BigEndian.AppendUint16(b, destination.Port())
}

// AppendLocal appends to b the header for a connection on the sender's own
// behalf, such as a health check. In v1, which has no word for that, the header
// says that the addresses are not known.
func AppendLocal(b []byte, v Version) []byte {
	if v == V1 {
		return append(b, v1Unknown...)
	}
	return appendV2Start(b, commandLocal, familyUnspecified, 0)
}

func appendV1(b []byte, from, to netip.Addr, fromPort, toPort uint16) []byte {
	b = append(b, v1Start...)
	if from.Is4() {
		b = append(b, "TCP4 "...)
	} else {
		b = append(b, "TCP6 "...)
	}
	b = append(from.AppendTo(b), ' ')
	b = append(to.AppendTo(b), ' ')
	b = append(strconv.AppendUint(b, uint64(fromPort), 10), ' ')
	b = strconv.AppendUint(b, uint64(toPort), 10)
	return append(b, "\r\n"...)
}

// appendV2Start appends all that comes before the addresses, of which there are
// that many bytes.
func appendV2Start(b []byte, command, family byte, length uint16) []byte {
	b = append(b, v2Signature...)
	b = append(b, command, family)
	return binary.BigEndian.AppendUint16(b, length)
}
