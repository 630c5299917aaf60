package relay

import (
	"time"

	"fulcrum/loop"
)

// A State is what a pair takes with it to another process, besides its two sockets.
type State struct {
	ToUpstream int64 `json:"to_upstream"` // bytes that were taken in from each side
	ToClient   int64 `json:"to_client"`

	ClientEnded   bool `json:"client_ended,omitempty"` // has sent all it will send
	UpstreamEnded bool `json:"upstream_ended,omitempty"`
	UpstreamFirst bool `json:"upstream_first,omitempty"` // of two that have ended, or of one

	Quiet time.Duration `json:"quiet,omitempty"` // since a byte was moved last, or one direction ended

	// What the other process is to send on first: of each side's bytes some that are
	// counted above, and then some that are not.
	// They may be long, and are told apart from the rest: see Parts.
	ForUpstream, ForClient             []byte `json:"-"`
	UncountedUpstream, UncountedClient []byte `json:"-"`
}

// Parts returns what of a State is not in its JSON, to be read or set.
func (s *State) Parts() []*[]byte {
	return []*[]byte{&s.ForUpstream, &s.UncountedUpstream, &s.ForClient, &s.UncountedClient}
}

// Freeze stops both directions, so that the pair can be detached once it is Frozen.
// It may still end meanwhile, as ever. Thaw takes it back.
func (p *Pair) Freeze() {
	p.Client.Freeze()
	p.Upstream.Freeze()
}

// Frozen reports whether nothing is moved any more.
func (p *Pair) Frozen() bool { return p.Client.Frozen() && p.Upstream.Frozen() }

// Failing reports whether the pair is to end soon, and is not Frozen before.
func (p *Pair) Failing() bool { return p.Client.Failing() || p.Upstream.Failing() }

// Thaw has a frozen pair go on.
func (p *Pair) Thaw() {
	p.Client.Thaw()
	p.Upstream.Thaw()
}

// Detach takes a frozen pair off its loop with both sockets open: they belong to the
// caller then. Its owner is not told. After an error both are closed, by a reset, as
// the kernel did not give back what it held for them.
func (p *Pair) Detach() (client, upstream int, s State, err error) {
	s = State{
		ToUpstream:    p.toUpstream,
		ToClient:      p.toClient,
		ClientEnded:   p.clientEnded,
		UpstreamEnded: p.upstreamEnded,
		UpstreamFirst: p.first == UpstreamEnded,
		Quiet:         p.Client.Loop().Now() - max(p.lastMoved, p.Client.Progress(), p.Upstream.Progress()),
	}
	client, s.UncountedUpstream, s.ForClient, err = p.Client.Detach()
	if err != nil {
		p.Upstream.Abort()
		return -1, -1, State{}, err
	}
	upstream, s.UncountedClient, s.ForUpstream, err = p.Upstream.Detach()
	if err != nil {
		loop.Reset(client)
		return -1, -1, State{}, err
	}
	return client, upstream, s, nil
}

// Continue goes on with a pair that was detached, of which Client and Upstream are set
// to its sockets, attached to one loop. It stands for Start, but may call Answered.
func (p *Pair) Continue(o *Options, owner Owner, s *State) {
	if o.Inspected {
		inspector := owner.(Inspector)
		inspector.Passing(p, p.Client, s.UncountedUpstream)
		inspector.Passing(p, p.Upstream, s.UncountedClient)
	}
	p.Upstream.Send(s.ForUpstream)
	p.Upstream.Send(s.UncountedUpstream)
	p.Client.Send(s.ForClient)
	p.Client.Send(s.UncountedClient)
	answered := s.ToClient == 0 && len(s.UncountedClient) > 0
	p.begin(o, owner)
	p.lastMoved -= s.Quiet
	p.clientEnded, p.upstreamEnded = s.ClientEnded, s.UpstreamEnded
	if s.UpstreamFirst {
		p.first = UpstreamEnded
	}
	if answered {
		owner.Answered(p)
	}
	p.toUpstream, p.toClient = s.ToUpstream+int64(len(s.UncountedUpstream)), s.ToClient+int64(len(s.UncountedClient))
	o.Moved.ToUpstream.Add(int64(len(s.UncountedUpstream)))
	o.Moved.ToClient.Add(int64(len(s.UncountedClient)))
	if p.clientEnded {
		p.Upstream.CloseWrite()
	}
	if p.upstreamEnded {
		p.Client.CloseWrite()
	}
	p.Hurry()
	p.read()
}
