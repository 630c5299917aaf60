package metrics

import (
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"fulcrum/stats"
)

// source is a balancer of one http and one tcp listener and one pool.
func source(servers []*Server) Source {
	return Source{
		Balancer: func() Balancer {
			return Balancer{Ready: true, Reloads: Reloads{Applied: 2, Refused: 1, LastApplied: time.Unix(1700000000, 0)},
				StateErrors: 3, Loops: []Loop{{Turns: 10, AcceptPauses: 1, CPU: 1500 * time.Millisecond, Queued: 250 * time.Millisecond}},
				AccessLogs: []AccessLog{{Path: "stdout", Dropped: 7}}}
		},
		Listeners: func(yield func(*Listener) bool) {
			web, raw := someHTTP(1), someTCP(1)
			_ = yield(&Listener{Name: "web", Protocol: "http", Address: "127.0.0.1:80", IO: "epoll", HTTP: web, Routes: []Route{{"a.test/x", *someHTTP(2)}}}) &&
				yield(&Listener{Name: "raw", Protocol: "tcp", Address: "127.0.0.1:81", IO: "epoll", TCP: raw})
		},
		Pools: func(yield func(*Pool) bool) {
			yield(&Pool{Name: "all", Algorithm: "round_robin", Queued: 4, Retries: 5, Servers: func(yield func(*Server) bool) {
				for _, s := range servers {
					if !yield(s) {
						return
					}
				}
			}})
		},
	}
}

func summary(all ...time.Duration) *stats.Summary {
	var h stats.Histogram
	for _, d := range all {
		h.Observe(d)
	}
	s := new(stats.Summary)
	s.Add(&h)
	return s
}

var some = summary(100*time.Microsecond, 128*time.Microsecond, 129*time.Microsecond, time.Hour)

func someHTTP(n int64) *HTTP {
	return &HTTP{Connections: n, Open: n, Requests: n, Active: n, Ended: []int64{n, 0}, Answers: []int64{0, 0, n, 0, 0, 0},
		Received: n, Sent: n, Retries: n, Connects: n, Reuses: n, Connect: some, FirstByte: some, Duration: some, Added: some}
}

func someTCP(n int64) *TCP {
	return &TCP{Connections: n, Active: n, Ended: []int64{0, n}, ToUpstream: n, ToClient: n, Connect: some, FirstByte: some, Duration: some, Added: some}
}

// scraped returns what is shown, and each sample by its name and labels.
func scraped(t testing.TB, o Options) (text string, samples map[string]float64) {
	t.Helper()
	answer := httptest.NewRecorder()
	NewHandler(o).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if answer.Code != 200 {
		t.Fatalf("status %d: %s", answer.Code, answer.Body)
	}
	text, samples = answer.Body.String(), make(map[string]float64)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if _, twice := samples[line[:at]]; err != nil || twice {
			t.Fatalf("%s: error %v, twice %v", line, err, twice)
		}
		samples[line[:at]] = v
	}
	return text, samples
}

func options(s Source) Options {
	return Options{Source: s, Causes: []string{"client_closed", "idle"}, Endings: []string{"answered", "client_reset"},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func want(t *testing.T, samples map[string]float64, key string, v float64) {
	t.Helper()
	if got, ok := samples[key]; !ok || got != v {
		t.Errorf("%s is %v (there: %v), want %v", key, got, ok, v)
	}
}

func lacks(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(text, part) {
			t.Errorf("%s is shown", part)
		}
	}
}

// many is so many servers that two listeners have used.
func many(n int) []*Server {
	all := make([]*Server, n)
	for i := range all {
		all[i] = &Server{Address: fmt.Sprintf("10.0.%d.%d:80", i/250, i%250), Ready: true, Healthy: true, Weight: 1, Check: &Check{Ended: 1, LastEnded: time.Unix(1, 0)},
			Seen: []Seen{{Listener: "web", HTTP: someHTTP(3)}, {Listener: "raw", TCP: someTCP(3)}}}
	}
	return all
}
