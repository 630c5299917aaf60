package demo

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// tcpLimits bound the clients of a TCP server.
type tcpLimits struct {
	connections int           // open at once; one more is closed at once
	lineBytes   int           // including the newline; a longer line ends the connection
	idle        time.Duration // for one line to arrive whole
	write       time.Duration // for one answer to be taken
}

var tcpDefaults = tcpLimits{
	connections: 1024,
	lineBytes:   4096,
	idle:        5 * time.Minute,
	write:       2 * time.Second,
}

// acceptPause follows an accept that failed, as it does when the process is
// out of file descriptors.
const acceptPause = 100 * time.Millisecond

// tcpServer echoes lines: one goroutine accepts, one serves each connection.
type tcpServer struct {
	kind
	address  string
	limits   tcpLimits
	listener net.Listener
	stopping chan struct{} // closed by interrupt
	running  sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]struct{} // guarded by mu
}

// startTCP takes over the listener. The server ends with interrupt, then wait.
func startTCP(k kind, l net.Listener, limits tcpLimits) *tcpServer {
	t := &tcpServer{
		kind:     k,
		address:  l.Addr().String(),
		limits:   limits,
		listener: l,
		stopping: make(chan struct{}),
		open:     make(map[net.Conn]struct{}),
	}
	t.running.Go(t.accept)
	return t
}

// interrupt makes the server stop listening and each connection end after the
// line it is answering. It is called once and does not wait.
func (t *tcpServer) interrupt() {
	close(t.stopping)
	t.listener.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	for conn := range t.open {
		conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// wait returns when all goroutines of the server have ended.
func (t *tcpServer) wait() { t.running.Wait() }

func (t *tcpServer) accept() {
	for {
		conn, err := t.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			t.pause(acceptPause)
		case !t.add(conn):
			conn.Close()
		default:
			t.running.Go(func() {
				defer t.remove(conn)
				t.converse(conn)
			})
		}
	}
}

// add reports whether there is room for one more connection.
func (t *tcpServer) add(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open) >= t.limits.connections {
		return false
	}
	t.open[conn] = struct{}{}
	return true
}

func (t *tcpServer) remove(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, conn)
	conn.Close()
}

// converse greets and echoes until the client has said "bye", or ended its
// sending direction and got all its answers, or broke a limit, or the server is
// to stop.
func (t *tcpServer) converse(conn net.Conn) {
	if !t.say(conn, []byte("hello from "+t.name+"\n")) {
		return
	}
	in := bufio.NewReaderSize(conn, t.limits.lineBytes)
	var answer []byte
	for t.awaitLine(conn) {
		line, err := in.ReadSlice('\n')
		if err != nil && (err != io.EOF || len(line) == 0) {
			return
		}
		answer = append(answer[:0], t.name...)
		answer = append(answer, ": "...)
		answer = append(answer, line...)
		if err == io.EOF {
			answer = append(answer, '\n')
		}
		t.pause(t.delay)
		if !t.say(conn, answer) || err == io.EOF || string(bytes.TrimSpace(line)) == "bye" {
			return
		}
	}
}

// awaitLine gives the client its time for the next line and reports whether
// to read it. The check comes after the deadline is set: interrupt does the
// two the other way round, so that one of them sees the other.
func (t *tcpServer) awaitLine(conn net.Conn) bool {
	conn.SetReadDeadline(time.Now().Add(t.limits.idle))
	select {
	case <-t.stopping:
		return false
	default:
		return true
	}
}

func (t *tcpServer) say(conn net.Conn, text []byte) bool {
	conn.SetWriteDeadline(time.Now().Add(t.limits.write))
	_, err := conn.Write(text)
	return err == nil
}

// pause waits, though not once the server is to stop.
func (t *tcpServer) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.stopping:
	}
}
