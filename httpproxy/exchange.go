package httpproxy

import (
	"errors"
	"io"
	"net"
	"time"

	"fulcrum/loop"
	"fulcrum/pool"
)

// maxInterim bounds the 1xx answers to one request.
const maxInterim = 16

// An exchange is one request and its answer on one upstream connection.
type exchange struct {
	c      *client
	u      *upstream // nil once it was put back or dropped
	lease  *pool.Lease
	upload *upload // nil: the request has no body
}

// attempt sends the request to the lease's server and passes the answer on.
// The error says that the server could not be connected to: nothing was sent
// and another may be tried. The lease is released either way.
func (c *client) attempt(lease *pool.Lease) (verdict, error) {
	defer lease.Release(pool.AnswerFailed) // a panic; every other way out releases before
	age := youngFor
	if c.replayable() {
		age = idleFor
	}
	for {
		u, err := c.p.upstreams.get(lease.Server(), age)
		if err != nil {
			if err == errClosed || loop.Exhausted(err) {
				lease.Release(pool.Served) // the operator's doing, or this machine's
			}
			lease.Release(pool.ConnectFailed)
			return closeNow, err
		}
		x := &exchange{c: c, u: u, lease: lease}
		v, again := x.run()
		if !again {
			return v, nil
		}
		age = 0
	}
}

// replayable reports whether the request may be sent again after it might have
// reached a server (RFC 9110, section 9.2.2).
func (c *client) replayable() bool {
	switch string(c.req.parsed.Method()) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return (c.req.length == lengthNone || c.req.length == 0) && !c.req.upgrades
	}
	return false
}

// run reports again when the kept connection turned out to be closed and the
// request may be sent on a new one.
func (x *exchange) run() (v verdict, again bool) {
	defer x.close()
	err := x.ask()
	if err == nil {
		return x.relay(), false
	}
	u := x.u
	x.close()
	if !u.kept.IsZero() && !u.answered && x.c.replayable() && !isTimeout(err) && err != errClientGone && !errors.Is(err, net.ErrClosed) {
		return keep, true
	}
	return x.failed(err), false
}

// ask sends the request and reads heads until a final one or 101 has come,
// passing the interim ones on. The body goes out meanwhile.
func (x *exchange) ask() error {
	c, u := x.c, x.u
	u.watch = x.clientGone
	u.patience, u.stall = maxSilence, c.p.o.ResponseTimeout
	c.out = c.req.append(c.out[:0], c.ip, hostOf(x.lease.Server()))
	u.bw.Reset(u)
	u.bw.Write(c.out)
	if c.req.length > 0 || c.req.length == lengthChunked {
		u.headBy.Store(headNotYet)
		x.upload = c.startUpload(u)
	} else {
		u.headBy.Store(time.Now().Add(c.p.o.ResponseTimeout).UnixNano())
		u.bw.Flush() // should it fail, reading tells more
	}
	for range maxInterim {
		if err := c.ans.read(u.br); err != nil {
			return err
		}
		code := c.ans.parsed.StatusCode()
		if code >= 200 || code == 101 {
			u.headBy.Store(headCame)
			if code == 101 && (!c.req.upgrades || len(c.ans.upgrade) == 0) {
				return errSyntax
			}
			return nil
		}
		if c.req.http10 {
			continue
		}
		c.out = c.ans.appendInterim(c.out[:0])
		if _, err := c.Write(c.out); err != nil {
			return errClientGone
		}
	}
	return errSyntax
}

// clientGone looks after the client while the server is silent. While the body
// is being sent, its reader would notice.
func (x *exchange) clientGone() bool {
	return (x.upload == nil || x.upload.ended()) && x.c.br.Buffered() == 0 && ended(x.c.conn)
}

