package httpproxy

import (
	"bytes"
	"errors"
	"net/netip"
	"time"

	"fulcrum/loop"
)

const (
	lingerFor = time.Second // how long a client has to notice that it is not listened to
	pulse     = time.Second // how long a server may be silent after its client has ended its direction
)

// stage is what a client is at.
type stage uint8

const (
	introducing stage = iota // a PROXY header is to come
	reading                  // between two requests, or within a head
	asking                   // its request is being served
	lingering                // is told that it is not listened to any more
	closing                  // is closed once it has taken what it was sent
	tunneling
	arriving // from another process
	gone
)

// A client is one connection of a listener. It is the loop.Handler of that
// connection.
type client struct {
	w           *worker
	conn        transport
	address     netip.AddrPort // who it is; invalid: it has none
	destination netip.AddrPort // what it connected to, if that is to be told to servers
	x           *exchange      // the request that is being served
	kept        []*upstream    // idle connections to servers that nobody else may use
	in          []byte         // what came in and cannot be used yet; nil mostly
	alarm       alarm
	tunnel      *tunnel

	seen    int // bytes of in that were searched for the end of the head
	stage   stage
	skipped bool // an empty line before the head
	late    bool // the time for the head runs
	ended   bool // has sent all it will send
	trusted bool // what it says of others is believed
	limited bool // it is counted among the connections of its address
	paused  bool
	held    bool // has not taken the last answer yet, and is not served before
	feeding bool // feed is at work
	leaving bool // is to go on in another process: it is told of nothing,
	stays   bool // or cannot do so

	next, prev *client
}

// Connected never comes: clients are accepted.
func (c *client) Connected(*loop.Conn, error) {}

// Spliced: so much of the request's body went to the server.
func (c *client) Spliced(_ *loop.Conn, n int) {
	c.w.serving = c
	x := c.x
	x.up.spliced(n)
	x.took(n)
	x.uploaded(n)
	c.flow()
}

// Data uses up what has come in as far as that can be done now.
func (c *client) Data(_ *loop.Conn, b []byte) {
	if c.stage > asking {
		return
	}
	c.w.serving = c
	if len(c.in) > 0 {
		c.in = append(c.in, b...)
		b = c.in
	}
	c.consume(b)
}

// proceed goes on with what came in before.
func (c *client) proceed() {
	if c.feeding || c.stage > asking || c.leaving {
		return
	}
	c.consume(c.in)
	if c.ended && c.stage == reading && !c.held {
		c.closeSoon() // what is left is not a whole head
	}
}

func (c *client) consume(b []byte) {
	c.feeding = true
	used := c.feed(b)
	c.feeding = false
	if c.stage == gone || c.stage == tunneling {
		return
	}
	c.in = c.w.keep(c.in, b[used:])
	if x := c.x; x != nil {
		x.sendHead()
		if c.ended && x.wantsMore() {
			c.close(ClientClosed)
			return
		}
	}
	c.flow()
}

// feed returns how much of b could be used.
func (c *client) feed(b []byte) (used int) {
	for used < len(b) {
		n := 0
		switch c.stage {
		case introducing:
			n = c.introduce(b[used:])
		case reading:
			if c.leaving {
				return used
			}
			n = c.head(b[used:])
		case asking:
			n = c.x.upload(b[used:])
		default:
			return len(b)
		}
		if n == 0 {
			break
		}
		used += n
	}
	return used
}

// flow has the client wait when it sends more than can be used. A PROXY header, which
// may be longer than a head, has its own bound.
func (c *client) flow() {
	much := c.stage != introducing && len(c.in) >= c.w.requests.maxBytes
	pause := much || c.x != nil && c.x.uploadHeld
	if pause == c.paused {
		return
	}
	if c.paused = pause; pause {
		c.conn.Pause()
	} else {
		c.conn.Resume()
	}
}

