package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"fulcrum/admin"
	"fulcrum/series"
)

const (
	sampleEvery = time.Second
	// watchAhead is how many messages wait for a watcher that is slow.
	watchAhead = 8
	// firstServers is how many servers are in each of a watcher's first messages,
	// which have the past of each.
	firstServers = 100
)

// live takes the samples, and tells those who watch. It has one goroutine, which stop
// ends.
type live struct {
	s       *Supervisor
	stopped chan struct{} // closed to end the goroutine
	ended   chan struct{} // closed when it has

	mu       sync.Mutex
	sampler  *sampler                 // guarded by mu
	cursor   int                      // where the search for news goes on; guarded by mu
	watchers map[chan []byte]struct{} // closed by who takes one out; guarded by mu
}

func startLive(s *Supervisor) *live {
	v := &live{
		s:        s,
		stopped:  make(chan struct{}),
		ended:    make(chan struct{}),
		sampler:  newSampler(),
		watchers: make(map[chan []byte]struct{}),
	}
	v.tick(time.Now())
	go v.run()
	return v
}

// stop ends the goroutine, and what watchers there are.
func (v *live) stop() {
	close(v.stopped)
	<-v.ended
}

func (v *live) run() {
	defer close(v.ended)
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			v.tick(time.Now())
		case <-v.stopped:
			return
		}
	}
}

// tick takes a sample and tells it to those who watch. Who has not taken the messages
// before is cut off.
func (v *live) tick(at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	gone := v.sampler.sample(v.s.current.Load(), at)
	b := v.sampler.now.Balancer
	b.Version, b.Started = Version(), v.s.started
	b.Ready, b.Reason = v.s.Ready()
	if d := v.s.draining.Load(); d != nil {
		b.Draining, b.Deadline = true, &d.deadline
	}
	message := v.news(gone)
	if len(v.watchers) == 0 {
		return
	}
	text, err := json.Marshal(message)
	if err != nil {
		v.s.log.Error("what is the case cannot be told to who watches", "error", err)
		return
	}
	for w := range v.watchers {
		select {
		case w <- text:
		default:
			v.dropLocked(w)
		}
	}
}

// inherit has r go on from what another process has counted. That has not happened
// now, so it is in no sample.
func (v *live) inherit(r *running, c *tally) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r.inheritCounts(c)
	v.sampler.skip(r)
}

// news returns what watchers do not know yet, and takes it as told: of the servers
// first those whose state has changed.
func (v *live) news(gone []*followedServer) admin.Live {
	message := v.sampler.now
	for _, s := range gone {
		if s.told.State != "" {
			message.Gone = append(message.Gone, s.told.LiveName)
		}
	}
	tell := func(s *followedServer) {
		message.Servers = append(message.Servers, s.now)
		s.told = s.now
	}
	all := v.sampler.servers()
	for _, s := range all {
		if s.now.State != s.told.State && len(message.Servers) < admin.LiveServers {
			tell(s)
		}
	}
	for i := range all {
		at := (v.cursor + i) % len(all)
		if len(message.Servers) == admin.LiveServers {
			v.cursor = at
			break
		}
		if s := all[at]; s.now != s.told {
			tell(s)
		}
	}
	return message
}

// servers returns all servers, pool by pool in the order of the config.
func (m *sampler) servers() (all []*followedServer) {
	for _, p := range m.poolsNow {
		all = append(all, p.order...)
	}
	return all
}

// Watch sends the messages of GET /live, each an admin.Live in JSON: at once those
// that bring everything, then one a second, until ctx ends, send fails or the
// balancer stops.
func (s *Supervisor) Watch(ctx context.Context, send func(message []byte) error) error {
	v := s.live
	w, first, servers := v.join()
	defer v.leave(w)
	for {
		text, err := json.Marshal(first)
		if err == nil {
			err = send(text)
		}
		if err != nil {
			return err
		}
		if len(servers) == 0 {
			break
		}
		n := min(len(servers), firstServers)
		first = v.past(servers[:n])
		servers = servers[n:]
	}
	for {
		select {
		case text, open := <-w:
			if !open {
				return fmt.Errorf("more than %d messages were not taken", watchAhead)
			}
			if err := send(text); err != nil {
				return err
			}
		case <-v.stopped:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// join adds a watcher. It returns the first message, which has no servers, and the
// servers that are to be told then.
func (v *live) join() (w chan []byte, first admin.Live, servers []*followedServer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w = make(chan []byte, watchAhead)
	v.watchers[w] = struct{}{}
	return w, v.sampler.everything(), v.sampler.servers()
}

func (v *live) leave(w chan []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dropLocked(w)
}

func (v *live) dropLocked(w chan []byte) {
	if _, known := v.watchers[w]; known {
		delete(v.watchers, w)
		close(w)
	}
}

// everything returns what is the case, with the past, but for the servers.
func (m *sampler) everything() admin.Live {
	message := m.now
	balancer := *m.now.Balancer
	balancer.History = historyOf(&m.balancer.Ring, 1)
	message.Balancer = &balancer
	message.Listeners = nil
	for i, l := range m.now.Listeners {
		l.History = historyOf(&m.listenersNow[i].Ring, 1)
		message.Listeners = append(message.Listeners, l)
	}
	message.Pools = nil
	for i, p := range m.now.Pools {
		p.History = historyOf(&m.poolsNow[i].Ring, 1)
		message.Pools = append(message.Pools, p)
	}
	return message
}

// past returns what watchers know of some servers, with the past.
func (v *live) past(servers []*followedServer) admin.Live {
	v.mu.Lock()
	defer v.mu.Unlock()
	message := admin.Live{At: v.sampler.now.At}
	for _, s := range servers {
		if s.round != v.sampler.round || s.told.State == "" {
			continue
		}
		told := s.told
		told.History = historyOf(&s.Ring, v.sampler.step)
		message.Servers = append(message.Servers, told)
	}
	return message
}

// historyOf returns the samples in a ring, a step of seconds apart.
func historyOf(r *series.Ring, step int) *admin.History {
	all := r.All()
	h := &admin.History{Step: step, Length: len(all)}
	column := func(into *[]float32, of func(*series.Sample) float32) {
		for i := range all {
			x := of(&all[i])
			if x != 0 && *into == nil {
				*into = make([]float32, len(all))
			}
			if x != 0 {
				(*into)[i] = x
			}
		}
	}
	column(&h.Rate, func(s *series.Sample) float32 { return s.Rate })
	column(&h.Errors, func(s *series.Sample) float32 { return s.Errors })
	column(&h.Received, func(s *series.Sample) float32 { return s.Received })
	column(&h.Sent, func(s *series.Sample) float32 { return s.Sent })
	column(&h.Active, func(s *series.Sample) float32 { return s.Active })
	column(&h.P50MS, func(s *series.Sample) float32 { return s.P50MS })
	column(&h.P99MS, func(s *series.Sample) float32 { return s.P99MS })
	return h
}
