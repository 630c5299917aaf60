package l4

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fulcrum/pool"
)

func TestLeastConnectionsSpreadsExactly(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	for range 3 {
		w.echo(pool.ServerSpec{})
	}
	w.start()
	var held []*client
	for range 30 {
		held = append(held, w.dial())
	}
	w.wantActive(10, 10, 10)
	for _, c := range held {
		c.wantEcho()
	}
	for _, c := range held[:15] {
		c.Close()
	}
	eventually(t, "half are closed", func() bool { return w.Stats().Active == 15 })
	for range 15 {
		w.dial().wantEcho()
	}
	w.wantActive(10, 10, 10)
	w.stop(0)
	w.wantStats(counts{Accepted: 45, ToUpstream: 45 * 5, ToClient: 45 * 5})
}

func TestAConnectionBurstIsSpreadExactly(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	for range 4 {
		w.echo(pool.ServerSpec{})
	}
	w.start()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				w.dial().wantEcho()
			}
		})
	}
	all.Wait()
	w.wantActive(50, 50, 50, 50)
}

func TestRoundRobinTakesTurns(t *testing.T) {
	w := prepare(t, pool.RoundRobin)
	for range 3 {
		w.echo(pool.ServerSpec{})
	}
	w.start()
	for range 30 {
		c := w.dial()
		c.wantEcho()
		c.Close()
	}
	for _, s := range w.pool.Status() {
		if s.Total != 10 || s.Failures != 0 {
			t.Errorf("%s was chosen %d times and failed %d times", s.Address, s.Total, s.Failures)
		}
	}
	w.wantActive(0, 0, 0)
	w.wantStats(counts{Accepted: 30, ToUpstream: 150, ToClient: 150})
}

func TestEndsAndResetsArePassedOn(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.serve(pool.ServerSpec{}, func(c *net.TCPConn) {
		b, err := io.ReadAll(c)
		if err == nil {
			c.Write(append([]byte("got "), b...))
		}
	})
	w.start()
	c := w.dial()
	c.Write([]byte("everything"))
	c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || string(b) != "got everything" {
		t.Errorf("read %q, error %v", b, err)
	}
	c = w.dial()
	c.Write([]byte("x"))
	w.wantActive(1)
	c.SetLinger(0)
	c.Close()
	w.wantActive(0)
}

func TestAServerThatDiesInMidStreamIsNoticed(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	dying := make(chan *net.TCPConn, 1)
	w.serve(pool.ServerSpec{}, func(c *net.TCPConn) {
		dying <- c
		echo(c)
	})
	w.start()
	c := w.dial()
	c.wantEcho()
	server := <-dying
	server.SetLinger(0)
	server.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the server was reset, the client reads: %v", err)
	}
	w.wantActive(0)
	w.wantStats(counts{Accepted: 1, ToUpstream: 5, ToClient: 5})
	w.dial().wantEcho()
}

func TestCloseServerClosesItsConnectionsOnly(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	one := w.echo(pool.ServerSpec{})
	w.echo(pool.ServerSpec{})
	w.start()
	var all []*client
	for range 20 {
		c := w.dial()
		c.wantEcho()
		all = append(all, c)
	}
	w.wantActive(10, 10)
	w.CloseServer(one)
	w.wantActive(0, 10)
	open := 0
	for _, c := range all {
		c.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			open++
		}
	}
	if open != 10 {
		t.Errorf("%d connections are open, want 10", open)
	}
}

func TestCloseServerEndsAConnectUnderWay(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	s := w.silent()
	w.start()
	check := leftovers(t)
	c := w.dial()
	w.wantActive(1)
	w.CloseServer(s)
	c.wantClosed()
	w.wantActive(0)
	c.Close()
	check()
}

func TestAnIdleConnectionIsClosed(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.options.IdleTimeout = 100 * time.Millisecond
	w.echo(pool.ServerSpec{})
	w.start()
	c := w.dial()
	c.wantEcho()
	c.wantClosed()
	w.wantActive(0)
}

func TestATakenAddressIsRefused(t *testing.T) {
	w := prepare(t, pool.LeastConnections).start()
	again := w.options
	again.Address = w.Address()
	check := leftovers(t)
	if _, err := New(again); !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), again.Address.String()) {
		t.Errorf("a second listener on the same address: %v", err)
	}
	check()
}

func TestAnAbandonedListenerLeavesNothing(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	check := leftovers(t)
	w.options.Address = &net.TCPAddr{IP: net.IPv6loopback}
	l, err := New(w.options)
	if err != nil {
		t.Fatal(err)
	}
	l.Abandon()
	check()
	w.options.Address = l.Address()
	w.start()
}

func TestUnixSocketsOnBothSides(t *testing.T) {
	dir := t.TempDir()
	w := prepare(t, pool.LeastConnections)
	server, err := net.Listen("unix", dir+"/server")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	w.healthy(pool.ServerSpec{Resolved: server.Addr()})
	w.options.Address = &net.UnixAddr{Name: dir + "/listener", Net: "unix"}
	w.start()
	c, err := net.Dial("unix", w.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c.Write([]byte("question"))
	c.(*net.UnixConn).CloseWrite()
	if got, err := io.ReadAll(peer); string(got) != "question" || err != nil {
		t.Errorf("the server got %q, error %v", got, err)
	}
	peer.Write([]byte("answer"))
	peer.Close()
	if got, err := io.ReadAll(c); string(got) != "answer" || err != nil {
		t.Errorf("the client got %q, error %v", got, err)
	}
	w.wantStats(counts{Accepted: 1, ToUpstream: 8, ToClient: 6})
	w.stop(soon)
	if c, err := net.Dial("unix", w.Address().String()); !errors.Is(err, unix.ENOENT) {
		t.Errorf("connecting after Stop: %v, %v", c, err)
	}
}
