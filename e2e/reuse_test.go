package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReuse: how many requests go on one connection to a server, and for how long
// one is kept, is as the pool says.
func TestReuse(t *testing.T) {
	const age, idle = 700 * time.Millisecond, 500 * time.Millisecond
	pools := []object{
		{"name": "standard"},
		{"name": "none", "reuse": false},
		{"name": "short", "reuse": object{"max_age": age.String()}},
		{"name": "idle", "reuse": object{"idle_timeout": idle.String()}},
	}
	overEachIO(t, 30*time.Second, func(w *world, io_ string) {
		left := make(chan time.Time, 1) // when a connection that brought a request for /last came to its end
		server := w.tcpServer(func(conn *net.TCPConn) {
			last := false
			for r := newStrictReader(conn); ; {
				m, err := r.request()
				if err != nil {
					break
				}
				last = strings.HasPrefix(m.start, "GET /last ")
				name := conn.RemoteAddr().String()
				fmt.Fprintf(conn, okay+"Content-Length: %d\r\n\r\n%s", len(name), name)
			}
			if last {
				left <- time.Now()
			}
		})
		b := w.balance(httpEach(io_, len(pools), func(i int, pool object) {
			pool["servers"] = []string{server}
			if reuse, said := pools[i]["reuse"]; said {
				pool["reuse"] = reuse
			}
		}))
		ask := func(k *keeper, path string) string {
			status, connection := k.ask(path)
			if status != 200 {
				w.Fatalf("status %d", status)
			}
			return connection
		}
		for i, want := range []int{1, 50} {
			k, seen := w.keeps(w.dial(b.listeners[fmt.Sprint(i)])), make(map[string]bool)
			for range 50 {
				seen[ask(k, "/")] = true
			}
			if len(seen) != want {
				w.Errorf("pool %s: 50 requests went on %d connections, want %d", pools[i]["name"], len(seen), want)
			}
		}

		k, began := w.keeps(w.dial(b.listeners["2"])), time.Now()
		first := ask(k, "/")
		w.eventually("another connection takes the place of an old one", func() bool { return ask(k, "/") != first })
		if took := time.Since(began); took < age {
			w.Errorf("a connection was given up after %s, want %s", took, age)
		}

		k = w.keeps(w.dial(b.listeners["3"]))
		began = time.Now()
		ask(k, "/last")
		if took := receive(w, "an idle connection is closed", left).Sub(began); took < idle {
			w.Errorf("an idle connection was closed after %s, want %s", took, idle)
		}
		b.wantIdle()
	})
}

// TestRetryAttempts: servers that refuse a request's connection are left for so many
// others, and no more. That costs nobody anything: percent does not bound it.
func TestRetryAttempts(t *testing.T) {
	const requests = 40
	w := newWorld(t, 20*time.Second)
	stories := []struct {
		retries object
		want    []string // status and tries of the first requests, and then again
	}{
		{object{"percent": 0}, []string{"200 4"}},
		{object{"attempts": 0}, []string{"502 1", "502 1", "502 1", "200 1"}},
		{object{"attempts": 1}, []string{"502 2", "200 2"}},
		{object{"attempts": 2}, []string{"502 3", "200 1"}},
	}
	well := w.httpServer(func(http.ResponseWriter, *http.Request) {})
	servers := []string{w.closedPort(), w.closedPort(), w.closedPort(), well} // whose turns come in this order
	log := filepath.Join(w.TempDir(), "access.log")
	config := httpEach("auto", len(stories), func(i int, pool object) {
		pool["servers"], pool["algorithm"], pool["retries"] = servers, "round_robin", stories[i].retries
	})
	for _, l := range config["listeners"].([]object) {
		l["access_log"] = log
	}
	b := w.balance(config)
	want, got := make(map[string][]string), make(map[string][]string)
	for i, story := range stories {
		listener := fmt.Sprint(i)
		k := w.keeps(w.dial(b.listeners[listener]))
		for j := range requests {
			k.ask("/")
			want[listener] = append(want[listener], story.want[j%len(story.want)])
		}
	}
	w.eventually("every request has a record", func() bool { return len(recordsAt[httpRecord](w, log)) == len(stories)*requests })
	for _, r := range recordsAt[httpRecord](w, log) {
		got[r.Listener] = append(got[r.Listener], fmt.Sprint(*r.Status, " ", *r.Tried))
	}
	for i, story := range stories {
		if listener := fmt.Sprint(i); !slices.Equal(got[listener], want[listener]) {
			w.Errorf("with %v the requests are answered and tried %v", story.retries, got[listener])
		}
	}
}

// TestRetryPercent: what a kept connection's end costs is not paid over and over by
// sending requests again: 30 times, and then for as much of the traffic as may be.
func TestRetryPercent(t *testing.T) {
	const requests, always = 80, 30
	overEachIO(t, 20*time.Second, func(w *world, io string) {
		config := httpOnly(w.tcpServer(func(conn *net.TCPConn) {
			r := newStrictReader(conn)
			if _, err := r.request(); err == nil {
				fmt.Fprint(conn, okay+"Content-Length: 0\r\n\r\n")
				r.request() // is not answered
			}
		}))
		config["io"] = io
		poolOf(config)["health"], poolOf(config)["retries"] = false, object{"percent": 0}
		b := w.balance(config)
		k := w.keeps(w.dial(b.listeners["web"]))
		for i := range requests {
			// The first is on a new connection, and so are the next ones at last. Of the
			// rest every other one finds a kept connection, and is lost with it.
			want := 200
			if i > always && (i-always)%2 == 1 {
				want = 502
			}
			if got, _ := k.ask("/"); got != want {
				w.Fatalf("request %d is answered %d, want %d", i, got, want)
			}
		}
		whole, _ := b.httpTraffic()
		if whole.Retries != always {
			w.Errorf("requests were sent again %d times, want %d", whole.Retries, always)
		}
	})
}
