package admin

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"
)

const (
	maxFailures   = 10 // different ones in a failureWindow, of one peer
	failureWindow = time.Minute
	maxFailing    = 4096 // peers that are told apart in a failureWindow
)

// failures bounds how many wrong tokens each peer may try. Who tries the same one again
// learns nothing, and is not counted: a program that was not told of a new token must not
// keep out those at the same address that were.
type failures struct {
	mu    sync.Mutex
	until time.Time           // when all is forgotten; guarded by mu
	wrong map[string][]digest // by peer, those above maxFailing together under ""; guarded by mu
}

type digest = [sha256.Size]byte

// try looks whether what a peer gives is right, unless it has tried too much: then it
// has to wait. failed is how many were wrong, this one included, 0 if it is not the first
// time for it.
func (f *failures) try(peer string, now time.Time, given string, right func() bool) (ok bool, failed int, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.After(f.until) {
		f.until, f.wrong = now.Add(failureWindow), make(map[string][]digest)
	}
	if _, known := f.wrong[peer]; !known && len(f.wrong) >= maxFailing {
		peer = ""
	}
	before := f.wrong[peer]
	this := sha256.Sum256([]byte(given))
	switch {
	case len(before) >= maxFailures:
		return false, 0, f.until.Sub(now)
	case right():
		return true, 0, 0
	case slices.Contains(before, this):
		return false, 0, 0
	}
	f.wrong[peer] = append(before, this)
	return false, len(before) + 1, 0
}
