package proxyproto

import (
	"bufio"
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"

	oracle "github.com/pires/go-proxyproto"
)

// wantHeader feeds every prefix of b: each must be incomplete until the header
// is there, which it is at its last byte, whatever follows.
func wantHeader(t *testing.T, b []byte, want Header) {
	t.Helper()
	for i := range b {
		if _, n, err := Parse(b[:i:i]); !errors.Is(err, ErrIncomplete) || n != 0 {
			t.Fatalf("%d of %d bytes of %q: %d, %v", i, len(b), b, n, err)
		}
	}
	for _, after := range []string{"", "\r\n", "PROXY TCP4 ", strings.Repeat("x", MaxHeader)} {
		h, n, err := Parse(append(bytes.Clone(b), after...))
		if err != nil || n != len(b) || h != want {
			t.Fatalf("%q: %+v, %d of %d bytes, %v; want %+v", b, h, n, len(b), err, want)
		}
	}
}

// wantMalformed wants that error, and that it does not depend on how the bytes
// come.
func wantMalformed(t *testing.T, b []byte, want string) {
	t.Helper()
	if _, n, err := Parse(b); err == nil || err == ErrIncomplete || n != 0 || !strings.Contains(err.Error(), want) {
		t.Errorf("%q: %d, %v; want %q", b, n, err, want)
	}
	checkPrefixes(t, b)
}

// checkPrefixes wants that an answer other than ErrIncomplete stays the same
// when more comes, but for the words: of two mistakes either may be told.
func checkPrefixes(t *testing.T, b []byte) {
	h, n, err := Parse(b)
	if n > len(b) || (n == 0) != (err != nil) {
		t.Fatalf("%q: %d of %d bytes, %v", b, n, len(b), err)
	}
	if len(b) >= MaxHeader && err == ErrIncomplete {
		t.Fatalf("%d bytes are incomplete", len(b))
	}
	for i := range len(b) {
		before, beforeN, beforeErr := Parse(b[:i:i])
		if beforeErr == ErrIncomplete {
			continue
		}
		if before != h || beforeN != n || (beforeErr == nil) != (err == nil) || err == ErrIncomplete {
			t.Fatalf("%q: after %d bytes %+v, %d, %v; after all %+v, %d, %v", b, i, before, beforeN, beforeErr, h, n, err)
		}
		return
	}
}

func addr(s string) netip.AddrPort {
	if s == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(s)
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, c := range []struct{ from, to, v1 string }{
		{"192.0.2.1:56324", "198.51.100.7:443", "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"},
		{"255.255.255.255:65535", "0.0.0.0:0", "PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n"},
		{"[2001:db8::1]:1", "[::]:2", "PROXY TCP6 2001:db8::1 :: 1 2\r\n"},
		{"[2001:db8:1:2:3:4:5:6]:65535", "[ffff::]:65535", "PROXY TCP6 2001:db8:1:2:3:4:5:6 ffff:: 65535 65535\r\n"},
		{"", "192.0.2.1:1", v1Unknown}, {"192.0.2.1:1", "", v1Unknown}, {"", "", v1Unknown},
		{"192.0.2.1:1", "[::1]:2", v1Unknown}, {"[::1]:2", "192.0.2.1:1", v1Unknown},
	} {
		want := Header{Source: addr(c.from), Destination: addr(c.to)}
		if c.v1 == v1Unknown {
			want = Header{}
		}
		b := Append([]byte("x"), V1, addr(c.from), addr(c.to))
		if string(b) != "x"+c.v1 {
			t.Errorf("v1: %q, want %q", b, c.v1)
		}
		wantHeader(t, b[1:], want)
		want.Local = !want.Source.IsValid()
		wantHeader(t, Append([]byte("x"), V2, addr(c.from), addr(c.to))[1:], want)
	}
	wantHeader(t, AppendLocal(nil, V1), Header{})
	wantHeader(t, AppendLocal(nil, V2), Header{Local: true})
}

func TestIPv4InIPv6IsIPv4(t *testing.T) {
	mapped, plain := addr("[::ffff:192.0.2.1]:7"), addr("192.0.2.1:7")
	for _, v := range []Version{V1, V2} {
		if b, want := Append(nil, v, mapped, plain), Append(nil, v, plain, plain); !bytes.Equal(b, want) {
			t.Errorf("%q, want %q", b, want)
		}
	}
	wantHeader(t, []byte("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:201 7 7\r\n"), Header{Source: plain, Destination: plain})
}

func TestZonesAreLeftOut(t *testing.T) {
	from, to := addr("[fe80::1%eth0]:7"), addr("[fe80::2]:7")
	want := Header{Source: addr("[fe80::1]:7"), Destination: to}
	wantHeader(t, Append(nil, V1, from, to), want)
	wantHeader(t, Append(nil, V2, from, to), want)
}

