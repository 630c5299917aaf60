package httpproxy

import (
	"errors"
	"sync/atomic"
	"time"
)

// settleFor is how long an answer waits for the last piece of the body to be
// on its way.
const settleFor = 50 * time.Millisecond

var (
	errPanic   = errors.New("panic while sending the body")
	errAborted = errors.New("the exchange ended before the body did")
)

// An upload sends a request's body while the answer may already be coming. The
// exchange that started it waits for it.
type upload struct {
	done      chan struct{}
	lastRead  atomic.Bool // the end of the body was read from the client
	clientErr error       // set before done is closed
	serverErr error       // likewise
}

// ended reports whether nothing more is sent.
func (up *upload) ended() bool {
	select {
	case <-up.done:
		return true
	default:
		return false
	}
}

// whole reports whether the body was sent to its end.
func (up *upload) whole() bool {
	return up.ended() && up.clientErr == nil && up.serverErr == nil
}

// settle is called when the answer has come. A server may well answer before
// the write of the last piece has returned here; that is no reason to give up
// the connections.
func (up *upload) settle() {
	if up.ended() || !up.lastRead.Load() {
		return
	}
	timer := time.NewTimer(settleFor)
	defer timer.Stop()
	select {
	case <-up.done:
	case <-timer.C:
	}
}

// startUpload sends what u.bw holds, then the body. Should the client fail, u
// is dropped: its server never sees a request that looks complete.
func (c *client) startUpload(u *upstream) *upload {
	c.mu.Lock()
	c.inBody = true
	c.mu.Unlock()
	up := &upload{done: make(chan struct{}), clientErr: errPanic}
	go func() {
		defer close(up.done)
		defer func() {
			if up.clientErr != nil {
				c.p.upstreams.drop(u)
			}
		}()
		defer c.recovered()
		up.clientErr, up.serverErr = copyBody(u.bw, c.br, c.req.length, c.req.length == lengthChunked, func() { up.lastRead.Store(true) })
		if c.isAborted() {
			up.clientErr, up.serverErr = nil, errAborted
		}
		by := time.Now().Add(c.p.o.ResponseTimeout)
		if isTimeout(up.serverErr) {
			by = time.Now()
		}
		u.headBy.CompareAndSwap(headNotYet, by.UnixNano())
	}()
	return up
}
