package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
)

// A notary is a server that answers each request with its first line, and notes
// what it was sent. It is its own listening socket.
type notary struct {
	net.Listener

	mu   sync.Mutex
	open map[*net.TCPConn]chan struct{} // guarded by mu: closed when all was read
	got  notes                          // guarded by mu
}

// notes are what has come to a notary.
type notes struct {
	requests []string // whole ones, as told has them
	broken   []string // those that did not come to their end
	wrong    []error  // those that leave a reader a choice
}

func (w *world) notary() *notary {
	w.Helper()
	n := &notary{Listener: w.listen(), open: make(map[*net.TCPConn]chan struct{})}
	w.serve(n, n.talk)
	return n
}

func (n *notary) address() string { return n.Addr().String() }

// Accept registers the connection before the next can be accepted.
func (n *notary) Accept() (net.Conn, error) {
	conn, err := n.Listener.Accept()
	if err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.open[conn.(*net.TCPConn)] = make(chan struct{})
	}
	return conn, err
}

func (n *notary) talk(conn *net.TCPConn) {
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		close(n.open[conn])
		delete(n.open, conn)
	}()
	r := newStrictReader(conn)
	for {
		if _, err := r.Peek(1); err != nil {
			return
		}
		m, err := r.request()
		if n.note(m, err); err != nil {
			return
		}
		text := m.start
		if strings.HasPrefix(text, "HEAD ") {
			text = ""
		}
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(m.start), text)
	}
}

func (n *notary) note(m message, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case err == nil:
		n.got.requests = append(n.got.requests, m.told())
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		n.got.broken = append(n.got.broken, m.raw)
	default:
		n.got.wrong = append(n.got.wrong, fmt.Errorf("%w, in %q", err, m.raw))
	}
}

// told is a request in one line.
func (m message) told() string {
	return fmt.Sprintf("%s %q", strings.TrimSuffix(m.start, " HTTP/1.1"), m.body)
}

// notes waits until every connection so far was read to its end, and hands out
// what has come on them.
func (n *notary) notes(w *world) notes {
	w.Helper()
	// They are accepted in their order, so this one is the last.
	last := w.dial(n.address())
	defer last.Close()
	w.must(last.CloseWrite())
	if _, err := io.Copy(io.Discard, last); err != nil {
		w.Fatal(err)
	}
	n.mu.Lock()
	var ends []chan struct{}
	for conn, end := range n.open {
		conn.CloseWrite() // nobody keeps a connection whose other end has ended
		ends = append(ends, end)
	}
	n.mu.Unlock()
	for _, end := range ends {
		w.await("the end of a connection to the server", end)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	got := n.got
	n.got = notes{}
	return got
}
