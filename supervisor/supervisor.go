// Package supervisor builds the running balancer from a config and is the only
// package that knows all the others: pools with their health checks, tcp and
// http listeners, event loops and the admin listener.
//
// Configuration becomes running state in three steps. Prepare does everything
// that can fail (bind, open logs, make loops) and on any problem undoes it and
// reports all problems at once; commit sets what was prepared going and cannot
// fail; retire lets what is to go finish its work. Start is a reload from nothing.
//
// What keeps its identity through a reload keeps its sockets, counts and health: a
// pool has its name, a server its pool and address, a listener its protocol and
// address. What is not changed does not notice.
package supervisor

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"fulcrum/config"
	"fulcrum/events"
	"fulcrum/state"
)

// adminGrace is how long requests to the admin listener may take to finish at
// the end of Stop.
const adminGrace = 2 * time.Second

// A Supervisor runs a balancer. Its methods may be called from any goroutine.
type Supervisor struct {
	log      *slog.Logger
	started  time.Time
	key      [32]byte // of digests that are shown; random
	events   *events.Ring
	load     atomic.Pointer[func() (*config.Config, error)] // nil: the config cannot be reloaded
	level    atomic.Pointer[slog.LevelVar]                  // of log; nil: it cannot be changed
	current  atomic.Pointer[running]                        // stored under changes
	stopping atomic.Bool
	draining atomic.Pointer[drain]                           // stored under changes; nil: nobody drains the balancer
	onStatus atomic.Pointer[func(*config.Config, time.Time)] // nil: nobody is told
	ending   context.Context                                 // ends when Stop begins
	end      context.CancelFunc
	stopOnce sync.Once

	reloads  chan struct{}          // holds one while there is a reload or upgrade, and at first; sent before changes is taken
	changes  sync.Mutex             // held while servers are changed, and while a reload goes over
	removals map[serverKey]*removal // deleted servers that still drain; guarded by changes
	removing sync.WaitGroup         // the goroutines of removals, and of a drain

	retiring retirement
	counted  reloadCounts
	metrics  http.Handler

	live *live // what happens, for those who watch

	state       *state.File // written under changes; nil: what is uploaded and deleted is forgotten in the end
	stateErrors atomic.Int64

	heritage   *Heritage      // what this process has from another; nil: nothing, or no more
	succeeding sync.WaitGroup // takes in what that one has open
	upgrade    upgrade
}

// Start builds and starts what the config says: all of it, or nothing and an
// error that names every problem. The config must be complete (config.Load or
// Config.Complete) and is not to be changed afterwards. Stop must follow.
func Start(c *config.Config, log *slog.Logger) (*Supervisor, error) {
	s, err := StartWith(c, nil, log)
	if err == nil {
		s.Settled()
	}
	return s, err
}

// StartWith is Start for a process that begins with what another one had opened, and
// takes its place if there is a Link to it. The sockets that no listener has use for
// are closed. Settled must follow, before Stop.
func StartWith(c *config.Config, h *Heritage, log *slog.Logger) (*Supervisor, error) {
	s := &Supervisor{log: log, events: events.New(remembered), started: time.Now(), reloads: make(chan struct{}, 1), removals: make(map[serverKey]*removal)}
	rand.Read(s.key[:]) // has no error
	s.ending, s.end = context.WithCancel(context.Background())
	s.metrics = s.metricsHandler()
	s.upgrade.replaced = make(chan struct{})
	s.reloads <- struct{}{} // until Settled
	defer h.disown()
	if h != nil && h.Link != nil {
		if err := s.succeed(c, h); err != nil {
			return nil, err
		}
		return s, nil
	}
	s.heritage = h
	var err error
	if s.state, err = s.openState(c.State, true); err != nil {
		return nil, err
	}
	first, err := s.prepare(context.Background(), c, &running{})
	if err != nil {
		s.unlock()
		return nil, err
	}
	s.begin(first)
	return s, nil
}

// Settled has reloads and upgrades begin that were asked for since the start: they wait
// until it is known how, by ReloadBy and UpgradeBy.
func (s *Supervisor) Settled() { <-s.reloads }

// begin goes on with what was prepared at start.
func (s *Supervisor) begin(first *running) {
	nothing := &running{}
	s.counted.apply()
	s.current.Store(first)
	s.live = startLive(s)
	first.commit(s, nothing)
	first.tell(nothing)
	s.heritage.warn(s.log)
	kind, how := events.BalancerStarted, fmt.Sprintf("process %d", os.Getpid())
	if s.heritage != nil && s.heritage.Link != nil {
		kind, how = events.BalancerUpgraded, how+" has taken the place of another"
	}
	s.events.Add(events.Event{Kind: kind, Reason: how})
	s.heritage, first.heritage = nil, nil
}

// unlock lets another process have the state file, if there is one.
func (s *Supervisor) unlock() {
	if s.state != nil {
		s.state.Unlock()
	}
}

// ReloadBy says how the config is read anew for Reload.
func (s *Supervisor) ReloadBy(load func() (*config.Config, error)) { s.load.Store(&load) }

// LevelBy says what the level of the log is changed by.
func (s *Supervisor) LevelBy(level *slog.LevelVar) { s.level.Store(level) }

// LogLevel is the level of the log, nil if that cannot be changed.
func (s *Supervisor) LogLevel() *slog.LevelVar { return s.level.Load() }

// Stop stops accepting and waits for work in flight to finish, for as long as
// the config's shutdown_timeout and ctx allow; then closes what is left. The
// admin listener answers until the end. If another process has taken over, what is open
// moves there first.
func (s *Supervisor) Stop(ctx context.Context) {
	s.stopOnce.Do(func() {
		s.stopping.Store(true)
		select {
		case <-s.upgrade.replaced:
			s.awaitHeritage() // what still comes from the process before goes on to the next
		default:
		}
		s.end()
		s.reloads <- struct{}{} // one that is under way is given up, or goes first; there are no more
		last := s.current.Load()
		ctx, cancel := context.WithTimeout(ctx, last.config.ShutdownTimeout)
		defer cancel()
		s.succeeding.Wait()
		s.log.Info("stopping", "shutdown_timeout", last.config.ShutdownTimeout)
		s.events.Add(events.Event{Kind: events.BalancerStopping, Reason: fmt.Sprintf("work in flight may go on for %v", last.config.ShutdownTimeout)})
		last.retireListeners(ctx, s.upgrade.heirs, func() { s.bequeath(ctx) })
		s.retiring.wait(ctx)
		s.cancelRemovals()
		if link := s.upgrade.link; link != nil {
			s.sendCounts(link)
			link.Close()
		}
		last.close()
		s.live.stop()
		s.unlock()
		s.log.Info("stopped")
	})
}

// ShutdownTimeout returns how long Stop gives work in flight, as the config says now.
func (s *Supervisor) ShutdownTimeout() time.Duration {
	return s.current.Load().config.ShutdownTimeout
}

// AdminAddress returns the address of the admin listener, "" if there is none.
func (s *Supervisor) AdminAddress() string {
	if a := s.current.Load().admin; a != nil {
		return written(a.Addr())
	}
	return ""
}