// head takes a request's head, if it is there as a whole, and begins to serve it.
func (c *client) head(b []byte) (used int) {
	if c.conn.Broken() {
		c.close(ClientReset) // nobody is there to be answered
		return len(b)
	}
	if c.conn.Unsent() > 0 {
		if !c.held {
			c.held = true
			c.alarm.start(c.conn, c.w.loop.Now(), c.w.plan.IdleTimeout)
		}
		return 0
	}
	c.held = false
	if !c.skipped && len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		c.skipped, c.seen = true, 0 // RFC 9112, section 2.2
		return 2
	}
	most := c.w.requests.maxBytes
	n, err := headEnd(b, c.seen, most)
	if err == errHeadTooLarge && bytes.IndexByte(b[:most], '\n') < 0 {
		err = errTargetTooLong
	}
	if err != nil {
		c.refuseHead(err)
		return len(b)
	}
	if n == 0 {
		c.seen = len(b)
		if !c.late {
			c.late = true
			c.alarm.start(c.conn, c.w.loop.Now(), c.w.plan.HeaderTimeout)
		}
		return 0
	}
	c.seen, c.skipped, c.late = 0, false, false
	c.begin(b[:n])
	return n
}

// begin serves a request.
func (c *client) begin(head []byte) {
	c.stage = asking
	c.alarm.stop()
	x := c.w.takeExchange(c)
	c.x = x
	x.plan, x.began = c.w.plan, c.w.loop.Now()
	x.trace.route = &c.w.nowhere
	c.w.sampler.Begin(x)
	if err := x.req.parse(c.w.requests, head); err != nil {
		c.refuseHead(err)
		return
	}
	if x.req.parsed.IsConnect() {
		c.refuse(failure{code: 501, reason: "CONNECT is not supported", ended: RefusedHead}, true)
		c.settle(lingers)
		return
	}
	length := x.req.length
	if length == lengthNone {
		length = 0
	}
	if x.tooLarge(length) {
		c.refuse(bodyTooLarge, true)
		c.settle(lingers)
		return
	}
	x.up.begin(length)
	x.find()
}

// settle goes on after a request, which the exchange is done with.
func (c *client) settle(v verdict) {
	if x := c.x; x != nil {
		c.x = nil
		c.w.giveExchange(x)
	}
	switch {
	case v == keeps:
		c.stage = reading
		c.alarm.start(c.conn, c.w.loop.Now(), c.w.patience(c.w.plan.IdleTimeout))
		if c.w.giving && !c.stays && c.movable() {
			c.rest()
		}
		c.proceed()
	case v == lingers, c.paused, len(c.in) > 0:
		c.linger()
	default:
		c.closeSoon()
	}
}

// linger says that nothing more will come and lets the client finish talking: to
// close what has not been read would be a reset, and lose the answer.
func (c *client) linger() {
	c.stage = lingering
	c.in = c.w.keep(c.in, nil)
	c.conn.CloseWrite()
	if c.ended {
		c.closeSoon()
		return
	}
	patience := lingerFor
	if c.conn.Unsent() > 0 {
		patience = c.w.plan.IdleTimeout
	}
	c.alarm.start(c.conn, c.w.loop.Now(), patience)
	c.flow()
}

// hurry has what the client is waited for come within a time, if it had longer.
func (c *client) hurry(limit time.Duration) {
	now := c.w.loop.Now()
	c.alarm.start(c.conn, now, min(c.alarm.left(now), limit))
}

// patienceLeft returns how long a client that is taking what it is sent, however
// slowly, may go without taking more.
func (c *client) patienceLeft(now time.Duration) time.Duration {
	taking := c.conn.Progress()
	if taking == 0 || c.stage == asking && !c.x.answerHeld {
		return 0
	}
	return c.w.plan.IdleTimeout - (now - taking)
}

// closeSoon closes the connection once what was sent is out.
func (c *client) closeSoon() {
	if c.conn.Unsent() == 0 {
		c.close(ClientClosed)
		return
	}
	c.stage = closing
	c.in = c.w.keep(c.in, nil)
	c.alarm.start(c.conn, c.w.loop.Now(), c.w.plan.IdleTimeout)
	c.flow()
}

