package pool

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests. None of them needs it to pass.
const patience = 20 * time.Second

// passed and failed are check results as package health would record them.
func passed() Health { return Health{Healthy: true, Passed: true, At: time.Now()} }
func failed() Health { return Health{Reason: "connection refused", At: time.Now()} }

// world is a pool and the leases that a story holds on its servers, which are
// called a, b, c … in the order in which they came.
type world struct {
	*Pool
	t    testing.TB
	held map[string][]*Lease
}

func newWorld(t testing.TB, algorithm string) *world { return newQueue(t, algorithm, 0) }

// newQueue returns a world in which so many may wait when all are full.
func newQueue(t testing.TB, algorithm string, length int) *world {
	t.Helper()
	p, err := New("web", Options{Algorithm: algorithm, QueueLength: length})
	if err != nil {
		t.Fatal(err)
	}
	return &world{Pool: p, t: t, held: map[string][]*Lease{}}
}

// start returns a world of ready servers that have these weights.
func start(t testing.TB, algorithm string, weights ...int) *world {
	t.Helper()
	w := newWorld(t, algorithm)
	for i, weight := range weights {
		w.ready(letter(i), weight, 0)
	}
	return w
}

func letter(i int) string { return string(rune('a' + i)) }

// ready uploads a server and lets it pass a check.
func (w *world) ready(address string, weight, limit int) *Server {
	server, _ := w.Upload(ServerSpec{Address: address, Weight: weight, MaxConnections: limit})
	w.SetHealth(server, passed())
	return server
}

// must acquires and returns the lease; the story ends when there is none.
func (w *world) must(tried *Tried) *Lease {
	w.t.Helper()
	lease, err := w.Acquire(tried)
	if err != nil {
		w.t.Fatalf("acquire: %v", err)
	}
	return &lease
}

// acquire acquires n times and holds the leases.
func (w *world) acquire(n int) {
	w.t.Helper()
	for range n {
		lease := w.must(nil)
		name := lease.Server().Address()
		w.held[name] = append(w.held[name], lease)
	}
}

// release ends the oldest leases held on the servers named, one per letter.
func (w *world) release(names string) {
	w.t.Helper()
	for _, name := range strings.Split(names, "") {
		if len(w.held[name]) == 0 {
			w.t.Fatalf("nothing is held on %q", name)
		}
		w.held[name][0].Release(Served)
		w.held[name] = w.held[name][1:]
	}
}

// want compares the active counts.
func (w *world) want(active ...int64) {
	w.t.Helper()
	if got := w.actives(); !slices.Equal(got, active) {
		w.t.Fatalf("active %v, want %v", got, active)
	}
}

// wantErr acquires and expects to be refused.
func (w *world) wantErr(tried *Tried, want error) {
	w.t.Helper()
	if lease, err := w.Acquire(tried); err != want || lease.Server() != nil {
		w.t.Fatalf("acquire gave %v and error %v, want none and %v", lease.Server(), err, want)
	}
}

// turns acquires n times, releasing each lease at once, and returns the
// servers in the order in which they were chosen.
func (w *world) turns(n int) string {
	w.t.Helper()
	var order strings.Builder
	for range n {
		lease := w.must(nil)
		order.WriteString(lease.Server().Address())
		lease.Release(Served)
	}
	return order.String()
}

func (w *world) actives() []int64 {
	var all []int64
	for _, s := range w.Status() {
		all = append(all, s.Active)
	}
	return all
}

func (w *world) totals() []int64 {
	var all []int64
	for _, s := range w.Status() {
		all = append(all, s.Total)
	}
	return all
}

// eachAlgorithm runs a story that is the same for every algorithm.
func eachAlgorithm(t *testing.T, story func(t *testing.T, algorithm string)) {
	for _, algorithm := range Algorithms() {
		t.Run(algorithm, func(t *testing.T) { story(t, algorithm) })
	}
}

func ones(n int) []int {
	return slices.Repeat([]int{1}, n)
}

// sum adds up counts.
func sum(counts []int64) (all int64) {
	for _, n := range counts {
		all += n
	}
	return all
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Fatalf("%s: %s, want %s", what, g, w)
	}
}
