package httpproxy

import (
	"errors"
	"strconv"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"fulcrum/pool"
)

// A verdict says what becomes of the client's connection after a request.
type verdict uint8

const (
	keeps   verdict = iota
	closes          // the answer is complete
	lingers         // so it is, and something is left unread
)

// A failure is what a client is told when no server's answer can be passed on, and
// what that is called.
type failure struct {
	code   int
	reason string
	ended  Ending

	location []byte // of a Redirect
}

// size is that of the body of the answer.
func (f *failure) size() int64 {
	if f.code == 0 {
		return 0
	}
	return int64(len(f.reason) + 1)
}

var (
	contentType, location = []byte("Content-Type"), []byte("Location")

	badBody      = failure{code: 400, reason: "the body of the request is malformed", ended: BadBody}
	bodyTooLarge = failure{code: 413, reason: "the body of the request is too large", ended: BodyTooLarge}
	noResources  = failure{code: 503, reason: "no more connections can be opened", ended: NoResources}
)

// refuseHead answers a head that cannot be served.
func (c *client) refuseHead(err error) {
	f := failure{code: 400, reason: err.Error(), ended: RefusedHead}
	switch {
	case errors.Is(err, errTargetTooLong):
		f.code = 414
	case errors.Is(err, errHeadTooLarge):
		f.code = 431
	case errors.Is(err, errVersion):
		f.code = 505
	}
	if c.x != nil {
		c.x.req.distrust()
	}
	c.refuse(f, true)
	c.settle(lingers)
}

// refuse sends a failure, as the last answer or not, which is the end of the
// request if there is one.
func (c *client) refuse(f failure, last bool) {
	bodyless := c.x != nil && c.x.req.parsed.IsHead()
	if x := c.x; x != nil {
		x.status = f.code
		if !bodyless {
			x.own = f.size()
		}
		x.finish(f.ended)
	} else {
		c.finish(f)
	}
	out := append(c.w.out[:0], "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(f.code), 10)
	out = append(out, ' ')
	out = append(out, fasthttp.StatusMessage(f.code)...)
	out = append(out, "\r\n"...)
	var e *edits
	if f.location != nil {
		e = c.x.way.answerEdits
	}
	if !e.drops(contentType) {
		out = appendField(out, contentType, "text/plain; charset=utf-8")
	}
	if f.code == 503 {
		out = append(out, "Retry-After: 1\r\n"...)
	}
	if f.location != nil && !e.drops(location) {
		out = appendField(out, location, f.location)
	}
	out = e.append(out)
	switch {
	case last:
		out = append(out, "Connection: close\r\n"...)
	case c.x.req.http10:
		out = append(out, "Connection: keep-alive\r\n"...)
	}
	out = appendFraming(out, f.size())
	if !bodyless {
		out = append(out, f.reason...)
		out = append(out, '\n')
	}
	c.w.send(c.conn, out)
}

// fail answers a request that has no server any more and whose answer has not
// begun.
func (x *exchange) fail(f failure) {
	c := x.c
	last := !x.req.bodyless() || !x.req.keeps() || c.w.draining()
	c.refuse(f, last)
	if last {
		c.settle(lingers)
	} else {
		c.settle(keeps)
	}
}

// unavailable tells why no server could be had.
func (x *exchange) unavailable(err error) failure {
	last, queues := x.last, x.to.QueueTimeout > 0
	switch {
	case err == pool.ErrFull:
		return failure{code: 503, reason: "every server is busy", ended: QueueTimeout}
	case err == pool.ErrQueueFull && queues:
		return failure{code: 503, reason: "every server is busy", ended: QueueFull}
	case err == pool.ErrQueueFull:
		return failure{code: 503, reason: "every server is busy", ended: AllFull}
	case last == nil:
		return failure{code: 503, reason: "no server is ready", ended: NoneReady}
	case errors.Is(last, unix.EADDRNOTAVAIL):
		return noResources
	case isTimeout(last):
		return failure{code: 504, reason: "no server could be connected to in time", ended: ConnectFailed}
	}
	return failure{code: 502, reason: "no server could be connected to", ended: ConnectFailed}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
