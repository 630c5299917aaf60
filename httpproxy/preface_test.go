package httpproxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fulcrum/proxyproto"
)

// readHeader takes the PROXY header off a connection, byte by byte, so that what
// follows is left.
func readHeader(r *wire) (h proxyproto.Header, raw []byte, err error) {
	for {
		c, err := r.br.ReadByte()
		if err != nil {
			return h, raw, err
		}
		raw = append(raw, c)
		h, n, err := proxyproto.Parse(raw)
		if err == nil && n == len(raw) {
			return h, raw, nil
		}
		if err != proxyproto.ErrIncomplete {
			return h, raw, fmt.Errorf("the connection begins with %q: %w", raw, err)
		}
	}
}

// told is a server that wants to be told who its client is. It answers with the
// number of the connection and what the header said; a request for /last has the
// next one on its connection not answered. ended delivers the connections' numbers.
func told(t testing.TB) (address string, ended chan int) {
	ended = make(chan int, 1000)
	return rawOrigin(t, func(n int, r *wire) {
		defer func() { ended <- n }()
		h, _, err := readHeader(r)
		if err != nil {
			t.Error(err)
			return
		}
		for last := false; ; {
			head, ok := r.tryHead()
			if !ok || last {
				return
			}
			length := 0
			if _, value, ok := strings.Cut(head, "\r\nContent-Length: "); ok {
				fmt.Sscan(value, &length)
			}
			if _, err := io.CopyN(io.Discard, r.br, int64(length)); err != nil {
				return
			}
			last = strings.Contains(head, " /last ")
			body := fmt.Sprint(n, " ", h.Source, " ", h.Destination)
			fmt.Fprintf(r, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	}), ended
}

func sendsProxy(v proxyproto.Version) func(*Options) {
	return func(o *Options) {
		oneLoop(o) // so that clients would share connections if they could
		o.Default.SendProxy = v
	}
}

// own returns who a client is and what it has connected to.
func (r *wire) own() string {
	return fmt.Sprint(r.LocalAddr(), " ", r.RemoteAddr())
}

// ask sends a request and returns the body of the answer.
func (r *wire) ask(request string) string {
	r.t.Helper()
	r.send("%s", request)
	method, _, _ := strings.Cut(request, " ")
	resp, body, err := r.response(method)
	if err != nil {
		r.t.Error(err)
	}
	if resp.StatusCode != 200 {
		return resp.Status
	}
	return body
}

const get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

// Connections to servers that were told of a client are that client's alone, are
// kept for its next request and leave with it.
func TestServersAreToldWhoTheClientIs(t *testing.T) {
	t.Parallel()
	for v := proxyproto.V1; v <= proxyproto.V2; v++ {
		address, ended := told(t)
		w := newWorld(t, sendsProxy(v), address)
		one, two := w.dial(), w.dialFrom("127.0.0.2")
		for i := range 4 {
			for n, r := range []*wire{one, two} {
				if got, want := r.ask(get), fmt.Sprint(n, " ", r.own()); got != want {
					t.Errorf("v%d, request %d: got %s, want %s", v, i, got, want)
				}
			}
		}
		if s := w.proxy.Stats(); s.Connects != 2 || s.Reuses != 6 {
			t.Errorf("v%d: %d connections, used again %d times", v, s.Connects, s.Reuses)
		}
		one.Close()
		if n := <-ended; n != 0 {
			t.Errorf("v%d: connection %d has ended", v, n)
		}
		if got, want := two.ask(get), "1 "+two.own(); got != want {
			t.Errorf("v%d: got %s, want %s", v, got, want)
		}
		two.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		two.ends()
		if n := <-ended; n != 1 {
			t.Errorf("v%d: connection %d has ended", v, n)
		}
		w.idle()
		if n := w.open(); n != 0 {
			t.Errorf("v%d: %d connections are left", v, n)
		}
	}
}

// The header is the first that comes, in one piece with nothing else before the
// request, be there a body or not.
func TestTheHeaderComesFirst(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "body"} {
		got := make(chan string, 1)
		w := newWorld(t, sendsProxy(proxyproto.V2), rawOrigin(t, func(_ int, r *wire) {
			b := make([]byte, 28)
			io.ReadFull(r.br, b)
			head, _ := r.tryHead()
			io.WriteString(r, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			got <- string(b) + head
		}))
		r := w.dial()
		r.ask(fmt.Sprintf("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		want := string(proxyproto.Append(nil, proxyproto.V2, r.LocalAddr().(*net.TCPAddr).AddrPort(), mustAddr(w.addr).(*net.TCPAddr).AddrPort())) +
			fmt.Sprintf("PUT / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\nContent-Length: %d\r\n\r\n", len(body))
		if got := <-got; got != want {
			t.Errorf("the server got %q, want %q", got, want)
		}
	}
}

// Who is announced to the proxy is announced by it, in the other version as well.
func TestAHeaderIsHandedOn(t *testing.T) {
	t.Parallel()
	address, _ := told(t)
	w := newWorld(t, func(o *Options) {
		sendsProxy(proxyproto.V1)(o)
		behindProxies("127.0.0.0/8")(o)
	}, address)
	for i, c := range []struct{ header, want string }{
		{string(proxyproto.Append(nil, proxyproto.V2, someClient, someAddress)), fmt.Sprint(someClient, " ", someAddress)},
		{"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", "[2001:db8::1]:1 [2001:db8::2]:2"},
		{"PROXY UNKNOWN\r\n", ""},
	} {
		r := w.dial()
		if c.want == "" {
			c.want = r.own()
		}
		if got, want := r.ask(c.header+get), fmt.Sprint(i, " ", c.want); got != want {
			t.Errorf("%q: got %s, want %s", c.header, got, want)
		}
		if got, want := r.ask(get), fmt.Sprint(i, " ", c.want); got != want {
			t.Errorf("%q, again: got %s, want %s", c.header, got, want)
		}
	}
}

// A client of a unix socket is nobody, and still has connections of its own.
func TestServersAreToldThatTheClientIsNobody(t *testing.T) {
	t.Parallel()
	for v, want := range map[proxyproto.Version]string{proxyproto.V1: "PROXY UNKNOWN\r\n", proxyproto.V2: string(proxyproto.AppendLocal(nil, proxyproto.V2))} {
		path := filepath.Join(t.TempDir(), "c.sock")
		got := make(chan string, 9)
		w := newWorld(t, func(o *Options) {
			sendsProxy(v)(o)
			o.Address = &net.UnixAddr{Net: "unix", Name: path}
		}, rawOrigin(t, func(_ int, r *wire) {
			_, raw, _ := readHeader(r)
			for {
				head, ok := r.tryHead()
				if !ok {
					return
				}
				got <- string(raw) + head
				io.WriteString(r, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}))
		for range 2 {
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(5 * time.Second))
			br := bufio.NewReader(c)
			for range 2 {
				io.WriteString(c, get)
				for line := ""; line != "\r\n"; {
					if line, err = br.ReadString('\n'); err != nil {
						t.Fatal(err)
					}
				}
				if head := <-got; !strings.HasPrefix(head, want+"GET / ") || strings.Contains(head, "X-Forwarded-For") {
					t.Errorf("v%d: the server got %q", v, head)
				}
			}
		}
		if s := w.proxy.Stats(); s.Connects != 2 || s.Reuses != 2 {
			t.Errorf("v%d: %d connections, used again %d times", v, s.Connects, s.Reuses)
		}
	}
}

// A request that has to be sent again is announced again.
func TestTheHeaderIsSentAgain(t *testing.T) {
	t.Parallel()
	for v := proxyproto.V1; v <= proxyproto.V2; v++ {
		address, _ := told(t)
		w := newWorld(t, sendsProxy(v), address)
		r := w.dial()
		for i, again := range []string{get, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"} {
			if got, want := r.ask("GET /last HTTP/1.1\r\nHost: h\r\n\r\n"), fmt.Sprint(i, " ", r.own()); got != want {
				t.Errorf("v%d: got %s, want %s", v, got, want)
			}
			if got, want := r.ask(again), fmt.Sprint(i+1, " ", r.own()); got != want {
				t.Errorf("v%d, %s again: got %s, want %s", v, again[:3], got, want)
			}
		}
		if s := w.proxy.Stats(); s.Retries != 2 || s.Connects != 3 || s.Requests != 4 {
			t.Errorf("v%d: %d requests, %d sent again, %d connections", v, s.Requests, s.Retries, s.Connects)
		}
		w.idle()
	}
}

// Requests that are sent without waiting need no more connections than two to each
// server: the one that was used last is not looked at in the same turn.
func TestPipelinedRequestsShareConnections(t *testing.T) {
	t.Parallel()
	const many = 200
	address, ended := told(t)
	w := newWorld(t, sendsProxy(proxyproto.V1), address)
	r := w.dial()
	r.send("%s", strings.Repeat(get, many))
	for i := range many {
		if _, body, _ := r.response("GET"); !strings.HasSuffix(body, r.own()) {
			t.Fatalf("answer %d is %q", i, body)
		}
	}
	if n := w.open(); n > 2 {
		t.Errorf("%d connections are kept", n)
	}
	r.Close()
	w.idle()
	w.eventually("they have left with their client", func() bool { return w.open() == 0 })
	connects := int(w.proxy.Stats().Connects)
	for range connects {
		<-ended
	}
	if connects > 2 {
		t.Errorf("%d connections were made", connects)
	}
}

// Only those servers are told whose pool says so, and their connections are not
// mixed up with others.
func TestOnlyThoseAreToldWhoWantIt(t *testing.T) {
	t.Parallel()
	address, _ := told(t)
	to := upstreamTo(t, "told", address)
	to.SendProxy = proxyproto.V2
	w := newWorld(t, func(o *Options) {
		oneLoop(o)
		o.Routes = append(o.Routes, Route{Path: "/told", Upstream: to})
	}, mirror(t, "m"))
	one, two := w.dial(), w.dial()
	for range 3 {
		for i, r := range []*wire{one, two} {
			if got, want := r.ask("GET /told HTTP/1.1\r\nHost: h\r\n\r\n"), fmt.Sprint(i, " ", r.own()); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := r.ask(get); !strings.HasPrefix(got, "m: GET / HTTP/1.1\r\n") {
				t.Errorf("got %q", got)
			}
		}
	}
	if s := w.proxy.Stats(); s.Connects != 3 {
		t.Errorf("%d connections were made, want one for each and one for both", s.Connects)
	}
	w.idle()
}

// An upgrade takes its client's connection, of which no other client gets any.
func TestTunnelsAreAnnounced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sendsProxy(proxyproto.V1), rawOrigin(t, func(_ int, r *wire) {
		h, _, err := readHeader(r)
		if _, ok := r.tryHead(); err != nil || !ok {
			return
		}
		fmt.Fprintf(r, "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n%s:", h.Source)
		io.Copy(r, r.br)
	}))
	var all []*wire
	for range 3 {
		r := w.dial()
		r.send(upgrade)
		r.head()
		all = append(all, r)
	}
	for i, r := range slices.Backward(all) {
		r.send("%d", i)
		r.CloseWrite()
		if got, want := r.ends(), fmt.Sprint(r.LocalAddr(), ":", i); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	w.idle()
	w.eventually("no connection is left", func() bool { return w.open() == 0 })
}

// The announced client is the one whose networks are trusted, and limited.
func TestTheAnnouncedClientIsTheOneThatCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) {
		behindProxies("127.0.0.0/8")(o)
		o.Trusted, o.MaxPerClient = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, 1
	}, mirror(t, "m"))
	ask := func(source string) (*wire, int, string) {
		r := w.dial()
		r.send("%sGET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
			proxyproto.Append(nil, proxyproto.V2, netip.MustParseAddrPort(source), netip.MustParseAddrPort(source)))
		resp, body, _ := r.response("GET")
		return r, resp.StatusCode, saidOf(body)
	}
	for _, c := range []struct {
		source string
		code   int
		said   string
	}{
		{"192.0.2.7:1", 200, "1.1.1.1, 192.0.2.7"},
		{"192.0.2.7:2", 429, ""},
		{"127.0.0.1:1", 200, "127.0.0.1"},
		{"[2001:db8::1]:1", 200, "2001:db8::1"},
		{"[2001:db8::ffff:1]:1", 429, ""},
		{"[2001:db8:0:1::1]:1", 200, "2001:db8:0:1::1"},
	} {
		if _, code, said := ask(c.source); code != c.code || said != c.said {
			t.Errorf("%s: got %d, said to be %q", c.source, code, said)
		}
	}
}
