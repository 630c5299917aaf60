package l4

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

// gate keeps the connections of a listener, on all its loops, to a limit. Who
// may not accept waits for its turn; a place that is freed wakes the worker that
// has waited longest, so that no loop's clients starve.
type gate struct {
	most int64
	open atomic.Int64

	mu      sync.Mutex
	waiting []*worker    // in the order in which they came; guarded by mu
	waits   atomic.Int64 // how many; written under mu
}

// enter takes a place, or puts the worker among those that wait for one.
func (g *gate) enter(w *worker) bool {
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

func (g *gate) reserve() bool {
	for {
		n := g.open.Load()
		if n >= g.most {
			return false
		}
		if g.open.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (g *gate) setWaiting(w *worker, waits bool) {
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

// leave gives a place back.
func (g *gate) leave() {
	g.open.Add(-1)
	if g.waits.Load() > 0 {
		g.wakeNext()
	}
}

// wakeNext wakes the worker that has waited longest. One that has no use for a
// place calls wakeNext in turn.
func (g *gate) wakeNext() {
	for w := g.first(); w != nil; w = g.first() {
		if w.loop.Post(w.resume) {
			return
		}
	}
}

func (g *gate) first() (w *worker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) > 0 {
		w = g.waiting[0]
		g.waiting = slices.Delete(g.waiting, 0, 1)
		g.waits.Store(int64(len(g.waiting)))
	}
	return w
}

const clientShards = 64 // so that loops seldom wait for each other

// clientCounts keep the connections of each client to a limit.
type clientCounts struct {
	most   int
	seed   maphash.Seed
	shards [clientShards]clientShard
}

// clientShard counts the clients that hash to it. Only those with a connection
// have an entry.
type clientShard struct {
	mu   sync.Mutex
	open map[netip.Addr]int // guarded by mu
	_    cpu.CacheLinePad
}

func newClientCounts(most int) *clientCounts {
	c := &clientCounts{most: most, seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].open = map[netip.Addr]int{}
	}
	return c
}

// enter counts one more connection of a client, unless it has as many as it may.
func (c *clientCounts) enter(a netip.Addr) bool {
	client, shard := c.find(a)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	n := shard.open[client]
	if n >= c.most {
		return false
	}
	shard.open[client] = n + 1
	return true
}

// leave counts one less. It follows each enter that reported true, once.
func (c *clientCounts) leave(a netip.Addr) {
	client, shard := c.find(a)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if n := shard.open[client]; n > 1 {
		shard.open[client] = n - 1
	} else {
		delete(shard.open, client)
	}
}

// find returns what stands for a client: an IPv4 address, or the /64 of an IPv6
// one, all of which a single client commonly has.
func (c *clientCounts) find(a netip.Addr) (client netip.Addr, shard *clientShard) {
	client = a
	if a.Is6() {
		network, _ := a.Prefix(64) // 64 bits are in range
		client = network.Addr()
	}
	return client, &c.shards[maphash.Comparable(c.seed, client)%clientShards]
}
