package admin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// witness sends requests and holds what it sees against the description.
type witness struct {
	*world
	*description
	seen map[string]bool // method, route and status of what was answered
}

// want sends a request that is for a route and expects a status.
func (w *witness) want(status int, r route, target, body string, header ...string) {
	w.Helper()
	response, text := w.do(r.method, target, strings.NewReader(body), header...)
	of := fmt.Sprintf("%s %s", r.method, r.path)
	if response.StatusCode != status {
		w.Errorf("%s as %s with %.80q: status %d, want %d: %s", of, target, body, response.StatusCode, status, text)
	}
	o := w.Paths[r.path][strings.ToLower(r.method)]
	answer, explicit := o.Responses[fmt.Sprint(response.StatusCode)]
	if !explicit {
		answer = o.Responses["default"]
	}
	if explicit == (response.StatusCode == 500 || response.StatusCode == 421) {
		w.Errorf("%s: status %d, which is described: %t", of, response.StatusCode, explicit)
	}
	w.seen[fmt.Sprint(of, " ", response.StatusCode)] = true
	if answer.Ref != "" {
		answer = w.Components.Responses[last(answer.Ref)]
	}
	kind, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	content, there := answer.Content[kind]
	if !there {
		w.Errorf("%s: status %d with %s is not described", of, response.StatusCode, kind)
	}
	if err := w.valid(content.Schema, text); err != nil {
		w.Errorf("%s: status %d: %v\n%s", of, response.StatusCode, err, text)
	}
	for _, name := range []string{"ETag", "WWW-Authenticate"} {
		got, deleted := response.Header.Get(name), r.method == http.MethodDelete && response.StatusCode == 200
		if there := answer.Headers[name] != nil; there != (got != "") && !(there && deleted) {
			w.Errorf("%s: status %d has the %s %q; described: %t", of, response.StatusCode, name, got, answer.Headers[name] != nil)
		}
	}
	if response.StatusCode < 300 && body != "" {
		if err := w.valid(o.RequestBody.Content["application/json"].Schema, body); err != nil {
			w.Errorf("%s: took %s, which by the description is refused: %v", of, body, err)
		}
	}
}

// describes reports whether a status of a route is described.
func (w *witness) describes(r route, status int) bool {
	_, there := w.Paths[r.path][strings.ToLower(r.method)].Responses[fmt.Sprint(status)]
	return there
}

// valids are bodies that a route takes.
func (r route) valids() []string {
	switch {
	case r.path == "/upload_server":
		return []string{`{"server":"a:1"}`, `{"server":"a:1","pool":"web","weight":256,"max_connections":0}`}
	case r.path == "/delete_server":
		return []string{`{"server":"a:1"}`, `{"server":"a:1","weight":2,"force":true}`}
	case r.path == "/v1/log_level":
		return []string{`{"level":"debug"}`}
	case r.method == http.MethodPatch:
		return []string{`{}`, `{"weight":2,"max_connections":3}`}
	case r.method == http.MethodPut:
		return []string{``, `{}`, `{"weight":2}`}
	}
	return []string{``}
}

