package resolve

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestAddress(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:80":            "tcp 127.0.0.1:80",
		"[2001:db8::1]:8080":      "tcp [2001:db8::1]:8080",
		"[::ffff:192.0.2.1]:80":   "tcp 192.0.2.1:80",
		"unix:/run/app.sock":      "unix /run/app.sock",
		"unix:/run/a:80":          "unix /run/a:80",
		"localhost:65535":         "tcp 127.0.0.1:65535 or tcp [::1]:65535",
		"localhost:65536":         `server "localhost:65536": the port is "65536"; use a number up to 65535`,
		"localhost:http":          `server "localhost:http": the port is "http"; use a number up to 65535`,
		"localhost":               `server "localhost": address localhost: missing port in address`,
		"no..name:80":             `server "no..name:80": lookup no..name: `,
		strings.Repeat("a.", 200): `missing port in address`,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		to, err := Address(ctx, address)
		cancel()
		if err != nil {
			if to != nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, %v; want %s", address, to, err, want)
			}
			continue
		}
		if got := to.Network() + " " + to.String(); !strings.Contains(want, got) {
			t.Errorf("%q leads to %s, want %s", address, got, want)
		}
	}
}

func TestAddressEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if to, err := Address(ctx, "app.example:80"); err == nil {
		t.Errorf("leads to %v", to)
	}
	if to, err := Address(ctx, "127.0.0.1:80"); err != nil {
		t.Errorf("%v, %v: nothing had to be looked up", to, err)
	}
}

func TestChoose(t *testing.T) {
	for name, c := range map[string]struct {
		answers, now, want string
	}{
		"the first":                 {"192.0.2.1 192.0.2.2", "", "192.0.2.1:80"},
		"the one in use":            {"192.0.2.1 192.0.2.2", "192.0.2.2:80", "192.0.2.2:80"},
		"the one in use is gone":    {"192.0.2.1 192.0.2.2", "192.0.2.3:80", "192.0.2.1:80"},
		"another port":              {"192.0.2.1 192.0.2.2", "192.0.2.2:81", "192.0.2.1:80"},
		"mapped into IPv6":          {"192.0.2.1 ::ffff:192.0.2.2", "192.0.2.2:80", "192.0.2.2:80"},
		"in use as mapped":          {"192.0.2.1 192.0.2.2", "[::ffff:192.0.2.2]:80", "192.0.2.2:80"},
		"zones are apart":           {"fe80::1%eth0 fe80::1%eth1", "[fe80::1%eth1]:80", "[fe80::1%eth1]:80"},
		"nothing":                   {"", "", "the name has no address"},
		"nothing, though in use":    {"", "192.0.2.1:80", "the name has no address"},
		"hidden by a resolver":      {"0.0.0.0", "", "the name leads to 0.0.0.0, where no server can be"},
		"hidden in IPv6":            {"::", "", "the name leads to ::, where no server can be"},
		"hidden in both":            {"::ffff:0.0.0.0 0.0.0.0", "0.0.0.0:80", "the name leads to ::ffff:0.0.0.0, where no server can be"},
		"to everybody":              {"224.0.0.1 192.0.2.1", "", "192.0.2.1:80"},
		"a unix socket is no match": {"192.0.2.1", "/run/app.sock", "192.0.2.1:80"},
	} {
		t.Run(name, func(t *testing.T) {
			var ips []netip.Addr
			for text := range strings.FieldsSeq(c.answers) {
				ips = append(ips, netip.MustParseAddr(text))
			}
			var now net.Addr
			if at, err := netip.ParseAddrPort(c.now); err == nil {
				now = net.TCPAddrFromAddrPort(at)
			} else if c.now != "" {
				now = &net.UnixAddr{Net: "unix", Name: c.now}
			}
			to, err := choose(ips, 80, now)
			if err != nil {
				if err.Error() != c.want {
					t.Errorf("%v, want %s", err, c.want)
				}
				return
			}
			if to.String() != c.want {
				t.Errorf("%v, want %s", to, c.want)
			}
		})
	}
}

func TestAnInvalidAnswerIsNone(t *testing.T) {
	if to, err := choose([]netip.Addr{{}}, 80, nil); err == nil {
		t.Errorf("leads to %v", to)
	}
}

// A resolver's own error can be told from others.
func TestErrorsAreWrapped(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := Address(ctx, "no..name:80")
	var asked *net.DNSError
	if !errors.As(err, &asked) {
		t.Errorf("%v is no *net.DNSError", err)
	}
}
