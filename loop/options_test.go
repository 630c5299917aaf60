package loop

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// option is what getsockopt is to say.
type option struct {
	name                string
	level, number, want int
}

func wantOptions(t *testing.T, c *Conn, all []option) {
	t.Helper()
	for _, o := range all {
		if got, err := unix.GetsockoptInt(int(c.fd), o.level, o.number); got != o.want || err != nil {
			t.Errorf("%s is %d, error %v, want %d", o.name, got, err, o.want)
		}
	}
}

var (
	unusual     = SocketOptions{Keepalive: 6*time.Second + 1, UserTimeout: 1500*time.Millisecond + 1}
	wantUnusual = []option{
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 7},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 7},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 1501},
	}
	wantUsual = []option{
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 0},
	}
)

// What Bind is told about a socket holds for each connection that it accepts, on
// all loops, without a further system call.
func TestAcceptedConnectionsHaveTheListenersOptions(t *testing.T) {
	for _, story := range []struct {
		options SocketOptions
		want    []option
	}{{unusual, wantUnusual}, {SocketOptions{}, wantUsual}} {
		for _, host := range []string{"127.0.0.1", "::1"} {
			w := start(t)
			sockets, at, err := Bind(&net.TCPAddr{IP: net.ParseIP(host)}, 2, story.options)
			if err != nil {
				t.Fatal(err)
			}
			var accepted [2]bool
			for i, fd := range sockets {
				w.listenOn(fd, &accepting{accepted: func(c *Conn) {
					accepted[i] = true
					wantOptions(t, c, story.want)
					c.Close()
				}})
			}
			for both := false; !both; {
				c, err := net.Dial("tcp", at.String())
				if err != nil {
					t.Fatal(err)
				}
				readAll(t, c)
				c.Close()
				w.do(func() { both = accepted[0] && accepted[1] })
			}
		}
	}
}

func TestDialledConnectionsHaveTheirOptions(t *testing.T) {
	w := start(t)
	for _, story := range []struct {
		options SocketOptions
		want    []option
	}{{unusual, wantUnusual}, {SocketOptions{}, wantUsual}} {
		d := newDiary(t)
		w.do(func() {
			c, err := w.Dial(w.port.Addr(), story.options, d)
			if err != nil {
				t.Error(err)
				return
			}
			wantOptions(t, c, story.want)
		})
		d.want("connected", nil, 0)
	}
}

func TestAnOptionThatTheKernelRefusesIsAnError(t *testing.T) {
	w := start(t)
	before := descriptors(t)
	w.do(func() {
		_, err := w.Dial(w.port.Addr(), SocketOptions{Keepalive: 32768 * time.Second}, newDiary(t))
		if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), w.port.Addr().String()) {
			t.Errorf("dial with a keepalive that is too long: %v", err)
		}
	})
	if _, _, err := Bind(loopback, 2, SocketOptions{Keepalive: 32768 * time.Second}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("bind with a keepalive that is too long: %v", err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are left open", after-before)
	}
}

func TestDialConnectsFromItsSource(t *testing.T) {
	w := start(t)
	for _, story := range []struct{ server, source string }{
		{"127.0.0.1", "127.0.0.2"},
		{"127.0.0.1", "::ffff:127.0.0.3"},
		{"::1", "::1"},
	} {
		ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(story.server)})
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		d, source := newDiary(t), netip.MustParseAddr(story.source)
		var c *Conn
		w.do(func() {
			if c, err = w.Dial(ln.Addr(), SocketOptions{Source: source}, d); err != nil {
				t.Error(err)
				return
			}
			// Without this each source would have its ports once, not once for
			// each destination.
			wantOptions(t, c, []option{{"IP_BIND_ADDRESS_NO_PORT", unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1}})
		})
		d.want("connected", nil, 0)
		peer, err := ln.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		from := peer.RemoteAddr().(*net.TCPAddr).AddrPort()
		if from.Addr() != source.Unmap() {
			t.Errorf("connected from %s instead of %s", from, source)
		}
		w.do(func() {
			if l, r := c.LocalAddr(), c.RemoteAddr(); l != from || r != ln.Addr().(*net.TCPAddr).AddrPort() {
				t.Errorf("the connection is said to be from %s to %s", l, r)
			}
			c.Close()
			if c.LocalAddr().IsValid() || c.RemoteAddr().IsValid() {
				t.Error("a closed connection has addresses")
			}
		})
	}
}

func TestASourceThatCannotBeIsNamed(t *testing.T) {
	w := start(t)
	four, six := w.port.Addr(), &net.TCPAddr{IP: net.IPv6loopback, Port: 9}
	before := descriptors(t)
	for _, story := range []struct {
		to        net.Addr
		source    string
		cause     error
		exhausted bool
	}{
		{four, "192.0.2.7", unix.EADDRNOTAVAIL, true}, // documentation's, no machine has it (RFC 5737)
		{four, "::1", unix.EAFNOSUPPORT, false},
		{six, "127.0.0.2", unix.EAFNOSUPPORT, false},
	} {
		d := newDiary(t)
		w.do(func() {
			_, err := w.Dial(story.to, SocketOptions{Source: netip.MustParseAddr(story.source)}, d)
			if !errors.Is(err, story.cause) || Exhausted(err) != story.exhausted {
				t.Errorf("from %s: %v, exhausted %t", story.source, err, Exhausted(err))
			} else if !strings.Contains(err.Error(), "source "+story.source) || !strings.Contains(err.Error(), story.to.String()) {
				t.Errorf("%q does not name %s and %s", err, story.source, story.to)
			}
		})
		d.wantNothing(w)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are left open", after-before)
	}
}
