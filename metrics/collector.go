package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// collector asks the Source. It describes nothing beforehand, for what there is
// changes with the config.
type collector struct{ Options }

// Describe says nothing, which makes the collector an unchecked one.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect is one scrape.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	o := out(to)
	c.balancer(o, c.Source.Balancer())
	for l := range c.Source.Listeners {
		c.listener(o, l)
	}
	for p := range c.Source.Pools {
		c.pool(o, p)
	}
}

func (c *collector) balancer(o out, b Balancer) {
	o.flag(balancerReady, b.Ready, nil)
	result := []string{"result"}
	o.count(reloads, b.Reloads.Applied, of(result, "applied"))
	o.count(reloads, b.Reloads.Refused, of(result, "refused"))
	o.flag(lastReloadOK, !b.Reloads.LastRefused, nil)
	o.timestamp(lastReloadTime, b.Reloads.LastApplied, nil)
	o.count(stateErrors, b.StateErrors, nil)
	for _, l := range b.AccessLogs {
		o.count(logDropped, l.Dropped, of([]string{"log"}, l.Path))
	}
	for i, l := range b.Loops {
		loop := of([]string{"loop"}, strconv.Itoa(i))
		o.count(loopTurns, l.Turns, loop)
		o.counter(loopCPU, l.CPU.Seconds(), loop)
		o.counter(loopQueued, l.Queued.Seconds(), loop)
		o.count(loopPauses, l.AcceptPauses, loop)
	}
}

func (c *collector) listener(o out, l *Listener) {
	o.gauge(listenerInfo, 1, of([]string{"listener", "protocol", "address", "io"}, l.Name, l.Protocol, l.Address, l.IO))
	by := of(byListener, l.Name)
	if t := l.TCP; t != nil {
		c.tcp(o, tcpListeners, t, by, true)
		o.histogram(tcpAdded, t.Added, by)
	}
	if t := l.HTTP; t != nil {
		o.count(httpConnections, t.Connections, by)
		o.gauge(httpOpen, float64(t.Open), by)
		c.http(o, httpListeners, t, by, true)
		o.histogram(httpAdded, t.Added, by)
	}
	for i := range l.Routes {
		r := &l.Routes[i]
		c.http(o, httpRoutes, &r.HTTP, of(byRoute, l.Name, r.Name), false)
	}
}

func (c *collector) pool(o out, p *Pool) {
	by := of([]string{"pool"}, p.Name)
	o.gauge(poolInfo, 1, by.and("algorithm", p.Algorithm))
	o.gauge(poolQueued, float64(p.Queued), by)
	o.count(poolRetries, p.Retries, by)
	servers, ready := 0, 0
	for s := range p.Servers {
		if servers++; s.Ready {
			ready++
		}
		c.server(o, p.Name, s)
	}
	o.gauge(poolServers, float64(servers), by)
	o.gauge(poolReady, float64(ready), by)
}

func (c *collector) server(o out, pool string, s *Server) {
	by := of([]string{"pool", "server"}, pool, s.Address)
	o.flag(serverReady, s.Ready, by)
	o.flag(serverHealthy, s.Healthy, by)
	o.flag(serverDraining, s.Draining, by)
	o.gauge(serverWeight, float64(s.Weight), by)
	o.gauge(serverMost, float64(s.MaxConnections), by)
	o.gauge(serverActive, float64(s.Active), by)
	o.count(serverChosen, s.Chosen, by)
	o.count(serverFailures, s.Failures, by)
	if check := s.Check; check != nil {
		o.count(serverChecks, check.Ended, by)
		o.count(serverFailed, check.Failed, by)
		o.count(serverChanges, check.Changes, by)
		o.gauge(serverTook, check.LastTook.Seconds(), by)
		o.timestamp(serverEnded, check.LastEnded, by)
	}
	for _, seen := range s.Seen {
		by := of(byServer, seen.Listener, pool, s.Address)
		if seen.TCP != nil {
			c.tcp(o, tcpServers, seen.TCP, by, false)
		}
		if seen.HTTP != nil {
			c.http(o, httpServers, seen.HTTP, by, false)
		}
	}
}

// tcp shows endings that there were none of only if all are wanted.
func (c *collector) tcp(o out, f *tcpFamily, t *TCP, by labels, all bool) {
	o.count(f.connections, t.Connections, by)
	o.gauge(f.active, float64(t.Active), by)
	named(o, f.ended, c.Causes, t.Ended, by, all)
	o.count(f.toUpstream, t.ToUpstream, by)
	o.count(f.toClient, t.ToClient, by)
	o.histogram(f.connect, t.Connect, by)
	o.histogram(f.firstByte, t.FirstByte, by)
	o.histogram(f.duration, t.Duration, by)
}

// http is as tcp.
func (c *collector) http(o out, f *httpFamily, t *HTTP, by labels, all bool) {
	o.count(f.requests, t.Requests, by)
	o.gauge(f.active, float64(t.Active), by)
	named(o, f.ended, c.Endings, t.Ended, by, all)
	for digit := 1; digit < len(t.Answers); digit++ {
		o.count(f.answers, t.Answers[digit], by.and("status", strconv.Itoa(digit)+"xx"))
	}
	o.count(f.received, t.Received, by)
	o.count(f.sent, t.Sent, by)
	o.count(f.retries, t.Retries, by)
	o.count(f.connects, t.Connects, by)
	o.count(f.reuses, t.Reuses, by)
	o.histogram(f.connect, t.Connect, by)
	o.histogram(f.firstByte, t.FirstByte, by)
	o.histogram(f.duration, t.Duration, by)
}

func named(o out, d *prometheus.Desc, names []string, counts []int64, by labels, all bool) {
	for i, n := range counts {
		if n > 0 || all {
			o.count(d, n, by.and("ending", names[i]))
		}
	}
}
