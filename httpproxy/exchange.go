package httpproxy

import (
	"cmp"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"fulcrum/loop"
	"fulcrum/pool"
	"fulcrum/proxyproto"
)

// spliceLeast is how long a body is that may be spliced.
const spliceLeast = 256 << 10

// maxInterim bounds the 1xx answers to one request.
const maxInterim = 16

// maxReplay is how long a body is, at most, that is kept to be sent again.
const maxReplay = 16 << 10

// bodyGrace is how long a body may take before its rate matters.
const bodyGrace = 5 * time.Second

var (
	errClosed = errors.New("the connections to the server were closed")
	errEnded  = errors.New("the server ended the connection")
	errSlow   = slowError{}
)

// slowError is a server's silence beyond its time.
type slowError struct{}

func (slowError) Error() string { return "the server did not answer in time" }
func (slowError) Timeout() bool { return true }

// An exchange is one request and its answer. It belongs to a client until settle,
// and to an upstream connection from connect to the end of the answer.
type exchange struct {
	w      *worker
	req    request
	up     body // the request's
	ans    answer
	down   body   // the answer's
	out    []byte // the request's head as it goes to the server
	replay []byte // the request's as it went, if it is short and may have to be sent again

	progress
}

// progress is what an exchange begins anew with each request.
type progress struct {
	trace
	c       *client
	plan    *plan // by which it was begun
	way     *way
	to      *Upstream // the way's
	covered int       // bytes of the target that the way's path stands for
	u       *upstream // nil: no connection yet, or no more
	lease   pool.Lease
	tried   pool.Tried
	last    error // of the connection tried last

	waiter *pool.Waiter // in the pool's queue
	why    error        // it is

	received int64         // of the request's body
	due      time.Duration // when more of it is, in the loop's time, if there is a rate to be kept
	heldAt   time.Duration // when uploadHeld came to be

	headWaits  bool          // to go out with the first of the body
	taken      bool          // some of the body was used up
	sending    bool          // there is a server that takes the body
	uploadHeld bool          // the server takes no more for the moment
	seen       int           // bytes of the answer that were searched for the end of its head
	interim    int           // 1xx answers so far
	heard      time.Duration // when the server's last bytes came
	begun      bool          // the answer's head was passed on
	chunks     bool          // the body goes to the client in chunks
	trailers   bool          // and its trailer section too
	untilClose bool          // the end of the client's connection is to be that of the body
	reusable   bool          // what the answer says about the server's connection
	answerHeld bool          // the client takes no more for the moment
	verdict    verdict
}

// blank is the progress of a request that has made none.
var blank = progress{trace: trace{queued: -1, connectTime: -1, firstByte: -1}}

// acquire gets a server that was not tried yet, waiting for one if it must.
func (x *exchange) acquire() {
	lease, err := x.to.Pool.Acquire(&x.tried)
	switch err {
	case nil:
		x.lease = lease
		x.connect()
	case pool.ErrUnchecked:
		x.wait(err, x.to.CheckWait)
	case pool.ErrFull:
		x.wait(err, cmp.Or(x.to.QueueTimeout, x.to.CheckWait))
	default:
		x.fail(x.unavailable(err))
	}
}

// wait stands in the pool's queue, up to a limit.
func (x *exchange) wait(why error, limit time.Duration) {
	c, w := x.c, &pool.Waiter{Tried: &x.tried, AtOnce: x.to.QueueTimeout == 0}
	w.Granted = func(lease pool.Lease, err error) {
		if !c.w.loop.Post(func() { c.granted(w, lease, err) }) {
			lease.Release(pool.Served)
		}
	}
	x.waiter, x.why = w, why
	if err := x.to.Pool.Await(w); err != nil {
		x.waiter = nil
		x.fail(x.unavailable(err))
		return
	}
	if c.ended {
		limit = min(limit, pulse)
	}
	c.alarm.start(c.conn, c.w.loop.Now(), limit)
}

// granted goes on with the server that was waited for; a request that has given
// up meanwhile gives it back.
func (c *client) granted(w *pool.Waiter, lease pool.Lease, err error) {
	x := c.x
	if x == nil || x.waiter != w {
		lease.Release(pool.Served)
		return
	}
	c.w.serving = c
	x.waiter = nil
	c.alarm.stop()
	x.lease = lease
	c.conn.Do(func() {
		if err != nil {
			x.fail(x.unavailable(err))
			return
		}
		x.connect()
		c.proceed()
	})
}

// giveUp ends a wait that was too long, unless a server is on its way.
func (x *exchange) giveUp() {
	if x.to.Pool.Cancel(x.waiter) {
		x.waiter = nil
		x.fail(x.unavailable(x.why))
	}
}

