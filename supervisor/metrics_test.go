package supervisor

import (
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// scrape returns what GET /metrics shows, and each sample by its name and labels.
func (w *world) scrape() (text string, samples map[string]float64) {
	w.t.Helper()
	text, samples, err := w.tryScrape()
	if err != nil {
		w.t.Fatal(err)
	}
	return text, samples
}

func (w *world) tryScrape() (text string, samples map[string]float64, err error) {
	status, text, err := get(w.t, w.AdminAddress(), "/metrics")
	if err != nil || status != 200 {
		return "", nil, fmt.Errorf("status %d, error %v", status, err)
	}
	samples = make(map[string]float64)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if _, twice := samples[line[:at]]; err != nil || twice {
			return "", nil, fmt.Errorf("%s: error %v, twice %v", line, err, twice)
		}
		samples[line[:at]] = v
	}
	return text, samples, nil
}

// wantSamples waits until these are shown.
func (w *world) wantSamples(want map[string]float64) {
	w.t.Helper()
	var samples map[string]float64
	missing := func() map[string]float64 {
		_, samples = w.scrape()
		left := maps.Clone(want)
		maps.DeleteFunc(left, func(key string, v float64) bool { got, ok := samples[key]; return ok && got == v })
		return left
	}
	for end := time.Now().Add(patience); len(missing()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			for key, v := range missing() {
				got, there := samples[key]
				w.t.Errorf("%s is %v (there: %v), want %v", key, got, there, v)
			}
			return
		}
	}
}

// counters returns the samples that never go down.
func counters(samples map[string]float64) map[string]float64 {
	c := make(map[string]float64)
	for key, v := range samples {
		name, _, _ := strings.Cut(key, "{")
		for _, end := range []string{"_total", "_count", "_sum", "_bucket"} {
			if strings.HasSuffix(name, end) && strings.HasPrefix(name, "fulcrum_") {
				c[key] = v
			}
		}
	}
	return c
}

// resetting is a server that says a byte to each client and then resets it.
func resetting(t *testing.T) (address string) {
	t.Helper()
	l := listen(t)
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("x"))
			conn.Read(make([]byte, 1))
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
	})
	return l.Addr().String()
}

// aKnownRun is a balancer of two http and three tcp listeners.
const aKnownRun = `{
  "listeners": [
    {"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "site", "access_log": %q, "routes": [
      {"host": "api.test", "path": "/v1/", "pool": "api"},
      {"host": "old.test", "redirect": {"host": "new.test", "status": 308}}]},
    {"name": "dark", "protocol": "http", "address": "127.0.0.1:0", "pool": "down"},
    {"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "echo"},
    {"name": "angry", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "angry"},
    {"name": "lost", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "down"}],
  "pools": [
    {"name": "site", "servers": [%q], "health": false},
    {"name": "api", "servers": [%q], "health": false, "algorithm": "round_robin"},
    {"name": "echo", "servers": [{"address": %q, "weight": 3, "max_connections": 5}], "health": {"interval": "24h", "timeout": "20s"}},
    {"name": "angry", "servers": [%q], "health": false},
    {"name": "down", "servers": ["127.0.0.1:1"], "health": {"interval": "24h"}}],
  "admin": {"address": "127.0.0.1:0"}}`

// startKnownRun starts it, with servers that are ready or, of the pool down, known not
// to be.
func startKnownRun(t *testing.T, site, api, said, angry string) *world {
	t.Helper()
	w := start(t, aKnownRun, filepath.Join(t.TempDir(), "access.log"), site, api, said, angry)
	w.ready(said)
	eventually(t, "down is checked", func() bool { return w.server("127.0.0.1:1").LastCheck != nil })
	return w
}

