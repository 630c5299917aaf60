package resolve

import (
	"context"
	"log/slog"
	"net"
	"time"

	"fulcrum/pool"
	"fulcrum/watch"
)

const (
	defaultInterval = 30 * time.Second
	maxLookup       = 5 * time.Second // what one lookup may take
	maxLookups      = 16              // of one pool at the same time
	firstRetry      = time.Second     // while a name has never been resolved; doubled up to the interval
)

// Options say how the names of a pool's servers are looked up.
type Options struct {
	Interval time.Duration // from the end of one lookup of a name to the next; 0 means 30s
	Resolver Resolver      // nil means net.DefaultResolver
	Logger   *slog.Logger
}

// A Watcher keeps the servers of one pool at the addresses that their names lead
// to. All its methods may be called from any goroutine.
type Watcher struct {
	options Options
	pool    *pool.Pool
	turns   chan struct{} // holds a value for each lookup under way
	watched watch.Group
}

// New returns a watcher for a pool. Reconcile sets it to work.
func New(p *pool.Pool, o Options) *Watcher {
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	return &Watcher{options: o, pool: p, turns: make(chan struct{}, maxLookups)}
}

// Reconcile begins to look up the pool's new servers that are host names, and
// stops with those that have left it.
func (w *Watcher) Reconcile() { w.watched.Reconcile(w.pool.Servers(), w.begin) }

// Stop ends all lookups and waits for them.
func (w *Watcher) Stop() { w.watched.Stop() }

func (w *Watcher) begin(s *pool.Server) func(ctx context.Context) {
	if !isName(s.Address()) {
		return nil
	}
	return func(ctx context.Context) { w.watch(ctx, s) }
}

// watch looks up one server until ctx ends.
func (w *Watcher) watch(ctx context.Context, s *pool.Server) {
	interval := w.options.Interval
	retry := min(firstRetry, interval)
	failing := false
	// Names that were looked up together when the pool was made are spread out
	// from the second time on.
	wait := watch.Spread(interval)
	if s.Resolved() == nil {
		wait = watch.Vary(retry)
	}
	for watch.Sleep(ctx, wait, nil) {
		failing = w.look(ctx, s, failing)
		wait = watch.Vary(interval)
		if s.Resolved() == nil {
			retry = min(2*retry, interval)
			wait = watch.Vary(retry)
		}
	}
}

// look looks a server up once and reports whether that failed. Only the first
// failure of several in a row is logged, and the end of them.
func (w *Watcher) look(ctx context.Context, s *pool.Server, failing bool) (failed bool) {
	select {
	case w.turns <- struct{}{}:
	case <-ctx.Done():
		return failing
	}
	defer func() { <-w.turns }()
	timed, cancel := context.WithTimeout(ctx, min(maxLookup, w.options.Interval))
	defer cancel()
	now := s.Resolved()
	to, err := find(timed, w.options.Resolver, s.Address(), now)
	if ctx.Err() != nil {
		return failing // stopped in the middle: what it found means nothing
	}
	log := w.options.Logger.With("pool", w.pool.Name(), "server", s.Address())
	if err != nil {
		if !failing {
			log.Warn("server's name could not be resolved", "error", err, "address", text(now))
		}
		return true
	}
	if to != now {
		w.pool.SetResolved(s, to)
	}
	switch {
	case failing || now == nil:
		log.Info("server's name is resolved", "address", to.String())
	case to != now:
		log.Info("server's name leads elsewhere", "address", to.String(), "before", now.String())
	}
	return false
}

// text returns the address that a server keeps.
func text(address net.Addr) string {
	if address == nil {
		return "none"
	}
	return address.String()
}
