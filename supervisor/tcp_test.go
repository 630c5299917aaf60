package supervisor

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"fulcrum/admin"
)

// teller is a server that says where each connection comes from, then what its
// first line is.
func teller(t *testing.T) (address string) {
	t.Helper()
	l := listen(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				line, err := bufio.NewReader(conn).ReadString('\n')
				if err == nil {
					fmt.Fprintf(conn, "%s %s", conn.RemoteAddr().(*net.TCPAddr).IP, line)
				}
				io.Copy(io.Discard, conn)
			}()
		}
	}()
	return l.Addr().String()
}

// info returns a listener as the admin API shows it.
func (w *world) info(name string) admin.ListenerInfo {
	w.t.Helper()
	all := w.Listeners()
	i := slices.IndexFunc(all, func(l admin.ListenerInfo) bool { return l.Name == name })
	if i < 0 {
		w.t.Fatalf("no listener %q", name)
	}
	return all[i]
}

// From the client, who is told by a PROXY header, to a server that is told by
// one, from the pool's source address.
func TestProxyHeaders(t *testing.T) {
	server := teller(t)
	w := start(t, `{
	  "listeners": [
	    {"name": "in", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all", "accept_proxy": {"from": ["127.0.0.0/8"], "timeout": "1m"}}],
	  "pools": [{"name": "all", "servers": [%q], "send_proxy": "v1", "source": ["127.0.0.7"], "health": false}]}`, server)
	c := dial(t, w.address("in"))
	fmt.Fprintf(c, "PROXY TCP4 192.0.2.9 192.0.2.10 1234 80\r\nhello\n")
	if got, err := c.lines.ReadString('\n'); got != "127.0.0.7 PROXY TCP4 192.0.2.9 192.0.2.10 1234 80\r\n" || err != nil {
		t.Errorf("got %q, error %v", got, err)
	}
	bad := dial(t, w.address("in"))
	fmt.Fprintf(bad, "GET / HTTP/1.1\r\n\r\n")
	bad.wantClosed()
	eventually(t, "counted", func() bool { return w.info("in").TCP.Ends["bad_proxy_header"] == 1 })
}

// A server that wants the header gets one from health checks too.
func TestHealthChecksSendProxyHeaders(t *testing.T) {
	l := listen(t)
	heads := make(chan string, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			head := make([]byte, 15)
			io.ReadFull(conn, head)
			heads <- string(head)
			conn.Close()
		}
	}()
	w := start(t, `{
	  "listeners": [{"name": "in", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}],
	  "pools": [{"name": "all", "servers": [%q], "send_proxy": "v1"}]}`, l.Addr().String())
	w.ready(l.Addr().String())
	if head := <-heads; head != "PROXY UNKNOWN\r\n" {
		t.Errorf("checked with %q", head)
	}
}

// TLS clients go where the name leads that they ask for, the rest to the pool,
// or nowhere if there is none. Routes to pools are seen like pools.
func TestRoutes(t *testing.T) {
	a, b, rest := listen(t), listen(t), listen(t)
	w := start(t, `{
	  "listeners": [
	    {"name": "tls", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "rest",
	     "routes": [{"sni": "www.example.com", "pool": "a"}, {"sni": "*.example.com", "pool": "b"}]},
	    {"name": "strict", "protocol": "tcp", "address": "127.0.0.1:0", "routes": [{"sni": "www.example.com", "pool": "a"}]}],
	  "pools": [
	    {"name": "a", "servers": [%q], "health": false},
	    {"name": "b", "servers": [%q], "health": false},
	    {"name": "rest", "servers": [%q], "health": false}]}`, a.Addr(), b.Addr(), rest.Addr())
	for _, c := range []struct {
		listener, name string
		to             net.Listener
	}{{"tls", "www.example.com", a}, {"tls", "x.example.com", b}, {"tls", "example.org", rest}, {"strict", "www.example.com", a}} {
		client := dial(t, w.address(c.listener))
		asked := make(chan error, 1)
		go func() { asked <- tls.Client(client, &tls.Config{ServerName: c.name}).Handshake() }()
		conn, err := c.to.Accept()
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 1)
		if _, err := io.ReadFull(conn, first); err != nil || first[0] != 22 {
			t.Errorf("%s: the first byte is %v, error %v", c.name, first, err)
		}
		conn.Close()
		<-asked
	}
	nowhere := dial(t, w.address("strict"))
	if err := tls.Client(nowhere, &tls.Config{ServerName: "example.org"}).Handshake(); err == nil {
		t.Error("a name without a route is served")
	}
	eventually(t, "counted", func() bool { return w.info("strict").TCP.Ends["unknown_name"] == 1 })
	eventually(t, "seen of both listeners", func() bool { return w.server(a.Addr().String()).TCP.Accepted == 2 })
	info := w.info("strict")
	if info.Pool != "" || len(info.Routes) != 1 || info.Routes[0] != (admin.Route{SNI: "www.example.com", Pool: "a"}) {
		t.Errorf("%+v", info)
	}
}

