package supervisor

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

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
