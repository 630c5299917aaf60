package pool

import (
	"net"
	"net/netip"
	"testing"
)

func TestAnAddressMayLeadElsewhere(t *testing.T) {
	w := newWorld(t, LeastConnections)
	a, _ := w.Upload(ServerSpec{Address: "a.test:80"})
	suspect := func() bool {
		select {
		case <-a.Suspect():
			return true
		default:
			return false
		}
	}
	if a.Resolved() != nil {
		t.Fatalf("resolved to %v before anybody did", a.Resolved())
	}
	for _, step := range []struct {
		to   net.Addr
		news bool
	}{
		{nil, false},
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, true},
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, false},
		{&net.TCPAddr{IP: net.IPv6loopback, Port: 80}, true},
		{nil, true},
		{&net.UnixAddr{Name: "/run/a", Net: "unix"}, true},
	} {
		w.SetResolved(a, step.to)
		same(t, "resolved", a.Resolved(), step.to)
		same(t, "in the status", w.Status()[0].Resolved, step.to)
		same(t, "suspect", suspect(), step.news)
	}
	w.Upload(ServerSpec{Address: "a.test:80", Weight: 2})
	same(t, "kept by an upload that does not say it", a.Resolved(), "/run/a")
	same(t, "suspect when uploaded again", suspect(), true)
}

func TestSourcesTakeTurns(t *testing.T) {
	w := newWorld(t, LeastConnections)
	a, _ := w.Upload(ServerSpec{Address: "a"})
	if a.Source().IsValid() {
		t.Fatalf("source %v of none", a.Source())
	}
	one, two, three := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("::3")
	turns := func(n int) (all []netip.Addr) {
		for range n {
			all = append(all, a.Source())
		}
		return all
	}
	w.Upload(ServerSpec{Address: "a", Sources: []netip.Addr{one}})
	same(t, "sources", turns(2), []netip.Addr{one, one})
	w.Upload(ServerSpec{Address: "a", Sources: []netip.Addr{one, two, three}})
	same(t, "sources", turns(5), []netip.Addr{one, two, three, one, two})
	together(4, func(int) {
		for range 75 {
			a.Source()
		}
	})
	same(t, "next", a.Source(), three)
	w.Upload(ServerSpec{Address: "a"})
	same(t, "valid", a.Source().IsValid(), false)
}
