package e2e_test

import (
	"maps"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// httpTraffic is what the admin API says of an http listener, of a route of it, or
// of a server by way of http listeners.
type httpTraffic struct {
	Connections struct{ Accepted, Open int64 }
	Requests    int64
	Active      int64
	Endings     map[string]int64
	Statuses    map[string]int64
	Received    int64 `json:"bytes_received"`
	Sent        int64 `json:"bytes_sent"`
	Retries     int64
	Connects    int64
	Reuses      int64
	Connect     durations
	FirstByte   durations `json:"first_byte"`
	Duration    durations
}

// httpTraffic returns what GET /listeners says of the first listener and of its
// routes by their paths, and GET /servers of the first server of each pool.
func (b *balancer) httpTraffic() (whole httpTraffic, parts map[string]httpTraffic) {
	b.w.Helper()
	var listening struct {
		Listeners []struct {
			HTTP   httpTraffic
			Routes []struct {
				Path string
				HTTP httpTraffic
			}
		}
	}
	b.get("/listeners", &listening)
	var serving struct {
		Pools []struct {
			Name    string
			Servers []struct{ HTTP httpTraffic }
		}
	}
	b.get("/servers", &serving)
	parts = make(map[string]httpTraffic)
	for _, r := range listening.Listeners[0].Routes {
		parts[r.Path] = r.HTTP
	}
	for _, p := range serving.Pools {
		parts[p.Name] = p.Servers[0].HTTP
	}
	return listening.Listeners[0].HTTP, parts
}

// TestHTTPCounts: after so many requests of each kind the counts of the listener, its
// routes and the servers are theirs to the last byte, and those of the access log.
func TestHTTPCounts(t *testing.T) {
	const rounds = 60
	overEachIO(t, 30*time.Second, func(w *world, io string) {
		log := filepath.Join(w.TempDir(), "access.log")
		b := w.balance(w.logged(io, log, "json"))
		w.must(w.pay(b.listeners["web"], rounds, new(atomic.Int64)))
		var all []httpRecord
		w.eventually("every request has a record, and every client has left", func() bool {
			all = recordsAt[httpRecord](w, log)
			whole, _ := b.httpTraffic()
			return len(all) >= rounds*len(visits) && whole.Connections.Open == 0
		})
		whole, parts := b.httpTraffic()
		if whole.Connections.Accepted != rounds {
			w.Errorf("%d connections were accepted, want %d", whole.Connections.Accepted, rounds)
		}
		recorded := httpTraffic{Endings: make(map[string]int64)}
		for _, r := range all {
			recorded.Endings[r.Ended]++
			if r.Received != nil {
				recorded.Received += *r.Received
			}
			recorded.Sent += *r.Sent
		}
		if !maps.Equal(whole.Endings, recorded.Endings) || whole.Received != recorded.Received || whole.Sent != recorded.Sent {
			w.Errorf("the listener has %s\nand its access log %s", asJSON(whole), asJSON(recorded))
		}
		type counts = map[string]int64
		for name, want := range map[string]struct { // in each round
			requests, received int64
			endings, statuses  counts
			answered, lasted   int64 // by servers, and how many durations were counted
		}{
			"listener": {4, 7, counts{"answered": 2, "redirected": 1, "connect_failed": 1, "refused_head": 2}, counts{"2xx": 2, "3xx": 1, "4xx": 2, "5xx": 1}, 2, 6},
			"/routed":  {1, 7, counts{"answered": 1}, counts{"2xx": 1}, 1, 1},
			"/down":    {1, 0, counts{"connect_failed": 1}, counts{"5xx": 1}, 0, 1},
			"/moved":   {1, 0, counts{"redirected": 1}, counts{"3xx": 1}, 0, 1},
			"web":      {2, 7, counts{"answered": 2}, counts{"2xx": 2}, 2, 2},
			"down":     {1, 0, counts{"connect_failed": 1}, counts{}, 0, 0}, // which a request only tries
		} {
			got := parts[name]
			if name == "listener" {
				got = whole
			}
			for _, all := range []counts{want.endings, want.statuses} {
				for key := range all {
					all[key] *= rounds
				}
			}
			if got.Requests != want.requests*rounds || got.Active != 0 || got.Received != want.received*rounds || got.Retries != 0 ||
				!maps.Equal(got.Endings, want.endings) || !maps.Equal(got.Statuses, want.statuses) ||
				got.Connects+got.Reuses != want.answered*rounds || got.Connect.Count != got.Connects ||
				got.FirstByte.Count != want.answered*rounds || got.Duration.Count != want.lasted*rounds {
				w.Errorf("%s: got %s, want in %d rounds %+v", name, asJSON(got), rounds, want)
			}
		}
	})
}
