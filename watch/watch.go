// Package watch has a goroutine for each server of a pool, for packages that look
// after servers one by one: health and resolve.
//
// The zero Group is ready. Reconcile, called after every change to the pool's
// servers, starts and stops the goroutines so that they match; Stop ends them all
// and waits.
package watch

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"fulcrum/pool"
)

const jitter = 0.1 // Vary changes a time by up to this share

// A Group is the goroutines for one pool's servers. Its methods may be called from
// any goroutine.
type Group struct {
	mu      sync.Mutex
	running map[*pool.Server]context.CancelFunc // nil: without a goroutine; guarded by mu
	stopped bool                                // guarded by mu
	all     sync.WaitGroup
}

// Reconcile calls begin for each of the servers that it was not called for yet,
// and sets what that returns going; nil: the server needs no goroutine. The ctx
// ends when a server is no longer among them. Once stopped it does nothing.
func (g *Group) Reconcile(servers []*pool.Server, begin func(*pool.Server) func(ctx context.Context)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return
	}
	before := g.running
	g.running = make(map[*pool.Server]context.CancelFunc, len(servers))
	for _, s := range servers {
		if cancel, known := before[s]; known {
			delete(before, s)
			g.running[s] = cancel
			continue
		}
		g.running[s] = nil
		if run := begin(s); run != nil {
			ctx, cancel := context.WithCancel(context.Background())
			g.running[s] = cancel
			g.all.Go(func() { run(ctx) })
		}
	}
	end(before)
}

// Running returns how many servers have a goroutine.
func (g *Group) Running() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, cancel := range g.running {
		if cancel != nil {
			n++
		}
	}
	return n
}

// Stop ends all goroutines and waits for them.
func (g *Group) Stop() {
	g.mu.Lock()
	g.stopped = true
	end(g.running)
	g.mu.Unlock()
	g.all.Wait()
}

func end(running map[*pool.Server]context.CancelFunc) {
	for _, cancel := range running {
		if cancel != nil {
			cancel()
		}
	}
}

// Sleep waits for d or until early delivers, which may be nil, and reports false
// when ctx has ended.
func Sleep(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-early:
	}
	return true
}

// Vary returns d, up to a tenth shorter or longer, so that what was begun together
// does not march in step.
func Vary(d time.Duration) time.Duration {
	return time.Duration((1 + jitter*(2*rand.Float64()-1)) * float64(d))
}

// Spread returns any part of d: after that long those that were begun together are
// spread out.
func Spread(d time.Duration) time.Duration {
	return time.Duration(rand.Float64() * float64(d))
}
