package supervisor

import (
	"slices"
	"time"

	"fulcrum/admin"
	"fulcrum/config"
	"fulcrum/httpproxy"
	"fulcrum/l4"
	"fulcrum/pool"
	"fulcrum/series"
	"fulcrum/state"
	"fulcrum/stats"
)

const (
	keptSeconds = 300     // of the past
	keptSamples = 150_000 // of all servers together, and of all listeners and pools: of very many, less is kept of each
	serverTurns = 1000    // servers whose counts are read in one round; of more, each has its turn every few rounds
)

// sampler follows what listeners, pools and servers do, by one sample a second. It
// is not for concurrent use.
type sampler struct {
	round     int // counts the samples
	step      int // every how many rounds it is a server's turn
	turn      int // counts the servers in a round, to know whose turn it is
	balancer  followed
	listeners map[any]*followed // by their tcp or http listener, which outlasts reloads
	pools     map[*pool.Pool]*followedPool
	now       admin.Live // what is the case, but for the servers; its slices are not written to any more

	// In the order of now.
	listenersNow []*followed
	poolsNow     []*followedPool
}

// followed is what is known of a listener, pool or server.
type followed struct {
	series.Meter
	series.Ring
	round int // the last in which it was there
}

type followedPool struct {
	followed
	tcp     []*l4.Listener // that feed it,
	http    []*httpproxy.Proxy
	config  *config.Pool
	named   map[string]bool // the servers that config names
	servers map[*pool.Server]*followedServer
	order   []*followedServer // as in the pool
}

type followedServer struct {
	followed
	taken time.Time        // when it last was its turn
	now   admin.LiveServer // what is the case
	told  admin.LiveServer // what watchers know; without a State: nothing
}

func newSampler() *sampler {
	return &sampler{step: 1, listeners: make(map[any]*followed), pools: make(map[*pool.Pool]*followedPool)}
}

// sample takes a sample of all that runs. It returns the servers that are gone.
func (m *sampler) sample(r *running, at time.Time) (gone []*followedServer) {
	elapsed := at.Sub(m.now.At)
	m.now = admin.Live{At: at, Balancer: &admin.LiveBalancer{}}
	m.listenersNow, m.poolsNow = nil, nil
	m.round++
	m.turn = m.round
	m.sampleListeners(r, elapsed)
	servers := 0
	for _, p := range r.pools {
		servers += len(p.Servers())
	}
	m.setStep((servers + serverTurns - 1) / serverTurns)
	keep := max(min(keptSeconds/m.step, keptSamples/max(servers, 1)), 1)
	for _, p := range r.pools {
		m.samplePool(r, p, keep)
	}
	for _, known := range m.pools {
		gone = append(gone, known.dropGone(m.round)...)
	}
	dropGone(m.listeners, m.round)
	for p, known := range m.pools {
		if known.round != m.round {
			delete(m.pools, p)
		}
	}
	return gone
}

// setStep says every how many rounds it is a server's turn. Samples that another
// step lies between are forgotten.
func (m *sampler) setStep(step int) {
	if step = max(step, 1); step == m.step {
		return
	}
	m.step = step
	for _, p := range m.pools {
		for _, s := range p.order {
			s.Ring = series.Ring{}
		}
	}
}

// keep returns how many samples there may be of each listener and pool.
func (r *running) keep() int {
	return min(keptSeconds, keptSamples/(1+len(r.listeners)+len(r.pools)))
}

func (m *sampler) sampleListeners(r *running, elapsed time.Duration) {
	var total series.Total
	for _, l := range r.listeners {
		known := m.listeners[l.identity()]
		if known == nil {
			known = &followed{}
			m.listeners[l.identity()] = known
		}
		known.round = m.round
		m.listenersNow = append(m.listenersNow, known)
		reading, open := l.reading()
		sample, times := known.Sample(&reading, elapsed)
		known.Add(sample, r.keep())
		total.Add(sample, &times)
		m.now.Balancer.Connections += open
		m.now.Listeners = append(m.now.Listeners, admin.LiveListener{
			Name:        l.config.Name,
			Protocol:    l.config.Protocol,
			Address:     l.Address(),
			Pool:        l.config.Pool,
			Routes:      len(l.config.Routes),
			Connections: open,
			Sample:      admin.Sample(sample),
		})
	}
	m.balancer.Add(total.Sample(), r.keep())
	m.now.Balancer.Sample = admin.Sample(m.balancer.Last())
}