// What has happened is what the metrics say, to the byte.
func TestMetricsOfAKnownRun(t *testing.T) {
	site, api, said, angry := replies(t), replies(t), echo(t, "a"), resetting(t)
	w := startKnownRun(t, site, api, said, angry)
	c := dial(t, w.address("web"))
	for _, r := range []struct {
		host, path, body string
		status           int
	}{
		{"a.test", "/", "abc", 200}, {"a.test", "/", "", 200}, {"a.test", "/404", "", 404},
		{"api.test", "/v1/500", "hello", 500}, {"api.test", "/v1/", "", 200},
		{"old.test", "/", "", 308},
	} {
		if got := c.ask(r.host, r.path, r.body); got != r.status {
			t.Errorf("%s%s: status %d, want %d", r.host, r.path, got, r.status)
		}
	}
	for range 4 {
		if status, _, err := get(t, w.address("dark"), "/"); status != 503 {
			t.Errorf("status %d, error %v", status, err)
		}
	}
	bad := dial(t, w.address("web"))
	fmt.Fprint(bad, "GET / HTTP/1.1\r\n\r\n") // without Host
	io.Copy(io.Discard, bad)
	bad.Close()

	open := dial(t, w.address("echo"))
	open.say("12345")
	for range 3 {
		e := dial(t, w.address("echo"))
		e.say("hello")
		e.Close()
	}
	for range 2 {
		a := dial(t, w.address("angry"))
		a.readByteThen("y")
	}
	for range 2 {
		dial(t, w.address("lost")).wantClosed()
	}

	w.wantSamples(map[string]float64{
		`fulcrum_http_connections_total{listener="web"}`:                          2,
		`fulcrum_http_open_connections{listener="web"}`:                           1,
		`fulcrum_http_requests_total{listener="web"}`:                             6,
		`fulcrum_http_active_requests{listener="web"}`:                            0,
		`fulcrum_http_requests_ended_total{ending="answered",listener="web"}`:     5,
		`fulcrum_http_requests_ended_total{ending="redirected",listener="web"}`:   1,
		`fulcrum_http_requests_ended_total{ending="refused_head",listener="web"}`: 1,
		`fulcrum_http_requests_ended_total{ending="cut_short",listener="web"}`:    0,
		`fulcrum_http_answers_total{listener="web",status="2xx"}`:                 3,
		`fulcrum_http_answers_total{listener="web",status="3xx"}`:                 1,
		`fulcrum_http_answers_total{listener="web",status="4xx"}`:                 2,
		`fulcrum_http_answers_total{listener="web",status="5xx"}`:                 1,
		`fulcrum_http_received_bytes_total{listener="web"}`:                       8,
		`fulcrum_http_sent_bytes_total{listener="web"}`:                           50 + 16 + 22,
		`fulcrum_http_retries_total{listener="web"}`:                              0,
		`fulcrum_http_connects_total{listener="web"}`:                             2,
		`fulcrum_http_reuses_total{listener="web"}`:                               3,
		`fulcrum_http_connect_seconds_count{listener="web"}`:                      2,
		`fulcrum_http_first_byte_seconds_bucket{listener="web",le="+Inf"}`:        5,
		`fulcrum_http_duration_seconds_count{listener="web"}`:                     7,
		`fulcrum_http_added_seconds_count{listener="web"}`:                        1,

		`fulcrum_http_requests_total{listener="dark"}`:                                4,
		`fulcrum_http_requests_ended_total{ending="no_server_ready",listener="dark"}`: 4,
		`fulcrum_http_answers_total{listener="dark",status="5xx"}`:                    4,
		`fulcrum_http_added_seconds_count{listener="dark"}`:                           0,

		`fulcrum_http_route_requests_total{listener="web",route="(default)"}`:                                        3,
		`fulcrum_http_route_requests_total{listener="web",route="api.test/v1/"}`:                                     2,
		`fulcrum_http_route_requests_total{listener="web",route="old.test"}`:                                         1,
		`fulcrum_http_route_answers_total{listener="web",route="api.test/v1/",status="5xx"}`:                         1,
		`fulcrum_http_route_received_bytes_total{listener="web",route="api.test/v1/"}`:                               5,
		`fulcrum_http_route_requests_ended_total{ending="redirected",listener="web",route="old.test"}`:               1,
		`fulcrum_http_server_requests_total{listener="web",pool="api",server="` + api + `"}`:                         2,
		`fulcrum_http_server_sent_bytes_total{listener="web",pool="site",server="` + site + `"}`:                     30,
		`fulcrum_http_server_duration_seconds_count{listener="web",pool="site",server="` + site + `"}`:               3,
		`fulcrum_http_server_requests_ended_total{ending="answered",listener="web",pool="api",server="` + api + `"}`: 2,

		`fulcrum_tcp_connections_total{listener="echo"}`:                                              4,
		`fulcrum_tcp_active_connections{listener="echo"}`:                                             1,
		`fulcrum_tcp_connections_ended_total{ending="client_closed",listener="echo"}`:                 3,
		`fulcrum_tcp_connections_ended_total{ending="server_reset",listener="echo"}`:                  0,
		`fulcrum_tcp_to_upstream_bytes_total{listener="echo"}`:                                        24,
		`fulcrum_tcp_to_client_bytes_total{listener="echo"}`:                                          32, // "a " before each
		`fulcrum_tcp_connect_seconds_count{listener="echo"}`:                                          4,
		`fulcrum_tcp_first_byte_seconds_count{listener="echo"}`:                                       4,
		`fulcrum_tcp_duration_seconds_count{listener="echo"}`:                                         3,
		`fulcrum_tcp_server_connections_total{listener="echo",pool="echo",server="` + said + `"}`:     4,
		`fulcrum_tcp_server_active_connections{listener="echo",pool="echo",server="` + said + `"}`:    1,
		`fulcrum_tcp_server_to_client_bytes_total{listener="echo",pool="echo",server="` + said + `"}`: 32,
		`fulcrum_tcp_connections_ended_total{ending="server_reset",listener="angry"}`:                 2,
		`fulcrum_tcp_connections_ended_total{ending="no_server_ready",listener="lost"}`:               2,

		`fulcrum_pool_servers{pool="down"}`:                                     1,
		`fulcrum_pool_ready_servers{pool="down"}`:                               0,
		`fulcrum_pool_ready_servers{pool="api"}`:                                1,
		`fulcrum_pool_info{algorithm="round_robin",pool="api"}`:                 1,
		`fulcrum_pool_queued{pool="echo"}`:                                      0,
		`fulcrum_server_active{pool="echo",server="` + said + `"}`:              1,
		`fulcrum_server_chosen_total{pool="echo",server="` + said + `"}`:        4,
		`fulcrum_server_weight{pool="echo",server="` + said + `"}`:              3,
		`fulcrum_server_max_connections{pool="echo",server="` + said + `"}`:     5,
		`fulcrum_server_checks_total{pool="echo",server="` + said + `"}`:        1,
		`fulcrum_server_failed_checks_total{pool="echo",server="` + said + `"}`: 0,
		`fulcrum_server_healthy{pool="down",server="127.0.0.1:1"}`:              0,
		`fulcrum_server_failed_checks_total{pool="down",server="127.0.0.1:1"}`:  1,
		`fulcrum_server_health_changes_total{pool="down",server="127.0.0.1:1"}`: 1,
		`fulcrum_ready`:              1,
		`fulcrum_state_errors_total`: 0,
	})
	text, samples := w.scrape()
	turns := 0.0
	for i := range w.current.Load().loops {
		turns += samples[fmt.Sprintf(`fulcrum_loop_turns_total{loop="%d"}`, i)]
		if cpu := samples[fmt.Sprintf(`fulcrum_loop_cpu_seconds_total{loop="%d"}`, i)]; cpu <= 0 {
			t.Errorf("loop %d has used %v s", i, cpu)
		}
	}
	if turns < 20 {
		t.Errorf("all that in %v turns", turns)
	}
	for _, unwanted := range []string{`checks_total{pool="site"`, `listener="web",pool="down"`, `client_reset",listener="echo",pool`} {
		if strings.Contains(text, unwanted) {
			t.Errorf("%s is shown", unwanted)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, error %v", problems, err)
	}
}

// readByteThen reads a byte, says something and reads to the end.
func (c *talk) readByteThen(say string) {
	c.t.Helper()
	if _, err := c.lines.ReadByte(); err != nil {
		c.t.Fatal(err)
	}
	io.WriteString(c, say)
	io.Copy(io.Discard, c)
}
