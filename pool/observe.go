package pool

import (
	"fmt"
	"strings"
	"time"
)

// A Standing says whether a server is ready, and if it is not, why.
type Standing uint8

const (
	Unchecked Standing = iota // no check of it has ended yet
	Unhealthy                 // the checks say so
	Draining                  // the operator says so, healthy or not
	Ready                     // healthy and not draining
	standings
)

func (s Standing) String() string {
	return [standings]string{"unchecked", "not healthy", "draining", "ready"}[s]
}

// An Observer is told what changes of a pool, in the order in which it happens. It is
// called with the pool's mutex held: it must return at once, and not use the pool.
type Observer interface {
	// ServerChanged: a server stands otherwise than it did since then.
	ServerChanged(now Status, was Standing, since time.Time)
	// PoolChanged: the pool has a ready server again, or none any more, or once the
	// first checks are over none yet. why says in words how its servers stand.
	PoolChanged(ready bool, why string)
	// QueueFull: so many were refused because all servers are full and as many wait
	// as may (length). It is told of the first one, and every 10 seconds of those since.
	QueueFull(refused int64, length int)
}

// refusedEvery is the time between two calls of QueueFull.
const refusedEvery = 10 * time.Second

// told is what an observer was told.
type told struct {
	began bool // whether there is or was a ready server, or is known that there is none
	ready bool

	refused   int64     // not told yet
	refusedAt time.Time // when that was told last
}

func (s *Server) standingLocked() Standing {
	switch {
	case s.spec.Draining:
		return Draining
	case s.health.Healthy:
		return Ready
	case s.health.Checked():
		return Unhealthy
	}
	return Unchecked
}

// tellLocked tells the observer how the servers stand now, if that is new.
func (p *Pool) tellLocked(now *snapshot) {
	var at time.Time
	for _, s := range p.servers {
		was, since := s.standing, s.since
		if s.standing = s.standingLocked(); s.standing == was {
			continue
		}
		if at.IsZero() {
			at = time.Now()
		}
		s.since, s.reason = at, ""
		if s.standing == Ready || s.standing == Unhealthy {
			s.reason = s.health.Reason
		}
		if was == Unchecked && s.standing != Draining && !s.health.Since.IsZero() {
			s.since = s.health.Since // perhaps known from another process
		}
		if p.options.Observer != nil {
			p.options.Observer.ServerChanged(s.statusLocked(), was, since)
		}
	}
	ready := len(now.candidates) > 0
	nothing := !p.told.began && !ready && (now.pending() || len(p.servers) == 0)
	if nothing || p.told.began && ready == p.told.ready {
		return
	}
	p.told.began, p.told.ready = true, ready
	if p.options.Observer != nil {
		p.options.Observer.PoolChanged(ready, p.standingsLocked())
	}
}

// standingsLocked counts the servers by how they stand, in words.
func (p *Pool) standingsLocked() string {
	if len(p.servers) == 0 {
		return "it has no servers"
	}
	var counts [standings]int
	for _, s := range p.servers {
		counts[s.standing]++
	}
	var parts []string
	for i := range standings {
		if n := counts[standings-1-i]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, standings-1-i))
		}
	}
	return strings.Join(parts, ", ")
}

// refusedLocked counts one more who has found the queue full.
func (p *Pool) refusedLocked() {
	if p.options.Observer == nil {
		return
	}
	p.told.refused++
	if now := time.Now(); p.told.refusedAt.IsZero() || now.Sub(p.told.refusedAt) >= refusedEvery {
		p.options.Observer.QueueFull(p.told.refused, p.options.QueueLength)
		p.told.refused, p.told.refusedAt = 0, now
	}
}