// relay passes a final answer on.
func (x *exchange) relay() verdict {
	c, a := x.c, &x.c.ans
	code := a.parsed.StatusCode()
	if code == 101 {
		return x.tunnel()
	}
	bodyless := c.req.parsed.IsHead() || code == 204 || code == 304
	from, to := a.length, a.length
	switch {
	case bodyless:
		from = 0
		if code == 204 || to == lengthChunked {
			to = lengthNone
		}
	case from < 0 && c.req.http10:
		to = lengthNone
	case from < 0:
		to = lengthChunked
	}
	untilClose := !bodyless && to == lengthNone
	v := keep
	if !c.req.keeps() || untilClose || c.p.draining.Load() {
		v = closeNow
	}
	if x.upload != nil {
		x.upload.settle()
		if !x.upload.whole() {
			v = linger
		}
	}
	connection := ""
	switch {
	case v != keep:
		connection = "close"
	case c.req.http10:
		connection = "keep-alive"
	}
	c.out = a.appendFinal(c.out[:0], connection, to)
	c.bw.Reset(c)
	c.bw.Write(c.out)
	reusable := a.keeps() && from != lengthNone
	srcErr, dstErr := copyBody(c.bw, x.u.br, from, to == lengthChunked && !bodyless, func() { x.finish(reusable) })
	if srcErr == nil && dstErr == nil {
		if v == closeNow && (c.br.Buffered() > 0 || !quiet(c.conn)) {
			return linger
		}
		return v
	}
	return x.cut(srcErr, untilClose)
}

// finish ends the server's part once its answer has been read.
func (x *exchange) finish(reusable bool) {
	u := x.u
	if reusable && (x.upload == nil || x.upload.whole()) && u.br.Buffered() == 0 {
		x.u = nil
		x.c.p.upstreams.put(u)
	} else {
		x.close()
	}
	x.lease.Release(pool.Served)
}

// cut ends an answer that cannot be completed so that the client can tell:
// the server failed with srcErr, or the client does not take it (nil).
func (x *exchange) cut(srcErr error, untilClose bool) verdict {
	x.close()
	outcome := pool.AnswerFailed
	if srcErr == nil || srcErr == errClientGone || errors.Is(srcErr, net.ErrClosed) {
		outcome = pool.Served
	} else {
		x.c.p.o.Logger.Debug("answer cut short", "server", x.lease.Server().Address(), "error", srcErr)
	}
	x.lease.Release(outcome)
	if tcp, ok := x.c.conn.(*net.TCPConn); ok && untilClose {
		tcp.SetLinger(0) // a close would look like the end of the answer
	}
	return closeNow
}

// failed answers a request that got no answer from its server. The exchange
// is closed.
func (x *exchange) failed(err error) verdict {
	c := x.c
	if up := x.upload; up != nil && up.clientErr != nil {
		x.lease.Release(pool.Served)
		return c.blame(up.clientErr)
	}
	if err == errClientGone {
		x.lease.Release(pool.Served)
		return closeNow
	}
	f := failure{502, "the server gave no valid answer"}
	outcome := pool.AnswerFailed
	switch {
	case isTimeout(err):
		f = failure{504, "the server did not answer in time"}
	case errors.Is(err, net.ErrClosed):
		f.reason, outcome = "the server was taken out of service", pool.Served
	}
	c.p.o.Logger.Debug("no answer", "server", x.lease.Server().Address(), "error", err)
	x.lease.Release(outcome)
	return c.fail(f)
}

// blame answers a request whose body could not be read.
func (c *client) blame(err error) verdict {
	var network net.Error
	switch {
	case isTimeout(err):
		c.refuse(failure{408, "the body of the request did not come in time"}, nil)
	case errors.As(err, &network), err == io.ErrUnexpectedEOF:
		return closeNow
	default:
		c.refuse(failure{400, "the body of the request is malformed"}, nil)
	}
	return linger
}

// close drops the upstream connection, unless it was put back, and waits for
// the upload. Closing again does nothing.
func (x *exchange) close() {
	if x.u != nil {
		x.c.p.upstreams.drop(x.u)
		x.u = nil
	}
	if x.upload != nil && !x.upload.ended() {
		x.c.abort()
		<-x.upload.done
	}
}
