package loop

import (
	"net"
	"strings"
	"testing"
	"time"
)

// The options of a listening socket can be changed, to and fro: connections that are
// accepted from then on have the new ones, those that there are keep theirs.
func TestTheOptionsOfAListeningSocketChange(t *testing.T) {
	w := start(t)
	sockets, at, err := Bind(loopback, 1, unusual)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan *Conn, 10)
	ln := w.listenOn(sockets[0], &accepting{accepted: func(c *Conn) {
		c.SetHandler(newDiary(t))
		accepted <- c
	}})
	dial := func() *Conn {
		t.Helper()
		peer, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { peer.Close() })
		return within(t, accepted, "nothing is accepted")
	}
	set := func(o SocketOptions) {
		t.Helper()
		w.do(func() {
			if err := ln.SetOptions(o); err != nil {
				t.Error(err)
			}
		})
	}
	first := dial()
	set(SocketOptions{})
	second := dial()
	set(SocketOptions{Keepalive: time.Second}) // and no user timeout
	third := dial()
	set(unusual)
	fourth := dial()
	w.do(func() {
		wantOptions(t, first, wantUnusual)
		wantOptions(t, second, wantUsual)
		wantOptions(t, third, wantUsual[2:])
		wantOptions(t, third, []option{wantUnusual[1]})
		wantOptions(t, fourth, wantUnusual)
		if err := ln.SetOptions(SocketOptions{Keepalive: 32768 * time.Second}); err == nil || !strings.Contains(err.Error(), "setsockopt") {
			t.Errorf("a keepalive that is too long: %v", err)
		}
		ln.Close()
		if err := ln.SetOptions(unusual); err != nil {
			t.Errorf("once closed: %v", err)
		}
	})
}

// A unix socket has no such options, and is left alone.
func TestTheOptionsOfAUnixSocketDoNotChange(t *testing.T) {
	w := start(t)
	sockets, _, err := Bind(freePath(t), 1, SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ln := w.listenOn(sockets[0], &accepting{})
	w.do(func() {
		if err := ln.SetOptions(unusual); err != nil {
			t.Error(err)
		}
	})
}
