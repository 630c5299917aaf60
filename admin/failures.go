package admin

import (
	"sync"
	"time"
)

const (
	maxFailures   = 10 // in a failureWindow, of one peer
	failureWindow = time.Minute
	maxFailing    = 4096 // peers that are told apart in a failureWindow
)

// failures bounds how often each peer may try a token that is wrong.
type failures struct {
	mu    sync.Mutex
	until time.Time      // when all is forgotten; guarded by mu
	count map[string]int // by peer, those above maxFailing together under ""; guarded by mu
}

// try looks whether what a peer gives is right, unless that was wrong too often:
// then it has to wait. failed is how often it was wrong, this time included.
func (f *failures) try(peer string, now time.Time, right func() bool) (ok bool, failed int, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.After(f.until) {
		f.until, f.count = now.Add(failureWindow), make(map[string]int)
	}
	if _, known := f.count[peer]; !known && len(f.count) >= maxFailing {
		peer = ""
	}
	switch {
	case f.count[peer] >= maxFailures:
		return false, maxFailures, f.until.Sub(now)
	case right():
		return true, f.count[peer], 0
	}
	f.count[peer]++
	return false, f.count[peer], 0
}
