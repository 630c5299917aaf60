package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mirror is the server of TestBothDirectionsAtOnce: a connection begins with a
// number and an amount, on a line. While it sends as much of that noise it reads
// to the end; then it sends the digest of what it has read, and its end.
func (w *world) mirror() string {
	w.Helper()
	return w.tcpServer(func(conn *net.TCPConn) {
		var number int
		var amount int64
		if _, err := fmt.Fscanf(oneByte{conn}, "%d %d\n", &number, &amount); err != nil {
			return
		}
		sent := make(chan error, 1)
		go func() { sent <- sendNoise(conn, number, amount) }()
		d := newDigest()
		_, err := io.Copy(d, conn)
		if err := errors.Join(err, <-sent); err != nil {
			conn.SetLinger(0)
			return
		}
		fmt.Fprint(conn, d)
	})
}

// oneByte reads no further than it is asked to.
type oneByte struct{ io.Reader }

func (o oneByte) Read(b []byte) (int, error) { return o.Reader.Read(b[:min(1, len(b))]) }

// sendNoise sends in writes of many sizes, from a few bytes on.
func sendNoise(to io.Writer, number int, amount int64) error {
	from := io.LimitReader(newNoise(number), amount)
	buffer := make([]byte, 128<<10)
	for i := number; ; i++ {
		n, err := from.Read(buffer[:1+(i*7919)%len(buffer)])
		if err == io.EOF {
			return nil
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return err
		}
	}
}

// converse is the client's side of a mirror.
func converse(conn *net.TCPConn, number int, amount int64) error {
	if _, err := fmt.Fprintf(conn, "%d %d\n", number, amount); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		err := sendNoise(conn, number+1, amount)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	d := newDigest()
	if _, err := io.CopyN(d, conn, amount); err != nil {
		return fmt.Errorf("receiving, after %d of %d bytes: %w", d.size, amount, err)
	}
	if got, want := d.String(), noiseDigest(number, amount); got != want {
		return fmt.Errorf("the client got %s, want %s", got, want)
	}
	if err := <-sent; err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		return fmt.Errorf("receiving what the server got: %w", err)
	}
	if want := noiseDigest(number+1, amount); string(got) != want {
		return fmt.Errorf("the server got %q, want %s", got, want)
	}
	return nil
}

// noiseDigest is the digest of the first bytes of a noise.
func noiseDigest(number int, amount int64) string {
	d := newDigest()
	io.CopyN(d, newNoise(number), amount)
	return d.String()
}

// TestBothDirectionsAtOnce: on many connections bytes move both ways at the same
// time, in writes of all sizes, and arrive as they were sent.
func TestBothDirectionsAtOnce(t *testing.T) {
	overEachIO(t, 60*time.Second, func(w *world, io string) {
		config := tcpOnly(w.mirror())
		config["io"] = io
		b := w.balance(config)
		const many, few = 120, 4
		talk := func(amount func(i int) int64) func(i int) error {
			return func(i int) error {
				conn, err := (&net.Dialer{Deadline: w.deadline()}).Dial("tcp", b.listeners["db"])
				if err != nil {
					return err
				}
				defer conn.Close()
				conn.SetDeadline(w.deadline())
				return converse(conn.(*net.TCPConn), 2*i, amount(i))
			}
		}
		w.must(onEach(many, talk(func(i int) int64 { return int64(i*i*50 + i) })))
		w.must(onEach(few, talk(func(i int) int64 { return 24<<20 + int64(i) })))
		b.wantEnds("db", map[string]int64{"client_closed": many + few})
	})
}

// cork holds back what is sent until as much as fits into a segment is there, or
// the end.
func cork(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var corked error
	err = raw.Control(func(fd uintptr) {
		corked = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1)
	})
	return errors.Join(err, corked)
}

// TestLastBytesWithTheEnd: the last bytes come in one segment with the end of
// their direction, those of the client even before its server is connected.
// Neither is lost.
func TestLastBytesWithTheEnd(t *testing.T) {
	const connections = 500
	overEachIO(t, 30*time.Second, func(w *world, io_ string) {
		config := tcpOnly(w.tcpServer(func(conn *net.TCPConn) {
			if cork(conn) != nil {
				return
			}
			if text, err := io.ReadAll(conn); err == nil && len(text) > 0 {
				io.WriteString(conn, strings.ToUpper(string(text)))
			}
		}))
		config["io"] = io_
		b := w.balance(config)
		w.must(onEach(connections, func(i int) error {
			c, err := (&net.Dialer{Deadline: w.deadline()}).Dial("tcp", b.listeners["db"])
			if err != nil {
				return err
			}
			defer c.Close()
			conn := c.(*net.TCPConn)
			conn.SetDeadline(w.deadline())
			if i%3 > 0 { // by then its server is connected, perhaps
				time.Sleep(time.Duration(i%3) * time.Millisecond)
			}
			said := strings.Repeat(fmt.Sprintf("these are the last words of %d. ", i), 1+i%200)
			_, writing := 0, cork(conn)
			if writing == nil {
				_, writing = io.WriteString(conn, said)
			}
			if err := errors.Join(writing, conn.CloseWrite()); err != nil {
				return err
			}
			got, err := io.ReadAll(conn)
			if want := strings.ToUpper(said); err != nil || string(got) != want {
				return fmt.Errorf("%d bytes came back of %d, %v: %.80q", len(got), len(want), err, got)
			}
			return nil
		}))
		b.wantEnds("db", map[string]int64{"client_closed": connections})
	})
}
