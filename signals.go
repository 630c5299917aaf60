package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

// errKilled ends the program after a second signal.
var errKilled = errors.New("stopped by a second signal; work in flight was cut off")

// signals are those that a balancer understands. Each kind has a channel of its own
// that holds what cannot be lost: of those to stop the first and the second, of the
// others one, which stands for all that come until it is taken.
type signals struct {
	stop    chan os.Signal // SIGINT, SIGTERM
	reload  chan os.Signal // SIGHUP
	reopen  chan os.Signal // SIGUSR1
	upgrade chan os.Signal // SIGUSR2

	reloading func() (done func()) // told of each reload
	replaced  <-chan struct{}      // closed when another process has taken over; nil: none can

	ctx     context.Context // ends with release
	end     context.CancelFunc
	serving sync.WaitGroup
}

// catchSignals keeps signals from ending the program, until release.
func catchSignals() *signals {
	s := &signals{stop: make(chan os.Signal, 2), reload: make(chan os.Signal, 1), reopen: make(chan os.Signal, 1), upgrade: make(chan os.Signal, 1),
		reloading: func() func() { return func() {} }}
	s.ctx, s.end = context.WithCancel(context.Background())
	signal.Notify(s.stop, syscall.SIGINT, syscall.SIGTERM)
	signal.Notify(s.reload, syscall.SIGHUP)
	signal.Notify(s.reopen, syscall.SIGUSR1)
	signal.Notify(s.upgrade, syscall.SIGUSR2)
	return s
}

// release ends what catchSignals and serve have begun.
func (s *signals) release() {
	signal.Stop(s.stop)
	signal.Stop(s.reload)
	signal.Stop(s.reopen)
	signal.Stop(s.upgrade)
	s.end()
	s.serving.Wait()
}

// changer is what signals change of a running balancer.
type changer interface {
	Reload(ctx context.Context, dryRun bool) (changes []string, err error)
	ReopenLogs() error
	Upgrade(ctx context.Context) (pid int, err error)
}

// serve does what SIGHUP, SIGUSR1 and SIGUSR2 ask for, one at a time, until release. What they
// have to wait for keeps nobody from stopping.
func (s *signals) serve(c changer, log *slog.Logger) {
	s.serving.Go(func() {
		for {
			select {
			case <-s.ctx.Done():
				return
			case <-s.reload:
				done := s.reloading()
				reloadBySignal(s.ctx, c, log)
				done()
			case <-s.reopen:
				if err := c.ReopenLogs(); err != nil {
					log.Error("an access log goes on in its old file", "error", err)
				}
			case <-s.upgrade:
				if _, err := c.Upgrade(s.ctx); err != nil {
					log.Error("no other process has taken over", "signal", "SIGUSR2", "error", err)
				}
			}
		}
	})
}

// reloadBySignal logs what comes of a reload: nobody else is told.
func reloadBySignal(ctx context.Context, c changer, log *slog.Logger) {
	changes, err := c.Reload(ctx, false)
	if err == nil {
		log.Info("config reloaded", "signal", "SIGHUP", "changes", len(changes))
		return
	}
	log.Error("config not reloaded, the balancer goes on as before", "signal", "SIGHUP")
	for problem := range strings.Lines(err.Error()) {
		log.Error("config not reloaded", "problem", strings.TrimSpace(problem))
	}
}

// stopOn waits for a signal to stop, or until another process has taken over, and calls
// stop, which lets work in flight finish. The second signal ends the wait for it.
func (s *signals) stopOn(stop func()) error {
	replaced := false
	select {
	case <-s.stop:
	case <-s.replaced:
		replaced = true
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	for {
		select {
		case <-stopped:
			return nil
		case <-s.stop:
			if !replaced {
				return errKilled
			}
			replaced = false // the first signal asks for what is done already
		}
	}
}
