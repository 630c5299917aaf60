package health

import (
	"context"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"fulcrum/pool"
	"fulcrum/proxyproto"
)

// probedAt checks a server once that the given spec describes.
func probedAt(t *testing.T, o Options, spec pool.ServerSpec) (reason string, passed bool) {
	t.Helper()
	s, _ := newWorld(t, o).Upload(spec)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	found := newProbe(o)(ctx, s)
	return found.reason, found.passed
}

func overTCP(address string) pool.ServerSpec {
	return pool.ServerSpec{Address: address, Resolved: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))}
}

func overUnix(path string) pool.ServerSpec {
	return pool.ServerSpec{Address: "unix:" + path, Resolved: &net.UnixAddr{Net: "unix", Name: path}}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	tcp, http := Options{Timeout: patience}, Options{Timeout: patience, Path: "/health", Status: anyStatus}
	for _, o := range []Options{tcp, http} {
		reason, passed := probedAt(t, o, overUnix(path))
		want(t, reason, passed, "no such file or directory", false)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	heads := make(chan string, 2)
	serve(t, listener, func(conn net.Conn) {
		heads <- readHead(conn)
		io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
	})
	reason, passed := probedAt(t, tcp, overUnix(path))
	want(t, reason, passed, "connected", true)
	if head := <-heads; head != "" {
		t.Errorf("a check that only connects said %q", head)
	}
	reason, passed = probedAt(t, http, overUnix(path))
	want(t, reason, passed, "status 204", true)
	if head := <-heads; !strings.HasPrefix(head, "GET /health HTTP/1.1\r\nHost: localhost\r\n") {
		t.Errorf("asked %q", head)
	}
}

// Servers that expect the PROXY protocol get its header before anything else,
// also from a check that has nothing else to say.
func TestSendProxy(t *testing.T) {
	request := "GET / HTTP/1.1\r\n"
	for version, header := range map[proxyproto.Version]string{
		proxyproto.V1: "PROXY UNKNOWN\r\n",
		proxyproto.V2: "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
	} {
		got := make(chan string, 1)
		address := script(t, func(conn net.Conn) {
			all := make([]byte, len(header)+len(request))
			n, _ := io.ReadFull(conn, all)
			got <- string(all[:n])
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		})
		reason, passed := probedAt(t, Options{Timeout: patience, SendProxy: version}, overTCP(address))
		want(t, reason, passed, "connected", true)
		if said := <-got; said != header {
			t.Errorf("v%d, connecting: said %q, want %q", version, said, header)
		}
		o := Options{Timeout: patience, SendProxy: version, Path: "/", Status: anyStatus}
		reason, passed = probedAt(t, o, overTCP(address))
		want(t, reason, passed, "status 200", true)
		if said := <-got; said != header+request {
			t.Errorf("v%d, asking: said %q, want %q", version, said, header+request)
		}
	}
}

// Checks come from where traffic comes from, each source address in its turn.
func TestSource(t *testing.T) {
	from := make(chan string, 1)
	address := script(t, func(conn net.Conn) { from <- conn.RemoteAddr().(*net.TCPAddr).IP.String() })
	spec := overTCP(address)
	spec.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
	w := newWorld(t, Options{Timeout: patience})
	s, _ := w.Upload(spec)
	seen := map[string]int{}
	for range 4 {
		found := newProbe(w.options)(t.Context(), s)
		want(t, found.reason, found.passed, "connected", true)
		seen[<-from]++
	}
	if seen["127.0.0.2"] != 2 || seen["127.0.0.3"] != 2 {
		t.Errorf("checked from %v", seen)
	}
}

// A source address that this machine does not have says nothing about the
// server; one of the other family can never reach it.
func TestSourceThatCannotBe(t *testing.T) {
	spec := overTCP(script(t, func(net.Conn) {}))
	w := newWorld(t, Options{Timeout: patience})
	for source, void := range map[string]bool{"192.0.2.1": true, "::1": false} {
		spec.Sources = []netip.Addr{netip.MustParseAddr(source)}
		s, _ := w.Upload(spec)
		if found := newProbe(w.options)(t.Context(), s); found.passed || found.void != void || found.reason == "" {
			t.Errorf("from %s: %+v", source, found)
		}
	}
}

// A name that leads nowhere yet fails its check, and is checked again as soon
// as it leads somewhere.
func TestANameThatIsNotResolvedYet(t *testing.T) {
	for _, path := range []string{"", "/"} {
		reason, passed := probedAt(t, Options{Path: path, Status: anyStatus}, pool.ServerSpec{Address: "app.example:80"})
		want(t, reason, passed, "the name is not resolved", false)
	}
	address := script(t, func(net.Conn) {})
	o := lazy("")
	o.Rise = 1
	w := newWorld(t, o)
	s, _ := w.Upload(pool.ServerSpec{Address: "app.example:80"})
	w.Reconcile()
	eventually(t, "checked", func() bool { return w.status("app.example:80").Health.Checked() })
	if h := w.status("app.example:80").Health; h.Healthy || h.Reason != "the name is not resolved" {
		t.Errorf("recorded %+v", h)
	}
	w.SetResolved(s, overTCP(address).Resolved)
	eventually(t, "ready", func() bool { return w.status("app.example:80").Ready })
}
