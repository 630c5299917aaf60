package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/go-multierror"

	"fulcrum/admin"
	"fulcrum/config"
	"fulcrum/health"
	"fulcrum/loop"
	"fulcrum/pool"
)

// resolveTimeout bounds the resolving of all host names at start, and of one on
// upload.
const resolveTimeout = 5 * time.Second

// running is everything that was built from one config.
type running struct {
	config    *config.Config
	log       *slog.Logger
	loops     []*loop.Loop
	pools     []*poolInUse // in the order of the config
	listeners []*listener  // likewise
	admin     *admin.Listener
}

// poolInUse is a pool with its checker.
type poolInUse struct {
	*pool.Pool
	config  *config.Pool
	checker *health.Checker
}

// prepare builds all that the config asks for, without a byte of traffic being
// taken. On an error, which names every problem, nothing is left open.
func prepare(c *config.Config, controller admin.Controller, log *slog.Logger) (*running, error) {
	r := &running{config: c, log: log}
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

func (r *running) preparePools() (problems []error) {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	for i := range r.config.Pools {
		c := &r.config.Pools[i]
		p, err := pool.New(c.Name, poolOptions(c))
		if err != nil {
			problems = append(problems, fmt.Errorf("pool %q: %w", c.Name, err))
			continue
		}
		addresses, errs := resolveAll(ctx, c.Servers)
		for _, err := range errs {
			problems = append(problems, fmt.Errorf("pool %q: %w", c.Name, err))
		}
		for j, s := range c.Servers {
			p.Upload(pool.ServerSpec{
				Address:        s.Address,
				Resolved:       addresses[j],
				Weight:         s.Weight,
				MaxConnections: s.MaxConnections,
			})
		}
		r.pools = append(r.pools, &poolInUse{Pool: p, config: c, checker: health.New(p, healthOptions(c.Health, r.log))})
	}
	return problems
}

func poolOptions(c *config.Pool) pool.Options {
	o := pool.Options{Algorithm: c.Algorithm}
	if c.Queue != nil {
		o.QueueLength = c.Queue.Length
	}
	return o
}

func healthOptions(c *config.Health, log *slog.Logger) health.Options {
	o := health.Options{
		Off:      c.Off,
		Interval: c.Interval,
		Timeout:  c.Timeout,
		Rise:     c.Rise,
		Fall:     c.Fall,
		Path:     c.Path,
		Logger:   log,
	}
	for _, status := range c.Status {
		o.Status = append(o.Status, health.StatusRange(status))
	}
	return o
}

// processors returns how many processors the process was given, and sees to it
// that Go has one more: a busy loop keeps its own, and health checks, the admin
// listener and http must not wait for it.
var processors = sync.OnceValue(func() int {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(n + 1)
	return n
})

// prepareLoops makes a loop for each processor, if any listener needs them.
func (r *running) prepareLoops() error {
	for _, l := range r.config.Listeners {
		if l.Protocol != config.ProtocolTCP {
			continue
		}
		io, err := chooseIO(r.config.IO)
		if err != nil {
			return err
		}
		n := processors()
		r.log.Info("event loops", "io", io, "loops", n)
		for range n {
			lp, err := loop.New(io, r.log)
			if err != nil {
				return fmt.Errorf("cannot make an event loop: %w", err)
			}
			r.loops = append(r.loops, lp)
		}
		return nil
	}
	return nil
}

// chooseIO returns what the config asks for.
func chooseIO(wanted string) (loop.IO, error) {
	switch wanted {
	case config.IOEpoll:
		return loop.Epoll, nil
	case config.IOUring:
		if err := loop.ProbeIOUring(); err != nil {
			return 0, fmt.Errorf("io_uring cannot be used: %w", err)
		}
		return loop.IOUring, nil
	}
	return loop.Auto(), nil
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
	socket, err := net.Listen("tcp", r.config.Admin.Address)
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
	for _, p := range r.pools {
		p.checker.Reconcile()
	}
	for _, l := range r.listeners {
		l.Start()
		r.log.Info("listening", "listener", l.config.Name, "protocol", l.config.Protocol, "address", l.Address(), "pool", l.config.Pool)
	}
	if r.admin != nil {
		r.admin.Start()
		r.log.Info("admin listening", "address", r.admin.Addr().String())
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
		p.checker.Stop()
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
}

func (r *running) pool(name string) *poolInUse {
	for _, p := range r.pools {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

// resolveAll resolves the addresses of servers, side by side.
func resolveAll(ctx context.Context, servers []config.Server) (resolved []net.Addr, problems []error) {
	resolved = make([]net.Addr, len(servers))
	failed := make([]error, len(servers))
	var all sync.WaitGroup
	turns := make(chan struct{}, 16)
	for i := range servers {
		all.Go(func() {
			turns <- struct{}{}
			resolved[i], failed[i] = resolve(ctx, servers[i].Address)
			<-turns
		})
	}
	all.Wait()
	for _, err := range failed {
		if err != nil {
			problems = append(problems, err)
		}
	}
	return resolved, problems
}

// resolve finds where host:port leads; of several addresses the first one.
func resolve(ctx context.Context, address string) (net.Addr, error) {
	if literal, err := netip.ParseAddrPort(address); err == nil {
		return net.TCPAddrFromAddrPort(literal), nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", address, err)
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", address, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(ips) == 0 {
		err = errors.New("the name has no address")
	}
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", address, err)
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ips[0].Unmap(), uint16(number))), nil
}
