package proxyproto

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

func TestUnknownLines(t *testing.T) {
	for _, rest := range []string{
		"", " ", " 192.0.2.1 192.0.2.2 1 2", " anything at all\x00\n\xff", " " + strings.Repeat("f", maxV1-len("PROXY UNKNOWN \r\n")),
	} {
		wantHeader(t, []byte("PROXY UNKNOWN"+rest+"\r\n"), Header{})
	}
}

func TestIPv6InAllItsForms(t *testing.T) {
	for _, form := range []string{
		"::", "::1", "1::", "1::8", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3::5:6:7:8", "0000:0000:0000:0000:0000:0000:0000:0001",
		"ABCD:ef01::aB", "64:ff9b::192.0.2.33", "::192.0.2.33", "1:2:3:4:5:6:192.0.2.33", "1:2:3:4:5::255.0.2.33", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	} {
		a := netip.AddrPortFrom(netip.MustParseAddr(form).Unmap(), 1)
		wantHeader(t, []byte("PROXY TCP6 "+form+" :: 1 65535\r\n"), Header{Source: a, Destination: addr("[::]:65535")})
	}
}

// Each of these lines is refused at its last byte.
func TestMalformedLines(t *testing.T) {
	for b, want := range map[string]string{
		"G":                                    `"G" cannot begin`,
		"p":                                    `"p" cannot begin`,
		"PROXY\r":                              `byte 5 of the PROXY line is "\r"`,
		"PROXY  ":                              `byte 6 of the PROXY line is " "`,
		"PROXY UD":                             `byte 7 of the PROXY line is "D"`,
		"PROXY TCP5":                           `is "5"; want 4 or 6`,
		"PROXY TCP4\t":                         `is "\t"`,
		"PROXY UNKNOWNS":                       `is "S"; want a space or the end`,
		"PROXY UNKNOWN \rx":                    `is "x"`,
		"PROXY TCP4 :":                         `is ":"; want a digit`,
		"PROXY TCP4 256":                       `number "256" in the PROXY line exceeds 255`,
		"PROXY TCP4 1.02":                      `is "2"; want no digit after a leading zero`,
		"PROXY TCP4 00":                        `is "0"; want no digit after a leading zero`,
		"PROXY TCP4 1.2.3 ":                    `is " "; want "."`,
		"PROXY TCP4 1.2.3.4.":                  `is "."; want " "`,
		"PROXY TCP4 1..":                       `want a digit`,
		"PROXY TCP4 1.2.3.4 1.2.3.4 65536":     `number "65536" in the PROXY line exceeds 65535`,
		"PROXY TCP4 1.2.3.4 1.2.3.4 08":        `want no digit after a leading zero`,
		"PROXY TCP4 1.2.3.4 1.2.3.4 -":         `want a digit`,
		"PROXY TCP4 1.2.3.4 1.2.3.4 80 +":      `want a digit`,
		"PROXY TCP4 1.2.3.4 1.2.3.4 80\r":      `is "\r"; want " "`,
		"PROXY TCP4 1.2.3.4 1.2.3.4 80 443\n":  `is "\n"; want "\r\n"`,
		"PROXY TCP4 1.2.3.4 1.2.3.4 80 443 ":   `is " "; want "\r\n"`,
		"PROXY TCP4 1.2.3.4 1.2.3.4 80 443\rG": `is "G"; want "\r\n"`,
		"PROXY TCP6 1.":                        `is "."`,
		"PROXY TCP6 :1":                        `is "1"; want "::"`,
		"PROXY TCP6 1: ":                       `want a hexadecimal digit`,
		"PROXY TCP6 :::":                       `want a hexadecimal digit`,
		"PROXY TCP6 1::2::":                    `want no second pair of colons`,
		"PROXY TCP6 12345":                     `is "5"`,
		"PROXY TCP6 g":                         `want a hexadecimal digit`,
		"PROXY TCP6 1:2:3:4:5:6:7 ":            `eight groups`,
		"PROXY TCP6 1:2:3:4:5:6:7:8:":          `want the end of an IPv6 address`,
		"PROXY TCP6 1:2:3:4:5:6:7::8":          `want the end of an IPv6 address`,
		"PROXY TCP6 1:2:3:4:5:6:7:1.":          `is "."`,
		"PROXY TCP6 1::4:5:6:7:8:1.":           `is "."`,
		"PROXY TCP6 ::.":                       `want a hexadecimal digit`,
		"PROXY TCP6 ::1.2.3 ":                  `want "."`,
		"PROXY TCP6 ::a.":                      `want a digit`,
		"PROXY TCP6 fe80::1%":                  `is "%"`,
		"PROXY UNKNOWN " + strings.Repeat("f", maxV1-len("PROXY UNKNOWN ")):                                           "has not ended after 107 bytes",
		"PROXY TCP6 1111:1111:1111:1111:1111:1111:111.111.111.111 1111:1111:1111:1111:1111:1111:111.111.111.111 1111": "has not ended after 107 bytes",
	} {
		wantMalformed(t, []byte(b), want)
		wantMalformed(t, []byte(b+strings.Repeat("x", 1000)), want)
		if _, _, err := Parse([]byte(b[:len(b)-1])); err != ErrIncomplete {
			t.Errorf("%q without its last byte: %v", b, err)
		}
	}
}

