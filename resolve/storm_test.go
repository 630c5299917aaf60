package resolve

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fulcrum/pool"
)

// restless answers every lookup with another address.
type restless struct{ n atomic.Uint32 }

func (r *restless) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	n := r.n.Add(1)
	return []netip.Addr{netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)})}, nil
}

// Everything at once, for the race detector: uploads, removals, traffic that
// reads where servers lead, and Stop in the middle of it.
func TestStorm(t *testing.T) {
	p := newPool(t)
	r := &restless{}
	w := New(p, Options{Interval: 1, Resolver: r, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	moved := make(chan struct{})
	var once sync.Once
	for i := range 4 {
		all.Go(func() {
			address := fmt.Sprintf("%d.example:80", i)
			for ctx.Err() == nil {
				s, _ := p.Upload(pool.ServerSpec{Address: address})
				w.Reconcile()
				if s.Resolved() != nil && r.n.Load() > 500 {
					once.Do(func() { close(moved) })
				}
				if r.n.Load()%7 == 0 {
					p.Drain(s)
					p.RemoveDrained(s)
					w.Reconcile()
				}
			}
		})
	}
	select {
	case <-moved:
	case <-time.After(20 * time.Second):
		t.Error("no server was moved")
	}
	w.Stop()
	cancel()
	all.Wait()
	w.Stop()
}
