package admin

import (
	"net"
	"strings"
	"testing"
)

// outside is a listener whose connections come from elsewhere: those that begin
// with a letter from an address of that letter's.
type outside struct{ net.Listener }

type distant struct {
	net.Conn
	from net.Addr
}

func (d *distant) RemoteAddr() net.Addr { return d.from }

func (o outside) Accept() (net.Conn, error) {
	conn, err := o.Listener.Accept()
	if err != nil {
		return nil, err
	}
	host := make([]byte, 1)
	if _, err := conn.Read(host); err != nil {
		return nil, err
	}
	return &distant{conn, &net.TCPAddr{IP: net.IPv4(192, 0, 2, host[0]), Port: 1}}, nil
}

// A stranger who opens as many connections as he can keeps nobody else out, and gets
// new ones once he lets go of some.
func TestConnectionsOfAPeerAreBounded(t *testing.T) {
	const ask = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
	w := start(t, func(l *Listener) { l.bounded.Listener = outside{l.bounded.Listener} })
	var open []*net.TCPConn
	for range maxPerPeer {
		conn := w.dial("a" + ask)
		if status := answered(t, conn); status != 200 {
			t.Fatalf("status %d", status)
		}
		open = append(open, conn)
	}
	refused := func() bool {
		_, err := w.dial("a").Read(make([]byte, 1))
		if isTimeout(err) {
			t.Fatal("one more is kept waiting")
		}
		return err != nil
	}
	if !refused() {
		t.Error("there may be more")
	}
	if status := answered(t, w.dial("b"+ask)); status != 200 {
		t.Errorf("somebody else: status %d", status)
	}
	open[0].Close()
	for end := soon(t); end.Err() == nil; {
		conn := w.dial("a" + strings.Replace(ask, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			return // it is known that the first was closed
		}
	}
	t.Error("no place has become free")
}