// close ends the client, whatever it is at, and its request, which is recorded to
// have ended like that.
func (c *client) close(ended Ending) {
	if c.stage == gone {
		return
	}
	c.stage = gone
	defer c.w.remove(c)
	if c.limited {
		c.w.p.perClient.Leave(c.address.Addr())
	}
	if t := c.tunnel; t != nil {
		t.end(ended)
	}
	cut := c.conn.Unsent() > 0 // an end would make what the client has got look whole
	if x := c.x; x != nil {
		cut = cut || x.begun && x.untilClose
		c.x = nil
		x.cancel(ended)
		c.w.giveExchange(x)
	}
	for len(c.kept) > 0 {
		c.kept[0].drop()
	}
	c.in = c.w.keep(c.in, nil)
	if cut {
		c.conn.Abort()
	}
	c.conn.Close()
	c.conn.Recycle()
	c.conn = closedTransport{}
}

// Ended: the client may still want its answers.
func (c *client) Ended(*loop.Conn) {
	c.w.serving = c
	c.ended = true
	switch {
	case c.stage == introducing && len(c.in) > 0:
		c.unintroduced()
	case c.stage == introducing, c.stage == lingering:
		c.closeSoon()
	case c.stage == reading && !c.held:
		c.closeSoon()
	case c.stage == asking && c.x.wantsMore():
		c.close(ClientClosed)
	case c.stage == asking && c.x.waiter != nil:
		now := c.w.loop.Now()
		c.alarm.start(c.conn, now, min(c.alarm.left(now), pulse))
	case c.stage == asking && c.x.sending && c.x.up.ended():
		c.look()
	}
}

// look sees to it that a silent server's client is taken to have left, if it has
// ended its direction and takes what it is sent.
func (c *client) look() {
	if c.ended && !c.x.answerHeld {
		c.alarm.start(c.conn, c.w.loop.Now(), pulse)
	}
}

// Sent: the client has taken all it was sent.
func (c *client) Sent(*loop.Conn) {
	c.w.serving = c
	switch {
	case c.stage == closing:
		c.close(ClientClosed)
	case c.stage == lingering:
		c.alarm.start(c.conn, c.w.loop.Now(), lingerFor)
	case c.stage == reading && c.held:
		c.held = false
		c.alarm.start(c.conn, c.w.loop.Now(), c.w.plan.IdleTimeout)
		c.proceed()
	case c.stage == asking && c.x.answerHeld:
		c.x.resumeAnswer()
	}
}

// Failed: the client is gone, or there was a panic here.
func (c *client) Failed(_ *loop.Conn, err error) {
	if errors.Is(err, loop.ErrPanicked) {
		c.w.panicked()
	}
	c.close(ClientReset)
}

// Expired: what the client was waited for has not come in time.
func (c *client) Expired(*loop.Conn) {
	now := c.w.loop.Now()
	if !c.alarm.rang(c.conn, now) {
		return
	}
	c.w.serving = c
	x := c.x
	if left := c.patienceLeft(now); left > 0 {
		c.alarm.start(c.conn, now, left)
		return
	}
	switch {
	case c.stage == introducing:
		c.unintroduced()
	case c.stage == reading && c.conn.Unsent() > 0:
		c.close(Idle) // does not take its last answer
	case c.stage == reading && c.late && !c.held:
		c.refuse(failure{code: 408, reason: "the head of the request did not come in time", ended: HeadTimeout}, true)
		c.settle(lingers)
	case c.stage != asking:
		c.close(Idle)
	case x.waiter != nil && c.ended:
		c.close(ClientClosed)
	case x.waiter != nil:
		x.giveUp()
	case x.answerHeld:
		c.close(Idle) // does not take its answer
	case !x.up.ended():
		x.bodyFailed(failure{code: 408, reason: "the body of the request did not come in time", ended: BodyTimeout})
	case c.ended && now-x.heard >= pulse:
		c.close(ClientClosed)
	case c.ended:
		c.alarm.start(c.conn, now, pulse-(now-x.heard))
	}
}
