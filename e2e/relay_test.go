package e2e_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// wantEcho sends a text and reads it back.
func wantEcho(w *world, conn net.Conn, text string) {
	w.Helper()
	_, err := io.WriteString(conn, text)
	w.must(err)
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		w.Fatalf("sent %q, got %q, %v", text, got, err)
	}
}

// TestClientEndsItsDirectionFirst: the server sees the end of what the client
// sends, and all that it sends afterwards arrives.
func TestClientEndsItsDirectionFirst(t *testing.T) {
	const amount = 3 << 20
	w := newWorld(t, 20*time.Second)
	b := w.balance(tcpOnly(w.tcpServer(func(conn *net.TCPConn) {
		n, err := io.Copy(io.Discard, conn)
		if err == nil && n == amount {
			io.Copy(conn, newPattern(amount))
		}
	})))
	conn := w.dial(b.listeners["db"])
	_, err := io.Copy(conn, newPattern(amount))
	w.must(err)
	w.must(conn.CloseWrite())
	if got, want := digestOf(w, conn, amount), patternDigest(amount); got != want {
		t.Errorf("the answer's digest is %s, want %s", got, want)
	}
}

// TestServerEndsItsDirectionFirst: the client sees the end, and may go on
// sending.
func TestServerEndsItsDirectionFirst(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	got := make(chan string, 1)
	b := w.balance(tcpOnly(w.tcpServer(func(conn *net.TCPConn) {
		io.WriteString(conn, "bye")
		conn.CloseWrite()
		if text, err := io.ReadAll(conn); err == nil && len(text) > 0 {
			got <- string(text)
		}
	})))
	conn := w.dial(b.listeners["db"])
	text, err := io.ReadAll(conn)
	if err != nil || string(text) != "bye" {
		t.Fatalf("read %q, %v; want the server's word and then the end", text, err)
	}
	io.WriteString(conn, "and thanks")
	w.must(conn.CloseWrite())
	if text := receive(w, "the server has read to the end", got); text != "and thanks" {
		t.Errorf("the server read %q", text)
	}
}

// TestServerSpeaksFirst: a greeting arrives before the client has said anything.
func TestServerSpeaksFirst(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	b := w.balance(tcpOnly(w.tcpServer(func(conn *net.TCPConn) {
		io.WriteString(conn, "220 ready\r\n")
		io.Copy(struct{ io.Writer }{conn}, conn)
	})))
	conn := w.dial(b.listeners["db"])
	greeting := make([]byte, 11)
	if _, err := io.ReadFull(conn, greeting); err != nil || string(greeting) != "220 ready\r\n" {
		t.Fatalf("read %q, %v", greeting, err)
	}
	wantEcho(w, conn, "EHLO")
}

// TestResetsArePassedOn: a reset by one side is a reset for the other, not an
// end that looks clean.
func TestResetsArePassedOn(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	serverSaw := make(chan error, 10)
	b := w.balance(tcpOnly(w.tcpServer(func(conn *net.TCPConn) {
		word := make([]byte, 5)
		if _, err := io.ReadFull(conn, word); err != nil {
			return
		}
		conn.Write(word)
		if string(word) == "reset" {
			conn.SetLinger(0)
			return
		}
		_, err := conn.Read(word)
		serverSaw <- err
	})))
	conn := w.dial(b.listeners["db"])
	io.WriteString(conn, "reset")
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server has reset the connection, the client saw %v", err)
	}
	conn = w.dial(b.listeners["db"])
	wantEcho(w, conn, "leave")
	w.must(conn.SetLinger(0))
	w.must(conn.Close())
	if err := receive(w, "the server notices", serverSaw); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client has reset the connection, the server saw %v", err)
	}
}
