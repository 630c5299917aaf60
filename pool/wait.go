package pool

import "container/list"

// A Waiter is told once when a pool that had no ready server, but some that were
// not checked yet, has a ready one or has them all checked.
type Waiter struct {
	// Wake is called from any goroutine and must not block.
	Wake func()

	place *list.Element // in the pool's queue; guarded by the pool's mutex
}

// Await registers a waiter after Acquire answered ErrUnchecked. It reports
// false, and registers nothing, when that is over by now: the caller acquires
// again. A waiter that gives up must be cancelled.
func (p *Pool) Await(w *Waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.current.Load().pending() {
		return false
	}
	w.place = p.waiters.PushBack(w)
	return true
}

// Cancel forgets a waiter. Its Wake may still be under way when Cancel returns.
func (p *Pool) Cancel(w *Waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.place != nil {
		p.waiters.Remove(w.place)
		w.place = nil
	}
}

// change applies a change to the servers under the mutex. When it reports that
// what can be chosen may differ, the result is published and those who waited
// for it are woken, first come first served.
func (p *Pool) change(apply func() bool) {
	p.mu.Lock()
	if apply() {
		p.publishLocked()
	}
	var woken []*Waiter
	if !p.current.Load().pending() {
		for e := p.waiters.Front(); e != nil; e = p.waiters.Front() {
			w := p.waiters.Remove(e).(*Waiter)
			w.place = nil
			woken = append(woken, w)
		}
	}
	p.mu.Unlock()
	for _, w := range woken {
		w.Wake()
	}
}
