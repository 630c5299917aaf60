package l4

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fulcrum/pool"
	"fulcrum/proxyproto"
)

var (
	someClient  = netip.MustParseAddrPort("192.0.2.7:4242")
	someAddress = netip.MustParseAddrPort("198.51.100.1:443")
)

// recorded adds a server that reads a connection to its end, and tells all of it.
func (w *world) recorded() (got chan string) {
	got = make(chan string, 100)
	w.serve(pool.ServerSpec{}, func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		got <- string(b)
	})
	return got
}

// wantGot waits for what a server got of a connection.
func (w *world) wantGot(got chan string, want string) {
	w.t.Helper()
	select {
	case b := <-got:
		if b != want {
			w.t.Errorf("the server got %q, want %q", b, want)
		}
	case <-time.After(patience):
		w.t.Fatalf("the server got nothing, want %q", want)
	}
}

// pieces are ways in which bytes arrive.
var pieces = map[string]func(c *client, b []byte){
	"at once": func(c *client, b []byte) { c.Write(b) },
	"in pieces": func(c *client, b []byte) { // the first of one byte
		for i := 0; len(b) > 0; i++ {
			n := min(1+i/150*100, len(b))
			c.Write(b[:n])
			c.wantTaken()
			b = b[n:]
		}
	},
}

// wantTaken waits until what was written was received by the other side's
// kernel, so that what is written next is another piece.
func (c *client) wantTaken() {
	raw, err := c.SyscallConn()
	if err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, "the bytes are received", func() (taken bool) {
		raw.Control(func(fd uintptr) {
			n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
			taken = n == 0 || err != nil
		})
		return taken
	})
}

// The header is taken off, in whatever pieces it comes, and what it says goes on
// to the server.
func TestAHeaderIsAccepted(t *testing.T) {
	for how, write := range pieces {
		for v := proxyproto.V1; v <= proxyproto.V2; v++ {
			t.Run(how, func(t *testing.T) {
				w := prepare(t, pool.LeastConnections)
				w.acceptFrom("127.0.0.0/8")
				w.to.SendProxy = proxyproto.V1
				got := w.recorded()
				w.start()
				c := w.dial()
				write(c, append(proxyproto.Append(nil, v, someClient, someAddress), "early "...))
				write(c, []byte("late"))
				c.CloseWrite()
				w.wantGot(got, string(proxyproto.Append(nil, proxyproto.V1, someClient, someAddress))+"early late")
				c.Close()
				w.wantStats(counts{Accepted: 1, ToUpstream: 10})
			})
		}
	}
}

// Without addresses in the header it is the proxy itself that is the client.
func TestAHeaderMayTellNoAddresses(t *testing.T) {
	unknown := proxyproto.Append(nil, proxyproto.V1, netip.AddrPort{}, netip.AddrPort{})
	for _, header := range [][]byte{unknown, proxyproto.AppendLocal(nil, proxyproto.V2)} {
		w := prepare(t, pool.LeastConnections)
		w.acceptFrom("127.0.0.1/32")
		w.to.SendProxy = proxyproto.V2
		got := w.recorded()
		w.start()
		c := w.dial()
		c.Write(append(header, "hello"...))
		c.CloseWrite()
		w.wantGot(got, string(c.header(proxyproto.V2))+"hello")
	}
}

// header returns the one that tells of the client itself.
func (c *client) header(v proxyproto.Version) []byte {
	return proxyproto.Append(nil, v, c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort())
}

// Whoever is not in the networks has no header; what looks like one is for the
// server to judge.
func TestNoHeaderIsTakenFromOthers(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.acceptFrom("10.0.0.0/8")
	w.acceptFrom("127.0.0.2/32")
	got := w.recorded()
	w.start()
	said := string(proxyproto.Append(nil, proxyproto.V1, someClient, someAddress)) + "hello"
	c := w.dial()
	c.Write([]byte(said))
	c.CloseWrite()
	w.wantGot(got, said)

	c = w.dialFrom("127.0.0.2")
	c.Write([]byte(said))
	c.CloseWrite()
	w.wantGot(got, "hello")
}

func TestWithoutAGoodHeaderAClientIsClosed(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.acceptFrom("127.0.0.0/8")
	w.options.AcceptProxyTimeout = 300 * time.Millisecond
	w.echo(pool.ServerSpec{})
	w.start()
	for _, said := range []string{"GET / HTTP/1.1\r\n", "PROXY TCP4 nonsense\r\n", "PROXY", ""} {
		c := w.dial()
		c.Write([]byte(said))
		c.wantClosed() // the last two at the deadline
	}
	w.wantEnds(ends{BadHeader: 4})
	c := w.dial()
	c.Write([]byte("PROXY TCP4 "))
	c.CloseWrite()
	c.wantClosed()
	w.wantEnds(ends{BadHeader: 5})
	w.dial().Close() // a look whether the port is open is nobody's fault
	w.wantEnds(ends{BadHeader: 5, ClientClosed: 1})
	c = w.dial()
	c.Write([]byte("PROXY"))
	eventually(t, "it is accepted", func() bool { return w.Stats().Accepted == 7 })
	c.SetLinger(0)
	c.Close()
	w.wantEnds(ends{BadHeader: 5, ClientClosed: 1, ClientReset: 1})
	w.wantActive(0)
}

