package supervisor

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"fulcrum/admin"
	"fulcrum/config"
	"fulcrum/pool"
)

// BenchmarkSample takes a sample of an http listener and of servers that all have had
// requests.
func BenchmarkSample(b *testing.B) {
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		b.Fatal(err)
	}
	go server.Serve(l)
	defer server.Close()
	for _, n := range []int{10, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := &config.Config{
				Listeners: []config.Listener{{Name: "web", Protocol: config.ProtocolHTTP, Address: "127.0.0.1:0", Pool: "web"}},
				Pools:     []config.Pool{{Name: "web", Algorithm: pool.RoundRobin, Health: &config.Health{Off: true}}},
			}
			for i := range n {
				address := fmt.Sprintf("127.1.%d.%d:%d", i/250, i%250+1, l.Addr().(*net.TCPAddr).Port)
				c.Pools[0].Servers = append(c.Pools[0].Servers, config.Server{Address: address})
			}
			if err := c.Complete(); err != nil {
				b.Fatal(err)
			}
			s, err := Start(c, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Stop(b.Context())
			for range 2 * n {
				answer, err := http.Get("http://" + s.Listeners()[0].Address)
				if err != nil {
					b.Fatal(err)
				}
				answer.Body.Close()
			}
			m, at := newSampler(), time.Now()
			b.ReportAllocs()
			for b.Loop() {
				at = at.Add(time.Second)
				m.sample(s.current.Load(), at)
			}
		})
	}
}

// What the old process has counted, before and last, is no rate of the new one's.
func TestWhatAnotherProcessHasCountedIsNoRate(t *testing.T) {
	one := startWeb(t, "one")
	w := start(t, onePool, quoted(one.address), "1s")
	w.ready(one.address)
	for range 100 {
		if status, _, err := get(t, w.address("web"), "/"); status != 200 {
			t.Fatal(status, err)
		}
	}
	next := w.succeeded(onePool, quoted(one.address), "1s")
	next.ready(one.address)
	last := w.current.Load().tally()
	<-w.leave()
	view := next.view()
	view.until("samples of the new process", func(admin.Live) bool { return view.count > 2 })
	next.live.inherit(next.current.Load(), last) // as if the old one had told that in the end
	view.until("samples after that", func(admin.Live) bool { return view.count > 5 })

	next.live.mu.Lock()
	defer next.live.mu.Unlock()
	m := next.live.sampler
	all := slices.Concat([]*followed{&m.balancer}, m.listenersNow)
	for _, p := range m.pools {
		all = append(all, &p.followed)
	}
	for _, s := range m.servers() {
		all = append(all, &s.followed)
	}
	for _, known := range all {
		for _, s := range known.All() {
			if s.Rate != 0 || s.Sent != 0 || s.P50MS != 0 {
				t.Errorf("%+v, though nothing has happened", s)
			}
		}
	}
	if n := next.Listeners()[1].HTTP.Requests; n != 200 {
		t.Errorf("%d requests counted", n)
	}
}

// A listener that comes to feed a pool again brings what it has counted, which has not
// happened since.
func TestAListenerThatFeedsAgainMakesNoRate(t *testing.T) {
	const config = `{"listeners": [
			{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "other", "routes": [{"path": "/new", "pool": %q}]},
			{"name": "rest", "protocol": "http", "address": "127.0.0.1:0", "pool": "all"}],
		"pools": [{"name": "all", "servers": [%q], "health": false}, {"name": "other", "servers": [%q], "health": false}]}`
	one, other := startWeb(t, "one"), startWeb(t, "other")
	w := start(t, config, "all", one.address, other.address)
	m, at := newSampler(), time.Now()
	rates := func() (all []float32) {
		t.Helper()
		at = at.Add(time.Second)
		m.sample(w.current.Load(), at)
		for _, s := range m.servers() {
			all = append(all, s.now.Rate)
		}
		return all
	}
	rates()
	for range 100 {
		if _, body, err := get(t, w.address("web"), "/new"); body != "one" {
			t.Fatal(body, err)
		}
	}
	if got := rates(); !slices.Equal(got, []float32{100, 0}) {
		t.Errorf("rates are %v", got)
	}
	for _, pool := range []string{"other", "all"} {
		w.reload(config, pool, one.address, other.address)
		if got := rates(); !slices.Equal(got, []float32{0, 0}) {
			t.Errorf("rates are %v after a reload", got)
		}
	}
	if n := w.server(one.address).HTTP.Requests; n != 100 {
		t.Errorf("%d requests counted", n)
	}
}
