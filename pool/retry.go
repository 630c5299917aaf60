package pool

import (
	"fmt"
	"time"
)

// Retries bound how much the connections and requests that fail burden the servers
// that are left.
type Retries struct {
	// Attempts is how many servers may be tried after the first, 0 to MaxTries-1.
	Attempts int
	// Percent, 0 to 100, is how many tries again there may be for 100 connections or
	// requests of about the last 10 seconds, beyond the 30 that there may always be.
	Percent int
}

func (r Retries) check() error {
	switch {
	case r.Attempts < 0 || r.Attempts >= MaxTries:
		return fmt.Errorf("%d attempts after the first are not possible; use 0 to %d", r.Attempts, MaxTries-1)
	case r.Percent < 0 || r.Percent > 100:
		return fmt.Errorf("%d percent of retries are not possible; use 0 to 100", r.Percent)
	}
	return nil
}

// Retry reports whether a connection or request for which these servers were tried
// in vain may be given to one more. free says that the last of them refused at
// once, which cost nobody anything: that counts among the attempts only. When true,
// an Acquire with tried is to follow; whether it finds a server is another matter.
func (p *Pool) Retry(tried *Tried, free bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if tried.Len() > p.options.Retries.Attempts {
		return false
	}
	if free {
		return true
	}
	return p.budgetLocked().spend(int64(p.options.Retries.Percent))
}

// budgetLocked returns the budget as it is now.
func (p *Pool) budgetLocked() *budget {
	b := &p.budget
	if now := int64(time.Since(b.began) / time.Second); now > b.now {
		b.advance(now, p.begunLocked())
	}
	return b
}

// begunLocked returns how many connections or requests have been given a server:
// all choices ever but those for somebody who had tried others before.
func (p *Pool) begunLocked() int64 {
	n := p.budget.removed - p.again.Load()
	for _, s := range p.servers {
		n += s.total.Load()
	}
	return n
}

const (
	budgetSeconds = 10 // that a budget looks back
	budgetLeast   = 30 // retries in that time that need no traffic to allow them
)

// budget is what retries may cost. It is looked at only when somebody wants to
// retry, and learns then, once a second, what went on since it was looked at last.
// All of it is guarded by the pool's mutex.
type budget struct {
	began   time.Time
	now     int64 // the second since then in which it was looked at last
	begun   int64 // the connections or requests that there had been by then
	removed int64 // the total of the servers that have left the pool
	seconds [budgetSeconds]second
}

// second is what happened in one of the last seconds.
type second struct{ begun, retries int64 }

// advance goes on to another second. What has begun since the last one is taken
// to have done so evenly, so that of a long time no more counts than what a budget
// looks back on.
func (b *budget) advance(now, begun int64) {
	passed := now - b.now
	fresh := max(begun-b.begun, 0) // the sum was not made at one moment
	for i := range min(passed, budgetSeconds) {
		b.seconds[(now-i)%budgetSeconds] = second{begun: fresh*(i+1)/passed - fresh*i/passed}
	}
	b.now, b.begun = now, b.begun+fresh
}

// left returns how many retries there may be now.
func (b *budget) left(percent int64) int64 {
	var last second
	for _, s := range b.seconds {
		last.begun += s.begun
		last.retries += s.retries
	}
	return max(budgetLeast+last.begun*percent/100-last.retries, 0)
}

// spend takes one retry out of what there may be, if any is left.
func (b *budget) spend(percent int64) bool {
	if b.left(percent) == 0 {
		return false
	}
	b.seconds[b.now%budgetSeconds].retries++
	return true
}
