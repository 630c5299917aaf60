// Package limit keeps the connections of a listener to a limit, on all its loops
// together: a Gate those of everybody, Clients those of each client.
//
// Both are exact at any moment, and count what they are told: each Enter that
// reported true is followed by one Leave. Of a Gate a place is taken before a
// connection is accepted, so that whoever comes too many waits in the kernel's
// queue; of Clients it is taken once it is known who the client is, and whoever has
// too many is to be turned away. A limit of 0 is none.
//
// A limit may change while there are connections: if it becomes lower, those that
// are too many stay, and count.
//
// No more is kept than there are Waiters, and clients that have a connection.
package limit

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A Waiter accepts connections on one loop, and waits for a place when a Gate has
// none. It is compared by ==, so it is a pointer.
type Waiter interface {
	// Wake tells, from any goroutine, that a place was free a moment ago. The Waiter
	// no longer waits: it is to call Enter, or WakeNext if it has no use for a place.
	// It must not block. False: it is gone, and the next one is woken.
	Wake() bool
}

// A Gate keeps connections to a limit. Who finds no place waits for its turn; a
// place that is given back wakes the one that has waited longest, so that no loop's
// clients starve. Its methods may be called from any goroutine.
type Gate struct {
	most atomic.Int64 // 0: no limit
	open atomic.Int64

	mu      sync.Mutex
	waiting []Waiter     // in the order in which they came; guarded by mu
	waits   atomic.Int64 // how many; written under mu
}

// NewGate returns a Gate for so many connections, 0: any number.
func NewGate(most int) *Gate {
	g := &Gate{}
	g.most.Store(int64(most))
	return g
}

// Limit changes how many connections there may be, 0: any number.
func (g *Gate) Limit(most int) {
	g.most.Store(int64(most))
	g.mu.Lock()
	waiting := slices.Clone(g.waiting)
	g.waiting = nil
	g.waits.Store(0)
	g.mu.Unlock()
	for _, w := range waiting {
		w.Wake()
	}
}

// Enter takes a place, to be given back by Leave, or puts w among those that wait
// for one.
func (g *Gate) Enter(w Waiter) bool {
	if g.reserve() {
		return true
	}
	g.setWaiting(w, true)
	// Whoever frees a place from here on sees that w waits; one may have been
	// freed before that.
	if !g.reserve() {
		return false
	}
	g.setWaiting(w, false)
	return true
}

func (g *Gate) reserve() bool {
	for {
		n := g.open.Load()
		if most := g.most.Load(); most > 0 && n >= most {
			return false
		}
		if g.open.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (g *Gate) setWaiting(w Waiter, waits bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch i := slices.Index(g.waiting, w); {
	case waits && i < 0:
		g.waiting = append(g.waiting, w)
	case !waits && i >= 0:
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	g.waits.Store(int64(len(g.waiting)))
}

// Count takes a place whether or not one is free, for a connection that there is
// already.
func (g *Gate) Count() { g.open.Add(1) }

// Leave gives a place back.
func (g *Gate) Leave() {
	g.open.Add(-1)
	if g.waits.Load() > 0 {
		g.WakeNext()
	}
}

// WakeNext wakes the one that has waited longest. One that was woken and has no use
// for a place calls it in turn.
func (g *Gate) WakeNext() {
	for w := g.first(); w != nil; w = g.first() {
		if w.Wake() {
			return
		}
	}
}

func (g *Gate) first() (w Waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) > 0 {
		w = g.waiting[0]
		g.waiting = slices.Delete(g.waiting, 0, 1)
		g.waits.Store(int64(len(g.waiting)))
	}
	return w
}
