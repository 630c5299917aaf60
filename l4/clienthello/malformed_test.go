package clienthello

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// parts are a hello's pieces, each of which a story can spoil.
type parts struct {
	record     []byte // the type and version of the record
	kind       byte
	version    []byte
	session    []byte // with its length, like the next three
	suites     []byte
	methods    []byte
	name       []byte // the content of the server_name extension
	before     []byte // whole extensions that precede it
	noneAtAll  bool   // no extensions and no length of them either
	extensions int    // added to the length of the extensions
	hello      int    // added to the length of the hello
	after      []byte // bytes behind the extensions
}

func sound() *parts {
	return &parts{
		record: []byte{recordHandshake, 3, 1}, kind: handshakeHello, version: []byte{3, 3},
		session: []byte{2, 7, 7}, suites: []byte{0, 4, 0x13, 1, 0x13, 2}, methods: []byte{1, 0},
		before: []byte{0x0a, 0x0a, 0, 0, 0, 43, 0, 3, 2, 3, 4},
		name:   named("a.example.com"),
	}
}

// named is the content of a server_name extension.
func named(name string) []byte {
	n := len(name)
	return append([]byte{byte((n + 3) >> 8), byte(n + 3), 0, byte(n >> 8), byte(n)}, name...)
}

// build makes a small hello that asks for name, or for none.
func build(name string) []byte {
	p := sound()
	p.name = nil
	if name != "" {
		p.name = named(name)
	}
	return p.bytes()
}

func (p *parts) bytes() []byte {
	body := append(bytes.Clone(p.version), bytes.Repeat([]byte{0x55}, lengthRandom)...)
	body = append(append(append(body, p.session...), p.suites...), p.methods...)
	if !p.noneAtAll {
		extensions := bytes.Clone(p.before)
		if p.name != nil {
			extensions = append(extensions, 0, 0, byte(len(p.name)>>8), byte(len(p.name)))
			extensions = append(extensions, p.name...)
		}
		n := len(extensions) + p.extensions
		body = append(append(body, byte(n>>8), byte(n)), extensions...)
	}
	body = append(body, p.after...)
	n := len(body) + p.hello
	message := append([]byte{p.kind, byte(n >> 16), byte(n >> 8), byte(n)}, body...)
	return append(append(bytes.Clone(p.record), byte(len(message)>>8), byte(len(message))), message...)
}

func TestASoundHelloBuiltByHand(t *testing.T) {
	if needed := wantName(t, build("a.example.com"), "a.example.com"); needed != len(build("a.example.com")) {
		t.Errorf("the name was said after %d bytes", needed)
	}
	wantName(t, build("_db-1.EXAMPLE.com"), "_db-1.example.com")
	long := strings.Repeat("a", 63)
	wantName(t, build(long+"."+long+"."+long+"."+long), long+"."+long+"."+long+"."+long)
	p := sound()
	p.noneAtAll = true
	wantName(t, p.bytes(), "")
}

