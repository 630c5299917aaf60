package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fulcrum/admin"
	"fulcrum/config"
	"fulcrum/events"
)

// remainingIn is how long the event loops have to tell what remains.
const remainingIn = time.Second

// drain is a drain of the whole balancer. It does not change; another one takes its
// place, or nil when it ends.
type drain struct {
	deadline time.Time
	end      context.CancelFunc // nobody is to be closed for it any more
}

// OnStatus has f called when another config runs, and when a drain begins, is given
// another deadline or ends, with the config and the deadline, the zero time being that
// there is no drain; in turn, but not once Stop has begun. It returns soon and asks
// nothing of the supervisor.
func (s *Supervisor) OnStatus(f func(c *config.Config, drainsUntil time.Time)) { s.onStatus.Store(&f) }

// Drain makes the balancer not ready and lets what is in flight finish: listeners still
// accept, http connections end with their next answer, and what is left at the
// deadline is closed. What comes after that is served in the same way. While there is a
// drain already it changes the deadline. Without a timeout that is what the config gives
// a stop.
func (s *Supervisor) Drain(ctx context.Context, r admin.DrainRequest) (admin.DrainAnswer, error) {
	next, err := s.beginDrain(r)
	if err != nil {
		return admin.DrainAnswer{}, err
	}
	return admin.DrainAnswer{DrainState: s.drainState(ctx, next), DryRun: r.DryRun}, nil
}

func (s *Supervisor) beginDrain(r admin.DrainRequest) (*drain, error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	switch {
	case s.upgrade.under:
		return nil, errUpgrading
	case s.stopping.Load():
		return nil, errStopping
	}
	now := s.current.Load()
	timeout := now.config.ShutdownTimeout
	if r.Timeout != nil {
		timeout = *r.Timeout
	}
	next := &drain{deadline: time.Now().Add(timeout)}
	if r.DryRun {
		return next, nil
	}
	if was := s.draining.Load(); was != nil {
		was.end()
	}
	var wait context.Context
	wait, next.end = context.WithTimeout(s.ending, timeout)
	s.draining.Store(next)
	for _, l := range now.listeners {
		l.Drain(true)
	}
	s.removing.Go(func() { s.awaitDeadline(wait, next) })
	s.log.Info("draining", "timeout", timeout)
	s.events.Add(events.Event{Kind: events.BalancerDraining, Reason: fmt.Sprintf("what is left after %v is closed", timeout)})
	s.tellStatus()
	return next, nil
}

// awaitDeadline closes what is left of a drain at its deadline.
func (s *Supervisor) awaitDeadline(wait context.Context, d *drain) {
	<-wait.Done()
	if !errors.Is(wait.Err(), context.DeadlineExceeded) {
		return
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	if s.draining.Load() != d || s.stopping.Load() {
		return
	}
	s.log.Info("the time to drain is over, what is left is closed")
	for _, l := range s.current.Load().listeners {
		l.CloseAll()
	}
	for _, l := range s.retiring.now() {
		l.CloseAll()
	}
}

// Undrain ends a drain: what was not closed goes on, and the balancer is ready again.
// Without a drain it does nothing.
func (s *Supervisor) Undrain(ctx context.Context, dryRun bool) (admin.DrainAnswer, error) {
	if err := s.endDrain(dryRun); err != nil {
		return admin.DrainAnswer{}, err
	}
	return admin.DrainAnswer{DrainState: s.drainState(ctx, nil), DryRun: dryRun}, nil
}

func (s *Supervisor) endDrain(dryRun bool) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	was := s.draining.Load()
	switch {
	case s.stopping.Load():
		return errStopping
	case was == nil, dryRun:
		return nil
	}
	was.end()
	s.draining.Store(nil)
	for _, l := range s.current.Load().listeners {
		l.Drain(false)
	}
	s.log.Info("no longer draining")
	s.events.Add(events.Event{Kind: events.BalancerUndrained})
	s.tellStatus()
	return nil
}

// tellStatus does what OnStatus says. It is called with changes held.
func (s *Supervisor) tellStatus() {
	tell := s.onStatus.Load()
	if tell == nil || s.stopping.Load() {
		return
	}
	var until time.Time
	if d := s.draining.Load(); d != nil {
		until = d.deadline
	}
	(*tell)(s.current.Load().config, until)
}

// drainState says how it is about a drain, nil being none, and what is in flight.
func (s *Supervisor) drainState(ctx context.Context, d *drain) (state admin.DrainState) {
	if d != nil {
		state.Draining, state.Deadline = true, &d.deadline
	}
	state.Remaining = s.remaining(ctx)
	return state
}

// remaining returns what is in flight on all listeners, also those that a reload has
// taken out of use; nil if not every event loop has told in time.
func (s *Supervisor) remaining(ctx context.Context) *admin.Remaining {
	ctx, cancel := context.WithTimeout(ctx, remainingIn)
	defer cancel()
	sum := &admin.Remaining{}
	for _, l := range slices.Concat(s.current.Load().listeners, s.retiring.now()) {
		connections, requests, oldest, err := l.remaining(ctx)
		if err != nil {
			s.log.Warn("what is in flight is not known", "listener", l.config.Name, "error", err)
			return nil
		}
		sum.Connections += connections
		sum.Requests += requests
		sum.OldestSeconds = max(sum.OldestSeconds, oldest.Seconds())
	}
	return sum
}