// An unfinished line is called incomplete only when it can be finished.
func TestWhatIsIncompleteCanBeCompleted(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	seeds := []string{
		"PROXY TCP4 192.0.2.1 255.10.0.7 56324 443\r\n", "PROXY TCP6 2001:db8::1 1:2:3:4:5:6:7:8 1 2\r\n",
		"PROXY TCP6 ::ffff:192.0.2.1 1:: 0 65535\r\n", "PROXY UNKNOWN x\r\n",
	}
	const alphabet = "0123456789afF:. \r\nPROXYUNKW"
	incomplete := 0
	for range 1500 {
		b := []byte(seeds[random.IntN(len(seeds))])
		for range 1 + random.IntN(2) {
			b[6+random.IntN(len(b)-6)] = alphabet[random.IntN(len(alphabet))]
		}
		checkPrefixes(t, b)
		b = b[:random.IntN(len(b))]
		if _, _, err := Parse(b); err == ErrIncomplete {
			incomplete++
			if !completable(b) {
				t.Fatalf("%q is called incomplete, but nothing completes it", b)
			}
		}
	}
	if incomplete < 200 {
		t.Errorf("only %d of the lines were incomplete", incomplete)
	}
}

func completable(b []byte) bool {
	for _, c := range []byte("\n\r 1:.PROXYTCUNKW46") {
		next := append(b[:len(b):len(b)], c)
		switch _, _, err := Parse(next); {
		case err == nil:
			return true
		case err == ErrIncomplete && completable(next):
			return true
		}
	}
	return false
}

// The oracle for IPv6 is the standard library.
func TestIPv6LikeTheStandardLibrary(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	const alphabet = "::::..0125af"
	valid := 0
	for range 100_000 {
		form := netip.AddrFrom16([16]byte{2: byte(random.IntN(2)), 9: byte(random.IntN(2)), 11: 0xff, 12: 1, 15: byte(random.IntN(256))}).String()
		if random.IntN(2) > 0 {
			form = []string{"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:1.2.3.4", "1:2::8", "::10.2.55.0", "1:2:3:4:5::1.2.3.4"}[random.IntN(5)]
		}
		spoiled := []byte(form)
		for range random.IntN(3) {
			at := random.IntN(len(spoiled))
			switch c := alphabet[random.IntN(len(alphabet))]; random.IntN(3) {
			case 0:
				spoiled[at] = c
			case 1:
				spoiled = append(spoiled[:at], append([]byte{c}, spoiled[at:]...)...)
			default:
				spoiled = append(spoiled[:at], spoiled[at+1:]...)
			}
		}
		want, wantErr := netip.ParseAddr(string(spoiled))
		ok := wantErr == nil && want.Is6()
		h, _, err := Parse([]byte("PROXY TCP6 " + string(spoiled) + " :: 1 1\r\n"))
		if ok != (err == nil) || ok && h.Source.Addr() != want.Unmap() {
			t.Fatalf("%q: %v, %v; want %v, %v", spoiled, h.Source, err, want, wantErr)
		}
		if ok {
			valid++
		}
	}
	if valid < 10_000 || valid > 90_000 {
		t.Errorf("%d of the addresses are valid", valid)
	}
}
