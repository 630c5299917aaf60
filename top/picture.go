package top

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fulcrum/admin"
	"fulcrum/events"
)

// A picture is what is the case at one moment. Nothing changes it.
type picture struct {
	at       time.Time // by the balancer's clock; zero: nothing is known yet
	balancer admin.LiveBalancer
	past     past
	rows     []row // listeners, then pools, each with its servers behind it
	events   []events.Event
}

// A row is a listener, a pool or a server.
type row struct {
	subject
	standing standing
	state    string
	reason   string    // why a server is not healthy; "": it is
	since    time.Time // when it came to its state; zero: nobody knows
	detail   string    // what else there is to say
	admin.Sample
	past  past
	scale float32 // what is drawn as highest
}

// A standing is how it is about something, in a mark and a colour.
type standing int

const (
	good standing = iota
	warning
	bad
	open // not known yet
)

// standings of the states of servers.
var standings = map[string]standing{
	admin.StateReady:     good,
	admin.StateUnhealthy: bad,
	admin.StateUnchecked: open,
	admin.StateDraining:  warning,
	admin.StateDeleting:  warning,
}

// picture returns what is known, as it is now.
func (k *known) picture() picture {
	p := picture{at: k.at, balancer: k.balancer, events: slices.Clone(k.events)}
	if of := k.pasts[subject{kind: theBalancer}]; of != nil {
		p.past = of.until(k.at)
	}
	servers := make(map[string][]row, len(k.pools))
	for _, s := range k.order {
		servers[s.Pool] = append(servers[s.Pool], s.row(k.at))
	}
	p.rows = make([]row, 0, len(k.listeners)+len(k.pools)+len(k.order))
	for i := range k.listeners {
		p.rows = append(p.rows, k.listenerRow(&k.listeners[i]))
	}
	for i := range k.pools {
		name := k.pools[i].Name
		p.rows = append(p.rows, k.poolRow(&k.pools[i]))
		p.rows = append(p.rows, compared(servers[name])...)
	}
	return p
}

// compared draws the servers of a pool on one scale.
func compared(rows []row) []row {
	var scale float32
	for i := range rows {
		scale = max(scale, rows[i].past.most())
	}
	for i := range rows {
		rows[i].scale = scale
	}
	return rows
}

func (k *known) listenerRow(l *admin.LiveListener) row {
	r := row{subject: subject{kind: aListener, name: l.Name}, state: l.Protocol, Sample: l.Sample}
	r.past = k.pasts[r.subject].until(k.at)
	r.scale = r.past.most()
	r.detail = fmt.Sprintf("listener %s: %s at %s", l.Name, l.Protocol, l.Address)
	if l.Pool != "" {
		r.detail += ", pool " + l.Pool
	}
	if l.Routes > 0 {
		r.detail += fmt.Sprintf(", routes: %d", l.Routes)
	}
	r.detail += fmt.Sprintf(", open connections: %d", l.Connections) + flow(&l.Sample)
	return r
}

func (k *known) poolRow(p *admin.LivePool) row {
	r := row{subject: subject{kind: aPool, name: p.Name}, Sample: p.Sample, state: fmt.Sprintf("%d/%d ready", p.Ready, p.Servers)}
	switch {
	case p.Ready == 0:
		r.standing = bad
	case p.Ready < p.Servers:
		r.standing = warning
	}
	r.past = k.pasts[r.subject].until(k.at)
	r.scale = r.past.most()
	r.detail = fmt.Sprintf("pool %s: %s, %d of %d servers ready, queued: %d", p.Name, p.Algorithm, p.Ready, p.Servers, p.Queued) + flow(&p.Sample)
	return r
}

func (s *server) row(at time.Time) row {
	r := row{
		subject: subject{kind: aServer, name: s.Pool, server: s.Address},
		state:   s.State,
		since:   s.Since,
		Sample:  s.Sample,
		past:    s.past.until(at),
	}
	var known bool
	if r.standing, known = standings[s.State]; !known {
		r.standing = open
	}
	if r.standing == bad {
		r.reason = s.Reason
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s in %s: %s for %s", s.Address, s.Pool, s.State, age(at.Sub(s.Since)))
	if s.Reason != "" {
		fmt.Fprintf(&text, ": %s", s.Reason)
	}
	fmt.Fprintf(&text, "; weight %d", s.Weight)
	if s.MaxConnections > 0 {
		fmt.Fprintf(&text, ", at most %d active", s.MaxConnections)
	}
	if s.Source == "uploaded" {
		text.WriteString(", uploaded")
	}
	r.detail = text.String() + flow(&s.Sample)
	return r
}

// flow says what is sent and received.
func flow(s *admin.Sample) string {
	if s.Received == 0 && s.Sent == 0 {
		return ""
	}
	return fmt.Sprintf("; from clients %sB/s, to clients %sB/s", amount(s.Received), amount(s.Sent))
}