// samplePool looks at the servers of a pool, and reads the counts of those whose turn
// it is: the others are taken to go on as they did.
func (m *sampler) samplePool(r *running, p *poolInUse, keep int) {
	known := m.follow(p)
	if tcp, http := r.feeding(p); !slices.Equal(tcp, known.tcp) || !slices.Equal(http, known.http) {
		known.tcp, known.http = tcp, http
		known.skip() // what other listeners have counted has not happened now
	}
	var total series.Total
	ready := 0
	for _, server := range p.Servers() {
		s := known.follow(server, m)
		status := server.Status()
		var times stats.Summary
		if m.turn++; m.turn%m.step == 0 {
			reading := readingOf(server, status.Failures, known.tcp, known.http)
			var sample series.Sample
			sample, times = s.Sample(&reading, m.now.At.Sub(s.taken))
			s.taken = m.now.At
			s.Add(sample, keep)
		}
		total.Add(s.Last(), &times)
		if status.Ready {
			ready++
		}
		s.describe(known, p.Name(), status)
	}
	known.Add(total.Sample(), r.keep())
	m.now.Pools = append(m.now.Pools, admin.LivePool{
		Name:      p.Name(),
		Algorithm: p.Algorithm(),
		Queued:    p.Queued(),
		Servers:   len(known.order),
		Ready:     ready,
		Sample:    admin.Sample(known.Last()),
	})
}

// skip goes on from the counts as they are, whatever has come to them since the last
// sample.
func (m *sampler) skip(r *running) {
	for _, l := range r.listeners {
		if known := m.listeners[l.identity()]; known != nil {
			reading, _ := l.reading()
			known.Skip(&reading)
		}
	}
	for _, p := range m.pools {
		p.skip()
	}
}

// skip is as the sampler's.
func (p *followedPool) skip() {
	for server, s := range p.servers {
		reading := readingOf(server, server.Status().Failures, p.tcp, p.http)
		s.Skip(&reading)
	}
}

func (m *sampler) follow(p *poolInUse) *followedPool {
	known := m.pools[p.Pool]
	if known == nil {
		known = &followedPool{servers: make(map[*pool.Server]*followedServer)}
		m.pools[p.Pool] = known
	}
	known.round, known.order = m.round, known.order[:0]
	m.poolsNow = append(m.poolsNow, known)
	if known.config != p.config {
		known.config, known.named = p.config, make(map[string]bool)
		for _, s := range p.config.Servers {
			known.named[s.Address] = true
		}
	}
	return known
}

func (p *followedPool) follow(server *pool.Server, m *sampler) *followedServer {
	s := p.servers[server]
	if s == nil {
		s = &followedServer{}
		p.servers[server] = s
	}
	s.round = m.round
	p.order = append(p.order, s)
	return s
}

// dropGone forgets the servers that are in the pool no more, or all if the pool is
// gone too, and returns them.
func (p *followedPool) dropGone(round int) (gone []*followedServer) {
	if p.round == round && len(p.servers) == len(p.order) {
		return nil
	}
	for server, s := range p.servers {
		if s.round != round {
			delete(p.servers, server)
			gone = append(gone, s)
		}
	}
	return gone
}

func dropGone[K comparable](all map[K]*followed, round int) {
	for key, known := range all {
		if known.round != round {
			delete(all, key)
		}
	}
}

// describe says what is the case of a server.
func (s *followedServer) describe(p *followedPool, poolName string, status pool.Status) {
	s.now = admin.LiveServer{
		LiveName:       admin.LiveName{Pool: poolName, Address: status.Address},
		State:          status.Standing.String(),
		Reason:         status.Reason,
		Since:          status.Since,
		Source:         state.Uploaded,
		Weight:         status.Weight,
		MaxConnections: status.MaxConnections,
		Sample:         admin.Sample(s.Last()),
	}
	if p.named[status.Address] {
		s.now.Source = state.Configured
	}
	if status.Leaving {
		s.now.State = admin.StateDeleting
	}
}
