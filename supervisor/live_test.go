package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"fulcrum/admin"
	"fulcrum/pool"
	"fulcrum/series"
)

// viewer puts the messages of a stream together, as whoever reads it does.
type viewer struct {
	*testing.T
	mu      sync.Mutex
	now     admin.Live                           // but for the servers; guarded by mu
	servers map[admin.LiveName]*admin.LiveServer // guarded by mu
	count   int                                  // messages with a Balancer; guarded by mu
	ended   chan struct{}
	err     error // of Watch; to be read once ended is closed
}

// view watches the balancer until the test ends.
func (w *world) view() *viewer {
	v := &viewer{T: w.t, servers: make(map[admin.LiveName]*admin.LiveServer), ended: make(chan struct{})}
	go func() {
		defer close(v.ended)
		v.err = w.Watch(w.t.Context(), v.take)
	}()
	w.t.Cleanup(func() { <-v.ended })
	return v
}

func (v *viewer) take(text []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var m admin.Live
	if err := json.Unmarshal(text, &m); err != nil {
		v.Errorf("%v in %s", err, text)
	}
	if len(m.Servers) > admin.LiveServers {
		v.Errorf("%d servers at once", len(m.Servers))
	}
	if m.Balancer != nil {
		v.count++
		v.now = m
	}
	for _, name := range m.Gone {
		if v.servers[name] == nil {
			v.Errorf("%v is gone, but was not there", name)
		}
		delete(v.servers, name)
	}
	for _, s := range m.Servers {
		v.servers[s.LiveName] = &s
	}
	return nil
}

// until waits until what was told is as wanted.
func (v *viewer) until(what string, holds func(admin.Live) bool) {
	v.Helper()
	eventually(v.T, what, func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.count > 0 && holds(v.now)
	})
}

func (v *viewer) untilServer(what, pool, address string, holds func(*admin.LiveServer) bool) {
	v.Helper()
	v.until(what, func(admin.Live) bool {
		s := v.servers[admin.LiveName{Pool: pool, Address: address}]
		return s != nil && holds(s)
	})
}

func TestWhoWatchesSeesWhatHappens(t *testing.T) {
	one, two := startWeb(t, "one"), startWeb(t, "two")
	w := start(t, onePool, quoted(one.address), "1m")
	w.ready(one.address)
	v := w.view()
	v.until("everything", func(now admin.Live) bool {
		b := now.Balancer
		return b.Ready && b.Version != "" && !b.Started.IsZero() && b.History != nil && len(now.Listeners) == 2 && len(now.Pools) == 1
	})
	v.untilServer("the server", "all", one.address, func(s *admin.LiveServer) bool {
		return s.State == admin.StateReady && s.Reason == "connected" && s.Since.Equal(w.current.Load().pools[0].Servers()[0].Health().Since) &&
			s.Source == "config" && s.Weight == 1
	})

	go get(t, w.address("web"), "/held")
	<-one.held
	v.until("a request under way", func(now admin.Live) bool {
		web, all := now.Listeners[1], now.Pools[0]
		return web.Active == 1 && web.Connections == 1 && all.Active == 1 && now.Balancer.Connections == 1 && now.Balancer.Active == 1
	})
	v.untilServer("it at its server", "all", one.address, func(s *admin.LiveServer) bool { return s.Active == 1 })

	if _, err := w.upload("all", two.address); err != nil {
		t.Fatal(err)
	}
	v.untilServer("a server more", "all", two.address, func(s *admin.LiveServer) bool {
		return s.State == admin.StateReady && s.Source == "uploaded"
	})
	w.delete(one.address, false)
	v.untilServer("it is being deleted", "all", one.address, func(s *admin.LiveServer) bool { return s.State == admin.StateDeleting })
	close(one.release)
	v.until("it is gone", func(now admin.Live) bool {
		return now.Pools[0].Servers == 1 && len(v.servers) == 1
	})
	w.stop(0)
	<-v.ended
	if v.err != nil {
		t.Error(v.err)
	}
}

// What is told adds up to what was done.
func TestSamplesAddUp(t *testing.T) {
	one := startWeb(t, "one")
	w := start(t, onePool, quoted(one.address), "1m")
	w.ready(one.address)
	m := newSampler()
	at := time.Now()
	m.sample(w.current.Load(), at)
	for range 10 {
		if status, _, err := get(t, w.address("web"), "/"); status != 200 {
			t.Fatal(status, err)
		}
	}
	m.sample(w.current.Load(), at.Add(2*time.Second))
	web, all, server := m.now.Listeners[1], m.now.Pools[0], m.servers()[0]
	for what, s := range map[string]admin.Sample{"listener": web.Sample, "pool": all.Sample, "server": server.now.Sample, "balancer": m.now.Balancer.Sample} {
		if s.Rate != 5 || s.Errors != 0 || s.Sent != 15 || s.Active != 0 || s.P50MS <= 0 || s.P99MS < s.P50MS {
			t.Errorf("%s: %+v", what, s)
		}
	}
	h := historyOf(&server.Ring, 1)
	if h.Length != 2 || !slices.Equal(h.Rate, []float32{0, 5}) || h.Errors != nil {
		t.Errorf("history %+v", h)
	}
	if m.now.Listeners[0].Rate != 0 || m.now.Listeners[0].History != nil {
		t.Errorf("echo: %+v", m.now.Listeners[0])
	}
}

