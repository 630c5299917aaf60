package demo

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// startEcho starts one TCP server with limits of its own.
func startEcho(t *testing.T, change func(*kind, *tcpLimits)) *tcpServer {
	t.Helper()
	k, limits := kind{"echo", time.Millisecond}, tcpDefaults
	change(&k, &limits)
	s := startTCP(k, listen(t, "127.0.0.1:0"), limits)
	t.Cleanup(func() {
		s.interrupt()
		within(t, s.wait)
	})
	return s
}

// greeted connects and reads the greeting.
func greeted(t *testing.T, address, name string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	conn := dial(t, address)
	in := bufio.NewReader(conn)
	wantLine(t, in, "hello from "+name+"\n")
	return conn, in
}

func wantLine(t *testing.T, in *bufio.Reader, want string) {
	t.Helper()
	if got, err := in.ReadString('\n'); got != want || err != nil {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func TestEachTCPServerGreetsAndEchoesAfterItsDelay(t *testing.T) {
	s, _ := start(t)
	for i, address := range s.TCPAddresses() {
		conn, in := greeted(t, address, Names()[i])
		for _, line := range []string{"one\n", "two\r\n", "\n"} {
			began := time.Now()
			io.WriteString(conn, line)
			wantLine(t, in, Names()[i]+": "+line)
			if took := time.Since(began); took < kinds[i].delay {
				t.Errorf("%s answered after %s, want at least %s", Names()[i], took, kinds[i].delay)
			}
		}
	}
}

func TestByeEndsTheConversation(t *testing.T) {
	server := startEcho(t, func(*kind, *tcpLimits) {})
	conn, in := greeted(t, server.address, server.name)
	io.WriteString(conn, "hello\nbye\r\n")
	wantLine(t, in, server.name+": hello\n")
	wantLine(t, in, server.name+": bye\r\n")
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		t.Errorf("after bye came %q", rest)
	}
}

func TestHalfCloseStillGetsAllAnswers(t *testing.T) {
	s, _ := start(t)
	conn, in := greeted(t, s.TCPAddresses()[1], "steady")
	io.WriteString(conn, "one\ntwo\nunended")
	conn.CloseWrite()
	rest, err := io.ReadAll(in)
	if want := "steady: one\nsteady: two\nsteady: unended\n"; string(rest) != want || err != nil {
		t.Errorf("got %q, %v; want %q and a clean end", rest, err, want)
	}
}

func TestLineLimit(t *testing.T) {
	s := startEcho(t, func(_ *kind, l *tcpLimits) { l.lineBytes = 100 })
	conn, in := greeted(t, s.address, "echo")
	longest := strings.Repeat("x", 99) + "\n"
	io.WriteString(conn, longest)
	wantLine(t, in, "echo: "+longest)
	io.WriteString(conn, "x"+longest)
	wantEnded(t, conn)
}

func TestConnectionLimit(t *testing.T) {
	s := startEcho(t, func(_ *kind, l *tcpLimits) { l.connections = 2 })
	first, in := greeted(t, s.address, "echo")
	greeted(t, s.address, "echo")
	wantEnded(t, dial(t, s.address))

	first.CloseWrite()
	if _, err := in.ReadByte(); err != io.EOF {
		t.Fatalf("got %v, want EOF", err)
	}
	greeted(t, s.address, "echo") // its place is free again
}

func TestIdleConnectionsEnd(t *testing.T) {
	s := startEcho(t, func(_ *kind, l *tcpLimits) { l.idle = 50 * time.Millisecond })
	conn, _ := greeted(t, s.address, "echo")
	io.WriteString(conn, "never ended")
	wantEnded(t, conn)
}

func TestAClientThatDoesNotReadIsGivenUp(t *testing.T) {
	s := startEcho(t, func(k *kind, l *tcpLimits) { k.delay, l.write = 0, 100*time.Millisecond })
	conn := dial(t, s.address)
	line := []byte(strings.Repeat("x", 4000) + "\n")
	for {
		if _, err := conn.Write(line); err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Fatalf("connection still open after %s", patience)
			}
			return
		}
	}
}

// tellingListener tells of each read on its connections that brought something.
type tellingListener struct {
	net.Listener
	read chan struct{}
}

type tellingConn struct {
	net.Conn
	read chan struct{}
}

func (l tellingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return tellingConn{conn, l.read}, err
}

func (c tellingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.read <- struct{}{}
	}
	return n, err
}

func TestInterruptAnswersTheLineInHandAndEnds(t *testing.T) {
	l := tellingListener{listen(t, "127.0.0.1:0"), make(chan struct{}, 10)}
	s := startTCP(kind{"echo", time.Hour}, l, tcpDefaults)
	idle, _ := greeted(t, s.address, "echo")
	busy, in := greeted(t, s.address, "echo")
	io.WriteString(busy, "one\ntwo\n")
	<-l.read
	s.interrupt()
	within(t, s.wait)
	rest, err := io.ReadAll(in)
	if want := "echo: one\n"; string(rest) != want || err != nil {
		t.Errorf("got %q, %v; want %q and a clean end", rest, err, want)
	}
	wantEnded(t, idle)
	wantRefused(t, s.address)
}
