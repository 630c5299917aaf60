package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// What an origin does with a connection.
const (
	modeEcho   = "echo"   // sends back what comes
	modeSource = "source" // after one byte sends the pattern until the client leaves
	modeSink   = "sink"   // verifies the pattern up to the client's end, then sends a receipt
	modeHTTP   = "http"   // answers requests, see originhttp.go
)

var modes = map[string]func(net.Conn) error{
	modeEcho:   echo,
	modeSource: source,
	modeSink:   sink,
	modeHTTP:   answerHTTP,
}

// receiptSize is the length of what a sink sends: how many bytes came, as
// a big-endian number.
const receiptSize = 8

// An origin is the servers behind the proxies: listeners on loopback, and
// a goroutine for each connection.
type origin struct {
	listeners []net.Listener
	serve     func(net.Conn) error
	running   sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{} // nil once closed; guarded by mu
	failed error                 // the first wrong input, guarded by mu
}

// newOrigin opens the listeners and starts to serve. The caller must close it.
func newOrigin(mode string, listeners int) (*origin, error) {
	serve, ok := modes[mode]
	if !ok {
		return nil, fmt.Errorf("mode %q is not known; use echo, source, sink or http", mode)
	}
	o := &origin{serve: serve, conns: map[net.Conn]struct{}{}}
	for range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("origin: %w", err), o.close())
		}
		o.listeners = append(o.listeners, l)
	}
	for _, l := range o.listeners {
		o.running.Go(func() { o.accept(l) })
	}
	return o, nil
}

// addresses returns host:port of each listener.
func (o *origin) addresses() []string {
	var list []string
	for _, l := range o.listeners {
		list = append(list, l.Addr().String())
	}
	return list
}

// accept serves until the listener is closed or fails. A failure, such as no
// descriptors left, ends the origin's service and so shows as errors at the client.
func (o *origin) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				o.fail(fmt.Errorf("origin: accept: %w", err))
			}
			return
		}
		if !o.add(conn) {
			return
		}
		o.running.Go(func() {
			defer o.remove(conn)
			var wrong *wrongInput
			if err := o.serve(conn); errors.As(err, &wrong) {
				o.fail(wrong)
			}
		})
	}
}

func (o *origin) add(conn net.Conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conns == nil {
		conn.Close()
		return false
	}
	o.conns[conn] = struct{}{}
	return true
}

func (o *origin) remove(conn net.Conn) {
	conn.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.conns, conn)
}

func (o *origin) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed == nil {
		o.failed = err
	}
}

// close ends all connections, waits for their goroutines, and returns
// the first wrong input that a proxy handed over.
func (o *origin) close() error {
	o.mu.Lock()
	for _, l := range o.listeners {
		l.Close()
	}
	for conn := range o.conns {
		conn.Close()
	}
	o.conns = nil
	o.mu.Unlock()
	o.running.Wait()
	return o.failed
}

// wrongInput is something that no client of the bench has sent. Connections that
// break off are not: health checks and the end of a measurement do that.
type wrongInput struct{ err error }

func (w *wrongInput) Error() string { return "origin: " + w.err.Error() }
func (w *wrongInput) Unwrap() error { return w.err }

func echo(conn net.Conn) error {
	buf := make([]byte, 2<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return err
		}
	}
}

func source(conn net.Conn) error {
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return err
	}
	for sent := int64(0); ; sent += chunkSize {
		if _, err := conn.Write(patternAt(sent)); err != nil {
			return err
		}
	}
}

func sink(conn net.Conn) error {
	buf := make([]byte, chunkSize)
	var got int64
	for {
		n, err := conn.Read(buf)
		if wrong := verify(buf[:n], got); wrong != nil {
			return &wrongInput{wrong}
		}
		got += int64(n)
		if err == io.EOF {
			_, err := conn.Write(binary.BigEndian.AppendUint64(nil, uint64(got)))
			return err
		}
		if err != nil {
			return err
		}
	}
}

// runOrigin is the program of an origin process: it says its addresses in one
// line on out and serves until in ends.
func runOrigin(mode string, listeners int, in io.Reader, out io.Writer) error {
	o, err := newOrigin(mode, listeners)
	if err != nil {
		return err
	}
	for i, address := range o.addresses() {
		separator := " "
		if i == listeners-1 {
			separator = "\n"
		}
		if _, err := io.WriteString(out, address+separator); err != nil {
			return errors.Join(fmt.Errorf("origin: say the addresses: %w", err), o.close())
		}
	}
	_, err = io.Copy(io.Discard, in)
	return errors.Join(err, o.close())
}
