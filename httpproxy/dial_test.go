package httpproxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fulcrum/loop"
	"fulcrum/pool"
	"fulcrum/porttest"
)

// listenUnix returns a listener on a unix socket and its path.
func listenUnix(t *testing.T) (net.Listener, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return l, path
}

// telling is an http server on a unix socket that answers by what it was asked.
func telling(t *testing.T) (path string) {
	t.Helper()
	l, path := listenUnix(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %q %s", r.Host, r.Header["X-Forwarded-For"], body)
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return path
}

func (w *world) addSpec(spec pool.ServerSpec) *pool.Server {
	s, _ := w.pool.Upload(spec)
	w.pool.SetHealth(s, pool.Health{Healthy: true, At: time.Now()})
	return s
}

func overUnix(path string) pool.ServerSpec {
	return pool.ServerSpec{Address: "unix:" + path, Resolved: &net.UnixAddr{Net: "unix", Name: path}}
}

// A server may be a unix socket, and its connections are kept like others. A
// path is no Host.
func TestAServerOnAUnixSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addSpec(overUnix(telling(t)))
	for range 3 {
		resp, err := w.http.Post("http://"+w.addr+"/", "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := w.addr + ` ["127.0.0.1"] body`; string(body) != want {
			t.Errorf("got %d %q, want %q", resp.StatusCode, body, want)
		}
	}
	r := w.dial()
	r.send("GET / HTTP/1.0\r\n\r\n")
	if resp, body, err := r.response("GET"); err != nil || resp.StatusCode != 200 || body != `localhost ["127.0.0.1"] ` {
		t.Errorf("without a Host: got %v %q, error %v", resp, body, err)
	}
	w.idle()
}

// Clients may come over a unix socket. They have no address to pass on, and a
// stop leaves nothing for new ones to find.
func TestClientsOnAUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "b.sock")
	w := newWorld(t, func(o *Options) { o.Address = &net.UnixAddr{Net: "unix", Name: path} })
	w.addSpec(overUnix(telling(t)))
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	ask := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	resp, err := ask.Get("http://web.example/")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "web.example [] " {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	if err := w.proxy.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is left behind: %v", err)
	}
}

// Each of a server's source addresses is used in its turn.
func TestSources(t *testing.T) {
	t.Parallel()
	addr := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		io.WriteString(w, r.RemoteAddr[:strings.IndexByte(r.RemoteAddr, ':')])
	})
	w := newWorld(t, nil)
	sources := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
	w.addSpec(pool.ServerSpec{Address: addr, Resolved: mustAddr(addr), Sources: sources})
	for i := range 4 {
		if _, from := w.get("/"); from != sources[i%2].String() {
			t.Errorf("request %d came from %s", i, from)
		}
	}
}

// options returns what is set on the sockets of kept connections.
func (w *world) options(options ...[2]int) (values []int) {
	w.each(func(k *worker) {
		for _, set := range k.servers {
			for u := set.all; u != nil; u = u.next {
				fd := socketTo(w.t, u.conn.(*loop.Conn).LocalAddr())
				for _, o := range options {
					value, _ := unix.GetsockoptInt(fd, o[0], o[1])
					values = append(values, value)
				}
			}
		}
	})
	return values
}

// socketTo returns the descriptor of this process that is bound to an address and
// connected.
func socketTo(t testing.TB, local netip.AddrPort) int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Error(err)
	}
	for _, f := range all {
		fd, _ := strconv.Atoi(f.Name())
		name, _ := unix.Getsockname(fd)
		if a, ok := name.(*unix.SockaddrInet4); ok && netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)) == local {
			return fd
		}
	}
	t.Errorf("there is no socket at %v", local)
	return -1
}

func TestSocketOptionsTowardsServers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		keepalive, userTimeout time.Duration
		want                   string
	}{{0, 0, "0 0"}, {7 * time.Second, 1500 * time.Millisecond, "1 1500 7 7 3"}} {
		w := newWorld(t, func(o *Options) {
			o.Default.Socket = loop.SocketOptions{Keepalive: c.keepalive, UserTimeout: c.userTimeout}
		},
			origin(t, func(http.ResponseWriter, *http.Request) {}))
		w.get("/")
		w.idle()
		wanted := [][2]int{{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT}}
		got := w.options(wanted[:len(strings.Fields(c.want))]...)
		if text := strings.Trim(fmt.Sprint(got), "[]"); text != c.want {
			t.Errorf("%v, %v: set %s, want %s", c.keepalive, c.userTimeout, text, c.want)
		}
	}
}

// A name that is not resolved is a failure to connect. Once it leads elsewhere
// the connections to where it led before are not used again.
func TestWhereANameLeads(t *testing.T) {
	t.Parallel()
	one := origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "one") })
	two := origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "two") })
	w := newWorld(t, nil)
	s := w.addSpec(pool.ServerSpec{Address: "app.example:80"})
	if resp, body := w.get("/"); resp.StatusCode != 502 {
		t.Errorf("not resolved: got %d %q", resp.StatusCode, body)
	}
	for _, step := range []struct{ to, want string }{{one, "one"}, {one, "one"}, {two, "two"}, {one, "one"}} {
		w.pool.SetResolved(s, mustAddr(step.to))
		if _, body := w.get("/"); body != step.want {
			t.Errorf("leads to %s: %q answered, want %q", step.to, body, step.want)
		}
		w.idle()
	}
}

// fullListener is an address that neither accepts nor refuses: its queue of
// connections is full.
func fullListener(t testing.TB) (address string, done func()) {
	fd, address := porttest.Bound(t)
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	var held []net.Conn
	for {
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			break
		}
		held = append(held, c)
	}
	return address, func() {
		for _, c := range held {
			c.Close()
		}
		unix.Close(fd)
	}
}
