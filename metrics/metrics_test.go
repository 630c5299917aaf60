package metrics

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func TestWhatIsShown(t *testing.T) {
	text, samples := scraped(t, options(source([]*Server{
		{Address: "a:80", Ready: true, Healthy: true, Weight: 2, MaxConnections: 9, Active: 3, Chosen: 11, Failures: 1,
			Check: &Check{Ended: 8, Failed: 2, Changes: 3, LastTook: 1500 * time.Microsecond, LastEnded: time.Unix(1700000001, 500e6)},
			Seen:  []Seen{{Listener: "web", HTTP: someHTTP(4)}, {Listener: "raw", TCP: someTCP(5)}}},
		{Address: "unix:/run/\xffa\"b\n", Healthy: true, Draining: true, Weight: 1},
	})))
	for key, v := range map[string]float64{
		`fulcrum_ready`: 1,
		`fulcrum_config_reloads_total{result="applied"}`:                                                       2,
		`fulcrum_config_reloads_total{result="refused"}`:                                                       1,
		`fulcrum_config_last_reload_successful`:                                                                1,
		`fulcrum_config_last_applied_timestamp_seconds`:                                                        1.7e9,
		`fulcrum_state_errors_total`:                                                                           3,
		`fulcrum_access_log_dropped_records_total{log="stdout"}`:                                               7,
		`fulcrum_loop_turns_total{loop="0"}`:                                                                   10,
		`fulcrum_loop_cpu_seconds_total{loop="0"}`:                                                             1.5,
		`fulcrum_loop_queued_seconds_total{loop="0"}`:                                                          0.25,
		`fulcrum_loop_accept_pauses_total{loop="0"}`:                                                           1,
		`fulcrum_listener_info{address="127.0.0.1:80",io="epoll",listener="web",protocol="http"}`:              1,
		`fulcrum_http_open_connections{listener="web"}`:                                                        1,
		`fulcrum_http_answers_total{listener="web",status="2xx"}`:                                              1,
		`fulcrum_http_answers_total{listener="web",status="5xx"}`:                                              0,
		`fulcrum_http_requests_ended_total{ending="answered",listener="web"}`:                                  1,
		`fulcrum_http_requests_ended_total{ending="client_reset",listener="web"}`:                              0,
		`fulcrum_http_added_seconds_count{listener="web"}`:                                                     4,
		`fulcrum_http_route_requests_total{listener="web",route="a.test/x"}`:                                   2,
		`fulcrum_tcp_connections_ended_total{ending="idle",listener="raw"}`:                                    1,
		`fulcrum_tcp_added_seconds_count{listener="raw"}`:                                                      4,
		`fulcrum_pool_info{algorithm="round_robin",pool="all"}`:                                                1,
		`fulcrum_pool_servers{pool="all"}`:                                                                     2,
		`fulcrum_pool_ready_servers{pool="all"}`:                                                               1,
		`fulcrum_pool_queued{pool="all"}`:                                                                      4,
		`fulcrum_pool_retries_total{pool="all"}`:                                                               5,
		`fulcrum_server_weight{pool="all",server="a:80"}`:                                                      2,
		`fulcrum_server_max_connections{pool="all",server="a:80"}`:                                             9,
		`fulcrum_server_active{pool="all",server="a:80"}`:                                                      3,
		`fulcrum_server_chosen_total{pool="all",server="a:80"}`:                                                11,
		`fulcrum_server_failures_total{pool="all",server="a:80"}`:                                              1,
		`fulcrum_server_checks_total{pool="all",server="a:80"}`:                                                8,
		`fulcrum_server_failed_checks_total{pool="all",server="a:80"}`:                                         2,
		`fulcrum_server_health_changes_total{pool="all",server="a:80"}`:                                        3,
		`fulcrum_server_last_check_seconds{pool="all",server="a:80"}`:                                          0.0015,
		`fulcrum_server_last_check_timestamp_seconds{pool="all",server="a:80"}`:                                1700000001.5,
		`fulcrum_server_draining{pool="all",server="unix:/run/` + "\uFFFD" + `a\"b\n"}`:                        1,
		`fulcrum_server_ready{pool="all",server="unix:/run/` + "\uFFFD" + `a\"b\n"}`:                           0,
		`fulcrum_http_server_requests_ended_total{ending="answered",listener="web",pool="all",server="a:80"}`:  4,
		`fulcrum_http_server_answers_total{listener="web",pool="all",server="a:80",status="2xx"}`:              4,
		`fulcrum_tcp_server_connections_ended_total{ending="idle",listener="raw",pool="all",server="a:80"}`:    5,
		`fulcrum_tcp_server_to_client_bytes_total{listener="raw",pool="all",server="a:80"}`:                    5,
		`fulcrum_http_server_connect_seconds_bucket{listener="web",pool="all",server="a:80",le="0.000128"}`:    2,
		`fulcrum_http_server_connect_seconds_bucket{listener="web",pool="all",server="a:80",le="0.000256"}`:    3,
		`fulcrum_http_server_connect_seconds_bucket{listener="web",pool="all",server="a:80",le="+Inf"}`:        4,
		`fulcrum_http_server_connect_seconds_sum{listener="web",pool="all",server="a:80"}`:                     3600.000357,
		`fulcrum_tcp_server_duration_seconds_bucket{listener="raw",pool="all",server="a:80",le="4294.967296"}`: 4,
		`fulcrum_http_added_seconds_bucket{listener="web",le="0.000128"}`:                                      2,
		`promhttp_metric_handler_errors_total{cause="gathering"}`:                                              0,
	} {
		want(t, samples, key, v)
	}
	lacks(t, text, `ending="client_reset",listener="web",pool`, `checks_total{pool="all",server="unix`, `fulcrum_http_server_added`)
	for _, name := range []string{"go_goroutines", "go_build_info", "process_open_fds", "process_max_fds", "process_start_time_seconds"} {
		if !strings.Contains(text, "# TYPE "+name+" gauge") {
			t.Errorf("no %s", name)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, error %v", problems, err)
	}
}

// The collector keeps all the rules that the library knows.
func TestThePedanticRegistryAgrees(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(&collector{options(source(many(3)))})
	if _, err := r.Gather(); err != nil {
		t.Error(err)
	}
}

// Each bucket's count is exact: its bound is one of the histogram's that are counted in.
func TestBoundsAreExact(t *testing.T) {
	for name, bounds := range map[string][]time.Duration{"phases": phases, "lifetimes": lifetimes, "additions": additions} {
		if n := len(bounds); n < 12 || n > 16 {
			t.Errorf("%s has %d buckets", name, n)
		}
		for i, bound := range bounds {
			s := summary(bound-1, bound, bound+1, bound+2)
			if got := s.Below(bound); got != 2 {
				t.Errorf("%s: %d of the two that are not above %v", name, got, bound)
			}
			if i > 0 && bound <= bounds[i-1] {
				t.Errorf("%s: %v follows %v", name, bound, bounds[i-1])
			}
		}
	}
}

// The same labels are those of many samples.
func TestLabelsAreNotOverwritten(t *testing.T) {
	base := append(make(labels, 0, 8), label("a", "1"))
	b, c := base.and("x", "b"), base.and("x", "c")
	if *b[1].Value != "b" || *c[1].Value != "c" || len(base) != 1 {
		t.Errorf("%v, %v, %v", base, b, c)
	}
}

func get(h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer
}

func TestWhatClientsMayAskFor(t *testing.T) {
	h := NewHandler(options(source(many(2))))
	packed := get(h, "/metrics", "Accept-Encoding", "gzip")
	unpacked, err := gzip.NewReader(packed.Body)
	if err != nil || packed.Header().Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v, error %v", packed.Header(), err)
	}
	if text, err := io.ReadAll(unpacked); err != nil || !bytes.Contains(text, []byte("\nfulcrum_ready 1\n")) {
		t.Errorf("error %v in %s", err, text)
	}
	open := get(h, "/metrics", "Accept", "application/openmetrics-text;version=1.0.0")
	if body := open.Body.String(); !strings.HasSuffix(body, "# EOF\n") || !strings.HasPrefix(open.Header().Get("Content-Type"), "application/openmetrics-text") {
		t.Errorf("%v: %s", open.Header(), body)
	}
	one := get(h, "/metrics?name[]=fulcrum_pool_ready_servers").Body.String()
	if lines := strings.Count(one, "\n"); lines != 3 || !strings.HasSuffix(one, "fulcrum_pool_ready_servers{pool=\"all\"} 2\n") {
		t.Errorf("got %q", one)
	}
}

