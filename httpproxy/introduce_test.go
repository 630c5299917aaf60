package httpproxy

import (
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fulcrum/proxyproto"
)

var (
	someClient  = netip.MustParseAddrPort("192.0.2.7:4242")
	someAddress = netip.MustParseAddrPort("198.51.100.1:443")
)

// behindProxies has those in a network begin with a PROXY header.
func behindProxies(networks ...string) func(*Options) {
	return func(o *Options) {
		for _, n := range networks {
			o.AcceptProxy = append(o.AcceptProxy, netip.MustParsePrefix(n))
		}
	}
}

// sendApart sends in pieces that the proxy reads one by one.
func (w *world) sendApart(r *wire, b []byte, size int) {
	w.t.Helper()
	raw, err := r.SyscallConn()
	if err != nil {
		w.t.Fatal(err)
	}
	for piece := range slices.Chunk(b, size) {
		r.send("%s", piece)
		w.eventually("the piece arrives", func() (taken bool) {
			raw.Control(func(fd uintptr) {
				n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
				taken = n == 0 || err != nil
			})
			return taken
		})
		for range 2 { // in one of these turns it is read
			w.each(func(*worker) {})
		}
	}
}

// saidOf returns the address that the server was told of a client, from what it
// mirrors.
func saidOf(body string) string {
	_, rest, _ := strings.Cut(body, "X-Forwarded-For: ")
	address, _, _ := strings.Cut(rest, "\r\n")
	return address
}

// Whoever has to begin with a PROXY header is who it says, for all requests, in
// whatever pieces they come.
func TestAHeaderSaysWhoTheClientIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, behindProxies("10.0.0.0/8", "127.0.0.1/32"), mirror(t, "m"))
	const requests = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
	six := netip.MustParseAddrPort("[2001:db8::1]:1000")
	for about, c := range map[string]struct {
		header []byte
		want   string
	}{
		"v1":                  {proxyproto.Append(nil, proxyproto.V1, someClient, someAddress), "192.0.2.7"},
		"v2":                  {proxyproto.Append(nil, proxyproto.V2, someClient, someAddress), "192.0.2.7"},
		"v1, IPv6":            {proxyproto.Append(nil, proxyproto.V1, six, six), "2001:db8::1"},
		"v2, IPv6":            {proxyproto.Append(nil, proxyproto.V2, six, six), "2001:db8::1"},
		"v2, IPv4 as IPv6":    {[]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x24" + strings.Repeat("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x00\x00\x01", 2) + "\x00\x01\x00\x02"), "10.0.0.1"},
		"v1, nobody":          {[]byte("PROXY UNKNOWN\r\n"), "127.0.0.1"},
		"v1, nobody, garbage": {[]byte("PROXY UNKNOWN ::1 GET / HTTP/1.1\r\n"), "127.0.0.1"},
		"v2, itself":          {proxyproto.AppendLocal(nil, proxyproto.V2), "127.0.0.1"},
	} {
		for how, send := range map[string]func(r *wire){
			"at once":   func(r *wire) { r.send("%s%s", c.header, requests) },
			"in two":    func(r *wire) { w.sendApart(r, c.header, 1<<10); r.send(requests) },
			"in pieces": func(r *wire) { w.sendApart(r, append(slices.Clone(c.header), requests...), 7) },
		} {
			r := w.dial()
			send(r)
			for _, target := range []string{"/1", "/2"} {
				resp, body, _ := r.response("GET")
				if got := saidOf(body); resp.StatusCode != 200 || got != c.want || !strings.HasPrefix(body, "m: GET "+target+" ") {
					t.Errorf("%s, %s: got %d %q from %s, want %s", about, how, resp.StatusCode, body, got, c.want)
				}
			}
			r.Close()
		}
	}
	w.idle()
	if s := w.proxy.Stats(); s.Endings[Answered] != 2*3*8 || s.Endings[BadHeader] != 0 {
		t.Errorf("got %v", s.Endings)
	}
}

// A header may be longer than the head of a request, and come in pieces.
func TestAHeaderMayBeLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) {
		behindProxies("127.0.0.0/8")(o)
		o.MaxHeaderBytes, o.AcceptProxyTimeout = 200, 2*time.Second
	}, mirror(t, "m"))
	const rest = proxyproto.MaxHeader - 16 - 12 - 3
	header := "\r\n\r\n\x00\r\nQUIT\n\x21\x11" + string([]byte{(rest + 15) >> 8, (rest + 15) & 255}) +
		"\x0a\x00\x00\x01\x0a\x00\x00\x02\x00\x01\x00\x02" + "\x04" + string([]byte{rest >> 8, rest & 255}) + strings.Repeat("x", rest)
	for _, size := range []int{1 << 20, 300} {
		r := w.dial()
		w.sendApart(r, []byte(header), size)
		r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if resp, body, _ := r.response("GET"); resp.StatusCode != 200 || saidOf(body) != "10.0.0.1" {
			t.Errorf("by %d: got %d %q", size, resp.StatusCode, body)
		}
	}
}

