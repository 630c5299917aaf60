package httpproxy

import (
	"io"
	"net"
	"sync/atomic"
	"time"

	"fulcrum/pool"
)

// A tunnel passes bytes between two connections after an upgrade until both
// directions have ended, one fails, or neither has moved for the idle time.
type tunnel struct {
	client, server net.Conn
	idle           time.Duration
	moved          atomic.Int64 // when a byte last moved, in Unix nanoseconds
}

// tunnel passes the 101 on and then whatever comes, beginning with what was
// already read.
func (x *exchange) tunnel() verdict {
	c, u := x.c, x.u
	defer x.lease.Release(pool.Served)
	c.out = c.ans.appendInterim(c.out[:0])
	if _, err := c.Write(c.out); err != nil {
		return closeNow
	}
	u.watch = nil
	u.patience, u.stall = c.p.o.IdleTimeout, c.p.o.IdleTimeout
	c.mu.Lock()
	c.inBody = true
	c.mu.Unlock()

	t := &tunnel{client: c.conn, server: u.conn, idle: c.p.o.IdleTimeout}
	t.moved.Store(time.Now().UnixNano())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer c.recovered()
		t.pass(u, c.br, t.server)
	}()
	defer func() { <-done }()
	t.pass(c, u.br, t.client)
	return closeNow
}

// pass copies one direction. Its end is passed on as a half-close; anything
// else ends the tunnel.
func (t *tunnel) pass(dst io.Writer, src io.Reader, to net.Conn) {
	buffer := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(buffer)
	halfClosed := false
	defer func() {
		if !halfClosed {
			t.client.Close()
			t.server.Close()
		}
	}()
	for {
		n, err := src.Read(buffer[:])
		if n > 0 {
			t.moved.Store(time.Now().UnixNano())
			if _, err := dst.Write(buffer[:n]); err != nil {
				return
			}
		}
		switch {
		case err == nil:
		case err == io.EOF:
			halfClosed = true
			closeWrite(to)
			return
		case !isTimeout(err) || time.Since(time.Unix(0, t.moved.Load())) >= t.idle:
			return
		}
	}
}
