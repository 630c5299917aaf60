package resolve

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"fulcrum/pool"
	"fulcrum/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// zone answers lookups as the test says, and notes when each name was asked for.
type zone struct {
	mu    sync.Mutex
	names map[string][]string // guarded by mu: the addresses of a name; none: the lookup fails
	takes time.Duration       // guarded by mu
	asked map[string][]time.Time
	under int // lookups under way
	most  int // of them at the same time
}

func (z *zone) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	z.mu.Lock()
	z.asked[host] = append(z.asked[host], time.Now())
	z.under++
	z.most = max(z.most, z.under)
	takes := z.takes
	z.mu.Unlock()
	defer func() {
		z.mu.Lock()
		z.under--
		z.mu.Unlock()
	}()
	if !watch.Sleep(ctx, takes, nil) {
		return nil, ctx.Err()
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	texts, known := z.names[host]
	if !known || network != "ip" {
		return nil, &net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true}
	}
	ips := make([]netip.Addr, len(texts))
	for i, text := range texts {
		ips[i] = netip.MustParseAddr(text)
	}
	return ips, nil
}

// answers sets the addresses of a name.
func (z *zone) answers(host string, ips ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.names[host] = ips
}

// fails has every lookup of a name fail.
func (z *zone) fails(host string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.names, host)
}

// slow has every lookup take so long.
func (z *zone) slow(d time.Duration) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.takes = d
}

// lookups returns when a name was asked for, as seconds since the given time.
func (z *zone) lookups(host string, since time.Time) (all []float64) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, at := range z.asked[host] {
		all = append(all, at.Sub(since).Seconds())
	}
	return all
}

// world is a pool with its watcher, and what was logged.
type world struct {
	*pool.Pool
	*Watcher
	*zone
	t   *testing.T
	log bytes.Buffer // written by the watcher; read when it is idle
}

// inVirtualTime runs a story with a watcher that is stopped at its end.
func inVirtualTime(t *testing.T, interval time.Duration, story func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, Pool: newPool(t), zone: &zone{names: map[string][]string{}, asked: map[string][]time.Time{}}}
		plain := func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
		log := slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{ReplaceAttr: plain}))
		w.Watcher = New(w.Pool, Options{Interval: interval, Resolver: w.zone, Logger: log})
		defer w.Stop()
		story(t, w)
	})
}

func newPool(t *testing.T) *pool.Pool {
	t.Helper()
	p, err := pool.New("web", pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// upload adds a server that leads to an address, "" for none yet.
func (w *world) upload(address, resolved string) *pool.Server {
	var to net.Addr
	if resolved != "" {
		to = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(resolved))
	}
	s, _ := w.Upload(pool.ServerSpec{Address: address, Resolved: to})
	w.Reconcile()
	return s
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// leads says where a server must lead now.
func (w *world) leads(s *pool.Server, want string) {
	w.t.Helper()
	if got := text(s.Resolved()); got != want {
		w.t.Errorf("%s leads to %s, want %s", s.Address(), got, want)
	}
}

// suspect reports whether the server is to be checked at once.
func suspect(s *pool.Server) bool {
	select {
	case <-s.Suspect():
		return true
	default:
		return false
	}
}

// logged says which lines must have been logged since the last call.
func (w *world) logged(want ...string) {
	w.t.Helper()
	got := w.log.String()
	w.log.Reset()
	var all strings.Builder
	for _, line := range want {
		fmt.Fprintln(&all, line)
	}
	if got != all.String() {
		w.t.Errorf("logged\n%swant\n%s", got, all.String())
	}
}
