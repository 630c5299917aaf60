package admin

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

// loud is a fake's log, and what it explains.
type loud struct {
	level       *slog.LevelVar
	explanation Explanation
	explain     []string // what was asked for
}

func (f *loud) LogLevel() *slog.LevelVar { return f.level }

func (f *loud) Explain(pool, listener string) (Explanation, error) {
	f.explain = append(f.explain, pool+"|"+listener)
	if pool == "none" {
		return Explanation{}, NotFound("pool %q does not exist", pool)
	}
	return f.explanation, nil
}

func TestLogLevel(t *testing.T) {
	w := start(t)
	w.want("GET", "/v1/log_level", "", 409, `{"error":"the level of this balancer's log cannot be changed"}`)
	w.want("PUT", "/v1/log_level", `{"level":"debug"}`, 409, `{"error":"the level of this balancer's log cannot be changed"}`)
	w.fake.level = new(slog.LevelVar)
	w.want("GET", "/v1/log_level", "", 200, `{"level":"info"}`)
	for _, level := range []string{"debug", "error", "warn", "info"} {
		w.want("PUT", "/v1/log_level", `{"level":"`+level+`"}`, 200, `{"level":"`+level+`"}`)
		w.want("GET", "/v1/log_level", "", 200, `{"level":"`+level+`"}`)
	}
	for body, part := range map[string]string{
		"": "the body is empty", "{}": `"level" is missing`, `{"level":"DEBUG"}`: "use debug, info, warn or error", `{"level":"info+1"}`: "not known",
		`{"level":3}`: "must be a string", `{"level":"info","x":1}`: "is not known", "[]": "an array",
	} {
		response, text := w.do("PUT", "/v1/log_level", strings.NewReader(body))
		wantRefused(t, response, text, 400, part)
	}
	w.want("PUT", "/v1/log_level?dry_run=true", `{"level":"warn"}`, 200, `{"level":"info","changes":["log level from info to warn"],"dry_run":true}`)
	w.want("PUT", "/v1/log_level?dry_run=true", `{"level":"info"}`, 200, `{"level":"info","dry_run":true}`)
	got, _ := w.do("GET", "/v1/log_level", nil)
	tag := got.Header.Get("ETag")
	put := func(level string, header ...string) *http.Response {
		response, _ := w.do("PUT", "/v1/log_level", strings.NewReader(`{"level":"`+level+`"}`), header...)
		return response
	}
	if first := put("info", "If-Match", tag); first.StatusCode != 200 || first.Header.Get("ETag") != tag {
		t.Errorf("with its ETag: %d, %q", first.StatusCode, first.Header.Get("ETag"))
	}
	if other := put("warn", "If-Match", `"another"`); other.StatusCode != 412 {
		t.Errorf("with another ETag: %d", other.StatusCode)
	}
	if other := put("warn", "Content-Type", "text/plain"); other.StatusCode != 415 {
		t.Errorf("as plain text: %d", other.StatusCode)
	}
	response, text := w.do("POST", "/v1/log_level", nil)
	wantRefused(t, response, text, 405, "use GET, HEAD, PUT")
	if got := w.fake.level.Level(); got != slog.LevelInfo {
		t.Errorf("the level is %v after refusals", got)
	}
	if lines := w.log.lines("log level changed"); len(lines) != 5 || !strings.Contains(lines[1], "level=error") {
		t.Errorf("logged %q", lines)
	}
}

