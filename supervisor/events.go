package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"fulcrum/events"
	"fulcrum/pool"
)

// remembered is how many events are kept.
const remembered = 1000

// Events returns the last events of the balancer.
func (s *Supervisor) Events() *events.Ring { return s.events }

// observer makes events of what a pool tells.
type observer struct {
	events *events.Ring
	pool   string
}

func (o observer) ServerChanged(now pool.Status, was pool.Standing, since time.Time) {
	if was == pool.Unchecked && !now.Since.After(since) {
		return // another process has found it, and told of it, before this one was there
	}
	e := events.Event{At: now.Since, Pool: o.pool, Server: now.Address, Was: was.String(), Since: since}
	switch now.Standing {
	case pool.Ready:
		e.Kind, e.Reason = events.ServerReady, now.Reason
	case pool.Unchecked:
		return
	default:
		e.Kind, e.Reason = events.ServerNotReady, cmp.Or(now.Reason, now.Standing.String())
	}
	o.events.Add(e)
}

func (o observer) PoolChanged(ready bool, why string) {
	kind := events.PoolNotReady
	if ready {
		kind = events.PoolReady
	}
	last, inherited := o.events.Inherited(func(e *events.Event) bool {
		return e.Pool == o.pool && (e.Kind == events.PoolReady || e.Kind == events.PoolNotReady)
	})
	if inherited && last.Kind == kind {
		return // another process has told of it
	}
	o.events.Add(events.Event{Kind: kind, Pool: o.pool, Reason: why})
}

func (o observer) QueueFull(refused int64, length int) {
	why := "every ready server is at its max_connections, and nobody may wait"
	if length > 0 {
		why = fmt.Sprintf("every ready server is at its max_connections, and %d wait, which is the most", length)
	}
	o.events.Add(events.Event{Kind: events.PoolQueueFull, Pool: o.pool, Reason: why, Count: refused})
}

// tellStep writes what the operator does with a server, before what comes of it.
func (s *Supervisor) tellStep(p *poolInUse, next step, force bool) {
	e := events.Event{Pool: p.Name(), Server: next.address}
	switch was, want := next.was, next.want; {
	case want == nil && next.leaving && !force: // known already
		return
	case want == nil && force:
		e.Kind, e.Reason = events.ServerDeleted, "its work in flight is closed"
	case want == nil:
		e.Kind, e.Reason = events.ServerDeleted, "its work in flight may finish"
	case was == nil || next.leaving:
		e.Kind = events.ServerUploaded
	case *was == *want:
		return
	case was.Draining == want.Draining:
		e.Kind = events.ServerUpdated
	case want.Draining:
		e.Kind = events.ServerDrained
	default:
		e.Kind = events.ServerUndrained
	}
	if next.want != nil {
		e.Reason = fmt.Sprintf("weight %d, max_connections %d", next.want.Weight, next.want.MaxConnections)
	}
	s.events.Add(e)
}

// reloaded writes what came of a reload.
func (s *Supervisor) reloaded(changes []string, err error) {
	if err == nil {
		s.events.Add(events.Event{Kind: events.ConfigReloaded, Reason: fmt.Sprintf("changes: %d", len(changes)), Details: changes})
		return
	}
	e := events.Event{Kind: events.ReloadFailed}
	first, rest, _ := strings.Cut(err.Error(), "\n")
	e.Reason = first
	for line := range strings.Lines(rest) {
		e.Details = append(e.Details, strings.TrimSpace(line))
	}
	s.events.Add(e)
}

// report writes what has become of a listener.
func (l *listener) report(kind events.Kind, reason string) {
	l.events.Add(events.Event{Kind: kind, Listener: l.config.Name, Reason: reason})
}

// Stop lets the listener's work finish, until ctx ends.
func (l *listener) Stop(ctx context.Context) {
	at := l.at()
	l.protocol.Stop(ctx)
	l.report(events.ListenerStopped, at)
}

// at says where the listener listens, in words.
func (l *listener) at() string { return l.config.Protocol + " on " + l.Address() }

// resting is told that descriptors have run out.
func (r *running) resting(listener string) func(error) {
	return func(err error) {
		r.events.Add(events.Event{Kind: events.AcceptPaused, Listener: listener, Reason: err.Error()})
	}
}

// stateTrouble writes that the state file cannot be used.
func (s *Supervisor) stateTrouble(err error) {
	s.events.Add(events.Event{Kind: events.StateTrouble, Reason: err.Error()})
}