// Whatever is answered is described, and whatever is described is answered.
func TestAnswersAreDescribed(t *testing.T) {
	d := readDescription(t)
	open, guarded := start(t), startWith(t, newAccess(t, tokens(t)))
	seen := make(map[string]bool)
	w, locked := &witness{open, d, seen}, &witness{guarded, d, seen}
	open.fake.listeners = []ListenerInfo{{Name: "web", Protocol: "http", HTTP: &HTTPTraffic{Endings: map[string]int64{"answered": 1}, Statuses: map[string]int64{}}, Routes: []Route{{Redirect: &Redirect{Status: 308}}}}}
	asJSON := []string{"Content-Type", "application/json"}
	for _, r := range (&handler{}).all() {
		path := pathOf(r.path)
		named := strings.Contains(r.path, "{")
		w.afresh()
		if r.path == healthzPath {
			locked.want(401, r, path, "", bearerOf("wrong")...)
		} else {
			locked.want(401, r, path, "")
		}
		w.want(403, r, path, "", "Origin", "http://evil.example")
		if named {
			w.want(404, r, pathOf(firstName.ReplaceAllString(r.path, "${1}none")), r.valids()[0], asJSON...)
			w.want(400, r, pathOf(firstName.ReplaceAllString(r.path, "${1}%00")), r.valids()[0], asJSON...)
		}
		if reads(r.method) {
			w.want(200, r, path, "")
			w.unread(r, path)
			continue
		}
		locked.want(403, r, path, "", bearerOf(metricsSecret)...)
		w.refusals(r, path)
		for _, body := range r.valids() {
			w.afresh()
			if o := d.Paths[r.path][strings.ToLower(r.method)]; slices.Contains(d.parameters(o, "query"), "dry_run") {
				w.want(200, r, path+"?dry_run=true", body, asJSON...)
			}
			w.want(200, r, path, body, asJSON...)
		}
		if w.describes(r, 201) {
			w.fake.pool.Servers = nil
			w.want(201, r, path, r.valids()[0], asJSON...)
		}
	}
	open.fake.notReady = "stopping"
	w.want(503, route{method: "GET", path: healthzPath}, healthzPath, "")
	w.want(200, route{method: "GET", path: "/v1/status"}, "/v1/status", "")
	for path, operations := range d.Paths {
		for method, o := range operations {
			for status := range o.Responses {
				if of := fmt.Sprintf("%s %s %s", strings.ToUpper(method), path, status); status != "default" && !seen[of] {
					t.Errorf("%s is described, and was never answered", of)
				}
			}
		}
	}
}

// firstName finds the first name that a route has, and what stands before it.
var firstName = regexp.MustCompile(`^([^{]*)\{\w+\}`)

// unread has a request that changes nothing refused for each reason that there is.
func (w *witness) unread(r route, path string) {
	w.Helper()
	if w.describes(r, 503) && r.path != healthzPath {
		for range maxLasting {
			w.lasting.places <- struct{}{}
		}
		w.want(503, r, path, "", "Accept", eventStream)
		for range maxLasting {
			<-w.lasting.places
		}
	}
	switch r.path {
	case "/events", "/explain":
		w.want(400, r, path+"?nothing=1", "")
	case profilePath:
		w.want(400, r, path+"?seconds=61", "")
	case "/v1/log_level":
		w.fake.level = nil
		w.want(409, r, path, "")
	}
	if r.path == "/explain" {
		w.want(404, r, path+"?pool=none", "")
	}
}

// afresh puts the fake back to where each route begins.
func (w *witness) afresh() {
	w.fake.mu.Lock()
	defer w.fake.mu.Unlock()
	w.fake.pool.Servers = []Server{{Address: "a:1", Source: "config", Weight: 1, LastCheck: &Check{Passed: true, At: time.Unix(0, 0).UTC()}, TCP: &Traffic{Ends: map[string]int64{}}}}
	w.fake.upload, w.fake.reload = nil, nil
	w.fake.level = new(slog.LevelVar)
	w.fake.explanation = Explanation{Listeners: []string{}, Servers: []ExplainedServer{}}
}

// refusals has a change refused for each reason that there is.
func (w *witness) refusals(r route, path string) {
	w.Helper()
	body, asJSON := r.valids()[len(r.valids())-1], []string{"Content-Type", "application/json"}
	w.want(400, r, path+"?nothing=1", body, asJSON...)
	w.want(421, r, path, body, "Host", "evil.example")
	w.want(413, r, path, strings.Repeat(" ", maxBody+1), asJSON...)
	if w.describes(r, 412) {
		w.want(412, r, path, body, append(asJSON, "If-Match", `"stale"`)...)
	}
	if r.path == "/v1/log_level" {
		w.fake.level = nil
		w.want(409, r, path, body, asJSON...)
		w.afresh()
	} else if w.describes(r, 409) {
		for status, err := range map[int]error{409: Conflict("stopping"), 500: io.ErrUnexpectedEOF} {
			w.fake.upload, w.fake.reload = func(context.Context) error { return err }, err
			w.want(status, r, path, body, asJSON...)
		}
		w.afresh()
	}
	switch r.path {
	case "/upload_server", "/delete_server":
		w.want(404, r, path, `{"server":"a:1","pool":"none"}`, asJSON...)
	}
	if r.method == http.MethodPut || r.method == http.MethodPatch {
		w.want(415, r, path, body, "Content-Type", "text/plain")
		w.want(400, r, path, `{"weight":0}`, asJSON...)
	}
}
