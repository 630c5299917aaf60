// Package events remembers what has changed of a balancer lately, and why.
//
// A Ring keeps the last events. Add writes one: it takes the same short time however
// many there are and whoever reads, and never waits for a reader. After reads those
// that came after one that is known already, tells how many of them the ring has
// forgotten meanwhile, and gives a channel to wait for more. So a reader is no more
// than the ID that it has read up to: it holds nothing and has nothing to close, may
// be as slow as it likes, and goes on after a break where it was.
//
// IDs only ever increase, in the next process too, so that a reader need not know
// that the balancer was restarted. A process that takes another one's place begins with
// the events of that (Inherit).
package events

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Kind says what has happened.
type Kind string

const (
	ServerReady     Kind = "server_ready"     // it can be chosen; Was: unchecked, not healthy or draining
	ServerNotReady  Kind = "server_not_ready" // it cannot any more, or has failed its first check
	ServerUploaded  Kind = "server_uploaded"
	ServerUpdated   Kind = "server_updated"
	ServerDeleted   Kind = "server_deleted" // it drains, and goes then
	ServerGone      Kind = "server_gone"    // it has left its pool
	ServerDrained   Kind = "server_drained" // the operator lets nothing new go to it
	ServerUndrained Kind = "server_undrained"

	PoolReady     Kind = "pool_ready"      // it has a ready server, after it had none
	PoolNotReady  Kind = "pool_not_ready"  // it has no ready server any more, or never had
	PoolQueueFull Kind = "pool_queue_full" // somebody was refused, for all servers are full and as many wait as may; Count: how many since that was told last

	ConfigReloaded Kind = "config_reloaded" // Details: what has changed
	ReloadFailed   Kind = "reload_failed"   // Details: the problems; all is as before

	ListenerStarted Kind = "listener_started"
	ListenerStopped Kind = "listener_stopped" // its work has finished, or was closed
	AcceptPaused    Kind = "accept_paused"    // descriptors have run out; clients wait in the kernel's queue

	BalancerStarted   Kind = "balancer_started"
	BalancerStopping  Kind = "balancer_stopping"
	BalancerDraining  Kind = "balancer_draining"
	BalancerUndrained Kind = "balancer_undrained"
	BalancerUpgraded  Kind = "balancer_upgraded"

	StateTrouble Kind = "state_trouble" // the state file could not be read or written

	// Missed stands in a stream for Count events that the ring had forgotten before
	// they could be sent. It has no ID.
	Missed Kind = "missed"
)

// An Event is one change. What it says of nothing is left empty.
type Event struct {
	ID       int64     `json:"id"`
	At       time.Time `json:"at"`
	Kind     Kind      `json:"kind"`
	Pool     string    `json:"pool,omitempty"`
	Server   string    `json:"server,omitempty"` // its address
	Listener string    `json:"listener,omitempty"`
	Reason   string    `json:"reason,omitempty"` // in words
	Was      string    `json:"was,omitempty"`    // how it stood before
	Since    time.Time `json:"since,omitzero"`   // since when it did
	Details  []string  `json:"details,omitempty"`
	Count    int64     `json:"count"` // how often it has happened, within a second if Kind does not say otherwise
}

// Bounds of what an event may hold: the rest of a text is cut off.
const (
	maxText    = 512 // bytes
	maxDetails = 20
)

// same reports whether an event says again what another has said.
func (e *Event) same(other *Event) bool {
	return e.Kind == other.Kind && e.Pool == other.Pool && e.Server == other.Server && e.Listener == other.Listener &&
		e.Reason == other.Reason && len(e.Details) == 0 && len(other.Details) == 0
}

// foldWithin is how soon after an event the same one is not another, but counted.
const foldWithin = time.Second