func TestExplain(t *testing.T) {
	w := start(t)
	since := time.Unix(0, 0).UTC()
	w.fake.explanation = Explanation{Pool: "web", Listeners: []string{"http"}, Algorithm: "least_connections", Next: "a:1", Why: "no other one can be chosen",
		Servers: []ExplainedServer{
			{Address: "a:1", Resolved: "127.0.0.1:1", State: "ready", Since: since, Reason: "status 200", Weight: 2, Active: 1, Score: 0.5},
			{Address: "b:1", State: "unchecked", Since: since, Weight: 1, MaxConnections: 7, Excluded: "unchecked"},
		},
		Queue: ExplainedQueue{1, 100}, Retries: ExplainedRetries{7, 20, 30}}
	w.want("GET", "/explain?pool=web", "", 200, `{"pool":"web","listeners":["http"],"algorithm":"least_connections","next":"a:1","why":"no other one can be chosen","servers":[`+
		`{"address":"a:1","resolved":"127.0.0.1:1","state":"ready","since":"1970-01-01T00:00:00Z","reason":"status 200","weight":2,"max_connections":0,"active":1,"score":0.5},`+
		`{"address":"b:1","state":"unchecked","since":"1970-01-01T00:00:00Z","weight":1,"max_connections":7,"active":0,"score":0,"excluded":"unchecked"}],`+
		`"queue":{"waiting":1,"length":100},"retries":{"attempts":7,"percent":20,"left":30}}`)
	w.want("GET", "/explain?pool=none", "", 404, `{"error":"pool \"none\" does not exist"}`)
	w.wantStatus(200, "GET", "/explain?listener=http&pool=web")
	w.wantStatus(200, "GET", "/explain")
	if got := strings.Join(w.fake.explain, " "); got != "web| none| web|http |" {
		t.Errorf("asked for %q", got)
	}
	for query, part := range map[string]string{"?pool=": "1 to 512 bytes", "?server=a": "the parameters are pool, listener"} {
		response, text := w.do("GET", "/explain"+query, nil)
		wantRefused(t, response, text, 400, part)
	}
}

// Profiles are for those who may change things, take no longer than a minute, outlast
// the limits of other answers, and end with the listener.
func TestProfiles(t *testing.T) {
	w := start(t, func(l *Listener) {
		l.http.ReadTimeout, l.http.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	})
	for _, path := range []string{"", "heap", "goroutine?debug=1", "cmdline", "symbol", "threadcreate", "allocs", "block", "mutex", "profile?seconds=1", "trace?seconds=1"} {
		if response, text := w.do("GET", profilePath+path, nil); response.StatusCode != 200 || text == "" {
			t.Errorf("%s: %d, %d bytes: %.200s", path, response.StatusCode, len(text), text)
		}
	}
	for _, path := range []string{"profile?seconds=61", "trace?seconds=1e9", "heap?seconds=-1", "profile?seconds=0"} {
		response, text := w.do("GET", profilePath+path, nil)
		wantRefused(t, response, text, 400, "it must be a whole number from 1 to 60")
	}
	for _, path := range []string{"none", "/etc/passwd", "heap/"} {
		response, text := w.do("GET", profilePath+path, nil)
		wantRefused(t, response, text, 404)
	}
	begun := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		close(begun)
		response, err := w.http.Transport.RoundTrip(must(http.NewRequest("GET", w.base+profilePath+"trace?seconds=60", nil)))
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		ended <- err
	}()
	<-begun
	for end := time.Now().Add(5 * time.Second); len(w.lasting.places) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no trace is under way")
		}
	}
	if err := w.Stop(soon(t)); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the trace broke off: %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestProfilesNeedWriteAccess(t *testing.T) {
	w := startWith(t, newAccess(t, tokens(t)))
	for _, path := range []string{"", "heap", "profile?seconds=1", "cmdline"} {
		w.wantStatus(401, "GET", profilePath+path)
		response, text := w.do("GET", profilePath+path, nil, bearerOf(metricsSecret)...)
		wantRefused(t, response, text, 403, `token "metrics" may only read`)
	}
	w.wantStatus(200, "GET", profilePath, bearerOf(opsSecret)...)
	w.wantStatus(200, "GET", "/events", bearerOf(metricsSecret)...)
	w.wantStatus(200, "GET", "/explain", bearerOf(metricsSecret)...)
	w.wantStatus(403, "PUT", "/v1/log_level", bearerOf(metricsSecret)...)
}
