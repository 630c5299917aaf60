package top

import (
	"slices"
	"time"

	"fulcrum/admin"
	"fulcrum/events"
)

const (
	maxServers = 100_000
	maxEvents  = 100
)

// known is what is known of the balancer, message by message.
type known struct {
	at        time.Time
	balancer  admin.LiveBalancer
	listeners []admin.LiveListener
	pools     []admin.LivePool
	servers   map[admin.LiveName]*server
	order     []*server // in the order in which they were told
	pasts     map[subject]*past
	events    []events.Event // oldest first

	stream int // which one it is
	full   int // how many of its messages had the balancer
}

// server is one of the servers.
type server struct {
	admin.LiveServer
	past   past
	stream int // the last one that told of it
}

// A subject is what a row is about.
type subject struct {
	kind   kind
	name   string // of the listener or pool
	server string // the address of the pool's server
}

type kind int

const (
	aListener kind = iota
	aPool
	aServer
	theBalancer
)

func newKnown() *known {
	return &known{servers: make(map[admin.LiveName]*server), pasts: make(map[subject]*past)}
}

// begin says that the messages to come are of another stream, perhaps of another
// process. What was known stays until that has told everything.
func (k *known) begin() {
	k.stream++
	k.full = 0
}

// apply takes in a message.
func (k *known) apply(m admin.Live) {
	k.at = m.At
	if m.Balancer != nil {
		k.full++
		k.whole(&m)
	}
	for _, name := range m.Gone {
		if s := k.servers[name]; s != nil {
			s.stream = -1
		}
	}
	if len(m.Gone) > 0 || m.Balancer != nil && k.full == 2 {
		k.forget()
	}
	for _, told := range m.Servers {
		k.tell(m.At, told)
	}
}

// whole takes in what a message says of the balancer, its listeners and its pools.
func (k *known) whole(m *admin.Live) {
	k.balancer, k.listeners, k.pools = *m.Balancer, m.Listeners, m.Pools
	before := k.pasts
	k.pasts = make(map[subject]*past, len(before))
	take := func(of subject, s *admin.Sample, h **admin.History) {
		p := before[of]
		if p == nil {
			p = new(past)
		}
		p.take(m.At, s, *h)
		*h = nil
		k.pasts[of] = p
	}
	take(subject{kind: theBalancer}, &k.balancer.Sample, &k.balancer.History)
	for i := range k.listeners {
		l := &k.listeners[i]
		take(subject{kind: aListener, name: l.Name}, &l.Sample, &l.History)
	}
	for i := range k.pools {
		p := &k.pools[i]
		take(subject{kind: aPool, name: p.Name}, &p.Sample, &p.History)
	}
}

func (k *known) tell(at time.Time, told admin.LiveServer) {
	s := k.servers[told.LiveName]
	if s == nil {
		if len(k.order) >= maxServers {
			return
		}
		s = new(server)
		k.servers[told.LiveName] = s
		k.order = append(k.order, s)
	}
	s.past.take(at, &told.Sample, told.History)
	told.History = nil
	s.LiveServer, s.stream = told, k.stream
}

// forget takes out the servers that this stream has not told of, or no more.
func (k *known) forget() {
	gone := func(s *server) bool { return s.stream < 0 || k.full > 1 && s.stream != k.stream }
	for _, s := range k.order {
		if gone(s) {
			delete(k.servers, s.LiveName)
		}
	}
	k.order = slices.DeleteFunc(k.order, gone)
}

// complete reports whether the stream has told everything. A balancer that has just
// started may not have counted its servers yet.
func (k *known) complete() bool {
	want := 0
	for i := range k.pools {
		want += k.pools[i].Servers
	}
	return k.full > 1 || want > 0 && len(k.order) >= want
}

// happen takes in an event.
func (k *known) happen(e events.Event) {
	k.events = append(k.events, e)
	k.events = slices.Delete(k.events, 0, max(len(k.events)-maxEvents, 0))
}

// live returns all as one message, without the past.
func (k *known) live() admin.Live {
	m := admin.Live{At: k.at, Balancer: &k.balancer, Listeners: k.listeners, Pools: k.pools}
	for _, s := range k.order {
		m.Servers = append(m.Servers, s.LiveServer)
	}
	return m
}