// A Ring keeps the last events. Its methods may be called from any goroutine.
type Ring struct {
	mu     sync.Mutex
	events []Event       // that of ID i at (i-first) modulo its length; guarded by mu
	first  int64         // the ID of the first event here; immutable
	before []Event       // those of the process before, whose IDs are lower; guarded by mu
	next   int64         // the ID of the next one; guarded by mu
	more   chan struct{} // closed with the next event; nil: nobody waits; guarded by mu
}

// New returns a ring that keeps the last so many events, 1 at least.
func New(size int) *Ring {
	// Microseconds: no process adds events faster than that for long, and the next
	// one starts later, so its IDs are greater. JavaScript's numbers hold them exactly.
	first := time.Now().UnixMicro()
	return &Ring{events: make([]Event, size), first: first, next: first}
}

// Inherit has the events of the process before, as its ring tells them, come before
// those of this one.
func (r *Ring) Inherit(before []Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = nil
	for _, e := range before {
		if n := len(r.before); e.ID < r.first && (n == 0 || r.before[n-1].ID < e.ID) {
			e.bound()
			r.before = append(r.before, e)
		}
	}
}

// Add writes an event; its ID is given by the ring, its At and Count are now and 1 if
// they are zero. The same event as the one just before within a second is no other
// one, but raises the Count of that: who has read it does not hear of it again.
func (r *Ring) Add(e Event) {
	e.bound()
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := r.lastLocked(); last != nil && e.same(last) && e.At.Sub(last.At) < foldWithin {
		last.Count += e.Count
		return
	}
	e.ID = r.next
	*r.atLocked(r.next) = e
	r.next++
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
}

// bound completes an event and cuts off what is too long.
func (e *Event) bound() {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	e.Count = max(e.Count, 1)
	e.Reason = clip(e.Reason)
	if len(e.Details) == 0 {
		return
	}
	details := make([]string, 0, min(len(e.Details), maxDetails))
	for i, text := range e.Details {
		if i == maxDetails-1 && len(e.Details) > maxDetails {
			details = append(details, "…")
			break
		}
		details = append(details, clip(text))
	}
	e.Details = details
}

func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// After returns the events that came after the one with that ID, oldest first, how
// many more came after it that the ring has forgotten, and a channel that is closed
// as soon as there is another. 0, and an ID that the ring has not given, stand for
// the time before all events. Nobody may change the events' Details.
func (r *Ring) After(id int64) (all []Event, missed int64, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.more == nil {
		r.more = make(chan struct{})
	}
	from := id + 1
	if id < r.first || id >= r.next {
		from = r.first
		all, missed = r.earlierLocked(id)
	}
	oldest := max(r.first, r.next-int64(len(r.events)))
	if from < oldest {
		missed, from = missed+oldest-from, oldest
	}
	all = slices.Grow(all, int(r.next-from))
	for ; from < r.next; from++ {
		all = append(all, *r.atLocked(from))
	}
	return all, missed, r.more
}

// earlierLocked returns the events of the process before that came after the one with
// that ID, as many as the ring has room for beside its own, and how many more there were.
func (r *Ring) earlierLocked(id int64) (all []Event, missed int64) {
	all = r.before
	if id < r.first {
		after, _ := slices.BinarySearchFunc(all, id+1, func(e Event, id int64) int { return cmp.Compare(e.ID, id) })
		all = all[after:]
	}
	room := max(0, int64(len(r.events))-(r.next-r.first))
	missed = max(0, int64(len(all))-room)
	return slices.Clone(all[missed:]), missed
}

// Inherited returns the last event that fits, if the process before has told of it.
func (r *Ring) Inherited(fits func(*Event) bool) (last Event, found bool) {
	all, _, _ := r.After(0)
	for _, e := range slices.Backward(all) {
		if fits(&e) {
			return e, e.ID < r.first
		}
	}
	return Event{}, false
}

func (r *Ring) atLocked(id int64) *Event { return &r.events[(id-r.first)%int64(len(r.events))] }

func (r *Ring) lastLocked() *Event {
	if r.next == r.first {
		return nil
	}
	return r.atLocked(r.next - 1)
}
