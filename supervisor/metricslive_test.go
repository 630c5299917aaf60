package supervisor

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Reloads that were applied and refused are told apart, and those that were only tried
// are none.
func TestReloadsInMetrics(t *testing.T) {
	a := echo(t, "a")
	w := start(t, onePool, quoted(a), "1m")
	_, samples := w.scrape()
	begun := samples["fulcrum_config_last_applied_timestamp_seconds"]
	if age := float64(time.Now().UnixMicro())/1e6 - begun; age < 0 || age > patience.Seconds() {
		t.Errorf("started %v s ago", age)
	}
	w.tryReload(true, "{")
	w.tryReload(true, fmt.Sprintf(onePool, quoted(a), "2m"))
	w.wantSamples(map[string]float64{
		`fulcrum_config_reloads_total{result="applied"}`: 0, `fulcrum_config_reloads_total{result="refused"}`: 0, `fulcrum_config_last_reload_successful`: 1})
	w.tryReload(false, "{")
	w.wantSamples(map[string]float64{
		`fulcrum_config_reloads_total{result="refused"}`: 1, `fulcrum_config_last_reload_successful`: 0, `fulcrum_config_last_applied_timestamp_seconds`: begun})
	w.reload(onePool, quoted(a), "2m")
	w.wantSamples(map[string]float64{
		`fulcrum_config_reloads_total{result="applied"}`: 1, `fulcrum_config_reloads_total{result="refused"}`: 1, `fulcrum_config_last_reload_successful`: 1})
	if _, samples = w.scrape(); samples["fulcrum_config_last_applied_timestamp_seconds"] <= begun {
		t.Error("the reload is not later than the start")
	}
}

// What cannot be recorded, and what access logs drop, is counted.
func TestLossesInMetrics(t *testing.T) {
	a, log := echo(t, "a"), filepath.Join(t.TempDir(), "access.log")
	w := start(t, `{
	  "listeners": [{"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all", "access_log": %q}],
	  "pools": [{"name": "all", "servers": [%q], "health": false}],
	  "admin": {"address": "127.0.0.1:0"}, "state": %q}`, log, a, filepath.Join(t.TempDir(), "gone", "state.json"))
	dropped := fmt.Sprintf("fulcrum_access_log_dropped_records_total{log=%q}", log)
	w.wantSamples(map[string]float64{dropped: 0, "fulcrum_state_errors_total": 0})
	if _, err := w.upload("all", "127.0.0.1:1"); err == nil {
		t.Fatal("recorded where there is no directory")
	}
	w.current.Load().logs[log].Write(make([]byte, 2<<20))
	w.wantSamples(map[string]float64{dropped: 1, "fulcrum_state_errors_total": 1})
}

// changing is a config of which some parts stay: the listeners web and echo, with all
// but one route, and the server %[1]s. What is in other stays only for one reload.
func changing(other bool, stays, comes string) string {
	route, server, listener := "", "", ""
	if other {
		route = `, {"path": "/other", "pool": "all"}`
		server = `, "` + comes + `"`
		listener = `, {"name": "more", "protocol": "http", "address": "127.0.0.1:0", "pool": "all"}`
	}
	return fmt.Sprintf(`{
	  "listeners": [
	    {"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "all", "routes": [{"path": "/stays", "pool": "all"}%s]},
	    {"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}%s],
	  "pools": [{"name": "all", "servers": [%q%s], "health": false, "drain_timeout": "1ms"}],
	  "admin": {"address": "127.0.0.1:0"}}`, route, listener, stays, server)
}

// Scrapes go on while traffic flows and the config changes; what they count never goes
// down, and that of what stays never goes.
func TestScrapesUnderTrafficAndReloads(t *testing.T) {
	stays, comes := replies(t), replies(t)
	w := start(t, "%s", changing(true, stays, comes))
	web, raw := w.address("web"), w.address("echo")
	stop := make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	defer close(stop)
	until := func(do func()) {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					do()
				}
			}
		})
	}
	var requests atomic.Int64
	for _, path := range []string{"/", "/stays/x", "/other"} {
		client := &http.Client{Timeout: patience, Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		until(func() {
			for _, at := range []string{web, raw} {
				if answer, err := client.Get("http://" + at + path); err == nil {
					io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
					requests.Add(1)
				}
			}
		})
	}
	var scrapes atomic.Int64
	for range 2 {
		before := map[string]float64{}
		until(func() {
			_, samples, err := w.tryScrape()
			if err != nil {
				t.Error(err)
				return
			}
			now := counters(samples)
			for key, v := range before {
				v2, there := now[key]
				passing := strings.Contains(key, comes) || strings.Contains(key, `"more"`) || strings.Contains(key, `"/other"`) || strings.Contains(key, `"*/other"`)
				if !passing && (!there || v2 < v) {
					t.Errorf("%s was %v, is %v (there: %v)", key, v, v2, there)
				}
			}
			before = now
			scrapes.Add(1)
		})
	}
	for i := 0; i < 20 || scrapes.Load() < 20 || requests.Load() < 200; i++ {
		if t.Failed() {
			return
		}
		w.reload("%s", changing(i%2 == 1, stays, comes))
	}
}
