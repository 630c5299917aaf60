// Package relay moves bytes between the two ends of a proxied connection, both
// on one loop: in both directions, with back-pressure, the end of each direction
// passed on as a half-close and a reset as a reset.
//
// A Pair takes over two connected sockets and closes them when it is over: when
// both directions have ended, one side failed, or no byte has moved for the idle
// timeout. Then its owner is told, once. A pair that carries nothing holds
// nothing but its two sockets and one small struct.
package relay

import (
	"sync/atomic"
	"time"

	"fulcrum/loop"
)

// Cause says what ended a pair.
type Cause uint8

const (
	Finished       Cause = iota // both directions ended
	ClientFailed                // the client reset the connection, or it broke down
	UpstreamFailed              // the server did
	Idle                        // no byte moved for the idle timeout
)

func (c Cause) String() string {
	return [...]string{"finished", "client failed", "server failed", "idle"}[c]
}

// Bytes counts what was taken in from each side. It may be read from any
// goroutine.
type Bytes struct {
	ToUpstream, ToClient atomic.Int64
}

// Options say how pairs are run. Many pairs share one Options.
type Options struct {
	Idle  time.Duration // how long a pair may live without a byte either way; 0: forever
	Moved *Bytes        // added to as bytes are moved
}

// An Owner is told, on the loop, that its pair is over and both sockets are
// closed. It is not told from within Start or Close.
type Owner interface {
	Relayed(p *Pair, cause Cause)
}

// A Pair is a client and an upstream connection, each sent what the other sends.
// Start brings the zero Pair to life.
type Pair struct {
	client, upstream direction
	options          *Options
	owner            Owner
	lastMoved        time.Duration // when a byte was moved last, in the loop's time
}

// direction is one of the two sockets, as the source of what the other is sent.
type direction struct {
	*loop.Conn
	other *loop.Conn
	moved *atomic.Int64 // what it has sent
	ended bool          // it has sent all it will send
}

// Start begins to relay. It is called on the loop of both connections, and
// nothing else may use them from then on.
func (p *Pair) Start(client, upstream *loop.Conn, o *Options, owner Owner) {
	*p = Pair{
		client:    direction{Conn: client, other: upstream, moved: &o.Moved.ToUpstream},
		upstream:  direction{Conn: upstream, other: client, moved: &o.Moved.ToClient},
		options:   o,
		owner:     owner,
		lastMoved: client.Loop().Now(),
	}
	client.SetHandler(p)
	upstream.SetHandler(p)
	client.StopTimer()
	upstream.StopTimer()
	if o.Idle > 0 {
		client.SetTimer(o.Idle)
	}
	client.SpliceTo(upstream)
	upstream.SpliceTo(client)
	client.Resume()
	upstream.Resume()
}

// Close ends the pair at once, without telling its owner; what is still unsent
// is dropped.
func (p *Pair) Close() {
	p.client.Close()
	p.upstream.Close()
}

// Data passes on what one side sent, and holds that side back until the other
// has taken it.
func (p *Pair) Data(c *loop.Conn, b []byte) {
	d := p.from(c)
	d.moved.Add(int64(len(b)))
	d.other.Send(b)
	p.passedOn(d)
}

// Spliced does what Data does, for bytes that went to the other side already.
func (p *Pair) Spliced(c *loop.Conn, n int) {
	d := p.from(c)
	d.moved.Add(int64(n))
	p.passedOn(d)
}

func (p *Pair) passedOn(d *direction) {
	if d.other.Broken() {
		return // what goes nowhere does not keep the pair alive
	}
	p.lastMoved = d.Loop().Now()
	if d.other.Unsent() > 0 {
		d.Pause()
	}
}

// Sent lets the other side go on, after c has taken all that it had sent.
func (p *Pair) Sent(c *loop.Conn) {
	p.lastMoved = c.Loop().Now()
	p.from(c).other.Resume()
	p.finish()
}

// Ended passes on the end of one direction; the other goes on.
func (p *Pair) Ended(c *loop.Conn) {
	d := p.from(c)
	d.ended = true
	d.other.CloseWrite()
	p.finish()
}

// Failed passes a reset on, at once.
func (p *Pair) Failed(c *loop.Conn, err error) {
	p.from(c).other.Abort()
	if c == p.client.Conn {
		p.owner.Relayed(p, ClientFailed)
	} else {
		p.owner.Relayed(p, UpstreamFailed)
	}
}

// Expired ends the pair if nothing has moved since the timer was set, and
// otherwise waits for what is left: no timer is touched while bytes move.
func (p *Pair) Expired(c *loop.Conn) {
	left := p.options.Idle - (c.Loop().Now() - p.lastMoved)
	if left > 0 {
		c.SetTimer(left)
		return
	}
	p.Close()
	p.owner.Relayed(p, Idle)
}

// Connected never comes: both sockets were connected at Start.
func (p *Pair) Connected(*loop.Conn, error) {}

// finish ends the pair once both directions have ended and all was sent.
func (p *Pair) finish() {
	if p.client.ended && p.upstream.ended && p.client.Unsent() == 0 && p.upstream.Unsent() == 0 {
		p.Close()
		p.owner.Relayed(p, Finished)
	}
}

func (p *Pair) from(c *loop.Conn) *direction {
	if c == p.client.Conn {
		return &p.client
	}
	return &p.upstream
}
