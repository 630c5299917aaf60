// Package supervisor builds the running balancer from a config and is the only
// package that knows all the others: pools with their health checks, tcp and
// http listeners, event loops and the admin listener.
//
// Configuration becomes running state in three steps. Prepare does everything
// that can fail (bind, open logs, make loops) and on any problem undoes it and
// reports all problems at once; commit sets what was prepared going and cannot
// fail; retire lets what is to go finish its work. Start prepares and commits,
// Stop retires.
package supervisor

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"fulcrum/config"
)

// adminGrace is how long requests to the admin listener may take to finish at
// the end of Stop.
const adminGrace = 2 * time.Second

// A Supervisor runs a balancer. Its methods may be called from any goroutine.
type Supervisor struct {
	log      *slog.Logger
	running  *running
	stopping atomic.Bool
	stopOnce sync.Once

	changes  sync.Mutex             // held while servers are uploaded or deleted
	removals map[serverKey]*removal // deleted servers that still drain; guarded by changes
	removing sync.WaitGroup         // the goroutines of removals
}

// Start builds and starts what the config says: all of it, or nothing and an
// error that names every problem. The config must be complete (config.Load or
// Config.Complete) and is not to be changed afterwards. Stop must follow.
func Start(c *config.Config, log *slog.Logger) (*Supervisor, error) {
	s := &Supervisor{log: log, removals: make(map[serverKey]*removal)}
	next, err := prepare(c, s, log)
	if err != nil {
		return nil, err
	}
	s.running = next
	next.commit()
	return s, nil
}

// Stop stops accepting and waits for work in flight to finish, for as long as
// the config's shutdown_timeout and ctx allow; then closes what is left. The
// admin listener answers until the end.
func (s *Supervisor) Stop(ctx context.Context) {
	s.stopOnce.Do(func() {
		s.stopping.Store(true)
		ctx, cancel := context.WithTimeout(ctx, s.running.config.ShutdownTimeout)
		defer cancel()
		s.log.Info("stopping", "shutdown_timeout", s.running.config.ShutdownTimeout)
		s.running.retireListeners(ctx)
		s.cancelRemovals()
		s.running.close()
		s.log.Info("stopped")
	})
}

// AdminAddress returns the address of the admin listener, "" if there is none.
func (s *Supervisor) AdminAddress() string {
	if s.running.admin == nil {
		return ""
	}
	return written(s.running.admin.Addr())
}