// Who does not say who it is, or not in time, is told nothing and reaches nobody.
func TestWithoutAGoodHeaderAClientIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) {
		behindProxies("127.0.0.0/8")(o)
		o.AcceptProxyTimeout = 200 * time.Millisecond
	}, mirror(t, "m"))
	const request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	v1 := string(proxyproto.Append(nil, proxyproto.V1, someClient, someAddress))
	v2 := string(proxyproto.Append(nil, proxyproto.V2, someClient, someAddress))
	for about, c := range map[string]struct {
		said string
		ends bool
	}{
		"missing":             {request, false},
		"TLS":                 {"\x16\x03\x01\x02\x00", false},
		"malformed":           {"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n" + request, false},
		"without its CR":      {"PROXY UNKNOWN\n" + request, false},
		"of version 3":        {v2[:12] + "\x31" + v2[13:] + request, false},
		"longer than allowed": {v2[:14] + "\xff\xff" + v2[16:] + request, false},
		"behind a request":    {request + v1, false},
		"twice":               {v1[:len(v1)-2] + v1 + request, false},
		"never":               {"", false},
		"never whole":         {v1[:len(v1)-1], false},
		"ended within":        {v2[:len(v2)-1], true},
	} {
		before := w.proxy.Stats().Endings[BadHeader]
		r := w.dial()
		r.send("%s", c.said)
		if c.ends {
			r.CloseWrite()
		}
		if rest := r.ends(); rest != "" {
			t.Errorf("%s: was told %q", about, rest)
		}
		if n := w.proxy.Stats().Endings[BadHeader] - before; n != 1 {
			t.Errorf("%s: is counted %d times", about, n)
		}
	}
	silent := w.dial() // as some probe ports
	silent.CloseWrite()
	silent.ends()
	s := w.proxy.Stats()
	if s.Endings[BadHeader] != 11 || s.Requests != 0 || s.Statuses != [6]int64{} || s.Accepted != 12 {
		t.Errorf("got %+v", s)
	}
	w.eventually("all are closed", func() bool { return w.proxy.Stats().Open == 0 })
}

// A second header is no request.
func TestAHeaderComesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, behindProxies("127.0.0.0/8"), mirror(t, "m"))
	for v := proxyproto.V1; v <= proxyproto.V2; v++ {
		header := proxyproto.Append(nil, v, someClient, someAddress)
		r := w.dial()
		r.send("%s%sGET / HTTP/1.1\r\nHost: h\r\n\r\n", header, header)
		if resp, _, _ := r.response("GET"); resp.StatusCode != 400 || !resp.Close {
			t.Errorf("v%d: got %d, close %v", v, resp.StatusCode, resp.Close)
		}
	}
}

// Whoever is not in the networks cannot say that it is somebody else.
func TestNoHeaderIsTakenFromOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, behindProxies("10.0.0.0/8", "127.0.0.2/32"), mirror(t, "m"))
	const request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	for v := proxyproto.V1; v <= proxyproto.V2; v++ {
		r := w.dial()
		r.send("%s%s", proxyproto.Append(nil, v, someClient, someAddress), request)
		if resp, _, _ := r.response("GET"); resp.StatusCode != 400 {
			t.Errorf("v%d: got %d", v, resp.StatusCode)
		}
	}
	plain, said := w.dial(), w.dialFrom("127.0.0.2")
	plain.send(request)
	said.send("%s%s", proxyproto.Append(nil, proxyproto.V2, someClient, someAddress), request)
	for r, want := range map[*wire]string{plain: "127.0.0.1", said: "192.0.2.7"} {
		if _, body, _ := r.response("GET"); saidOf(body) != want {
			t.Errorf("got %q, want %s", body, want)
		}
	}
}

// The time for the header is not that for the request, nor the other way round.
func TestTheHeaderHasATimeOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) {
		behindProxies("127.0.0.0/8")(o)
		o.AcceptProxyTimeout, o.HeaderTimeout = 5*time.Second, 50*time.Millisecond
	}, mirror(t, "m"))
	r := w.dial()
	time.Sleep(200 * time.Millisecond) // longer than a head may take
	r.send("%s", proxyproto.Append(nil, proxyproto.V1, someClient, someAddress))
	r.send("GET / HTTP/1.1\r\n")
	if resp, _, _ := r.response("GET"); resp.StatusCode != 408 {
		t.Errorf("got %d", resp.StatusCode)
	}

	w = newWorld(t, func(o *Options) {
		behindProxies("127.0.0.0/8")(o)
		o.AcceptProxyTimeout = 50 * time.Millisecond
		o.Default.ResponseTimeout = 5 * time.Second
	}, rawOrigin(t, func(_ int, r *wire) {
		r.tryHead()
		time.Sleep(200 * time.Millisecond) // longer than a header may take
		io.WriteString(r, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}))
	r = w.dial()
	r.send("%sGET / HTTP/1.1\r\nHost: h\r\n\r\n", proxyproto.Append(nil, proxyproto.V1, someClient, someAddress))
	if resp, _, _ := r.response("GET"); resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
}
