package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/hashicorp/go-multierror"

	"fulcrum/accesslog"
	"fulcrum/admin"
	"fulcrum/config"
	"fulcrum/loop"
)

// running is everything that was built from one config.
type running struct {
	config    *config.Config
	log       *slog.Logger
	io        loop.IO // of the loops, if there are any
	loops     []*loop.Loop
	logs      map[string]*accesslog.Log // by path
	pools     []*poolInUse              // in the order of the config
	listeners []*listener               // likewise
	admin     *admin.Listener
}

// prepare builds all that the config asks for, without a byte of traffic being
// taken. On an error, which names every problem, nothing is left open.
func prepare(c *config.Config, controller admin.Controller, log *slog.Logger) (*running, error) {
	r := &running{config: c, log: log, logs: make(map[string]*accesslog.Log)}
	var problems *multierror.Error
	problems = multierror.Append(problems, r.preparePools()...)
	if err := r.prepareLoops(); err != nil {
		problems = multierror.Append(problems, err)
	} else {
		problems = multierror.Append(problems, r.prepareListeners()...)
	}
	problems = multierror.Append(problems, r.prepareAdmin(controller))
	if problems.ErrorOrNil() != nil {
		r.abandon()
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

func (r *running) prepareListeners() (problems []error) {
	for i := range r.config.Listeners {
		l, err := r.newListener(&r.config.Listeners[i])
		if err != nil {
			problems = append(problems, fmt.Errorf("listener %q: %w", r.config.Listeners[i].Name, err))
			continue
		}
		r.listeners = append(r.listeners, l)
	}
	return problems
}

func (r *running) prepareAdmin(controller admin.Controller) error {
	if r.config.Admin == nil {
		return nil
	}
	socket, err := listenOn(r.config.Admin.Address)
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	r.admin, err = admin.New(admin.Options{Listener: socket, Controller: controller, Logger: r.log})
	if err != nil {
		socket.Close()
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}

// commit sets everything going. It cannot fail.
func (r *running) commit() {
	if len(r.loops) > 0 {
		r.log.Info("event loops", "io", r.io, "loops", len(r.loops))
	}
	r.tellDescriptors()
	for _, p := range r.pools {
		p.reconcile()
	}
	for _, l := range r.listeners {
		l.Start()
		r.log.Info("listening", "listener", l.config.Name, "protocol", l.config.Protocol, "address", l.Address(), "pool", l.config.Pool)
	}
	if r.admin != nil {
		r.admin.Start()
		r.log.Info("admin listening", "address", written(r.admin.Addr()))
	}
}

// abandon closes what prepare opened before it failed.
func (r *running) abandon() {
	for _, l := range r.listeners {
		l.Abandon()
	}
	r.close()
}

// retireListeners has every listener finish its work, until ctx ends.
func (r *running) retireListeners(ctx context.Context) {
	var all sync.WaitGroup
	for _, l := range r.listeners {
		all.Go(func() { l.Stop(ctx) })
	}
	all.Wait()
}

// close ends all that serves the listeners.
func (r *running) close() {
	for _, p := range r.pools {
		p.stop()
	}
	if r.admin != nil {
		ctx, cancel := context.WithTimeout(context.Background(), adminGrace)
		defer cancel()
		if err := r.admin.Stop(ctx); err != nil {
			r.log.Warn("admin listener was stopped with requests under way", "error", err)
		}
	}
	for _, lp := range r.loops {
		lp.Stop()
	}
	r.closeLogs()
}
