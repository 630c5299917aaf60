package loop

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dial dials on the loop; what comes of it is in the diary.
func (w *world) dial(to netip.AddrPort, d *diary) (c *Conn) {
	w.t.Helper()
	w.do(func() {
		var err error
		if c, err = w.Dial(net.TCPAddrFromAddrPort(to), SocketOptions{}, d); err != nil {
			w.t.Errorf("dial: %v", err)
		}
		if len(d.events) > 0 {
			w.t.Error("Connected came before Dial had returned")
		}
	})
	return c
}

func TestDialConnects(t *testing.T) {
	w := start(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"} {
		ln, err := net.Listen("tcp", netip.MustParseAddrPort(address).String())
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		to := ln.Addr().(*net.TCPAddr).AddrPort()
		if netip.MustParseAddrPort(address).Addr().Is4In6() {
			to = netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
		}
		d := newDiary(t)
		c := w.dial(to, d)
		d.want("connected", nil, 0)
		peer, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		w.do(func() { c.Send([]byte(address)); c.Close() })
		if got := readAll(t, peer); string(got) != address {
			t.Errorf("%s: the peer got %q", address, got)
		}
		peer.Close()
		d.wantNothing(w)
	}
}

// refusing returns an address where nobody listens, and nobody will.
func refusing(t *testing.T, ip string) netip.AddrPort {
	t.Helper()
	sa, family := sockaddr(netip.AddrPortFrom(netip.MustParseAddr(ip), 0))
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, sa); err != nil {
		t.Fatal(err)
	}
	at, err := boundTo(fd)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestARefusedConnectIsTold(t *testing.T) {
	w := start(t)
	for _, ip := range []string{"127.0.0.1", "::1"} {
		d := newDiary(t)
		c := w.dial(refusing(t, ip), d)
		d.want("connected", unix.ECONNREFUSED, 0)
		w.do(func() { c.Resume(); c.SetTimer(1); c.Send([]byte("x")); c.CloseWrite() })
		d.wantNothing(w)
	}
}

func TestARefusedConnectIsToldAlsoAfterSend(t *testing.T) {
	w, d := start(t), newDiary(t)
	to := refusing(t, "127.0.0.1")
	w.do(func() {
		c, err := w.Dial(net.TCPAddrFromAddrPort(to), SocketOptions{}, d)
		if err != nil {
			t.Errorf("dial: %v", err)
			return
		}
		c.Send([]byte("too early"))
	})
	d.want("connected", unix.ECONNREFUSED, 0)
	d.wantNothing(w)
}

func TestWhatIsSentWhileConnectingArrives(t *testing.T) {
	w, d := start(t), newDiary(t)
	w.do(func() {
		c, err := w.Dial(w.port.Addr(), SocketOptions{}, d)
		if err != nil {
			t.Errorf("dial: %v", err)
			return
		}
		c.Send([]byte("early "))
		c.Send([]byte("bird"))
		c.CloseWrite()
	})
	peer, err := w.port.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if got := readAll(t, peer); string(got) != "early bird" {
		t.Fatalf("the peer got %q", got)
	}
	d.want("connected", nil, 0)
}

func TestAConnectWithoutAnAnswerCanBeGivenUp(t *testing.T) {
	w, d := start(t), newDiary(t)
	c := w.dial(silent(t), d)
	w.do(func() { c.SetTimer(20 * time.Millisecond) })
	d.want("expired", nil, 0)
	w.do(c.Close)
	d.wantNothing(w)
}

// fails dials an address to which connecting cannot begin, and returns what Dial
// or else Connected says.
func (w *world) fails(to net.Addr, o SocketOptions) (err error) {
	w.t.Helper()
	told := make(chan error, 1)
	w.do(func() {
		if _, err = w.Dial(to, o, &hooks{connected: func(_ *Conn, err error) { told <- err }}); err != nil {
			told <- err
		}
	})
	return within(w.t, told, "nothing is said of a dial")
}

func TestADialThatCannotBeginIsAnError(t *testing.T) {
	w := start(t)
	if err := w.fails(&net.TCPAddr{IP: net.IPv4bcast, Port: 9}, SocketOptions{}); err == nil {
		t.Error("connecting to everybody was begun")
	} else if Exhausted(err) {
		t.Errorf("%v is taken for a want of resources", err)
	}
	if !Exhausted(errors.Join(unix.EMFILE)) || Exhausted(unix.ECONNREFUSED) || Exhausted(nil) {
		t.Error("Exhausted is wrong about what is a want of resources")
	}
}

func TestWhatIsSentInPiecesOnceConnectedArrivesInOrder(t *testing.T) {
	w := start(t)
	var want bytes.Buffer
	pieces := 5
	for range 50 { // so many at a time that operations are queued
		w.Post(func() {
			_, err := w.Dial(w.port.Addr(), SocketOptions{}, &hooks{connected: func(c *Conn, err error) {
				if err != nil {
					t.Errorf("dial: %v", err)
					return
				}
				for i := range pieces {
					c.Send([]byte{byte('a' + i)})
				}
				c.CloseWrite()
			}})
			if err != nil {
				t.Errorf("dial: %v", err)
			}
		})
	}
	for i := range pieces {
		want.WriteByte(byte('a' + i))
	}
	for range 50 {
		peer, err := w.port.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, peer.(*net.TCPConn)); !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("the peer got %q", got)
		}
		peer.Close()
	}
}
