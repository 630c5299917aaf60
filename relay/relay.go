// Package relay moves bytes between the two ends of a proxied connection, both
// on one loop: in both directions, with back-pressure, the end of each direction
// passed on as a half-close and a reset as a reset.
//
// A Pair takes over two connected sockets and closes them when it is over: when
// both directions have ended, one side failed, or no byte has moved for too long.
// Then its owner is told, once. A pair that carries nothing holds nothing but its
// two sockets and one small struct.
package relay

import (
	"errors"
	"sync/atomic"
	"time"

	"fulcrum/loop"
)

// Cause says what ended a pair.
type Cause uint8

const (
	ClientEnded    Cause = iota // both directions ended, the client's first
	UpstreamEnded               // both directions ended, the server's first
	ClientFailed                // the client reset the connection, or it broke down
	UpstreamFailed              // the server did
	Idle                        // no byte moved for the idle timeout
	HalfClosedIdle              // nor, after one direction had ended, for the timeout that holds then
	Panicked                    // a bug, on one of the two connections
)

func (c Cause) String() string {
	return [...]string{"client ended", "server ended", "client failed", "server failed", "idle", "half-closed and idle", "panicked"}[c]
}

// Bytes counts what was taken in from each side. It may be read from any
// goroutine.
type Bytes struct {
	ToUpstream, ToClient atomic.Int64
}

// Options say how pairs are run. Many pairs share one Options.
type Options struct {
	Idle       time.Duration // how long a pair may live without a byte either way; 0: forever
	HalfClosed time.Duration // the same, from when one direction has ended; 0: as Idle
	Moved      *Bytes        // added to as bytes are moved
	Inspected  bool          // the owner of each pair is an Inspector, and nothing is spliced
}

// An Owner is told, on the loop, what becomes of its pair, and not from within
// Start or Close.
type Owner interface {
	// Answered: the first byte of the server's has come. The pair must not be
	// closed from there.
	Answered(p *Pair)
	// Relayed: the pair is over and both sockets are closed.
	Relayed(p *Pair, cause Cause)
}

// An Inspector is an Owner that is shown what passes.
type Inspector interface {
	Owner
	// Passing: these bytes have come from one of the pair's connections and go to the
	// other next. They are on loan, and not to be changed. The pair must not be closed
	// from there.
	Passing(p *Pair, from *loop.Conn, b []byte)
}

// A Pair is a client and an upstream connection, each sent what the other sends.
// Who sets them brings the Pair to life by Start.
type Pair struct {
	Client, Upstream *loop.Conn // set before Start, and left alone from then on

	options              *Options
	owner                Owner
	lastMoved            time.Duration // when a byte was moved last, or one direction ended, in the loop's time
	toUpstream, toClient int64

	clientEnded, upstreamEnded bool // has sent all it will send
	first                      Cause
}

// Start begins to relay. It is called on the loop of both connections, and
// nothing else may use these from then on. sent is how many bytes of the client's
// were sent on already; what the upstream has not taken of them by now goes first.
func (p *Pair) Start(o *Options, owner Owner, sent int) {
	p.begin(o, owner)
	p.toUpstream = int64(sent)
	if sent > 0 {
		o.Moved.ToUpstream.Add(int64(sent))
	}
	if o.Idle > 0 {
		p.Client.SetTimer(o.Idle)
	}
	p.read()
}

// begin takes over the two connections.
func (p *Pair) begin(o *Options, owner Owner) {
	client, upstream := p.Client, p.Upstream
	*p = Pair{Client: client, Upstream: upstream, options: o, owner: owner, lastMoved: client.Loop().Now()}
	client.SetHandler(p)
	upstream.SetHandler(p)
	client.StopTimer()
	upstream.StopTimer()
	if !o.Inspected {
		client.SpliceTo(upstream)
		upstream.SpliceTo(client)
	}
}

// read begins to read from each side whose bytes the other takes.
func (p *Pair) read() {
	if p.Upstream.Unsent() == 0 {
		p.Client.Resume()
	}
	if p.Client.Unsent() == 0 {
		p.Upstream.Resume()
	}
}

// Hurry has the pair heed the time limits of its Options as they are by now, should
// they be shorter than before.
func (p *Pair) Hurry() { p.Client.SetTimer(0) }

// Moved returns how many bytes were taken in from each side so far.
func (p *Pair) Moved() (toUpstream, toClient int64) { return p.toUpstream, p.toClient }

// Close ends the pair at once, without telling its owner. What is still unsent is
// dropped, and then both sides are told so by a reset: an end would make what they
// have got look whole.
func (p *Pair) Close() {
	if p.Client.Unsent() > 0 || p.Upstream.Unsent() > 0 {
		p.Client.Abort()
		p.Upstream.Abort()
	}
	p.Client.Close()
	p.Upstream.Close()
}

