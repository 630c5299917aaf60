package loop

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func bind(t *testing.T, address string, n int) ([]int, netip.AddrPort) {
	t.Helper()
	a, _ := netip.ParseAddrPort(address) // what does not parse stands for every address
	sockets, at := bindTo(t, net.TCPAddrFromAddrPort(a), n, SocketOptions{})
	return sockets, at.(*net.TCPAddr).AddrPort()
}

func bindTo(t testing.TB, address net.Addr, n int, o SocketOptions) ([]int, net.Addr) {
	t.Helper()
	sockets, at, err := Bind(address, n, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Abandon(sockets) })
	return sockets, at
}

func TestSocketsOfOneBindShareTheirPort(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0", ""} {
		sockets, at := bind(t, address, 4)
		if len(sockets) != 4 || at.Port() == 0 {
			t.Fatalf("%d sockets at %s", len(sockets), at)
		}
		for _, fd := range sockets {
			if own, err := boundTo(fd); err != nil || own != at {
				t.Errorf("a socket is bound to %s instead of %s, error %v", own, at, err)
			}
			flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if flags&unix.FD_CLOEXEC == 0 {
				t.Error("a socket is inherited by child processes")
			}
		}
	}
}

// All sockets get connections, and none is lost between them.
func TestConnectionsSpreadOverTheSockets(t *testing.T) {
	sockets, at := bind(t, "127.0.0.1:0", 4)
	const clients = 200
	for range clients {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	total := 0
	for i, fd := range sockets {
		n := 0
		for {
			conn, err := rawAccept(fd)
			if err != nil {
				break
			}
			rawClose(conn)
			n++
		}
		if n == 0 {
			t.Errorf("socket %d got nothing", i)
		}
		total += n
	}
	if total != clients {
		t.Errorf("%d of %d connections were queued", total, clients)
	}
}

func TestAnAddressWithoutAnIPTakesBothFamilies(t *testing.T) {
	for _, address := range []string{"", "[::]:0"} {
		sockets, at := bind(t, address, 1)
		for _, from := range []string{"127.0.0.1", "::1"} {
			c, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr(from), at.Port()).String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conn, err := rawAccept(sockets[0])
			if err != nil {
				t.Fatal(err)
			}
			peer, _ := socketName(conn, unix.SYS_GETPEERNAME)
			rawClose(conn)
			if want := c.LocalAddr().(*net.TCPAddr).AddrPort(); peer != want {
				t.Errorf("accepted from %s, want %s", peer, want)
			}
		}
	}
	_, at := bind(t, "127.0.0.1:0", 1)
	if c, err := net.Dial("tcp", netip.AddrPortFrom(netip.IPv6Loopback(), at.Port()).String()); err == nil {
		c.Close()
		t.Error("an IPv4 address takes IPv6")
	}
}

// SO_REUSEPORT is for the sockets of one Bind, not for those of another.
func TestATakenAddressIsRefused(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	_, one := bind(t, "127.0.0.1:0", 1)
	_, many := bind(t, "127.0.0.1:0", 3)
	_, six := bind(t, "[::1]:0", 2)
	_, any := bind(t, "", 2)
	for name, taken := range map[string]netip.AddrPort{
		"by a plain listener":       plain.Addr().(*net.TCPAddr).AddrPort(),
		"by a Bind of one socket":   one,
		"by a Bind of many sockets": many,
		"by a Bind on IPv6":         six,
		"by a Bind on everything":   any,
		"for IPv4 by everything":    netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), any.Port()),
		"for all by one address":    netip.AddrPortFrom(netip.IPv4Unspecified(), many.Port()),
	} {
		for _, n := range []int{1, 2} {
			before := descriptors(t)
			sockets, _, err := Bind(net.TCPAddrFromAddrPort(taken), n, SocketOptions{})
			if !errors.Is(err, unix.EADDRINUSE) || sockets != nil {
				t.Errorf("%s: %d sockets, error %v", name, len(sockets), err)
			} else if !strings.Contains(err.Error(), taken.String()) {
				t.Errorf("%q does not name %s", err, taken)
			}
			if after := descriptors(t); after != before {
				t.Errorf("%s: %d descriptors are left open", name, after-before)
			}
		}
	}
	if c, err := net.Listen("tcp", many.String()); err == nil {
		c.Close()
		t.Error("a plain listener shares the port of a Bind")
	}
}

func TestAForeignAddressIsRefused(t *testing.T) {
	_, _, err := Bind(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80}, 2, SocketOptions{})
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1:80") {
		t.Errorf("binding a foreign address: %v", err)
	}
}
