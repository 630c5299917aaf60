package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-multierror"

	"fulcrum/accesslog"
	"fulcrum/admin"
	"fulcrum/config"
	"fulcrum/events"
	"fulcrum/loop"
)

// running is everything that was built from one config, or kept from the one before.
type running struct {
	config        *config.Config
	log           *slog.Logger
	events        *events.Ring
	io            loop.IO // of the loops, if there are any
	loops         []*loop.Loop
	logs          map[string]*accesslog.Log // by path
	pools         []*poolInUse              // in the order of the config
	listeners     []*listener               // likewise
	admin         *admin.Listener
	access        *admin.Access // of admin
	socket        net.Listener  // of admin
	adminBorrowed bool          // somebody else keeps that
	heritage      *Heritage     // what there is to begin with; nil: nothing, or no more
}

// prepare builds all that the config asks for and that was does not have, without a
// byte of traffic being taken. On an error, which names every problem, nothing is
// left open and nothing has changed.
func (s *Supervisor) prepare(ctx context.Context, c *config.Config, was *running) (*running, error) {
	r := &running{config: c, log: s.log, events: s.events, io: was.io, loops: was.loops, logs: make(map[string]*accesslog.Log)}
	if was.config == nil {
		r.heritage = s.heritage
	}
	var problems *multierror.Error
	problems = multierror.Append(problems, r.preparePools(ctx, s, was)...)
	patience := time.Duration(0) // at start nobody gives anything back
	if was.config != nil {
		patience = givenBackIn
		problems = multierror.Append(problems, checkState(was.config, c))
	}
	free, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.prepareLoops(was); err != nil {
		problems = multierror.Append(problems, err)
	}
	if len(r.loops) > 0 {
		problems = multierror.Append(problems, r.prepareListeners(free, was)...)
	}
	problems = multierror.Append(problems, untilFree(free, func() error { return r.prepareAdmin(s, was) }))
	if problems.ErrorOrNil() != nil {
		r.abandon(was)
		problems.ErrorFormat = asLines
		return nil, problems
	}
	return r, nil
}

func asLines(problems []error) string {
	if len(problems) == 1 {
		return problems[0].Error()
	}
	return fmt.Sprintf("%d problems\n%s", len(problems), errors.Join(problems...))
}

func (r *running) prepareListeners(free context.Context, was *running) (problems []error) {
	for i := range r.config.Listeners {
		c := &r.config.Listeners[i]
		var l *listener
		err := untilFree(free, func() (err error) {
			l, err = r.prepareListener(c, was)
			return err
		})
		if err != nil {
			problems = append(problems, fmt.Errorf("listener %q: %w", c.Name, err))
			continue
		}
		r.listeners = append(r.listeners, l)
	}
	return problems
}

// commit sets everything going that was prepared. It cannot fail.
func (r *running) commit(s *Supervisor, was *running) {
	for i, wanted := range s.remember(r.config) {
		r.pools[i].commit(s, wanted.Servers)
	}
	if h := r.heritage; h != nil && h.will.Tally != nil {
		s.live.inherit(r, h.will.Tally)
	}
	for _, l := range r.listeners {
		l.commit()
	}
	r.commitAdmin(was)
}

// tell logs what has begun to run that did not before.
func (r *running) tell(was *running) {
	if len(r.loops) > len(was.loops) {
		r.log.Info("event loops", "io", r.io, "loops", len(r.loops))
	}
	r.tellDescriptors(was)
	for _, l := range r.listeners {
		if l.kept == nil {
			l.report(events.ListenerStarted, l.at())
			r.log.Info("listening", "listener", l.config.Name, "protocol", l.config.Protocol, "address", l.Address(), "pool", l.config.Pool)
		}
	}
	if r.admin != nil && r.admin != was.admin {
		r.log.Info("admin listening", "address", written(r.admin.Addr()))
	}
}

// abandon closes what prepare opened, but not what is kept from before.
func (r *running) abandon(was *running) {
	for _, l := range r.listeners {
		if l.kept == nil {
			l.Abandon()
		}
	}
	r.closeAdminBut(was)
	r.closeBut(was)
}

// retireListeners has every listener finish its work, until ctx ends. Those that have
// heirs do so once what they have open was moved there, the others at once.
func (r *running) retireListeners(ctx context.Context, heirs map[*listener]bool, move func()) {
	var all sync.WaitGroup
	stop := func(inherited bool) {
		for _, l := range r.listeners {
			if heirs[l] == inherited {
				all.Go(func() { l.Stop(ctx) })
			}
		}
	}
	stop(false)
	if len(heirs) > 0 {
		move()
	}
	stop(true)
	all.Wait()
}

// close ends all that serves the listeners.
func (r *running) close() {
	r.closeAdminBut(&running{})
	r.closeBut(&running{})
}

// closeAdminBut stops the admin listener, unless it is the others' too.
func (r *running) closeAdminBut(others *running) {
	if r.admin == nil || r.admin == others.admin {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminGrace)
	defer cancel()
	if err := r.admin.Stop(ctx); err != nil {
		r.log.Warn("admin listener was stopped with requests under way", "error", err)
	}
}

// closeBut ends what serves the listeners and others do not have too.
func (r *running) closeBut(others *running) {
	for _, p := range r.pools {
		p.stopBut(others.find(p.Name()))
	}
	if len(others.loops) == 0 {
		for _, lp := range r.loops {
			lp.Stop()
		}
	}
	r.closeLogs(others)
}
