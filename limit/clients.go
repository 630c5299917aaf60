package limit

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

const clientShards = 64 // so that loops seldom wait for each other

// Clients keep the connections of each client to a limit. A client is an IPv4
// address, or the /64 of an IPv6 one, all of which a single client commonly has.
// Its methods may be called from any goroutine.
type Clients struct {
	most   atomic.Int64 // 0: no limit
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

// NewClients returns Clients of which each may have so many connections, 0: any
// number.
func NewClients(most int) *Clients {
	c := &Clients{seed: maphash.MakeSeed()}
	c.most.Store(int64(most))
	for i := range c.shards {
		c.shards[i].open = map[netip.Addr]int{}
	}
	return c
}

// Limit changes how many connections each client may have, 0: any number. Those
// that there are by then count only if there was a limit before.
func (c *Clients) Limit(most int) { c.most.Store(int64(most)) }

// Enter counts one more connection of a client, to be taken back by Leave, unless
// the client has as many as it may.
func (c *Clients) Enter(a netip.Addr) bool {
	client, shard := c.find(a)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	n := shard.open[client]
	if most := c.most.Load(); most > 0 && int64(n) >= most {
		return false
	}
	shard.open[client] = n + 1
	return true
}

// Count counts one more of a client's whether or not it may have as many: it is there
// already. Leave takes it back.
func (c *Clients) Count(a netip.Addr) {
	client, shard := c.find(a)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.open[client]++
}

// Leave counts one less, of an address that Enter was given.
func (c *Clients) Leave(a netip.Addr) {
	client, shard := c.find(a)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if n := shard.open[client]; n > 1 {
		shard.open[client] = n - 1
	} else {
		delete(shard.open, client)
	}
}

// find returns what stands for a client.
func (c *Clients) find(a netip.Addr) (client netip.Addr, shard *clientShard) {
	client = a.Unmap()
	if client.Is6() {
		network, _ := client.Prefix(64) // 64 bits are in range
		client = network.Addr()
	}
	return client, &c.shards[maphash.Comparable(c.seed, client)%clientShards]
}
