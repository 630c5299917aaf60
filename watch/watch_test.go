package watch

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fulcrum/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGoroutinesMatchTheServers(t *testing.T) {
	p, err := pool.New("web", pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	upload := func(address string) *pool.Server {
		s, _ := p.Upload(pool.ServerSpec{Address: address})
		return s
	}
	a, b, idle := upload("a"), upload("b"), upload("idle")
	begun, ended := map[*pool.Server]int{}, make(chan *pool.Server, 3)
	begin := func(s *pool.Server) func(context.Context) {
		begun[s]++
		if s == idle {
			return nil
		}
		return func(ctx context.Context) { <-ctx.Done(); ended <- s }
	}
	var g Group
	for range 2 {
		g.Reconcile(p.Servers(), begin)
	}
	if begun[a] != 1 || begun[b] != 1 || begun[idle] != 1 || g.Running() != 2 {
		t.Errorf("begun %v, %d are running", begun, g.Running())
	}
	g.Reconcile([]*pool.Server{b, idle}, begin)
	if s := <-ended; s != a || g.Running() != 1 {
		t.Errorf("%s has ended, %d are running", s.Address(), g.Running())
	}
	g.Reconcile(p.Servers(), begin)
	g.Stop()
	if len(ended) != 2 || begun[a] != 2 {
		t.Errorf("%d had ended when Stop returned; a began %d times", len(ended), begun[a])
	}
	g.Reconcile([]*pool.Server{upload("late")}, begin)
	if len(begun) != 3 {
		t.Error("a goroutine was begun after Stop")
	}
}

func TestTimesVaryWithinBounds(t *testing.T) {
	for range 1000 {
		if d := Vary(time.Second); d < 900*time.Millisecond || d > 1100*time.Millisecond {
			t.Fatalf("a second became %v", d)
		}
		if d := Spread(time.Second); d < 0 || d > time.Second {
			t.Fatalf("a part of a second is %v", d)
		}
	}
}