func TestMalformedHellos(t *testing.T) {
	for want, spoil := range map[string]func(*parts){
		"begins with message 2":                              func(p *parts) { p.kind = 2 },
		"version of the ClientHello is 0x0203":               func(p *parts) { p.version[0] = 2 },
		"session id of 33":                                   func(p *parts) { p.session = append([]byte{33}, make([]byte, 33)...) },
		"cipher suites of 0":                                 func(p *parts) { p.suites = []byte{0, 0} },
		"which is odd":                                       func(p *parts) { p.suites = []byte{0, 3, 1, 2, 3} },
		"compression methods of 0":                           func(p *parts) { p.methods = []byte{0} },
		"compression methods of 255":                         func(p *parts) { p.methods = []byte{255, 0} },
		"extensions of 34 bytes in the ClientHello; only 33": func(p *parts) { p.extensions = 1 },
		"extensions of 33 bytes in the ClientHello; 34":      func(p *parts) { p.after = []byte{0} },
		"extension of 768 bytes in the ClientHello; only 5":  func(p *parts) { p.before[2] = 3; p.before = p.before[:9]; p.name = nil },
		"ends within a field":                                func(p *parts) { p.noneAtAll = true; p.after = []byte{0} },
		"announces 40 bytes":                                 func(p *parts) { p.hello = -40 },
		"announces 65616 bytes":                              func(p *parts) { p.hello = 1 << 16 },
		"server name list of 0":                              func(p *parts) { p.name = []byte{0, 0} },
		"server name list of 15 bytes in":                    func(p *parts) { p.name[1]-- },
		"server name list of 17 bytes in":                    func(p *parts) { p.name[1]++ },
		"is of type 1":                                       func(p *parts) { p.name[2] = 1 },
		"server name of 0":                                   func(p *parts) { p.name = []byte{0, 4, 0, 0, 0, 0} },
		"server name of 256":                                 func(p *parts) { p.name = named(strings.Repeat("a.", 128)) },
		"1 bytes beyond its first name":                      func(p *parts) { p.name[4]-- },
		`has an empty label`:                                 func(p *parts) { p.name = named("a..b") },
		`name "." has`:                                       func(p *parts) { p.name = named(".") },
		`has "\x00" after "a"`:                               func(p *parts) { p.name = named("a\x00b") },
		`has " " after "a"`:                                  func(p *parts) { p.name = named("a b") },
		`has "*" after ""`:                                   func(p *parts) { p.name = named("*.example.com") },
		`has ":" after ""`:                                   func(p *parts) { p.name = named("::1") },
		"more than 63 bytes without a dot":                   func(p *parts) { p.name = named(strings.Repeat("a", 64)) },
		"connection does not begin with a TLS handshake":     func(p *parts) { p.record[0] = 23 },
	} {
		p := sound()
		spoil(p)
		wantMalformed(t, p.bytes(), want)
	}
}

// wantMalformed wants that error, whichever way the bytes come.
func wantMalformed(t *testing.T, b []byte, want string) {
	t.Helper()
	if _, err := ServerName(b); err == nil || err == ErrIncomplete || !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("want %q, have: %v", want, err)
	}
	checkPrefixes(t, b)
}

func TestMalformedRecords(t *testing.T) {
	b := build("a.example.com")
	split := fragment(b, 50)
	for want, spoil := range map[string]func(second []byte){
		"record of type 21":   func(h []byte) { h[0] = 21 },
		"record of version 2": func(h []byte) { h[1] = 2 },
		"has 0 bytes":         func(h []byte) { h[3], h[4] = 0, 0 },
		"has 16385 bytes":     func(h []byte) { h[3], h[4] = 0x40, 1 },
	} {
		spoiled := bytes.Clone(split)
		spoil(spoiled[recordHeader+50:])
		wantMalformed(t, spoiled, want)
	}
	wantMalformed(t, []byte{recordHandshake, 3, 1, 0x40, 1}, "has 16385 bytes")
}

func TestABigHelloEndsAtMax(t *testing.T) {
	p := sound()
	padding := Max - len(p.bytes()) - 4
	p.before = append([]byte{0, 21, byte(padding >> 8), byte(padding)}, append(make([]byte, padding), p.before...)...)
	b := p.bytes()
	if len(b) != Max {
		t.Fatalf("the hello has %d bytes", len(b))
	}
	if name, err := ServerName(b); name != "a.example.com" || err != nil {
		t.Errorf("%q, %v", name, err)
	}
	if _, err := ServerName(b[:Max-1]); err != ErrIncomplete {
		t.Errorf("all but one byte: %v", err)
	}
	wantMalformed(t, fragment(b, 1000), "longer than 16384 bytes")
	p.before[3]++
	p.before = append(p.before, 0)
	if _, err := ServerName(p.bytes()[:recordHeader+handshakeHeader]); err == nil || !strings.Contains(err.Error(), "announces 16376") {
		t.Errorf("one byte more: %v", err)
	}
}