// Limits, the queue and what is seen of them.
func TestLimitsAndQueue(t *testing.T) {
	a := echo(t, "a")
	w := start(t, `{
	  "listeners": [
	    {"name": "echo",  "protocol": "tcp",  "address": "127.0.0.1:0", "pool": "all", "max_connections": 3},
	    {"name": "each",  "protocol": "tcp",  "address": "127.0.0.1:0", "pool": "all", "max_connections_per_client": 1},
	    {"name": "web",   "protocol": "http", "address": "127.0.0.1:0", "pool": "all"}],
	  "pools": [{"name": "all", "servers": [{"address": %q, "max_connections": 1}], "queue": {"length": 2, "timeout": "1m"}, "health": false}]}`, a)
	first := dial(t, w.address("echo"))
	first.say("hello")
	second := dial(t, w.address("echo"))
	eventually(t, "one waits", func() bool { return w.Pools()[0].Queued == 1 })
	third := dial(t, w.address("each"))
	eventually(t, "two wait", func() bool { return w.Pools()[0].Queued == 2 })
	if status, body, err := get(t, w.address("web"), "/"); status != 503 || !strings.Contains(body, "busy") || err != nil {
		t.Errorf("with a full queue: %d %q, error %v", status, body, err)
	}
	again := dial(t, w.address("each"))
	again.wantClosed()
	first.Close()
	second.say("hello")
	second.Close()
	third.say("hello")
	third.Close()
	eventually(t, "all ended", func() bool {
		return w.info("echo").TCP.Active == 0 && w.info("each").TCP.Active == 0
	})
	echo, each, server := w.info("echo").TCP, w.info("each").TCP, w.server(a).TCP
	if echo.Accepted != 2 || echo.ToUpstream != 12 || echo.ToClient != 16 || echo.Ends["client_closed"] != 2 || echo.Duration.Count != 2 {
		t.Errorf("echo: %+v", echo)
	}
	if each.Accepted != 2 || each.Ends["client_limit"] != 1 || each.Ends["client_closed"] != 1 || each.Connect.Count != 1 {
		t.Errorf("each: %+v", each)
	}
	if server.Accepted != 3 || server.ToUpstream != 18 || server.ToClient != 24 || server.Ends["client_closed"] != 3 ||
		server.FirstByte.Count != 3 || server.Duration.P99MS < server.Duration.P50MS || server.Duration.P99MS <= 0 {
		t.Errorf("server: %+v", server)
	}
	if seen := w.info("web"); seen.TCP != nil || seen.HTTP.Endings["queue_full"] != 1 || seen.HTTP.Statuses["5xx"] != 1 {
		t.Errorf("web: %+v", seen)
	}
	if server.Accepted+w.server(a).HTTP.Requests != 3 {
		t.Errorf("the server's http: %+v", w.server(a).HTTP)
	}
}

// More than max_connections wait in the kernel's queue.
func TestMaxConnections(t *testing.T) {
	w := start(t, `{
	  "listeners": [{"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all", "max_connections": 1}],
	  "pools": [{"name": "all", "servers": [%q], "health": false}]}`, echo(t, "a"))
	first := dial(t, w.address("echo"))
	first.say("hello")
	second := dial(t, w.address("echo"))
	if seen := w.info("echo").TCP; seen.Accepted != 1 || seen.Active != 1 {
		t.Errorf("%+v", seen)
	}
	first.Close()
	second.say("hello")
}

