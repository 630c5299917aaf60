package httpproxy

import (
	"time"

	"fulcrum/pool"
)

// closeServer closes every connection to s.
func (us *upstreams) closeServer(s *pool.Server) {
	us.mu.Lock()
	defer us.mu.Unlock()
	if set := us.servers[s]; set != nil {
		us.closeLocked(set)
	}
}

func (us *upstreams) closeAll() {
	us.mu.Lock()
	defer us.mu.Unlock()
	us.closed = true
	for _, set := range us.servers {
		us.closeLocked(set)
	}
}

func (us *upstreams) closeLocked(set *serverSet) {
	set.idle = nil
	for u := range set.open {
		us.dropLocked(u)
	}
}

// forget closes the idle connections to s and keeps none of those in use.
func (us *upstreams) forget(s *pool.Server) {
	us.mu.Lock()
	defer us.mu.Unlock()
	set := us.servers[s]
	if set == nil {
		return
	}
	set.forgotten = true
	us.dropIdleLocked(set, len(set.idle))
}

// reap closes what has been idle for too long.
func (us *upstreams) reap() {
	us.mu.Lock()
	defer us.mu.Unlock()
	for _, set := range us.servers {
		old := 0
		for old < len(set.idle) && time.Since(set.idle[old].kept) > idleFor {
			old++
		}
		us.dropIdleLocked(set, old)
	}
}

// dropIdleLocked closes the n connections that have been idle longest.
func (us *upstreams) dropIdleLocked(set *serverSet, n int) {
	idle := set.idle
	set.idle = append([]*upstream(nil), idle[n:]...)
	for _, u := range idle[:n] {
		us.dropLocked(u)
	}
}

// pause waits and reports true, or false as soon as the proxy's own goroutines
// have to end.
func (us *upstreams) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-us.done:
		return false
	}
}

func (us *upstreams) stopReaping() { us.once.Do(func() { close(us.done) }) }