func randomAddr(random *rand.Rand, four bool) netip.AddrPort {
	var a [16]byte
	for i := range a {
		if random.IntN(3) > 0 {
			a[i] = byte(random.IntN(256))
		}
	}
	port := uint16(random.IntN(1 << 16))
	if four {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[:])), port)
	}
	a[0] = 0x20
	return netip.AddrPortFrom(netip.AddrFrom16(a), port)
}

// The oracle is another implementation: each must understand the other.
func TestAnotherImplementationUnderstands(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 2000 {
		v, four := Version(1+i%2), i%4 < 2
		from, to := randomAddr(random, four), randomAddr(random, four)
		theirs := oracle.HeaderProxyFromAddrs(byte(v), net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to))
		if v == V2 && i%3 == 0 {
			if err := theirs.SetTLVs([]oracle.TLV{{Type: oracle.PP2_TYPE_UNIQUE_ID, Value: make([]byte, random.IntN(100))}, {Type: oracle.PP2_TYPE_NOOP}}); err != nil {
				t.Fatal(err)
			}
		}
		b, err := theirs.Format()
		if err != nil {
			t.Fatal(err)
		}
		if h, n, err := Parse(b); err != nil || n != len(b) || h != (Header{Source: from, Destination: to}) {
			t.Fatalf("%q: %+v, %d, %v", b, h, n, err)
		}
		read := oracleReads(t, Append(nil, v, from, to))
		source, destination, ok := read.TCPAddrs()
		if !ok || source.AddrPort() != from || destination.AddrPort() != to || read.Command != oracle.PROXY || read.Version != byte(v) {
			t.Fatalf("from %v to %v is read as %+v", from, to, read)
		}
	}
	if read := oracleReads(t, AppendLocal(nil, V1)); read.TransportProtocol != oracle.UNSPEC {
		t.Errorf("unknown addresses are read as %+v", read)
	}
	if read := oracleReads(t, AppendLocal(nil, V2)); read.Command != oracle.LOCAL {
		t.Errorf("local is read as %+v", read)
	}
}

func oracleReads(t *testing.T, b []byte) *oracle.Header {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(append(b, "rest"...)))
	h, err := oracle.Read(r)
	if err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	if r.Buffered() != len("rest") {
		t.Fatalf("%q: %d bytes are left", b, r.Buffered())
	}
	return h
}

func TestNothingIsAllocated(t *testing.T) {
	b := make([]byte, 0, MaxHeader)
	for _, v := range []Version{V1, V2} {
		for _, from := range []netip.AddrPort{addr("192.0.2.1:7"), addr("[2001:db8::1]:7")} {
			if n := testing.AllocsPerRun(100, func() {
				whole := Append(b, v, from, from)
				Parse(whole)
				Parse(whole[:len(whole)-1])
			}); n > 0 {
				t.Errorf("v%d %v: %v allocations, want none", v, from, n)
			}
		}
	}
	sealed := withChecksum(v2(commandProxy, familyTCP4, make([]byte, addresses4)))
	if n := testing.AllocsPerRun(100, func() { Parse(sealed) }); n > 0 {
		t.Errorf("a checksum: %v allocations, want none", n)
	}
}

// FuzzParse: an answer other than ErrIncomplete does not change when more comes,
// and what was read can be written and read again.
func FuzzParse(f *testing.F) {
	for _, v := range []Version{V1, V2} {
		f.Add(Append(nil, v, addr("192.0.2.1:56324"), addr("198.51.100.7:443")))
		f.Add(Append(nil, v, addr("[2001:db8::1]:1"), addr("[::]:2")))
		f.Add(AppendLocal(nil, v))
	}
	f.Add([]byte("PROXY TCP6 ::ffff:192.0.2.1 1:2:3:4:5:6:7:8 7 7\r\n"))
	f.Add([]byte("PROXY UNKNOWN what ever\r\n"))
	f.Add(withChecksum(v2(commandProxy, familyTCP6, make([]byte, addresses6))))
	f.Fuzz(func(t *testing.T, b []byte) {
		checkPrefixes(t, b)
		h, _, err := Parse(b)
		if err != nil || !h.Source.IsValid() || h.Source.Addr().Is4() != h.Destination.Addr().Is4() {
			return
		}
		for _, v := range []Version{V1, V2} {
			if again, _, err := Parse(Append(nil, v, h.Source, h.Destination)); err != nil || again != h {
				t.Fatalf("%+v is written and read as %+v, %v", h, again, err)
			}
		}
	})
}
