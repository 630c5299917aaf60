package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A worker is one client of the bench. It belongs to one goroutine.
type worker interface {
	// work does one unit and returns its size: 1, or the bytes moved. What comes
	// back is verified; after an error the next unit begins on a new connection.
	work() (size int64, err error)
	// close ends the worker's connection and verifies what can be known only then.
	close() error
}

// sourceAddresses is how many loopback addresses clients connect from in turn,
// 127.0.0.2 and following, so that ports in TIME_WAIT never run out.
const sourceAddresses = 8

// A dialer connects to the targets in turn. Any goroutine may use it.
type dialer struct {
	targets  []string
	deadline time.Time // of all that is done on its connections
	turn     atomic.Uint32
}

func (d *dialer) dial() (net.Conn, error) {
	turn := int(d.turn.Add(1))
	dialer := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+turn%sourceAddresses))},
		Deadline:  d.deadline,
		KeepAlive: -1,
		Control:   bindWithoutPort,
	}
	conn, err := dialer.DialContext(context.Background(), "tcp4", d.targets[turn%len(d.targets)])
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(d.deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// bindWithoutPort lets the kernel choose the source port when it knows the
// destination, so that a port can serve several.
func bindWithoutPort(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	return errors.Join(err, failed)
}

// session holds the connection of a worker, from one unit to the next or not.
type session struct {
	dialer *dialer
	conn   net.Conn // nil before the first unit and after an error
}

// open makes sure that there is a connection.
func (s *session) open() (fresh bool, err error) {
	if s.conn != nil {
		return false, nil
	}
	s.conn, err = s.dialer.dial()
	if err != nil {
		s.conn = nil
	}
	return true, err
}

// drop gives the connection up; it passes err on.
func (s *session) drop(err error) error {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
	return err
}

func (s *session) close() error { return s.drop(nil) }

// messageSize is the size of an echoed message.
const messageSize = 64

// echoWorker sends a message and waits for its echo.
type echoWorker struct {
	session
	connects bool // each unit is a connection of its own
	sent     int64
	buf      [messageSize]byte
}

func (w *echoWorker) work() (int64, error) {
	if _, err := w.open(); err != nil {
		return 0, err
	}
	message := patternAt(w.sent)[:messageSize]
	w.sent += messageSize
	if _, err := w.conn.Write(message); err != nil {
		return 0, w.drop(err)
	}
	if _, err := io.ReadFull(w.conn, w.buf[:]); err != nil {
		return 0, w.drop(fmt.Errorf("echo: %w", err))
	}
	if !bytes.Equal(w.buf[:], message) {
		return 0, w.drop(errors.New("echo: other bytes than were sent"))
	}
	if w.connects {
		return 1, w.drop(nil)
	}
	return 1, nil
}

// downWorker receives the pattern.
type downWorker struct {
	session
	got int64
	buf []byte
}

func (w *downWorker) work() (int64, error) {
	fresh, err := w.open()
	if err != nil {
		return 0, err
	}
	if fresh {
		w.got = 0
		if _, err := w.conn.Write([]byte{1}); err != nil {
			return 0, w.drop(err)
		}
	}
	n, err := w.conn.Read(w.buf)
	if err == nil {
		err = verify(w.buf[:n], w.got)
	}
	if err != nil {
		return 0, w.drop(fmt.Errorf("stream to the client: %w", err))
	}
	w.got += int64(n)
	return int64(n), nil
}

// upWorker sends the pattern.
type upWorker struct {
	session
	sent int64
}

func (w *upWorker) work() (int64, error) {
	fresh, err := w.open()
	if err != nil {
		return 0, err
	}
	if fresh {
		w.sent = 0
	}
	n, err := w.conn.Write(patternAt(w.sent))
	w.sent += int64(n)
	if err != nil {
		return 0, w.drop(fmt.Errorf("stream to the server: %w", err))
	}
	return int64(n), nil
}

// close waits for the origin's receipt: it comes when every byte has arrived.
func (w *upWorker) close() error {
	if w.conn == nil {
		return nil
	}
	half, ok := w.conn.(interface{ CloseWrite() error })
	if !ok {
		return w.drop(fmt.Errorf("a %T cannot be half-closed", w.conn))
	}
	if err := half.CloseWrite(); err != nil {
		return w.drop(err)
	}
	var receipt [receiptSize]byte
	if _, err := io.ReadFull(w.conn, receipt[:]); err != nil {
		return w.drop(fmt.Errorf("receipt: %w", err))
	}
	if got := binary.BigEndian.Uint64(receipt[:]); got != uint64(w.sent) {
		return w.drop(fmt.Errorf("%d bytes were sent, %d arrived", w.sent, got))
	}
	return w.drop(nil)
}

// httpWorker sends a request and reads the answer.
type httpWorker struct {
	session
	request []byte
	want    []byte // the body
	closes  bool   // each request asks for the end of the connection
	buf     []byte
}

func (w *httpWorker) work() (int64, error) {
	if _, err := w.open(); err != nil {
		return 0, err
	}
	if _, err := w.conn.Write(w.request); err != nil {
		return 0, w.drop(err)
	}
	if err := readAnswer(w.conn, w.buf, w.want); err != nil {
		return 0, w.drop(fmt.Errorf("answer: %w", err))
	}
	if !w.closes {
		return 1, nil
	}
	if n, err := w.conn.Read(w.buf); n != 0 || err != io.EOF {
		return 0, w.drop(fmt.Errorf("behind the last answer came %d bytes and the error %v instead of the end", n, err))
	}
	return 1, w.drop(nil)
}

// readAnswer reads one answer through buf and verifies it.
func readAnswer(r io.Reader, buf, want []byte) error {
	head, n, err := readHead(r, buf, 0)
	if err != nil {
		return err
	}
	if err := checkAnswer(buf[:head], len(want)); err != nil {
		return err
	}
	body := buf[head:n]
	for {
		if len(body) > len(want) || !bytes.Equal(body, want[:len(body)]) {
			return errors.New("the body is not what the origin sent")
		}
		want = want[len(body):]
		if len(want) == 0 {
			return nil
		}
		n, err := r.Read(buf)
		if n == 0 && err != nil {
			return fmt.Errorf("%d bytes of the body are missing: %w", len(want), err)
		}
		body = buf[:n]
	}
}

func checkAnswer(head []byte, length int) error {
	status, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("status line %q, want 200", status)
	}
	value, _ := field(fields, "content-length")
	if n, err := strconv.Atoi(string(value)); err != nil || n != length {
		return fmt.Errorf("content-length %q, want %d", value, length)
	}
	return nil
}
