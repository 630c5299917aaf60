package e2e_test

import (
	"encoding/json"
	"os"
)

// traffic is what the admin API says of a tcp listener, or of a server by way of
// tcp listeners.
type traffic struct {
	Accepted, Active int64
	ToUpstream       int64 `json:"bytes_to_upstream"`
	ToClient         int64 `json:"bytes_to_client"`
	Ends             map[string]int64
	Connect          durations
	FirstByte        durations `json:"first_byte"`
	Duration         durations
}

type durations struct {
	Count int64
	P50MS float64 `json:"p50_ms"`
	P99MS float64 `json:"p99_ms"`
}

// traffic returns what GET /listeners says of a tcp listener.
func (b *balancer) traffic(listener string) traffic {
	b.w.Helper()
	var answer struct {
		Listeners []struct {
			Name string
			TCP  *traffic
		}
	}
	b.get("/listeners", &answer)
	for _, l := range answer.Listeners {
		if l.Name == listener && l.TCP != nil {
			return *l.TCP
		}
	}
	b.w.Fatalf("GET /listeners has no traffic of listener %q", listener)
	return traffic{}
}

// serverTraffic returns what GET /servers says of the first server of a pool.
func (b *balancer) serverTraffic(pool string) traffic {
	b.w.Helper()
	var answer struct {
		Pools []struct {
			Name    string
			Servers []struct{ TCP *traffic }
		}
	}
	b.get("/servers", &answer)
	for _, p := range answer.Pools {
		if p.Name == pool && len(p.Servers) > 0 && p.Servers[0].TCP != nil {
			return *p.Servers[0].TCP
		}
	}
	b.w.Fatalf("GET /servers has no traffic of pool %q", pool)
	return traffic{}
}

func (b *balancer) get(path string, answer any) {
	b.w.Helper()
	status, text, err := b.ask("GET", path, "")
	b.w.must(err)
	if err := json.Unmarshal([]byte(text), answer); err != nil || status != 200 {
		b.w.Fatalf("GET %s: status %d, %v: %s", path, status, err, text)
	}
}

// wantEnds waits until so many connections of a listener have ended in each of
// these ways. Other ways are not looked at.
func (b *balancer) wantEnds(listener string, want map[string]int64) {
	b.w.Helper()
	var got map[string]int64
	defer func() {
		if b.w.ctx.Err() != nil {
			b.w.Errorf("connections of listener %s ended as %v, want %v", listener, got, want)
		}
	}()
	b.w.eventually("connections of listener "+listener+" have ended as wanted", func() bool {
		got = b.traffic(listener).Ends
		for cause, n := range want {
			if got[cause] != n {
				return false
			}
		}
		return true
	})
}

// socketFolder makes a folder whose path leaves room for the name of a unix
// socket and that every user can reach.
func (w *world) socketFolder() string {
	w.Helper()
	folder, err := os.MkdirTemp("", "e2e-")
	w.must(err)
	w.Cleanup(func() { os.RemoveAll(folder) })
	w.must(os.Chmod(folder, 0o755))
	return folder
}