// Leave ends a pair of which neither direction has ended, without telling its owner:
// the connections, which stay open and behind what was sent on them, are another
// handler's from then on, and read. It reports whether it did; else the pair goes on.
func (p *Pair) Leave(next loop.Handler) bool {
	if p.clientEnded || p.upstreamEnded {
		return false
	}
	for _, c := range [...]*loop.Conn{p.Client, p.Upstream} {
		c.StopTimer()
		c.SpliceAtMost(nil, 0)
		c.SetHandler(next)
		c.Resume()
	}
	return true
}

// Data passes on what one side sent, and holds that side back until the other
// has taken it.
func (p *Pair) Data(c *loop.Conn, b []byte) {
	to := p.count(c, len(b))
	if p.options.Inspected {
		p.owner.(Inspector).Passing(p, c, b)
	}
	to.Send(b)
	p.passedOn(c, to)
}

// Spliced does what Data does, for bytes that went to the other side already.
func (p *Pair) Spliced(c *loop.Conn, n int) { p.passedOn(c, p.count(c, n)) }

// count counts what came in and returns where it goes.
func (p *Pair) count(c *loop.Conn, n int) (to *loop.Conn) {
	if c == p.Client {
		p.toUpstream += int64(n)
		p.options.Moved.ToUpstream.Add(int64(n))
		return p.Upstream
	}
	if p.toClient == 0 {
		p.owner.Answered(p)
	}
	p.toClient += int64(n)
	p.options.Moved.ToClient.Add(int64(n))
	return p.Client
}

func (p *Pair) passedOn(from, to *loop.Conn) {
	if to.Broken() {
		return // what goes nowhere does not keep the pair alive
	}
	p.lastMoved = from.Loop().Now()
	if to.Unsent() > 0 {
		from.Pause()
	}
}

// Sent lets the other side go on, after c has taken all that it had sent.
func (p *Pair) Sent(c *loop.Conn) {
	p.lastMoved = c.Loop().Now()
	p.other(c).Resume()
	p.finish()
}

// Ended passes on the end of one direction; the other goes on, for as long as
// bytes move in it.
func (p *Pair) Ended(c *loop.Conn) {
	if !p.clientEnded && !p.upstreamEnded {
		p.firstEnded(c)
	}
	p.clientEnded = p.clientEnded || c == p.Client
	p.upstreamEnded = p.upstreamEnded || c == p.Upstream
	p.other(c).CloseWrite()
	p.finish()
}

func (p *Pair) firstEnded(c *loop.Conn) {
	if c == p.Upstream {
		p.first = UpstreamEnded
	}
	p.lastMoved = c.Loop().Now()
	if o := p.options; o.HalfClosed > 0 && (o.Idle == 0 || o.HalfClosed < o.Idle) {
		p.Client.SetTimer(o.HalfClosed)
	}
}

// Failed passes a reset on, at once.
func (p *Pair) Failed(c *loop.Conn, err error) {
	p.other(c).Abort()
	switch {
	case errors.Is(err, loop.ErrPanicked):
		p.owner.Relayed(p, Panicked)
	case c == p.Client:
		p.owner.Relayed(p, ClientFailed)
	default:
		p.owner.Relayed(p, UpstreamFailed)
	}
}

// limit returns how long the pair may live without a byte, 0 if forever, and what
// ends it then.
func (p *Pair) limit() (time.Duration, Cause) {
	if h := p.options.HalfClosed; h > 0 && (p.clientEnded || p.upstreamEnded) {
		return h, HalfClosedIdle
	}
	return p.options.Idle, Idle
}

// Expired ends the pair if nothing has moved since the timer was set, and
// otherwise waits for what is left: no timer is touched while bytes move.
func (p *Pair) Expired(c *loop.Conn) {
	limit, cause := p.limit()
	if limit == 0 {
		return
	}
	last := max(p.lastMoved, p.Client.Progress(), p.Upstream.Progress())
	if left := limit - (c.Loop().Now() - last); left > 0 {
		c.SetTimer(left)
		return
	}
	p.Close()
	p.owner.Relayed(p, cause)
}

// Connected never comes: both sockets were connected at Start.
func (p *Pair) Connected(*loop.Conn, error) {}

// finish ends the pair once both directions have ended and all was sent.
func (p *Pair) finish() {
	if p.clientEnded && p.upstreamEnded && p.Client.Unsent() == 0 && p.Upstream.Unsent() == 0 {
		p.Close()
		p.owner.Relayed(p, p.first)
	}
}

func (p *Pair) other(c *loop.Conn) *loop.Conn {
	if c == p.Client {
		return p.Upstream
	}
	return p.Client
}