func (x *exchange) leaveQueue() {
	if x.waiter != nil {
		x.to.Pool.Cancel(x.waiter)
		x.waiter = nil
	}
}

// connect takes a kept connection to the server, if one is young enough for what
// cannot be sent twice, or makes one.
func (x *exchange) connect() {
	age := youngFor
	if x.req.bodyless() && x.replayable() {
		age = x.to.KeepFor
	}
	if u := x.w.takeIdle(x.lease.Server(), age, x.owner()); u != nil {
		x.visit(true)
		x.u, u.x = u, x
		x.send()
		return
	}
	x.dial()
}

func (x *exchange) dial() {
	x.visit(false)
	u, err := x.w.dial(x.lease.Server(), x)
	if err != nil {
		x.connectFailed(err)
		return
	}
	x.u = u
}

// connectFailed tries another server: nothing was sent yet.
func (x *exchange) connectFailed(err error) {
	server := x.lease.Server()
	x.w.plan.Logger.Debug("cannot connect", "server", server.Address(), "error", err)
	outcome, ended, free := pool.ConnectFailed, ConnectFailed, errors.Is(err, unix.ECONNREFUSED)
	switch {
	case err == errClosed: // the operator's doing, which need not concern the other servers
		outcome, ended, free = pool.Served, Drained, true
	case errors.Is(err, unix.EADDRNOTAVAIL): // this machine's, which need not either
		outcome, ended, free = pool.Served, NoResources, true
	case loop.Exhausted(err):
		x.lease.Release(pool.Served)
		x.fail(noResources)
		return
	}
	x.lease.Release(outcome)
	x.last = err
	x.tried.Add(server)
	x.leave(ended)
	if !x.to.Pool.Retry(&x.tried, free) {
		x.fail(x.unavailable(pool.ErrNoneReady))
		return
	}
	x.acquire()
}

// replayable reports whether the request may be sent again after it might have
// reached a server (RFC 9110, section 9.2.2): all of its body has to be at hand.
func (x *exchange) replayable() bool {
	return (!x.taken || len(x.replay) > 0) && !x.req.upgrades && x.req.idempotent()
}

// send begins the request on the connection that there is now. The head goes out
// together with what is there of the body.
func (x *exchange) send() {
	x.out = x.req.append(x.preface(x.out[:0]), x.onward())
	x.out = append(x.out, x.replay...)
	x.w.sampler.Touch(x)
	x.heard = x.w.loop.Now()
	x.sentAt, x.due = x.heard, x.heard+bodyGrace
	x.headWaits, x.sending, x.uploadHeld = true, true, false
	if x.up.ended() {
		x.sendHead()
		x.sent()
	}
}

// onward says how the request goes on to its server.
func (x *exchange) onward() *onward {
	o := &x.w.onward
	*o = onward{
		client:     x.c.address,
		claims:     x.c.trusted,
		off:        x.w.plan.Forwarded == ForwardedOff,
		serverHost: hostOf(x.lease.Server()),
		host:       x.to.Host,
		edits:      x.way.requestEdits,
	}
	if o.host == ServerHost {
		o.host = o.serverHost
	}
	if x.way.strips {
		o.covered = x.covered
	}
	return o
}

// preface begins what is sent with a PROXY header, if the connection has to begin
// with one.
func (x *exchange) preface(out []byte) []byte {
	if x.u.owner == nil || x.u.reused {
		return out
	}
	return proxyproto.Append(out, x.to.SendProxy, x.c.address, x.c.destination)
}

// owner returns the client whose own the connection to the server has to be, nil
// if it may be anybody's.
func (x *exchange) owner() *client {
	if x.to.SendProxy == 0 {
		return nil
	}
	return x.c
}

func (x *exchange) sendHead() {
	if x.headWaits {
		x.headWaits = false
		x.u.conn.Send(x.out)
		if !x.up.ended() {
			x.flow(0)
		}
	}
}

// sent begins to wait for the answer.
func (x *exchange) sent() {
	if !x.answerHeld {
		x.c.alarm.stop()
	}
	if !x.begun {
		x.u.alarm.start(x.u.conn, x.w.loop.Now(), x.to.ResponseTimeout)
	}
	x.c.look()
}

// cancel ends a request whose client is gone.
func (x *exchange) cancel(ended Ending) {
	x.leaveQueue()
	x.dropUpstream()
	x.lease.Release(pool.Served)
	x.finish(ended)
}

func (x *exchange) dropUpstream() {
	if u := x.u; u != nil {
		if client, _, ok := sockets(x.c.conn, u.conn); ok && x.up.length >= spliceLeast {
			client.SpliceAtMost(nil, 0) // the other may become somebody else's
		}
		u.drop()
	}
	x.sending, x.headWaits = false, false
}