// Each of a tcp listener's times ends what it is for, and nothing else does.
func TestTimeouts(t *testing.T) {
	l := listen(t) // accepts in the kernel and is silent
	pools := fmt.Sprintf(`"pools": [{"name": "all", "servers": [%q], "health": false}]`, l.Addr())
	for setting, ends := range map[string]string{
		`"idle_timeout": "20ms"`:        "idle",
		`"half_closed_timeout": "20ms"`: "half_closed_idle",
		`"hello_timeout": "20ms", "routes": [{"sni": "a.example", "pool": "all"}]`: "no_hello",
		`"accept_proxy": {"from": ["127.0.0.1"], "timeout": "20ms"}`:               "bad_proxy_header",
	} {
		w := start(t, `{"listeners": [{"name": "in", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all", %s}], %s}`, setting, pools)
		c := dial(t, w.address("in"))
		if ends == "half_closed_idle" {
			c.Conn.(*net.TCPConn).CloseWrite()
		}
		c.wantClosed()
		eventually(t, setting, func() bool { return w.info("in").TCP.Active == 0 })
		if seen := w.info("in").TCP.Ends; len(seen) != 1 || seen[ends] != 1 {
			t.Errorf("%s: ended by %v", setting, seen)
		}
	}
}

// socketsWith returns how many of this process's sockets have an option so.
func socketsWith(t *testing.T, option, value int) (n int) {
	t.Helper()
	for fd := range descriptors(t) + 100 {
		if got, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, option); err == nil && got == value {
			n++
		}
	}
	return n
}

// Sockets of clients and of servers are told apart, over both protocols.
func TestSocketOptions(t *testing.T) {
	a, b := echo(t, "a"), startWeb(t, "b")
	w := start(t, `{
	  "listeners": [
	    {"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "a", "tcp_keepalive": "111s", "tcp_user_timeout": "11111ms"},
	    {"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "b"}],
	  "pools": [
	    {"name": "a", "servers": [%q], "health": false, "tcp_keepalive": "222s", "tcp_user_timeout": "22222ms"},
	    {"name": "b", "servers": [%q], "health": false, "tcp_keepalive": "333s", "tcp_user_timeout": "33333ms"}]}`, a, b.address)
	listening := socketsWith(t, unix.TCP_KEEPIDLE, 111)
	dial(t, w.address("echo")).say("hello")
	w.held(b)
	for i, want := range []int{listening + 1, 1, 1} {
		n := i + 1
		if got := socketsWith(t, unix.TCP_KEEPIDLE, 111*n); got != want {
			t.Errorf("%d sockets have the keepalive of %ds, want %d", got, 111*n, want)
		}
		if got := socketsWith(t, unix.TCP_USER_TIMEOUT, 11111*n); got != want {
			t.Errorf("%d sockets have the user timeout of %dms, want %d", got, 11111*n, want)
		}
	}
}

// What was seen of a server that is gone stays with the listener.
func TestAServerIsForgotten(t *testing.T) {
	a := echo(t, "a")
	w := start(t, onePool, quoted(a), "1m")
	c := dial(t, w.address("echo"))
	c.say("hello")
	c.Close()
	eventually(t, "ended", func() bool { return w.server(a).TCP.Active == 0 && w.server(a).TCP.ToClient == 8 })
	gone := w.current.Load().pools[0].Find(a)
	w.delete(a, false)
	w.gone(a)
	eventually(t, "forgotten", func() bool { return w.current.Load().listeners[0].tcp.ServerStats(gone).Accepted == 0 })
	if _, err := w.upload("", a); err != nil {
		t.Fatal(err)
	}
	if seen := w.server(a).TCP; seen.Accepted != 0 || seen.ToClient != 0 {
		t.Errorf("came back with %+v", seen)
	}
	if seen := w.info("echo").TCP; seen.Accepted != 1 || seen.ToClient != 8 {
		t.Errorf("the listener has %+v", seen)
	}
}
