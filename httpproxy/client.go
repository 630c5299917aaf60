package httpproxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"fulcrum/loop"
	"fulcrum/pool"
)

// lingerFor is how long a client has to notice that it is not listened to.
const lingerFor = time.Second

// A verdict says what becomes of the client's connection after a request.
type verdict int

const (
	keep     verdict = iota
	closeNow         // the answer is complete and nothing is left unread, or the connection is beyond use
	linger           // something is left unread, which would turn a close into a reset and lose the answer
)

// A failure is what a client is told when no server's answer can be passed on.
type failure struct {
	code   int
	reason string
}

// A client is one connection of a listener, served by one goroutine.
type client struct {
	p    *Proxy
	conn net.Conn
	br   *bufio.Reader
	bw   *bufio.Writer
	ip   string // "": it has none

	// Of the request being served.
	req request
	ans answer
	out []byte

	mu      sync.Mutex // guards what follows
	waiting bool       // for the first byte of a request
	inBody  bool       // each Read has idle_timeout anew
	aborted bool       // nothing more is read
}

func newClient(p *Proxy, conn net.Conn) *client {
	c := &client{p: p, conn: conn}
	if ap, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		c.ip = ap.Addr().Unmap().WithZone("").String()
	}
	return c
}

func (c *client) Read(b []byte) (int, error) {
	c.mu.Lock()
	if c.aborted {
		c.mu.Unlock()
		return 0, errAborted
	}
	if c.inBody {
		c.conn.SetReadDeadline(time.Now().Add(c.p.o.IdleTimeout))
	}
	c.mu.Unlock()
	return c.conn.Read(b)
}

func (c *client) Write(b []byte) (int, error) {
	c.conn.SetWriteDeadline(time.Now().Add(c.p.o.IdleTimeout))
	return c.conn.Write(b)
}

// drain closes the connection soon, should it be idle.
func (c *client) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting {
		c.conn.SetReadDeadline(time.Now().Add(drainGrace))
	}
}

// abort ends the reading of a request body from another goroutine, for good.
func (c *client) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted = true
	c.conn.SetReadDeadline(time.Unix(1, 0))
}

func (c *client) isAborted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.aborted
}

func (c *client) serve() {
	defer c.conn.Close()
	defer c.recovered()
	c.br = bufio.NewReaderSize(c, maxHead)
	c.bw = bufio.NewWriter(c)
	for first := true; c.await(first); first = false {
		switch c.request() {
		case closeNow:
			return
		case linger:
			c.linger()
			return
		}
	}
}

// recovered logs a panic and lets only this connection pay for it. It is
// deferred.
func (c *client) recovered() {
	if r := recover(); r != nil {
		c.p.o.Logger.Error("panic while serving a client", "client", c.ip, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
	}
}

// await waits for the first byte of a request, then starts the clock for its
// head.
func (c *client) await(first bool) bool {
	c.mu.Lock()
	c.waiting, c.inBody = true, false
	patience := c.p.o.IdleTimeout
	if first {
		patience = c.p.o.HeaderTimeout
	}
	if c.p.draining.Load() {
		patience = min(patience, drainGrace)
	}
	c.conn.SetReadDeadline(time.Now().Add(patience))
	c.mu.Unlock()

	_, err := c.br.Peek(1)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = false
	c.conn.SetReadDeadline(time.Now().Add(c.p.o.HeaderTimeout))
	return err == nil
}

// request serves one request.
func (c *client) request() verdict {
	if err := c.req.read(c.br); err != nil {
		return c.refuseHead(err)
	}
	if string(c.req.parsed.Method()) == "CONNECT" {
		c.refuse(failure{501, "CONNECT is not supported"}, nil)
		return linger
	}
	var tried pool.Tried
	var last error
	for {
		lease, err := c.p.acquire(&tried)
		if err != nil {
			return c.fail(unavailable(err, last))
		}
		server := lease.Server()
		v, err := c.attempt(&lease)
		if err == nil {
			return v
		}
		c.p.o.Logger.Debug("cannot connect", "server", server.Address(), "error", err)
		if loop.Exhausted(err) {
			return c.fail(failure{503, "no more connections can be opened"})
		}
		if last = err; !tried.Add(server) {
			return c.fail(unavailable(pool.ErrNoneReady, last))
		}
	}
}

// unavailable tells why no server could be had; last is the error of the last
// connection tried, if any.
func unavailable(err, last error) failure {
	switch {
	case err == pool.ErrFull, err == pool.ErrQueueFull:
		return failure{503, "every server is busy"}
	case last == nil:
		return failure{503, "no server is ready"}
	case isTimeout(last):
		return failure{504, "no server could be connected to in time"}
	}
	return failure{502, "no server could be connected to"}
}

// refuseHead answers a head that cannot be served.
func (c *client) refuseHead(err error) verdict {
	f := failure{400, err.Error()}
	switch {
	case errors.Is(err, errHeadTooLarge):
		f.code = 431
	case errors.Is(err, errVersion):
		f.code = 505
	case errors.Is(err, errSyntax), errors.Is(err, errFraming), errors.Is(err, errHost):
	case isTimeout(err):
		f = failure{408, "the head of the request did not come in time"}
	default:
		return closeNow // the client is gone
	}
	c.req.parsed.Reset() // nothing in it is to be relied on
	c.refuse(f, nil)
	return linger
}

// fail answers a request whose body, if any, was not read.
func (c *client) fail(f failure) verdict {
	bodyless := c.req.length == lengthNone || c.req.length == 0
	if !bodyless || !c.req.keeps() || c.p.draining.Load() {
		c.refuse(f, nil)
		return linger
	}
	connection := ""
	if c.req.http10 {
		connection = "keep-alive"
	}
	if c.refuse(f, &connection) != nil {
		return closeNow
	}
	return keep
}

// refuse writes a failure. connection is the value of the Connection field,
// nil means close.
func (c *client) refuse(f failure, connection *string) error {
	body := f.reason + "\n"
	out := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n", f.code, fasthttp.StatusMessage(f.code))
	if f.code == 503 {
		out = append(out, "Retry-After: 1\r\n"...)
	}
	switch {
	case connection == nil:
		out = append(out, "Connection: close\r\n"...)
	case *connection != "":
		out = appendField(out, "Connection", []byte(*connection))
	}
	out = appendFraming(out, int64(len(body)))
	if !c.req.parsed.IsHead() {
		out = append(out, body...)
	}
	_, err := c.Write(out)
	return err
}

// linger says that nothing more will come and lets the client finish talking.
func (c *client) linger() {
	closeWrite(c.conn)
	c.conn.SetReadDeadline(time.Now().Add(lingerFor))
	io.Copy(io.Discard, c.conn)
}

func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		return
	}
	conn.Close()
}
