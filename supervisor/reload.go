package supervisor

import (
	"context"
	"slices"
	"sync"
	"time"

	"fulcrum/admin"
	"fulcrum/pool"
)

// Reload reads the config anew and goes over to it: to all of it, or to nothing and
// an error that names every problem. It returns what changes, in words, none if
// nothing does. With dryRun nothing is done but to prepare it and say so.
func (s *Supervisor) Reload(_ context.Context, dryRun bool) (changes []string, err error) {
	load := s.load.Load()
	if load == nil {
		return nil, admin.Conflict("the balancer runs without a config file, so there is nothing to reload")
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	if s.stopping.Load() {
		return nil, admin.Conflict("the balancer is stopping")
	}
	c, err := (*load)()
	if err != nil {
		return nil, admin.Invalid("%v", err)
	}
	was := s.current.Load()
	next, err := s.prepare(c, was)
	if err != nil {
		return nil, admin.Conflict("%v", err)
	}
	changes = differences(was.config, c)
	if dryRun {
		next.abandon(was)
		return changes, nil
	}
	s.current.Store(next)
	next.commit(s, was)
	s.retire(was, next)
	s.log.Info("config reloaded", "changes", len(changes))
	for _, change := range changes {
		s.log.Info("config changed", "change", change)
	}
	return changes, nil
}

// retire lets what the next config no longer has finish its work.
func (s *Supervisor) retire(was, next *running) {
	for _, p := range was.pools {
		if kept := next.find(p.Name()); kept == nil {
			for _, server := range p.Servers() {
				s.beginRemoval(p, server)
			}
		}
	}
	var gone []*listener
	for _, l := range was.listeners {
		if !slices.ContainsFunc(next.listeners, func(other *listener) bool { return other.kept == l }) {
			gone = append(gone, l)
		}
	}
	s.retiring.begin(gone, was.config.ShutdownTimeout, func() { was.closeBut(next) })
}

// retirement is the listeners that reloads have taken out of use, while they finish.
type retirement struct {
	all sync.WaitGroup

	mu        sync.Mutex
	listeners map[*listener]context.CancelFunc // guarded by mu; called to end them
	ended     bool                             // nobody is given time any more; guarded by mu
}

// begin stops listeners, which have so long to finish, and then calls what is to
// come after.
func (r *retirement) begin(gone []*listener, timeout time.Duration, then func()) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	r.mu.Lock()
	if r.listeners == nil {
		r.listeners = make(map[*listener]context.CancelFunc)
	}
	for _, l := range gone {
		r.listeners[l] = cancel
	}
	if r.ended {
		cancel()
	}
	r.mu.Unlock()
	r.all.Go(func() {
		defer cancel()
		var stopped sync.WaitGroup
		for _, l := range gone {
			stopped.Go(func() { r.stop(ctx, l) })
		}
		stopped.Wait()
		then()
	})
}

func (r *retirement) stop(ctx context.Context, l *listener) {
	l.Stop(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.listeners, l)
}

// closeServer closes what is in flight on a server through these listeners.
func (r *retirement) closeServer(server *pool.Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.listeners {
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
