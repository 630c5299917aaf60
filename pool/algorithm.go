package pool

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// The algorithms by which a pool chooses a server.
const (
	// LeastConnections chooses the server with the least active per weight.
	// Equal ones take turns in proportion to their weights.
	LeastConnections = "least_connections"
	// RoundRobin lets the servers take turns in proportion to their weights,
	// the turns of each spread evenly over the cycle.
	RoundRobin = "round_robin"
)

// Algorithms returns the names that New accepts.
func Algorithms() []string { return []string{LeastConnections, RoundRobin} }

// candidate is a ready server with the limits that held when the snapshot was
// made.
type candidate struct {
	server *Server
	weight int64
	max    int64 // 0: no limit
}

func (c *candidate) full(active int64) bool { return c.max > 0 && active >= c.max }

// count adds one active unless that would exceed the limit.
func (c *candidate) count() bool {
	for {
		active := c.server.active.Load()
		if c.full(active) {
			return false
		}
		if c.server.active.CompareAndSwap(active, active+1) {
			return true
		}
	}
}

// picker chooses among the servers of one snapshot and counts on the one it
// chose, from any number of goroutines at once.
type picker interface {
	pick(turn *atomic.Uint64, tried *Tried) (*Server, error)
}

func newPicker(algorithm string, ready []candidate) picker {
	if algorithm == RoundRobin {
		return &roundRobin{candidates: ready, cycle: cycle(ready)}
	}
	return leastConnections(ready)
}

// leastConnections compares active/weight by cross-multiplication. The count
// is raised by compare-and-swap against the value that was compared, so in a
// burst of concurrent choices each sees the ones before it.
type leastConnections []candidate

func (l leastConnections) pick(turn *atomic.Uint64, tried *Tried) (*Server, error) {
	for {
		least, active, weights, err := l.least(tried)
		if err != nil {
			return nil, err
		}
		if weights > least.weight {
			least, active = l.tied(least, active, int64((turn.Add(1)-1)%uint64(weights)), tried)
		}
		if least.server.active.CompareAndSwap(active, active+1) {
			return least.server, nil
		}
	}
}

// least returns the first of the least loaded candidates, its active count,
// and the sum of the weights of all that are tied with it.
func (l leastConnections) least(tried *Tried) (least *candidate, active, weights int64, err error) {
	err = ErrNoneReady
	for i := range l {
		c := &l[i]
		if tried.has(c.server) {
			continue
		}
		a := c.server.active.Load()
		if c.full(a) {
			err = ErrFull
			continue
		}
		switch {
		case least == nil || a*least.weight < active*c.weight:
			least, active, weights = c, a, c.weight
		case a*least.weight == active*c.weight:
			weights += c.weight
		}
	}
	if least != nil {
		err = nil
	}
	return least, active, weights, err
}

// tied returns the candidate whose turn it is among those tied with first, each
// taking as many turns in a row as its weight. When counts moved meanwhile it
// may return first itself: the compare-and-swap that follows decides.
func (l leastConnections) tied(first *candidate, active, turn int64, tried *Tried) (*candidate, int64) {
	for i := range l {
		c := &l[i]
		a := c.server.active.Load()
		if a*first.weight != active*c.weight || c.full(a) || tried.has(c.server) {
			continue
		}
		if turn < c.weight {
			return c, a
		}
		turn -= c.weight
	}
	return first, active
}

// roundRobin walks a fixed cycle of turns.
type roundRobin struct {
	candidates []candidate
	cycle      []uint32 // indices into candidates
}

func (r *roundRobin) pick(turn *atomic.Uint64, tried *Tried) (*Server, error) {
	err := ErrNoneReady
	n := uint64(len(r.candidates))
	at := turn.Add(1) - 1
	// The next turns first; then, should they all belong to a few servers
	// that cannot be chosen, every server once.
	for i := range 2 * n {
		var c *candidate
		if i < n {
			c = &r.candidates[r.cycle[(at+i)%uint64(len(r.cycle))]]
		} else {
			c = &r.candidates[(at+i)%n]
		}
		if tried.has(c.server) {
			continue
		}
		if c.count() {
			return c.server, nil
		}
		err = ErrFull
	}
	return nil, err
}

// cycle returns the order of turns: a server with weight w gets w of them (all
// weights divided by their common divisor), at even distances, the servers
// staggered by their position so that those of equal weight follow one another.
func cycle(servers []candidate) []uint32 {
	var divisor int64
	for _, c := range servers {
		divisor = gcd(divisor, c.weight)
	}
	type slot struct {
		at    float64
		index uint32
	}
	var slots []slot
	for i, c := range servers {
		turns := c.weight / divisor
		offset := float64(i) / float64(len(servers))
		for k := range turns {
			slots = append(slots, slot{(float64(k) + offset) / float64(turns), uint32(i)})
		}
	}
	slices.SortStableFunc(slots, func(a, b slot) int { return cmp.Compare(a.at, b.at) })
	order := make([]uint32, len(slots))
	for i, s := range slots {
		order[i] = s.index
	}
	return order
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
