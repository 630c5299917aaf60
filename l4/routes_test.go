package l4

import (
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"fulcrum/l4/clienthello"
	"fulcrum/pool"
	"fulcrum/proxyproto"
)

func TestTheMostExactRouteIsFound(t *testing.T) {
	named := map[string]*Upstream{}
	var o Options
	for _, sni := range []string{"example.com", "*.example.com", "*.deep.example.com", "a.b.example.com", "*.org"} {
		named[sni] = &Upstream{}
		o.Routes = append(o.Routes, Route{sni, named[sni]})
	}
	o.Default = &Upstream{}
	named["default"] = o.Default
	r := newRoutes(&o)
	for name, want := range map[string]string{
		"example.com":            "example.com",
		"www.example.com":        "*.example.com",
		"x.y.z.example.com":      "*.example.com",
		"a.b.example.com":        "a.b.example.com",
		"c.a.b.example.com":      "*.example.com",
		"deep.example.com":       "*.example.com",
		"x.deep.example.com":     "*.deep.example.com",
		"x.y.deep.example.com":   "*.deep.example.com",
		"anotherexample.com":     "default",
		"com":                    "default",
		"org":                    "default",
		"wikipedia.org":          "*.org",
		"example.com.wiki.org":   "*.org",
		"www.example.com.de":     "default",
		"":                       "default",
		"xn--bcher-kva.example":  "default",
		"*.example.com":          "*.example.com",
		".deep.example.com":      "*.deep.example.com",
		"www.deep.example.com.x": "default",
	} {
		if r.find(name) != named[want] {
			t.Errorf("%q does not lead to %q", name, want)
		}
	}
}

// hello returns the first bytes of a TLS client that asks for a name.
func hello(t *testing.T, name string) (b []byte) {
	t.Helper()
	near, far := net.Pipe()
	go tls.Client(far, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
	b = make([]byte, 16<<10)
	near.SetDeadline(time.Now().Add(patience))
	n, err := near.Read(b)
	near.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// routed prepares a listener with a pool for each name. Their servers answer
// with the name and what they were sent.
func routed(t *testing.T, names ...string) *world {
	w := prepare(t, pool.LeastConnections)
	w.options.Default = nil
	for _, name := range names {
		to := *w.to
		to.Pool, _ = pool.New(name, pool.Options{})
		one := *w
		one.pool = to.Pool
		one.serve(pool.ServerSpec{}, func(c *net.TCPConn) {
			c.Write([]byte(name + ":"))
			echo(c)
		})
		if name == "default" {
			w.options.Default = &to
		} else {
			w.options.Routes = append(w.options.Routes, Route{name, &to})
		}
	}
	return w
}

// A client is led by the name that it asks for, whatever pieces its hello comes
// in, and the server gets the hello as it is.
func TestClientsAreRoutedByName(t *testing.T) {
	for how, write := range pieces {
		t.Run(how, func(t *testing.T) {
			w := routed(t, "example.com", "*.example.com", "default").start()
			for name, want := range map[string]string{
				"example.com":     "example.com",
				"www.example.com": "*.example.com",
				"a.b.EXAMPLE.com": "*.example.com",
				"elsewhere.org":   "default",
				"":                "default",
			} {
				said := append(hello(t, name), "more"...)
				c := w.dial()
				write(c, said)
				c.wantRead(want + ":" + string(said))
				c.Close()
			}
			c := w.dial()
			c.Write([]byte("no TLS"))
			c.wantRead("default:no TLS")
		})
	}
}

func TestWithoutADefaultOnlyKnownNamesAreServed(t *testing.T) {
	w := routed(t, "example.com").start()
	for _, said := range [][]byte{hello(t, "example.org"), hello(t, "www.example.com"), hello(t, "")} {
		c := w.dial()
		c.Write(said)
		c.wantClosed()
	}
	w.wantEnds(ends{UnknownName: 3})
	c := w.dial()
	c.Write([]byte("SSH-2.0-client\r\n"))
	c.wantClosed()
	w.wantEnds(ends{UnknownName: 3, NoHello: 1})
	c = w.dial()
	c.Write(hello(t, "example.com"))
	c.wantRead("example.com:")

	w = routed(t).start() // no route, no default
	w.dial().wantClosed()
	w.wantEnds(ends{UnknownName: 1})
}

func TestWithoutAGoodHelloAClientIsClosed(t *testing.T) {
	w := routed(t, "example.com", "default")
	w.options.HelloTimeout = 300 * time.Millisecond
	w.start()
	good := hello(t, "example.com")
	broken := slices.Clone(good)
	broken[43] = 0xff // the length of the session id
	tooLong := append([]byte{22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff}, make([]byte, clienthello.Max)...)
	for i, said := range [][]byte{broken, tooLong, good[:40], {}} {
		c := w.dial()
		c.Write(said)
		c.wantClosed() // the last two at the deadline
		w.wantEnds(ends{NoHello: int64(i + 1)})
	}
	c := w.dial()
	c.Write(good[:40])
	c.CloseWrite()
	c.wantClosed()
	w.wantEnds(ends{NoHello: 5})
}

// The header first, the hello behind it, in one go or in pieces.
func TestAHelloMayFollowAHeader(t *testing.T) {
	for how, write := range pieces {
		t.Run(how, func(t *testing.T) {
			w := routed(t, "example.com")
			w.acceptFrom("127.0.0.0/8")
			for _, r := range w.options.Routes {
				r.SendProxy = proxyproto.V1
			}
			w.start()
			said := hello(t, "example.com")
			c := w.dial()
			write(c, append(proxyproto.Append(nil, proxyproto.V2, someClient, someAddress), said...))
			header := proxyproto.Append(nil, proxyproto.V1, someClient, someAddress)
			c.wantRead("example.com:" + string(header) + string(said))
			c.Close()
			w.wantStats(counts{Accepted: 1, ToUpstream: int64(len(said)),
				ToClient: int64(len("example.com:") + len(header) + len(said))})
		})
	}
}

// Real TLS passes through without being decrypted.
func TestTLSPassesThrough(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	certificates := httptest.NewUnstartedServer(nil)
	certificates.StartTLS()
	config := certificates.TLS.Clone()
	certificates.Close()
	w.serve(pool.ServerSpec{}, func(c *net.TCPConn) {
		s := tls.Server(c, config)
		s.Write([]byte("hello"))
		s.Close()
	})
	w.options.Default = nil
	w.options.Routes = []Route{{"example.com", w.to}}
	w.start()
	c := tls.Client(w.dial(), &tls.Config{ServerName: "example.com", InsecureSkipVerify: true})
	if b, err := io.ReadAll(c); err != nil || string(b) != "hello" {
		t.Errorf("read %q, error %v", b, err)
	}
}
