package pool

import (
	"slices"
	"sync/atomic"
)

// An Explanation says what a pool would do at one moment, and why.
type Explanation struct {
	Algorithm string
	Servers   []Explained // in the order in which they were added
	// Next is the address of the server that Acquire would choose for a connection or
	// request that has not tried any. "": none, and Err is what it would answer.
	Next string
	Err  error

	Queued      int // how many wait; while somebody does, a newcomer gets nothing
	QueueLength int // how many may
	Retries     Retries
	RetriesLeft int // how many connections and requests may be tried again right now
}

// An Explained is a server as its pool's algorithm sees it.
type Explained struct {
	Status
	Score float64 // Active by Weight; least_connections chooses among those with the least
	Full  bool    // ready, but at its MaxConnections
}

// Explain says what the pool would do now. It runs what Acquire runs, on a copy of
// what that would see: nothing is counted, and no turn used up.
func (p *Pool) Explain() Explanation {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, waiting := p.current.Load().frozen(), p.queued.Load()
	e := Explanation{
		Algorithm:   now.algorithm,
		Servers:     make([]Explained, len(p.servers)),
		Queued:      int(waiting),
		QueueLength: p.options.QueueLength,
		Retries:     *p.options.Retries,
		RetriesLeft: int(p.budgetLocked().left(int64(p.options.Retries.Percent))),
	}
	ready := now.candidates
	for i, s := range p.servers {
		of := &e.Servers[i]
		of.Status = s.statusLocked()
		if of.Ready { // those that are make up the candidates, in the same order
			of.Active = ready[0].server.active.Load()
			of.Full = ready[0].full(of.Active)
			ready = ready[1:]
		}
		of.Score = float64(of.Active) / float64(of.Weight)
	}
	if now.leaves(waiting) {
		e.Err = ErrFull
		return e
	}
	var turn atomic.Uint64
	turn.Store(p.turn.Load())
	chosen, err := now.next(&turn, nil)
	if e.Err = err; err == nil {
		e.Next = chosen.address
	}
	return e
}

// frozen returns a copy of which the counts are as they are now, and stay so but for
// who chooses from it.
func (s *snapshot) frozen() *snapshot {
	still := *s
	still.candidates = slices.Clone(s.candidates)
	for i := range still.candidates {
		c := &still.candidates[i]
		now := &Server{address: c.server.address}
		now.active.Store(c.server.active.Load())
		c.server = now
	}
	return &still
}
