package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// loadLineBytes bounds a line of an answer.
const loadLineBytes = 4096

// talk has one connection after another until the load ends.
func (l *Load) talk(ctx context.Context) {
	for ctx.Err() == nil {
		err := l.connection(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		l.tcpFailed.Add(1)
		wait(ctx, l.options.LineInterval)
	}
}

// connection connects, exchanges lines until it is time for another
// connection, and ends this one in order: what it sends first, then, once the
// server did the same, all of it.
func (l *Load) connection(ctx context.Context) error {
	dialer := net.Dialer{Timeout: loadTimeout}
	dialed, err := dialer.DialContext(ctx, "tcp", l.options.TCPAddress)
	if err != nil {
		return err
	}
	conn := dialed.(*net.TCPConn)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.running.Go(func() { // so that the end of the load cuts off a read or write
		<-ctx.Done()
		conn.Close()
	})

	in := bufio.NewReaderSize(conn, loadLineBytes)
	if err := exchange(conn, in, "", "hello from "); err != nil {
		return err
	}
	lasts := l.options.ReconnectAfter
	until := time.Now().Add(lasts - rand.N(lasts/4+1))
	for n := 1; n == 1 || time.Now().Before(until); n++ {
		line := fmt.Sprintf("line %d\n", n)
		if err := exchange(conn, in, line, ": "+line); err != nil {
			return err
		}
		l.tcpOK.Add(1)
		wait(ctx, l.options.LineInterval)
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(loadTimeout))
	if _, err := in.ReadByte(); err != io.EOF {
		return fmt.Errorf("the end of the connection: got %v, want EOF", err)
	}
	return nil
}

// exchange sends a line, if any, and reads one that must contain want.
func exchange(conn net.Conn, in *bufio.Reader, line, want string) error {
	conn.SetDeadline(time.Now().Add(loadTimeout))
	if line != "" {
		if _, err := io.WriteString(conn, line); err != nil {
			return err
		}
	}
	got, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !strings.Contains(string(got), want) {
		return fmt.Errorf("answer %q: want one with %q", got, want)
	}
	return nil
}

// wait returns after d, or when ctx is done.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
