package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"fulcrum/admin"
	"fulcrum/pool"
)

// takeOver is how long the event loops have, at most, to go over to another config
// before what they had so far is taken away.
const takeOver = 2 * time.Second

// givenBackIn is how long a reload waits for addresses that are taken: by what the one
// before has taken out of use, it may be, which gives them back within that time.
const givenBackIn = time.Second

// errStopping is why a reload is given up, and nothing is changed any more.
var errStopping = admin.Conflict("the balancer is stopping")

// Reload reads the config anew and goes over to it: to all of it, or to nothing and
// an error that names every problem. It returns what changes, in words, none if
// nothing does. With dryRun nothing is done but to prepare it and say so. Another
// reload under way goes first; when ctx ends before all is prepared, nothing changes.
func (s *Supervisor) Reload(ctx context.Context, dryRun bool) (changes []string, err error) {
	return s.ReloadIf(ctx, admin.Condition{}, dryRun)
}

// ReloadIf is Reload if a condition holds of the config that runs.
func (s *Supervisor) ReloadIf(ctx context.Context, condition admin.Condition, dryRun bool) (changes []string, err error) {
	changes, err = s.reload(ctx, condition, dryRun)
	if !dryRun {
		s.reloaded(changes, err)
	}
	return changes, err
}

func (s *Supervisor) reload(ctx context.Context, condition admin.Condition, dryRun bool) (changes []string, err error) {
	if !dryRun {
		defer func() { s.counted.count(err) }()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ending, func() { cancel(errStopping) })()
	select {
	case s.reloads <- struct{}{}:
		defer func() { <-s.reloads }()
	case <-ctx.Done():
		return nil, givenUp(ctx)
	}
	if s.stopping.Load() {
		return nil, errStopping
	}
	load := s.load.Load()
	if load == nil {
		return nil, admin.Conflict("the balancer runs without a config file, so there is nothing to reload")
	}
	c, err := (*load)()
	if err != nil {
		return nil, admin.Invalid("%v", err)
	}
	was := s.current.Load()
	if err := condition.Holds(s.etagOf(was.config)); err != nil {
		return nil, err
	}
	next, err := s.prepare(ctx, c, was)
	if err != nil {
		return nil, admin.Conflict("%v", err)
	}
	if ctx.Err() != nil {
		next.abandon(was)
		return nil, givenUp(ctx)
	}
	changes, err = s.changesTo(next, was)
	if dryRun || err != nil {
		next.abandon(was)
		return changes, err
	}
	s.goOver(was, next)
	for _, change := range changes {
		s.log.Info("config changed", "change", change)
	}
	next.tell(was)
	return changes, nil
}

// changesTo says in words what going over to the next changes.
func (s *Supervisor) changesTo(next, was *running) (changes []string, err error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	merged, err := merge(next.config)
	if err != nil {
		return nil, admin.Conflict("%v", err)
	}
	changes = differences(was.config, next.config, func(pool string) []string {
		i := slices.IndexFunc(next.pools, func(p *poolInUse) bool { return p.Name() == pool })
		return next.pools[i].serverChanges(s, merged.Pools[i].Servers)
	})
	for _, d := range merged.Kept {
		if was.find(d.Pool) != nil { // it goes: under another name its servers run as the config says
			changes = append(changes, fmt.Sprintf("pool %q: server %q: %s", d.Pool, d.Server, d.Text))
		}
	}
	return changes, nil
}

