package supervisor

import (
	"iter"
	"net/http"
	"sync/atomic"
	"time"

	"fulcrum/httpproxy"
	"fulcrum/l4"
	"fulcrum/metrics"
	"fulcrum/pool"
)

// otherRoute is what metrics call the way of requests that no route is for. No route
// can have the name.
const otherRoute = "(default)"

// reloadCounts are those of the reloads so far.
type reloadCounts struct {
	applied, refused atomic.Int64
	lastRefused      atomic.Bool
	lastApplied      atomic.Pointer[time.Time]
}

// count takes in how a reload went. Start counts as one, but is not counted.
func (r *reloadCounts) count(err error) {
	if r.lastRefused.Store(err != nil); err != nil {
		r.refused.Add(1)
		return
	}
	r.applied.Add(1)
	r.apply()
}

func (r *reloadCounts) apply() {
	now := time.Now()
	r.lastApplied.Store(&now)
}

// metricsHandler returns what shows metrics, of whatever is running when it is asked.
func (s *Supervisor) metricsHandler() http.Handler {
	o := metrics.Options{
		Source: metrics.Source{Balancer: s.measured, Listeners: s.measuredListeners, Pools: s.measuredPools},
		Logger: s.log,
	}
	for i := range l4.Causes {
		o.Causes = append(o.Causes, l4.Cause(i).String())
	}
	for i := range httpproxy.Endings {
		o.Endings = append(o.Endings, httpproxy.Ending(i).String())
	}
	return metrics.NewHandler(o)
}

func (s *Supervisor) measured() metrics.Balancer {
	now := s.current.Load()
	b := metrics.Balancer{StateErrors: s.stateErrors.Load()}
	b.Ready, _ = s.Ready()
	r := &s.counted
	b.Reloads = metrics.Reloads{
		Applied:     r.applied.Load(),
		Refused:     r.refused.Load(),
		LastRefused: r.lastRefused.Load(),
		LastApplied: *r.lastApplied.Load(),
	}
	for _, lp := range now.loops {
		l := lp.Stats()
		b.Loops = append(b.Loops, metrics.Loop{Turns: l.Turns, AcceptPauses: l.Pauses, CPU: l.CPU, Queued: l.Queued})
	}
	for path, l := range now.logs {
		b.AccessLogs = append(b.AccessLogs, metrics.AccessLog{Path: path, Dropped: l.Dropped()})
	}
	return b
}

func (s *Supervisor) measuredListeners(yield func(*metrics.Listener) bool) {
	now := s.current.Load()
	for _, l := range now.listeners {
		m := &metrics.Listener{Name: l.config.Name, Protocol: l.config.Protocol, Address: l.Address(), IO: now.io.String()}
		if l.tcp != nil {
			sum := l.tcp.Stats()
			m.TCP = measuredTCP(&sum)
		} else {
			sum := l.http.Stats()
			m.HTTP = measuredHTTP(&sum)
			m.Routes = l.measuredRoutes()
		}
		if !yield(m) {
			return
		}
	}
}

func (l *listener) measuredRoutes() (all []metrics.Route) {
	if len(l.config.Routes) == 0 {
		return nil // the listener says it all
	}
	add := func(name, shown string) {
		sum := l.http.RouteStats(name)
		all = append(all, metrics.Route{Name: shown, HTTP: *measuredHTTP(&sum)})
	}
	for _, from := range l.config.Routes {
		name := (&httpproxy.Route{Host: from.Host, Path: from.Path}).Name()
		add(name, name)
	}
	add("", otherRoute)
	return all
}

func (s *Supervisor) measuredPools(yield func(*metrics.Pool) bool) {
	now := s.current.Load()
	for _, p := range now.pools {
		m := &metrics.Pool{Name: p.Name(), Algorithm: p.Algorithm(), Queued: p.Queued(), Retries: p.Again(), Servers: p.measuredServers(now)}
		if !yield(m) {
			return
		}
	}
}

// measuredServers asks for one server after the other, so that who has business with
// the pool need not wait for all ten thousand.
func (p *poolInUse) measuredServers(now *running) iter.Seq[*metrics.Server] {
	return func(yield func(*metrics.Server) bool) {
		var feeding []*listener
		for _, l := range now.listeners {
			if feeds(l.config, p.Name()) {
				feeding = append(feeding, l)
			}
		}
		for _, server := range p.Servers() {
			status := server.Status()
			m := &metrics.Server{
				Address:        status.Address,
				Ready:          status.Ready,
				Healthy:        status.Health.Healthy,
				Draining:       status.Draining,
				Weight:         status.Weight,
				MaxConnections: status.MaxConnections,
				Active:         status.Active,
				Chosen:         status.Total,
				Failures:       status.Failures,
			}
			if status.Health.Checked() && !p.config.Health.Off {
				m.Check = &metrics.Check{
					Ended:     status.Checks.Ended,
					Failed:    status.Checks.Failed,
					Changes:   status.Checks.Changes,
					LastTook:  status.Health.Took,
					LastEnded: status.Health.At,
				}
			}
			for _, l := range feeding {
				m.Seen = l.appendSeen(m.Seen, server)
			}
			if !yield(m) {
				return
			}
		}
	}
}

// appendSeen appends what the listener has seen of a server, if it has.
func (l *listener) appendSeen(all []metrics.Seen, server *pool.Server) []metrics.Seen {
	if l.tcp != nil {
		if sum := l.tcp.ServerStats(server); sum.Accepted > 0 {
			return append(all, metrics.Seen{Listener: l.config.Name, TCP: measuredTCP(&sum)})
		}
		return all
	}
	var sum httpproxy.Stats
	if l.http.AddServerStats(server, &sum); sum.Requests > 0 {
		return append(all, metrics.Seen{Listener: l.config.Name, HTTP: measuredHTTP(&sum)})
	}
	return all
}

func measuredTCP(s *l4.Stats) *metrics.TCP {
	return &metrics.TCP{
		Connections: s.Accepted,
		Active:      s.Active,
		Ended:       s.Ends[:],
		ToUpstream:  s.ToUpstream,
		ToClient:    s.ToClient,
		Connect:     &s.ConnectTime,
		FirstByte:   &s.FirstByte,
		Duration:    &s.Duration,
		Added:       &s.Added,
	}
}

func measuredHTTP(s *httpproxy.Stats) *metrics.HTTP {
	return &metrics.HTTP{
		Connections: s.Accepted,
		Open:        s.Open,
		Requests:    s.Requests,
		Active:      s.Active,
		Ended:       s.Endings[:],
		Answers:     s.Statuses[:],
		Received:    s.Received,
		Sent:        s.Sent,
		Retries:     s.Retries,
		Connects:    s.Connects,
		Reuses:      s.Reuses,
		Connect:     &s.ConnectTime,
		FirstByte:   &s.FirstByte,
		Duration:    &s.Duration,
		Added:       &s.Added,
	}
}