// More scrapes at a time than may be are refused, and the next is not.
func TestScrapesAreBounded(t *testing.T) {
	s := source(nil)
	held, free := make(chan struct{}, atOnce), make(chan struct{})
	balancer := s.Balancer
	s.Balancer = func() Balancer { held <- struct{}{}; <-free; return balancer() }
	h := NewHandler(options(s))
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			if code := get(h, "/metrics").Code; code != 200 {
				t.Errorf("status %d", code)
			}
		})
	}
	for range atOnce {
		<-held
	}
	if code := get(h, "/metrics").Code; code != http.StatusServiceUnavailable {
		t.Errorf("status %d of one too many", code)
	}
	close(free)
	all.Wait()
	if code := get(h, "/metrics").Code; code != 200 {
		t.Errorf("status %d afterwards", code)
	}
}

// Two that are the same are shown once, and it is said.
func TestWhatIsWrongIsSaid(t *testing.T) {
	var said bytes.Buffer
	o := options(source([]*Server{{Address: "a:80"}, {Address: "a:80"}}))
	o.Logger = slog.New(slog.NewTextHandler(&said, nil))
	_, samples := scraped(t, o)
	want(t, samples, `fulcrum_server_active{pool="all",server="a:80"}`, 0)
	want(t, samples, `fulcrum_ready`, 1)
	if !strings.Contains(said.String(), "metrics are not shown whole") {
		t.Errorf("said %q", said.String())
	}
}

// Servers are many, and each is shown.
func TestManyServers(t *testing.T) {
	const servers = 1000
	text, _ := scraped(t, options(source(many(servers))))
	if n := strings.Count(text, "\nfulcrum_http_server_requests_total{"); n != servers {
		t.Errorf("%d servers", n)
	}
}

// As many as a pool may have, each of which two listeners have used.
func BenchmarkTenThousandServers(b *testing.B) {
	h := NewHandler(options(source(many(10_000))))
	b.ReportAllocs()
	for b.Loop() {
		get(h, "/metrics", "Accept-Encoding", "gzip")
	}
}
