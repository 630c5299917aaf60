package httpproxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// claimed is a request of a client that says it speaks for others.
const claimed = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Host: asked\r\nX-Forwarded-Proto: https\r\n" +
	"Forwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\nX_Forwarded_For: 1.1.1.1\r\n\r\n"

// What servers are told of a client is what the policy says, and nothing that it
// claims unless it is trusted.
func TestWhatServersAreToldOfClients(t *testing.T) {
	t.Parallel()
	const believed = "X-Forwarded-Host: asked\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1, IP\r\n" +
		"Forwarded: for=1.1.1.1, for=IP;host=h;proto=http\r\n"
	const replaced = "X-Forwarded-For: IP\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\n"
	const unchanged = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Host: asked\r\nX-Forwarded-Proto: https\r\n" +
		"Forwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\nX_Forwarded_For: 1.1.1.1\r\n"
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.2/31")}
	for about, c := range map[string]struct {
		policy  Forwarded
		trusted []netip.Prefix
		want    map[string]string
	}{
		"replace": {ForwardedReplace, nil, map[string]string{"127.0.0.1": replaced}},
		"trusted": {ForwardedReplace, trusted, map[string]string{"127.0.0.1": replaced, "127.0.0.2": believed, "127.0.0.3": believed, "127.0.0.4": replaced}},
		"append":  {ForwardedAppend, nil, map[string]string{"127.0.0.1": believed}},
		"off":     {ForwardedOff, nil, map[string]string{"127.0.0.1": unchanged}},
	} {
		w := newWorld(t, func(o *Options) { oneLoop(o); o.Forwarded, o.Trusted = c.policy, c.trusted }, mirror(t, "m"))
		for range 2 { // on the same connection to the server
			for source, want := range c.want {
				want = "m: GET / HTTP/1.1\r\nHost: h\r\n" + strings.ReplaceAll(want, "IP\r", source+"\r") + "\r\n"
				want = strings.ReplaceAll(want, "IP;", source+";")
				if got := w.dialFrom(source).ask(claimed); got != want {
					t.Errorf("%s, from %s: the server got %q, want %q", about, source, got, want)
				}
			}
		}
	}
}

// An IPv4 client of a listener for both families is one.
func TestClientsOfBothFamilies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) {
		o.Address = &net.TCPAddr{}
		o.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}, mirror(t, "m"))
	_, port, _ := net.SplitHostPort(w.addr)
	for host, want := range map[string]string{"127.0.0.1": "1.1.1.1, 127.0.0.1", "::1": "::1"} {
		w.addr = net.JoinHostPort(host, port)
		c, err := net.Dial("tcp", w.addr)
		if err != nil && host == "::1" {
			continue // a machine without IPv6
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r := &wire{t, c.(*net.TCPConn), bufio.NewReader(c)}
		r.SetDeadline(time.Now().Add(5 * time.Second))
		if got := saidOf(r.ask(claimed)); got != want {
			t.Errorf("from %s: the server was told %q, want %q", host, got, want)
		}
	}
}

// A client of a unix socket has no address to be trusted for.
func TestWhatServersAreToldOfClientsOnAUnixSocket(t *testing.T) {
	t.Parallel()
	for policy, want := range map[Forwarded]string{
		ForwardedReplace: "X-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\n",
		ForwardedAppend: "X-Forwarded-Host: asked\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\n" +
			"Forwarded: for=1.1.1.1, for=unknown;host=h;proto=http\r\n",
	} {
		path := filepath.Join(t.TempDir(), "p.sock")
		newWorld(t, func(o *Options) {
			o.Address, o.Forwarded = &net.UnixAddr{Net: "unix", Name: path}, policy
			o.Trusted, o.AcceptProxy = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, []netip.Prefix{netip.MustParsePrefix("::/0")}
			o.MaxPerClient, o.MaxConnections = 1, 2
		}, mirror(t, "m"))
		for range 2 { // open at the same time, for each is a client of its own
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(5 * time.Second))
			io.WriteString(c, claimed)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			if got := string(body); got != "m: GET / HTTP/1.1\r\nHost: h\r\n"+want+"\r\n" {
				t.Errorf("policy %d: the server got %d %q", policy, resp.StatusCode, got)
			}
		}
	}
}
