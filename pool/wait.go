package pool

import "container/list"

// A Waiter stands in a pool's queue for a server. Its owner sets the fields, and
// changes nothing from Await on until Granted was called or Cancel reported true;
// then it may be used again.
type Waiter struct {
	// Tried are the servers that it does not want; it may be nil.
	Tried *Tried
	// AtOnce: when all are full it does not wait, whatever the queue's length. A place
	// that those in the queue leave to it, it gets.
	AtOnce bool
	// Granted receives what Acquire would have answered: a lease that its owner
	// has to release, though the owner may be gone by now, or ErrNoneReady or
	// ErrQueueFull. It is called from any goroutine, that of somebody else's Release
	// as well, with no lock held. It must not block, and may use the pool; rather
	// than release there, which would call the next waiter's Granted and so on, it
	// passes the lease on to its owner.
	Granted func(Lease, error)

	// Guarded by the pool's mutex.
	place     *list.Element // nil: not in the queue
	unchecked bool          // waits for the first checks, not because all are full
}

// grant is what a waiter that has left the queue is to be told.
type grant struct {
	waiter *Waiter
	lease  Lease
	err    error
}

func (g *grant) tell() { g.waiter.Granted(g.lease, g.err) }

// Await puts a waiter into the queue after Acquire answered ErrUnchecked or
// ErrFull. When the error is nil, Granted is called exactly once, perhaps before
// Await returns, unless Cancel reports true; the pool sets no limit to the time.
// Otherwise it is never called: ErrQueueFull says that as many wait as may (who
// waits for first checks is not counted) or that there is no place for who wants one
// AtOnce, ErrNoneReady that there is nothing to wait for any more.
func (p *Pool) Await(w *Waiter) error {
	p.mu.Lock()
	now := p.current.Load()
	w.unchecked = now.pending()
	room := w.unchecked || !w.AtOnce && p.full < p.options.QueueLength
	if room {
		p.enterLocked(w) // before looking for a place: whoever frees one later will see that somebody waits
	}
	granted, err := p.placeLocked(now, w)
	switch {
	case err == nil || room && err != ErrNoneReady:
		err = nil
	case room:
		p.leaveLocked(w)
	case err == ErrFull:
		err = ErrQueueFull
		p.refusedLocked()
	}
	p.mu.Unlock()
	for i := range granted {
		granted[i].tell()
	}
	return err
}

// placeLocked gives the free places that a newcomer can use to those before it
// who can use them too, until there is one for the newcomer or, as the error
// says, none is left.
func (p *Pool) placeLocked(now *snapshot, newcomer *Waiter) (granted []grant, err error) {
	for {
		lease, err := p.choose(now, newcomer.Tried)
		if err != nil {
			return granted, err
		}
		w := p.firstLocked(lease.server)
		if w == nil {
			w = newcomer
		}
		p.leaveLocked(w)
		granted = append(granted, grant{w, lease, nil})
		if w == newcomer {
			return granted, nil
		}
	}
}

// Cancel takes a waiter out of the queue. It reports false when the waiter was
// not in it: if Await had let it in, its Granted was called or is about to be,
// with a lease that is to be released.
func (p *Pool) Cancel(w *Waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leaveLocked(w)
}

// Queued returns how many wait for a server.
func (p *Pool) Queued() int { return int(p.queued.Load()) }

func (p *Pool) enterLocked(w *Waiter) {
	p.queued.Add(1)
	w.place = p.waiters.PushBack(w)
	if !w.unchecked {
		p.full++
	}
}

func (p *Pool) leaveLocked(w *Waiter) (waited bool) {
	if w.place == nil {
		return false
	}
	p.waiters.Remove(w.place)
	w.place = nil
	if !w.unchecked {
		p.full--
	}
	p.queued.Add(-1)
	return true
}

// firstLocked returns the first waiter who can use a server, or nil.
func (p *Pool) firstLocked(s *Server) *Waiter {
	for e := p.waiters.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*Waiter); !w.Tried.has(s) {
			return w
		}
	}
	return nil
}

// handOver gives the place that was freed on a server, if it still is free and
// the server ready, to the first waiter who can use it.
//
// A free place is never one that a waiter could have: whoever frees it lowers the
// count and then looks whether somebody waits, whoever begins to wait says so and
// then looks at the counts, and a newcomer who takes the place in between will
// free it again. So one release serves one waiter, on that very server.
func (p *Pool) handOver(s *Server) {
	p.mu.Lock()
	w := p.firstLocked(s)
	given := w != nil && p.current.Load().countOn(s)
	var lease Lease
	if given {
		p.leaveLocked(w)
		lease = leaseOn(s, w.Tried)
	}
	p.mu.Unlock()
	if given {
		w.Granted(lease, nil)
	}
}

// change applies a change to the servers under the mutex. When it reports that
// what can be chosen may differ, the result is published and the queue served.
func (p *Pool) change(apply func() bool) {
	var granted []grant
	p.mu.Lock()
	if apply() {
		p.publishLocked()
		granted = p.serveLocked()
	}
	p.mu.Unlock()
	for i := range granted {
		granted[i].tell()
	}
}

// serveLocked takes those out of the queue for whom there is a server, first come
// first served, and once the first checks are over those who waited for them in
// vain.
func (p *Pool) serveLocked() (granted []grant) {
	now := p.current.Load()
	if now.pending() {
		return nil
	}
	var taken error // ErrFull once every place is known to be
	for e := p.waiters.Front(); e != nil; {
		w := e.Value.(*Waiter)
		e = e.Next()
		lease, err := Lease{}, taken
		if taken == nil {
			lease, err = p.choose(now, w.Tried)
		}
		if err == ErrFull && w.Tried.empty() {
			taken = err
		}
		if err == nil || w.unchecked && !p.stayLocked(w, &err) {
			p.leaveLocked(w)
			granted = append(granted, grant{w, lease, err})
		}
	}
	return granted
}

// stayLocked lets one who waited for the first checks wait on because all are
// full, or says why not.
func (p *Pool) stayLocked(w *Waiter, err *error) bool {
	switch {
	case *err != ErrFull:
		return false
	case p.full >= p.options.QueueLength:
		*err = ErrQueueFull
		p.refusedLocked()
		return false
	}
	w.unchecked = false
	p.full++
	return true
}
