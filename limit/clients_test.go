package limit

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

var at = netip.MustParseAddr

func (c *Clients) remembered() (n int) {
	for i := range c.shards {
		n += len(c.shards[i].open)
	}
	return n
}

func TestClientsAreCountedByAddressOrNetwork(t *testing.T) {
	c := NewClients(2)
	for _, step := range []struct {
		address string
		want    bool
	}{
		{"10.0.0.1", true}, {"::ffff:10.0.0.1", true}, {"10.0.0.1", false}, {"::ffff:10.0.0.2", true},
		{"2001:db8::1", true}, {"2001:db8::ffff:1", true}, {"2001:db8::2", false}, {"2001:db8:0:1::1", true},
		{"fe80::1%eth0", true}, {"fe80::2%eth1", true}, {"fe80::3", false},
	} {
		if got := c.Enter(at(step.address)); got != step.want {
			t.Errorf("%s: %v, want %v", step.address, got, step.want)
		}
	}
	c.Leave(at("2001:db8::1"))
	if !c.Enter(at("2001:db8::3")) {
		t.Error("a place that was given back is not free")
	}
}

func TestClientsWithoutAConnectionAreForgotten(t *testing.T) {
	const goroutines, each = 8, 500
	c := NewClients(2)
	clients := []netip.Addr{at("10.0.0.1"), at("10.0.0.2"), at("2001:db8::1")}
	open := make([]atomic.Int64, len(clients))
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for i := range each {
				n := i % len(clients)
				if !c.Enter(clients[n]) {
					continue
				}
				if has := open[n].Add(1); has > 2 {
					t.Errorf("%s has %d, want up to 2", clients[n], has)
				}
				open[n].Add(-1)
				c.Leave(clients[n])
			}
		})
	}
	all.Wait()
	if n := c.remembered(); n > 0 {
		t.Errorf("%d clients without a connection are remembered", n)
	}
}

func TestClientsWithoutALimit(t *testing.T) {
	c := NewClients(0)
	for range 10 {
		if !c.Enter(at("10.0.0.1")) {
			t.Fatal("there is a limit")
		}
	}
	c.Leave(at("10.0.0.1"))
}

func TestTheLimitOfClientsMayChange(t *testing.T) {
	c := NewClients(1)
	a := at("10.0.0.1")
	if !c.Enter(a) || c.Enter(a) {
		t.Fatal("one may enter")
	}
	c.Limit(2)
	if !c.Enter(a) || c.Enter(a) {
		t.Fatal("two may")
	}
	c.Limit(1)
	c.Leave(a)
	if c.Enter(a) {
		t.Fatal("one is still there")
	}
}
