package loop

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDialConnectsToAUnixSocket(t *testing.T) {
	path := freePath(t)
	ln, err := net.ListenUnix("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	w, d := start(t), newDiary(t)
	c := w.dialTo(path, d)
	d.want("connected", nil, 0)
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	w.do(func() { c.Send([]byte("question")); c.CloseWrite(); c.Resume() })
	if got := readAll(t, peer); string(got) != "question" {
		t.Errorf("the peer got %q", got)
	}
	peer.Write([]byte("answer"))
	peer.Close()
	d.want("ended", nil, len("answer"))
	w.do(c.Abort)
	d.wantNothing(w)
}

func TestAUnixServerThatCannotBeReachedIsNamed(t *testing.T) {
	left, full, missing := freePath(t), freePath(t), freePath(t)
	stale(t, left)
	fillQueue(t, full)
	w, before := start(t), descriptors(t)
	for _, story := range []struct {
		to    net.Addr
		says  string
		cause error
	}{
		{left, "unix:" + left.Name, unix.ECONNREFUSED},
		{missing, "unix:" + missing.Name, unix.ENOENT},
		{full, "unix:" + full.Name + ": the server's queue of connections is full", unix.EAGAIN},
		{&net.UnixAddr{Name: "@abstract"}, "the first not @", nil},
		{&net.UDPAddr{}, "not a TCP or unix address", nil},
	} {
		d := newDiary(t)
		w.do(func() {
			_, err := w.Dial(story.to, SocketOptions{}, d)
			if err == nil || !strings.Contains(err.Error(), story.says) || Exhausted(err) || story.cause != nil && !errors.Is(err, story.cause) {
				t.Errorf("%s: %v", story.to, err)
			}
		})
		d.wantNothing(w)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are left open", after-before)
	}
}

// A read from a unix socket stops short after bytes that descriptors came with,
// whatever there is behind them, and no event tells.
func TestBytesBehindADescriptorAreRead(t *testing.T) {
	w, path := start(t), freePath(t)
	sockets, at := bindTo(t, path, 1, SocketOptions{})
	server, err := net.ListenUnix("unix", freePath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	accepted, dialled := make(chan byte, 10), make(chan byte, 10)
	into := func(got chan byte) *hooks {
		return &hooks{data: func(_ *Conn, b []byte) {
			for _, x := range b {
				got <- x
			}
		}}
	}
	w.listenOn(sockets[0], &accepting{accepted: func(c *Conn) { c.SetHandler(into(accepted)); c.Resume() }})
	d := newDiary(t)
	c := w.dialTo(server.Addr(), d)
	d.want("connected", nil, 0)
	w.do(func() { c.SetHandler(into(dialled)); c.Resume() })
	peer, err := server.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()

	release := w.hold()
	for _, c := range []*net.UnixConn{dialUnix(t, at), peer} {
		if _, _, err := c.WriteMsgUnix([]byte("a"), unix.UnixRights(int(os.Stdin.Fd())), nil); err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("b"))
	}
	release()
	for _, got := range []chan byte{accepted, dialled} {
		if a, b := within(t, got, "nothing is read"), within(t, got, "the rest is not read"); a != 'a' || b != 'b' {
			t.Errorf("read %q and %q", a, b)
		}
	}
}

// Bulk goes from one unix socket to another by way of the loop, byte for byte,
// while the receiver takes its time.
func TestBulkPassesBetweenUnixSockets(t *testing.T) {
	from, to := freePath(t), freePath(t)
	server, err := net.ListenUnix("unix", to)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	w := start(t)
	sockets, _ := bindTo(t, from, 1, SocketOptions{})
	var upstream *Conn
	var spliced int
	w.listenOn(sockets[0], &accepting{accepted: func(c *Conn) {
		forward := &hooks{
			data: func(c *Conn, b []byte) {
				if upstream.Send(b); upstream.Unsent() > 0 {
					c.Pause()
				}
			},
			spliced: func(c *Conn, n int) {
				if spliced += n; upstream.Unsent() > 0 {
					c.Pause()
				}
			},
			ended: func(*Conn) { upstream.CloseWrite() },
		}
		var err error
		upstream, err = w.Dial(to, SocketOptions{}, &hooks{
			connected: func(*Conn, error) { c.SpliceTo(upstream); c.Resume() },
			sent:      func(*Conn) { c.Resume() },
		})
		if err != nil {
			t.Error(err)
		}
		c.SetHandler(forward)
	}})
	sent := make([]byte, 16<<20)
	rand.Read(sent)
	var writer sync.WaitGroup
	defer writer.Wait()
	client := dialUnix(t, from)
	writer.Go(func() { client.Write(sent); client.CloseWrite() })
	peer, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	peer.SetDeadline(time.Now().Add(patience))
	if got := readAll(t, peer); !bytes.Equal(got, sent) {
		t.Errorf("%d bytes arrived that are not the %d that were sent", len(got), len(sent))
	}
	w.do(func() {
		if spliced == 0 {
			t.Error("nothing was spliced")
		}
	})
}