func TestErrorsAreThoseOfServersAndOfNoServer(t *testing.T) {
	refusing := listen(t)
	w := start(t, onePool, quoted(refusing.Addr().String()), "1m")
	w.ready(refusing.Addr().String())
	refusing.Close()
	m := newSampler()
	at := time.Now()
	m.sample(w.current.Load(), at)
	if status, _, err := get(t, w.address("web"), "/"); status/100 != 5 {
		t.Fatal(status, err)
	}
	dial(t, w.address("echo")).wantClosed()
	m.sample(w.current.Load(), at.Add(time.Second))
	for i, s := range []admin.Sample{m.now.Listeners[0].Sample, m.now.Listeners[1].Sample} {
		if s.Errors != 1 {
			t.Errorf("listener %d: %+v", i, s)
		}
	}
	if s := m.servers()[0].now; s.Errors < 1 {
		t.Errorf("server: %+v", s)
	}
}

// Of thousands of servers each is told, in messages of a bounded size; those whose
// state changes are told at once.
func TestManyServersAreToldInTurn(t *testing.T) {
	const many = 2500
	v := &live{sampler: newSampler()}
	p := &followedPool{servers: make(map[*pool.Server]*followedServer)}
	v.sampler.poolsNow = []*followedPool{p}
	for i := range many {
		p.order = append(p.order, &followedServer{now: admin.LiveServer{LiveName: admin.LiveName{Address: fmt.Sprint(i)}, State: admin.StateReady}})
	}
	told := func(want int) (addresses []string) {
		t.Helper()
		news := v.news(nil)
		if len(news.Servers) != want {
			t.Fatalf("%d servers are told, want %d", len(news.Servers), want)
		}
		for _, s := range news.Servers {
			addresses = append(addresses, s.Address)
		}
		return addresses
	}
	change := func(change func(*admin.LiveServer)) {
		for _, s := range p.order {
			change(&s.now)
		}
	}
	told(1000)
	told(1000)
	told(500)
	told(0)
	count := make(map[string]int)
	for range 5 {
		change(func(s *admin.LiveServer) { s.Active++ })
		for _, a := range told(1000) {
			count[a]++
		}
	}
	for _, s := range p.order {
		if n := count[s.now.Address]; n != 2 {
			t.Fatalf("server %s was told %d times in five rounds", s.now.Address, n)
		}
	}
	change(func(s *admin.LiveServer) { s.Active++ })
	p.order[many-1].now.State = admin.StateDraining
	p.order[7].now.State = admin.StateUnhealthy
	if first := told(1000)[:2]; !slices.Equal(first, []string{"7", "2499"}) {
		t.Errorf("first are told %q", first)
	}
}

func TestOfThousandsOfServersEachHasItsTurn(t *testing.T) {
	var addresses []string
	for i := range 2100 {
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", i+1))
	}
	w := start(t, `{"listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "all"}],
	  "pools": [{"name": "all", "servers": [%s], "health": false}]}`, quoted(addresses...))
	m := newSampler()
	at := time.Now()
	for range 75 * 3 {
		at = at.Add(time.Second)
		m.sample(w.current.Load(), at)
	}
	if m.step != 3 {
		t.Errorf("the step is %d", m.step)
	}
	total := 0
	for _, s := range m.servers() {
		n := len(s.All())
		total += n
		if n < 70 || s.taken.Before(at.Add(-3*time.Second)) {
			t.Fatalf("%d samples, the last at %v of %v", n, s.taken, at)
		}
	}
	if total > keptSamples {
		t.Errorf("%d samples are kept", total)
	}
	v := &viewer{T: t, servers: make(map[admin.LiveName]*admin.LiveServer), ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	w.Watch(ctx, func(text []byte) error {
		if v.take(text); len(v.servers) == 2100 {
			cancel()
		}
		return nil
	})
}

func TestASlowWatcherIsCutOff(t *testing.T) {
	w := start(t, onePool, quoted(echo(t, "one")), "1m")
	wait := make(chan struct{})
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = w.Watch(t.Context(), func([]byte) error { <-wait; return nil })
	}()
	eventually(t, "somebody watches", func() bool { return w.watchers() == 1 })
	at := time.Now()
	for range watchAhead + 1 {
		at = at.Add(time.Second)
		w.live.tick(at)
	}
	if n := w.watchers(); n != 0 {
		t.Errorf("%d watch", n)
	}
	close(wait)
	<-done
	wantErr(t, err, "8 messages were not taken")

	gone := errors.New("gone")
	if err := w.Watch(t.Context(), func([]byte) error { return gone }); err != gone || w.watchers() != 0 {
		t.Errorf("Watch says %v, and %d watch", err, w.watchers())
	}
}

func (w *world) watchers() int {
	w.live.mu.Lock()
	defer w.live.mu.Unlock()
	return len(w.live.watchers)
}

func TestTheHistoryOfNothing(t *testing.T) {
	text, err := json.Marshal(historyOf(&series.Ring{}, 2))
	if err != nil || string(text) != `{"step":2,"length":0}` {
		t.Errorf("%s %v", text, err)
	}
}
