package httpproxy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"fulcrum/pool"
)

// serverSet is the connections to one server.
type serverSet struct {
	w      *worker
	to     *Upstream
	server *pool.Server
	all    *upstream   // they are linked
	idle   []*upstream // those that anybody may use; the latest put back is last

	forgotten bool // nothing is kept until the server is used again
}

// takeIdle returns a kept connection, of that owner, that is not older than age and
// leads where the server does now, or nil. One that was put back in this very turn,
// or that has something to be read, is left alone: it may have come behind the
// answer, and is for nobody.
func (w *worker) takeIdle(s *pool.Server, age time.Duration, owner *client) *upstream {
	set := w.servers[s]
	if set == nil {
		return nil
	}
	shelf := &set.idle
	if owner != nil {
		shelf = &owner.kept
	}
	for i := len(*shelf) - 1; i >= 0; i-- {
		u := (*shelf)[i]
		kept := w.loop.Now() - u.keptAt
		switch {
		case kept == 0, u.conn.Pending(), u.set != set:
		case kept >= age:
			return nil
		case u.to != s.Resolved():
			u.drop()
		default:
			*shelf = slices.Delete(*shelf, i, i+1)
			u.alarm.stop()
			u.reused, u.answered = true, false
			return u
		}
	}
	return nil
}

// follow goes over to what a plan says of the server's pool. Connections that are kept
// for it to be said otherwise, or for nobody, are closed.
func (set *serverSet) follow(next *plan) {
	to := next.upstreamOf(set.to.Pool)
	if to == nil {
		set.forgotten = true
		set.dropIdle()
		return
	}
	if *to != *set.to {
		set.dropIdle()
	}
	set.to = to
}

// setOf returns the connections to a server of an upstream, which is used again.
func (w *worker) setOf(s *pool.Server, to *Upstream) *serverSet {
	set := w.servers[s]
	if set == nil {
		set = &serverSet{w: w, to: cmp.Or(w.plan.upstreamOf(to.Pool), to), server: s}
		w.servers[s] = set
	}
	set.forgotten = false
	return set
}

func (set *serverSet) add(u *upstream) {
	u.set = set
	if u.next = set.all; u.next != nil {
		u.next.prev = u
	}
	set.all = u
}

func (set *serverSet) remove(u *upstream) {
	if u.prev != nil {
		u.prev.next = u.next
	} else {
		set.all = u.next
	}
	if u.next != nil {
		u.next.prev = u.prev
	}
	u.next, u.prev = nil, nil
	if set.all == nil {
		delete(set.w.servers, set.server)
	}
}

func (set *serverSet) dropIdle() {
	for u := set.all; u != nil; {
		next := u.next
		if u.x == nil && u.tunnel == nil {
			u.drop()
		}
		u = next
	}
}

// closeServer closes every connection to a server.
func (w *worker) closeServer(s *pool.Server) {
	set := w.servers[s]
	if set == nil {
		return
	}
	var all []*upstream
	for u := set.all; u != nil; u = u.next {
		all = append(all, u)
	}
	for _, u := range all {
		u.closeNow()
	}
}

// forget closes the idle connections to a server and keeps none of those in use.
func (w *worker) forget(s *pool.Server) {
	if set := w.servers[s]; set != nil {
		set.forgotten = true
		set.dropIdle()
	}
	w.forgetCounts(s)
}

// hostOf returns the Host of a request that came without one. A path is none
// (RFC 9110, section 7.2).
func hostOf(s *pool.Server) string {
	if strings.HasPrefix(s.Address(), "unix:") {
		return "localhost"
	}
	return s.Address()
}
