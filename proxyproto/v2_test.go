package proxyproto

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// v2 is a header of version 2 with that after its fixed part.
func v2(command, family byte, rest ...[]byte) []byte {
	all := bytes.Join(rest, nil)
	return append(appendV2Start(nil, command, family, uint16(len(all))), all...)
}

func extension(kind byte, value ...byte) []byte {
	return append([]byte{kind, byte(len(value) >> 8), byte(len(value))}, value...)
}

// withChecksum puts the checksum behind the header b.
func withChecksum(b []byte) []byte {
	b = append(bytes.Clone(b), extension(typeCRC32C, 0, 0, 0, 0)...)
	binary.BigEndian.PutUint16(b[14:], uint16(len(b)-v2Fixed))
	binary.BigEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

var (
	some4 = []byte{192, 0, 2, 1, 198, 51, 100, 7, 0, 80, 1, 187}
	told4 = Header{Source: addr("192.0.2.1:80"), Destination: addr("198.51.100.7:443")}
)

func TestHeadersOfVersion2(t *testing.T) {
	wantHeader(t, v2(commandProxy, familyTCP4, some4), told4)
	some6 := append(make([]byte, 31), 7, 0, 1, 0, 2)
	wantHeader(t, v2(commandProxy, familyTCP6, some6), Header{Source: addr("[::]:1"), Destination: addr("[::7]:2")})
	mapped := append(append(make([]byte, 10), 0xff, 0xff, 192, 0, 2, 1), append(make([]byte, 10), 0xff, 0xff, 198, 51, 100, 7, 0, 80, 1, 187)...)
	wantHeader(t, v2(commandProxy, familyTCP6, mapped), told4)

	more := extension(0x02, []byte("www.example.com")...)
	wantHeader(t, v2(commandProxy, familyTCP4, some4, more, extension(0x04), extension(0xee, make([]byte, 300)...)), told4)
	wantHeader(t, v2(commandProxy, familyTCP4, some4, extension(0x04, make([]byte, MaxHeader-v2Fixed-addresses4-3)...)), told4)
}

func TestHeadersOfVersion2ThatTellNothing(t *testing.T) {
	junk := []byte("whatever this is")
	for _, b := range [][]byte{
		v2(commandProxy, 0x00), v2(commandProxy, 0x00, junk), v2(commandProxy, 0x01, junk), v2(commandProxy, 0x10, junk),
		v2(commandProxy, 0x12, some4), v2(commandProxy, 0x22, make([]byte, addresses6)),
		v2(commandProxy, 0x31, make([]byte, addressesUnix)), v2(commandProxy, 0x32, make([]byte, addressesUnix), extension(1, 'x')),
	} {
		wantHeader(t, b, Header{})
	}
	for _, b := range [][]byte{v2(commandLocal, 0x00), v2(commandLocal, familyTCP4, some4), v2(commandLocal, 0xff, junk), withChecksum(v2(commandLocal, 0x00))} {
		wantHeader(t, b, Header{Local: true})
	}
}

func TestChecksums(t *testing.T) {
	id := extension(0x05, 1, 2, 3)
	b := withChecksum(v2(commandProxy, familyTCP4, some4, id))
	wantHeader(t, b, told4)
	for i := v2Fixed; i < len(b)-4-3; i++ {
		if i == v2Fixed+addresses4+1 || i == v2Fixed+addresses4+2 {
			continue // a length: another error
		}
		spoiled := bytes.Clone(b)
		spoiled[i] ^= 0x10
		wantMalformed(t, spoiled, "checksum of the PROXY header is")
	}
	b[len(b)-1]++
	wantMalformed(t, b, "checksum of the PROXY header is")
	if _, _, err := Parse(b[:len(b)-1]); err != ErrIncomplete {
		t.Errorf("before its last byte: %v", err)
	}

	first := v2(commandProxy, familyTCP4, some4, extension(typeCRC32C, 0, 0, 0, 0), id)
	sum := crc32.Checksum(first, crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(first[v2Fixed+addresses4+3:], sum)
	wantHeader(t, first, told4)
	wantMalformed(t, v2(commandProxy, familyTCP4, some4, extension(typeCRC32C, 1, 2, 3)), "checksum of the PROXY header has 3 bytes")
}

func TestMalformedHeadersOfVersion2(t *testing.T) {
	wantMalformed(t, []byte("\r\n\r\nQ"), `byte 4 of the PROXY header is "Q"`)
	wantMalformed(t, []byte("\r\r"), `byte 1 of the PROXY header is "\r"`)
	wantMalformed(t, v2(0x11, familyTCP4, some4), "command of the PROXY header are 0x11")
	wantMalformed(t, v2(0x22, familyTCP4, some4), "command of the PROXY header are 0x22")
	wantMalformed(t, v2(commandProxy, 0x41, some4), "family of the PROXY header is 0x41")
	wantMalformed(t, v2(commandProxy, 0x13, some4), "family of the PROXY header is 0x13")
	wantMalformed(t, v2(commandProxy, familyTCP4, some4[1:]), "has 27 bytes; its addresses alone need 28")
	wantMalformed(t, v2(commandProxy, familyTCP6, make([]byte, addresses6-1)), "its addresses alone need 52")
	wantMalformed(t, v2(commandProxy, 0x31, some4), "its addresses alone need 232")
	wantMalformed(t, v2(commandProxy, familyTCP4, some4, []byte{4, 0}), "byte 28 of the PROXY header is too near its end")
	wantMalformed(t, v2(commandProxy, familyTCP4, some4, []byte{4, 0, 2, 1}), "extension 0x4 of the PROXY header has 2 bytes; only 1")
	for _, command := range []byte{commandLocal, commandProxy} {
		wantMalformed(t, v2(command, 0x00, make([]byte, MaxHeader-v2Fixed+1)), "has 4097 bytes; at most 4096")
	}
}

func TestWhatIsWrongIsRefusedAtItsByte(t *testing.T) {
	for want, b := range map[int][]byte{
		13: v2(0x22, familyTCP4, some4),
		14: v2(commandProxy, 0x41, some4),
		16: v2(commandProxy, familyTCP4, some4[1:]),
		31: v2(commandProxy, familyTCP4, some4, []byte{4, 0, 99}, make([]byte, 98)),
	} {
		if _, _, err := Parse(b[:want-1]); err != ErrIncomplete {
			t.Errorf("%q: %v", b[:want-1], err)
		}
		if _, _, err := Parse(b[:want]); err == nil || err == ErrIncomplete {
			t.Errorf("%q: %v", b[:want], err)
		}
	}
}

func TestSpoiledHeadersAreJudgedOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	for range 3000 {
		b := v2(commandProxy, familyTCP4, some4, extension(5, 1, 2, 3), extension(4))
		if random.IntN(2) > 0 {
			b = withChecksum(b)
		}
		for range 1 + random.IntN(3) {
			b[random.IntN(len(b))] = byte(random.IntN(256))
		}
		checkPrefixes(t, b)
	}
}