// A deadline that was met is one no longer.
func TestTheHeaderSetsNoLimitToWhatFollows(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.acceptFrom("127.0.0.0/8")
	w.options.AcceptProxyTimeout = 300 * time.Millisecond
	passes := w.unchecked()
	w.start()
	c := w.dial()
	c.Write(append(proxyproto.AppendLocal(nil, proxyproto.V1), "hello"...))
	late := w.dial()
	late.wantClosed()
	w.wantEnds(ends{BadHeader: 1})
	passes()
	c.wantRead("hello")

	w = prepare(t, pool.LeastConnections)
	w.acceptFrom("127.0.0.0/8")
	w.options.AcceptProxyTimeout = 100 * time.Millisecond
	w.to.ConnectTimeout = 300 * time.Millisecond
	w.silent()
	w.start()
	c = w.dial()
	begin := time.Now()
	c.Write(proxyproto.AppendLocal(nil, proxyproto.V1))
	c.wantClosed()
	if took := time.Since(begin); took < w.to.ConnectTimeout {
		t.Errorf("given up after %v", took)
	}
}

func TestServersAreToldWhoTheClientIs(t *testing.T) {
	for v := proxyproto.V1; v <= proxyproto.V2; v++ {
		w := prepare(t, pool.LeastConnections)
		w.to.SendProxy = v
		got := w.recorded()
		w.start()
		c := w.dial()
		c.Write([]byte("hello"))
		c.CloseWrite()
		w.wantGot(got, string(c.header(v))+"hello")
		c.Close()
		w.wantStats(counts{Accepted: 1, ToUpstream: 5})
	}
}

// The header is there even if the client says nothing.
func TestAServerThatSpeaksFirstIsTold(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.to.SendProxy = proxyproto.V1
	w.serve(pool.ServerSpec{}, func(c *net.TCPConn) {
		b := make([]byte, 200)
		n, _ := c.Read(b)
		c.Write(b[:n])
	})
	w.start()
	c := w.dial()
	if got, err := io.ReadAll(c); err != nil || string(got) != string(c.header(proxyproto.V1)) {
		t.Errorf("the server got %q, error %v", got, err)
	}
}

// A client that sends a great deal right behind its header is held back as soon
// as there is enough to go on, and all of it arrives in the end.
func TestWhatIsReadBeforeTheRelayIsBounded(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.acceptFrom("127.0.0.0/8")
	got := w.recorded()
	passes := w.notChecked(w.pool.Servers()[0])
	w.start()
	c := w.dial()
	header := proxyproto.AppendLocal(nil, proxyproto.V2)
	content := append(header, bytes.Repeat([]byte("0123456789abcdef"), 1<<20)...)
	c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	n, err := c.Write(content)
	if err == nil {
		t.Fatal("16 MiB are taken while nobody reads them")
	}
	held := make(chan int, len(w.workers))
	for _, worker := range w.workers {
		worker.loop.Post(func() {
			n := 0
			for s := worker.sessions; s != nil; s = s.next {
				n += cap(s.details.read)
			}
			held <- n
		})
	}
	const oneRead = 64 << 10
	if n := <-held + <-held; n == 0 || n > proxyproto.MaxHeader+2*oneRead {
		t.Errorf("%d bytes are held", n)
	}
	passes()
	c.CloseWrite()
	w.wantGot(got, string(content[len(header):n]))
}

// A client that resets its connection while it waits has sent bytes that still
// come out of the socket, but nobody could say any more whose they are.
func TestWhatAClientSentBeforeItsResetHasItsName(t *testing.T) {
	w := prepareWith(t, pool.Options{QueueLength: 8})
	w.to.QueueTimeout, w.to.SendProxy = patience, proxyproto.V2
	commands := make(chan byte, 10)
	w.serve(pool.ServerSpec{MaxConnections: 1}, func(c *net.TCPConn) {
		head := make([]byte, 13)
		if _, err := io.ReadFull(c, head); err == nil {
			commands <- head[12]
		}
		echo(c)
	})
	w.start()
	first := w.numbered(0, 0)
	second := w.numbered(1, 1)
	second.SetLinger(0)
	second.Close()
	first.Close()
	for range 2 {
		select {
		case command := <-commands:
			if command != 0x21 {
				t.Errorf("a client came under the command %#x, not as itself", command)
			}
		case <-time.After(patience):
			t.Fatal("a client is not served")
		}
	}
}
