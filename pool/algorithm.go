package pool

import (
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

// rotation is the ready servers of a pool and the cycle in which they take turns.
// It is immutable, and its methods may be called from any number of goroutines.
type rotation struct {
	candidates []candidate
	cycle      []uint32 // indices into candidates
}

func newRotation(ready []candidate) rotation { return rotation{ready, cycle(ready)} }

// countOn counts one more active on a server, unless it is full or not ready.
func (r *rotation) countOn(s *Server) bool {
	i := slices.IndexFunc(r.candidates, func(c candidate) bool { return c.server == s })
	return i >= 0 && r.candidates[i].count()
}

// roundRobin chooses and counts the server whose turn it is, or the next one
// after it that can be chosen; the turns in between are used up, so that they do
// not all go to the same successor.
func (r *rotation) roundRobin(turn *atomic.Uint64, tried *Tried) (*Server, error) {
	err := ErrNoneReady
	server, skipped := r.take(turn.Add(1)-1, func(c *candidate) bool {
		switch {
		case tried.has(c.server):
			return false
		case !c.count():
			err = ErrFull
			return false
		}
		return true
	})
	if server == nil {
		return nil, err
	}
	if skipped > 0 {
		turn.Add(skipped)
	}
	return server, nil
}

// leastConnections chooses and counts the server with the least active/weight,
// compared by cross-multiplication; of equal ones the first whose turn comes.
// Turns go on from the server chosen last, so that no rhythm in which equal
// servers come and go can keep one of them from its turn. The count is raised by
// compare-and-swap against the value that was compared: in a burst of concurrent
// choices each sees the ones before it.
func (r *rotation) leastConnections(turn *atomic.Uint64, tried *Tried) (*Server, error) {
	for {
		least, active, err := r.least(tried)
		if least == nil {
			return nil, err
		}
		server, skipped := r.take(turn.Load(), func(c *candidate) bool {
			a := c.server.active.Load()
			return a*least.weight == active*c.weight && !c.full(a) && !tried.has(c.server) &&
				c.server.active.CompareAndSwap(a, a+1)
		})
		if server != nil {
			turn.Add(skipped + 1)
			return server, nil
		}
	}
}

// least returns one of the least loaded candidates and its active count.
func (r *rotation) least(tried *Tried) (least *candidate, active int64, err error) {
	err = ErrNoneReady
	for i := range r.candidates {
		c := &r.candidates[i]
		if tried.has(c.server) {
			continue
		}
		a := c.server.active.Load()
		switch {
		case c.full(a):
			err = ErrFull
		case least == nil || a*least.weight < active*c.weight:
			least, active = c, a
		}
	}
	return least, active, err
}

// take returns the first server from turn at on that try accepts, and how many
// turns were passed over. Should the next turns all belong to a few servers that
// are not accepted, every server is asked once.
func (r *rotation) take(at uint64, try func(*candidate) bool) (server *Server, skipped uint64) {
	turns, n := uint64(len(r.cycle)), uint64(len(r.candidates))
	for i := range min(turns, 2*n) {
		if c := &r.candidates[r.cycle[(at+i)%turns]]; try(c) {
			return c.server, i
		}
	}
	for i := range n {
		if c := &r.candidates[(at+i)%n]; try(c) {
			return c.server, 0
		}
	}
	return nil, 0
}

// maxTurns bounds a cycle. Weights that would make a longer one are rounded to
// turns, at least one for each server.
const maxTurns = 1 << 16

// cycle returns the order of turns: a server with weight w gets w of them (all
// weights divided by their common divisor), at even distances, the servers
// staggered by their position so that those of equal weight follow one another.
func cycle(servers []candidate) []uint32 {
	var divisor, total int64
	for _, c := range servers {
		divisor = gcd(divisor, c.weight)
		total += c.weight
	}
	var places []uint64 // the place in the cycle, as a fraction of 1<<32, above the index
	for i, c := range servers {
		turns := c.weight / divisor
		if total/divisor > maxTurns {
			turns = max(1, c.weight*maxTurns/total)
		}
		offset := float64(i) / float64(len(servers))
		for k := range turns {
			at := (float64(k) + offset) / float64(turns)
			places = append(places, uint64(at*(1<<32))<<32|uint64(i))
		}
	}
	slices.Sort(places)
	order := make([]uint32, len(places))
	for i, place := range places {
		order[i] = uint32(place)
	}
	return order
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