// untilFree calls bind, again and again while it finds an address taken, until ctx
// ends.
func untilFree(ctx context.Context, bind func() error) error {
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for {
		err := bind()
		if !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// givenUp says why a reload came to nothing, after ctx has ended.
func givenUp(ctx context.Context) error {
	if why := context.Cause(ctx); errors.Is(why, errStopping) {
		return why
	}
	return admin.Conflict("it took too long, perhaps because another reload was under way, and was given up; nothing has changed")
}

// goOver goes on with what was prepared.
func (s *Supervisor) goOver(was, next *running) {
	s.changes.Lock()
	defer s.changes.Unlock()
	gone := was.listenersBut(next)
	s.retiring.add(gone) // first, so that closeServer misses none
	s.current.Store(next)
	if s.draining.Load() != nil {
		for _, l := range next.listeners {
			l.Drain(true)
		}
	}
	next.commit(s, was)
	s.retire(was, next, gone)
	was.forget()
	s.tellStatus()
}

// forget lets go of what came before, so that no reload is remembered for ever.
func (r *running) forget() {
	for _, p := range r.pools {
		p.kept = nil
	}
	for _, l := range r.listeners {
		l.kept = nil
	}
}

// listenersBut returns the listeners that others do not go on with.
func (r *running) listenersBut(others *running) (gone []*listener) {
	for _, l := range r.listeners {
		if !slices.ContainsFunc(others.listeners, func(other *listener) bool { return other.kept == l }) {
			gone = append(gone, l)
		}
	}
	return gone
}

// retire lets what the next config no longer has finish its work. Nobody is to come
// to a pool for nothing that is going: first all event loops go over to the next
// config, and a pool that a listener feeds which is going too goes after it. It is
// called with changes held.
func (s *Supervisor) retire(was, next *running, gone []*listener) {
	ctx, cancel := context.WithTimeout(context.Background(), takeOver)
	defer cancel()
	s.Answers(ctx)
	var later []*poolInUse
	for _, p := range was.pools {
		switch {
		case next.find(p.Name()) != nil:
		case slices.ContainsFunc(gone, func(l *listener) bool { return feeds(l.config, p.Name()) }):
			later = append(later, p)
		default:
			s.beginRemovals(p)
		}
	}
	s.retiring.all.Go(func() { was.closeAdminBut(next) })
	s.retiring.begin(gone, was.config.ShutdownTimeout, func() {
		s.changes.Lock()
		defer s.changes.Unlock()
		for _, p := range later {
			s.beginRemovals(p)
		}
	}, func() { was.closeBut(next) })
}

// retirement is the listeners that reloads have taken out of use, while they finish.
type retirement struct {
	all  sync.WaitGroup
	last <-chan struct{} // closed when the retirement that was begun last is over; nil: there was none

	mu        sync.Mutex
	listeners map[*listener]context.CancelFunc // guarded by mu; called to end them, nil before they are stopped
	ended     bool                             // nobody is given time any more; guarded by mu
}

// add takes in listeners that are about to be taken out of use. begin follows.
func (r *retirement) add(gone []*listener) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listeners == nil {
		r.listeners = make(map[*listener]context.CancelFunc)
	}
	for _, l := range gone {
		r.listeners[l] = nil
	}
}

// begin stops listeners, which have so long to finish, and then calls stopped. In the
// end, once those of all reloads before have finished too and nobody makes use of
// what they had, it calls closeAll. It is called by one reload at a time.
func (r *retirement) begin(gone []*listener, timeout time.Duration, stopped, closeAll func()) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	r.mu.Lock()
	for _, l := range gone {
		r.listeners[l] = cancel
	}
	if r.ended {
		cancel()
	}
	r.mu.Unlock()
	before, over := r.last, make(chan struct{})
	r.last = over
	r.all.Go(func() {
		defer close(over)
		defer cancel()
		var stops sync.WaitGroup
		for _, l := range gone {
			stops.Go(func() { r.stop(ctx, l) })
		}
		stops.Wait()
		stopped()
		if before != nil {
			<-before
		}
		closeAll()
	})
}

func (r *retirement) stop(ctx context.Context, l *listener) {
	l.Stop(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.listeners, l)
}

// now returns those that have not finished.
func (r *retirement) now() []*listener {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.listeners))
}

// closeServer closes what is in flight on a server through these listeners.
func (r *retirement) closeServer(server *pool.Server) {
	for _, l := range r.now() {
		l.CloseServer(server)
	}
}

// wait waits for all of them, and gives them no more time when ctx ends.
func (r *retirement) wait(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended = true
		for _, cancel := range r.listeners {
			cancel()
		}
	})
	defer stop()
	r.all.Wait()
}
