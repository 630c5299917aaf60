package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A mishap is a request in the middle of which its server leaves, in one of
// three ways: it ends its direction, resets the connection, or hangs.
type mishap struct {
	stage
	ask
	way  string
	kept bool // on a connection that has served a request before

	arrivals atomic.Int64  // requests that servers got, or connections without one
	leaves   chan struct{} // closed when the server is to leave
	over     chan struct{} // closed when the client has seen what comes of it
	left     chan error    // one: nil when fulcrum has closed the connection too
}

func (m *mishap) String() string {
	connection := "new"
	if m.kept {
		connection = "kept"
	}
	return fmt.Sprintf("%s %s on a %s connection, %s", m.way, m.stage.name, connection, m.ask.name)
}

// mishaps are all that make sense.
func mishaps() (all []*mishap) {
	add := func(s stage, a ask, kept bool) {
		for _, way := range []string{"ends", "resets", "hangs"} {
			if way == "hangs" && s.whole {
				continue // the next request would meet it before its answer
			}
			all = append(all, &mishap{stage: s, ask: a, way: way, kept: kept,
				leaves: make(chan struct{}), over: make(chan struct{}), left: make(chan error, 1)})
		}
	}
	for _, a := range asks {
		for _, s := range silent {
			add(s, a, false)
			add(s, a, true)
		}
		for _, s := range broken {
			s.takes, s.begun = takeAll, true
			add(s, a, false)
		}
		for _, s := range halfway {
			if a.body != "" {
				add(s, a, false)
			}
		}
	}
	return all
}

// replayed: what may be sent twice is, if the connection was a kept one and
// nothing was heard from it.
func (m *mishap) replayed() bool {
	return m.kept && m.again && m.says == "" && m.way != "hangs"
}

// met says which of the requests meets the mishap.
func (m *mishap) met() int64 {
	if m.kept {
		return 2
	}
	return 1
}

// serve is the servers of the mishap: they leave in the request that meets it,
// and answer every other.
func (m *mishap) serve(w *world, conn *net.TCPConn) {
	in := bufio.NewReaderSize(conn, 16) // so that it takes hardly more than it is to
	for first := true; ; first = false {
		if !first {
			if _, err := in.Peek(1); err != nil {
				return
			}
		}
		if m.arrivals.Add(1) == m.met() {
			m.left <- m.leave(w, conn, in)
			return
		}
		if takeAll(in) != nil {
			return
		}
		io.WriteString(conn, okay+"Content-Length: 4\r\n\r\nwell")
	}
}

func (m *mishap) leave(w *world, conn *net.TCPConn, in *bufio.Reader) error {
	if err := m.takes(in); err != nil {
		return fmt.Errorf("what the server takes of the request: %w", err)
	}
	if _, err := io.WriteString(conn, m.says); err != nil {
		return fmt.Errorf("what the server says: %w", err)
	}
	w.awaitOrEnd(m.leaves)
	switch m.way {
	case "resets":
		return conn.SetLinger(0)
	case "ends":
		if err := conn.CloseWrite(); err != nil {
			return err
		}
	}
	w.awaitOrEnd(m.over)
	conn.SetReadDeadline(time.Now().Add(promptly))
	if _, err := io.Copy(io.Discard, in); isTimeout(err) {
		return errors.New("the server's connection stays open")
	}
	return nil
}

// promptly is how soon a connection has to be closed when the one on the other
// side is, on a machine that is busy.
const promptly = 10 * time.Second

// awaitOrEnd waits until the channel or the test is closed.
func (w *world) awaitOrEnd(done <-chan struct{}) {
	select {
	case <-done:
	case <-w.ended():
	}
}

// play is the client's part.
func (m *mishap) play(w *world, address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(w.deadline())
	in := bufio.NewReader(conn)
	if m.kept {
		io.WriteString(conn, asks[0].head)
		if err := wantAnswer(in, 200, "well"); err != nil {
			return fmt.Errorf("the request before: %w", err)
		}
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		io.WriteString(conn, m.head+m.body) // which may be cut short
	}()
	err = m.outcome(conn, in)
	conn.Close()
	close(m.over)
	<-written
	if err != nil {
		return err
	}
	select {
	case err := <-m.left:
		if err != nil {
			return err
		}
	case <-w.ctx.Done():
		return errors.New("at the deadline the server's part has not ended")
	}
	if a := w.get(address, "/"); a.status != 200 || a.body != "well" {
		return fmt.Errorf("the next request: %+v", a)
	}
	want := m.met() + 1
	if m.replayed() {
		want++
	}
	if got := m.arrivals.Load(); got != want {
		return fmt.Errorf("the servers got %d requests, want %d", got, want)
	}
	return nil
}

// outcome reads what the client gets, and tells the server to leave when it has
// all that it is to get before.
func (m *mishap) outcome(conn net.Conn, in *bufio.Reader) error {
	leave := sync.OnceFunc(func() { close(m.leaves) })
	defer leave()
	early := m.early && !strings.Contains(m.head, "HTTP/1.0")
	if early {
		if err := wantStatus(in, 103); err != nil {
			return err
		}
	}
	switch {
	case m.begun:
	case m.replayed():
		leave()
		return wantAnswer(in, 200, "well")
	case m.way == "hangs":
		leave()
		return wantStatus(in, 504)
	default:
		leave()
		return wantStatus(in, 502)
	}
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	got := make([]byte, len(m.shows))
	if n, err := io.ReadFull(response.Body, got); err != nil || string(got) != m.shows {
		return fmt.Errorf("the body breaks off or is another after %d of %d bytes: %w", n, len(got), err)
	}
	if m.whole {
		defer leave()
	} else {
		leave()
	}
	if m.way == "hangs" {
		conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	}
	rest, err := io.ReadAll(response.Body)
	whole := m.whole || m.until && m.way == "ends"
	if len(rest) > 0 || whole != (err == nil) || isTimeout(err) != (m.way == "hangs") {
		return fmt.Errorf("behind what the server has said come %d bytes and %v, whole: %t", len(rest), err, whole)
	}
	return nil
}

// wantStatus reads an answer.
func wantStatus(in *bufio.Reader, status int) error {
	_, err := readAnswer(in, status)
	return err
}

func wantAnswer(in *bufio.Reader, status int, body string) error {
	got, err := readAnswer(in, status)
	if err == nil && got != body {
		err = fmt.Errorf("the answer is %q, want %q", got, body)
	}
	return err
}

func readAnswer(in *bufio.Reader, status int) (body string, err error) {
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return "", fmt.Errorf("in place of an answer: %w", err)
	}
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != status {
		err = fmt.Errorf("status %d, %q, want %d", response.StatusCode, text, status)
	}
	return string(text), err
}
