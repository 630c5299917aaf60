package admin

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// What the Controller is asked is what the path, query and body say.
func TestResourcesAreChanged(t *testing.T) {
	w := start(t)
	const server = "/v1/pools/web/servers/"
	for _, c := range []struct {
		method, target, body string
		status               int
		answer               string
		want                 ServerChange
	}{
		{"PUT", server + "a:1?dry_run=true", "", 200, `{"pool":"web","server":"a:1","created":true,"changes":["upload of a:1"],"dry_run":true}`,
			ServerChange{Action: Upload, Pool: "web", Server: "a:1", DryRun: true}},
		{"PUT", server + "a:1", "", 201, `{"pool":"web","server":"a:1","created":true,"changes":["upload of a:1"],"dry_run":false}`,
			ServerChange{Action: Upload, Pool: "web", Server: "a:1"}},
		{"PUT", server + "a:1", `{"weight": 2, "max_connections": 1000000}`, 200, `{"pool":"web","server":"a:1","changes":["upload of a:1"],"dry_run":false}`,
			ServerChange{Action: Upload, Pool: "web", Server: "a:1", Weight: new(2), MaxConnections: new(1000000)}},
		{"PATCH", server + "a:1", `{"max_connections": 0}`, 200, `{"pool":"web","server":"a:1","changes":["patch of a:1"],"dry_run":false}`,
			ServerChange{Action: Patch, Pool: "web", Server: "a:1", MaxConnections: new(0)}},
		{"PATCH", server + "a:1", `{}`, 200, `{"pool":"web","server":"a:1","changes":["patch of a:1"],"dry_run":false}`,
			ServerChange{Action: Patch, Pool: "web", Server: "a:1"}},
		{"POST", server + "a:1/drain?dry_run=false", "", 200, `{"pool":"web","server":"a:1","changes":["drain of a:1"],"dry_run":false}`,
			ServerChange{Action: Drain, Pool: "web", Server: "a:1"}},
		{"POST", server + "a:1/undrain", " \n", 200, `{"pool":"web","server":"a:1","changes":["undrain of a:1"],"dry_run":false}`,
			ServerChange{Action: Undrain, Pool: "web", Server: "a:1"}},
		{"POST", "/v1/pools/web/drain", "", 200, `{"pool":"web","changes":["a:1: draining from false to true"],"dry_run":false}`,
			ServerChange{Action: Drain, Pool: "web"}},
		{"POST", "/v1/pools/web/drain?dry_run=true", "", 200, `{"pool":"web","changes":[],"dry_run":true}`,
			ServerChange{Action: Drain, Pool: "web", DryRun: true}},
		{"POST", "/v1/pools/web/undrain", "", 200, `{"pool":"web","changes":["a:1: draining from true to false"],"dry_run":false}`,
			ServerChange{Action: Undrain, Pool: "web"}},
		{"DELETE", server + "a:1?force=true&dry_run=true", "", 200, `{"pool":"web","server":"a:1","changes":["delete of a:1"],"dry_run":true}`,
			ServerChange{Action: Delete, Pool: "web", Server: "a:1", Force: true, DryRun: true}},
		{"DELETE", server + "a:1", "", 200, `{"pool":"web","server":"a:1","changes":["delete of a:1"],"dry_run":false}`,
			ServerChange{Action: Delete, Pool: "web", Server: "a:1"}},
		{"POST", server + "a:1/drain", "", 409, `{"error":"server \"a:1\" of pool \"web\" is being deleted; upload it to keep it"}`,
			ServerChange{Action: Drain, Pool: "web", Server: "a:1"}},

		// A name is escaped once; what it means is the Controller's.
		{"PUT", server + "unix:%2Frun%2Fa.sock", "", 201, `{"pool":"web","server":"unix:/run/a.sock","created":true,"changes":["upload of unix:/run/a.sock"],"dry_run":false}`,
			ServerChange{Action: Upload, Pool: "web", Server: "unix:/run/a.sock"}},
		{"POST", server + "%5B::1%5D:80/drain", "", 404, `{"error":"server \"[::1]:80\" is not in pool \"web\""}`,
			ServerChange{Action: Drain, Pool: "web", Server: "[::1]:80"}},
		{"POST", "/v1/pools/%2F..%2F/drain", "", 404, `{"error":"pool \"/../\" does not exist; use one of: web"}`,
			ServerChange{Action: Drain, Pool: "/../"}},
		{"POST", "/v1/pools/../drain", "", 404, `{"error":"pool \"..\" does not exist; use one of: web"}`,
			ServerChange{Action: Drain, Pool: ".."}},
		{"POST", "/v1/pools/w%2565b/drain", "", 404, `{"error":"pool \"w%65b\" does not exist; use one of: web"}`,
			ServerChange{Action: Drain, Pool: "w%65b"}},
		{"POST", "/v1/pools/w%65b/servers/%2525/undrain", "", 404, `{"error":"server \"%25\" is not in pool \"web\""}`,
			ServerChange{Action: Undrain, Pool: "web", Server: "%25"}},
	} {
		asked := len(w.fake.asked())
		response, text := w.do(c.method, c.target, strings.NewReader(c.body), "Content-Type", "application/json")
		if response.StatusCode != c.status || strings.TrimSuffix(text, "\n") != c.answer {
			t.Errorf("%s %s %s\n got %d %s\nwant %d %s", c.method, c.target, c.body, response.StatusCode, text, c.status, c.answer)
		}
		if got := w.fake.asked()[asked:]; len(got) != 1 || !reflect.DeepEqual(got[0], c.want) {
			t.Errorf("%s %s %s\nasked %+v\nwant  %+v", c.method, c.target, c.body, got, c.want)
		}
	}
	for what, times := range map[string]int{
		`"server uploaded" who=- remote=127.0.0.1:`: 3, "created=true": 2, `"server changed"`: 2, `"server drains"`: 1, `"server undrained"`: 1,
		`"pool drains"`: 1, `"pool undrained"`: 1, `"server deleted"`: 1, "force=false": 1, "change refused": 6,
		"pool=web server=a:1 weight=2 max_connections=1000000": 1, "": 16,
	} {
		if got := w.log.lines(what); len(got) != times {
			t.Errorf("%q was logged %d times, want %d: %q", what, len(got), times, got)
		}
	}
}

func TestResourcesAreShown(t *testing.T) {
	w := start(t)
	w.fake.pool.Servers = []Server{{Address: "unix:/a", Source: "config", Weight: 1}}
	w.fake.listeners = []ListenerInfo{{Name: "web"}, {Name: "db"}}
	for path, same := range map[string]string{"/v1/pools": "/servers", "/v1/listeners": "/listeners"} {
		_, text := w.do("GET", same, nil)
		w.want("GET", path, "", 200, strings.TrimSuffix(text, "\n"))
	}
	const server = `{"address":"unix:/a","source":"config","weight":1,"max_connections":0,"healthy":false,"draining":false,"deleting":false,"ready":false,"state":"","since":"0001-01-01T00:00:00Z","active":0,"total":0,"failures":0,"last_check":null}`
	w.want("GET", "/v1/pools/web", "", 200, `{"name":"web","algorithm":"least_connections","queued":0,"servers":[`+server+`]}`)
	w.want("GET", "/v1/pools/web/servers", "", 200, `{"servers":[`+server+`]}`)
	w.want("GET", "/v1/pools/web/servers/unix:%2fa", "", 200, server)
	w.want("GET", "/v1/listeners/db", "", 200, `{"name":"db","protocol":"","address":"","pool":"","io":""}`)
	w.want("GET", "/v1/listeners/ftp", "", 404, `{"error":"listener \"ftp\" does not exist; use one of: web, db"}`)
	w.want("GET", "/v1/config", "", 200, `{"listeners":[],"pools":[]}`)
	w.want("GET", "/v1/status", "", 200, `{"version":"v1","pid":7,"started":"1970-01-01T00:00:00Z","uptime_seconds":1.5,"ready":true,"config":"config.json","io":"epoll","draining":false,"deadline":null,"remaining":null}`)
	w.fake.notReady = "stopping"
	w.want("GET", "/v1/status", "", 200, `{"version":"v1","pid":7,"started":"1970-01-01T00:00:00Z","uptime_seconds":1.5,"ready":false,"reason":"stopping","config":"config.json","io":"epoll","draining":false,"deadline":null,"remaining":null}`)
	w.fake.pool.Servers = nil
	w.want("GET", "/v1/pools/web/servers", "", 200, `{"servers":[]}`)
	w.want("GET", "/v1/pools/web", "", 200, `{"name":"web","algorithm":"least_connections","queued":0,"servers":[]}`)
}

// What is refused under /v1 does not reach the Controller.
func TestWhatIsRefusedOfResources(t *testing.T) {
	w := start(t)
	const (
		server = "/v1/pools/web/servers/a:1"
		asJSON = "application/json"
	)
	long := strings.Repeat("x", maxText+1)
	for _, c := range []struct {
		method, target, kind, body string
		status                     int
		says                       []string
	}{
		{"PUT", server, asJSON, `{"weight":0}`, 400, []string{`"weight" is 0`, "1 to 256"}},
		{"PUT", server, asJSON, `{"weight":"2"}`, 400, []string{`"weight" is the string "2"`}},
		{"PUT", server, asJSON, `{"max_connections":1000001}`, 400, []string{`"max_connections" is 1000001`, "0 to 1000000"}},
		{"PUT", server, asJSON, `{"server":"a:1"}`, 400, []string{`"server" is not known; the fields are weight, max_connections`}},
		{"PUT", server, asJSON, `{"draining":true}`, 400, []string{`"draining" is not known`}},
		{"PUT", server, asJSON, `{"weight":1,"weight":2}`, 400, []string{`"weight" is given twice`}},
		{"PUT", server, asJSON, `[]`, 400, []string{"an array"}},
		{"PATCH", server, asJSON, ``, 400, []string{"empty", `{"weight": 2}`}},
		{"PATCH", server, asJSON, `{"weight":null}`, 400, []string{`"weight" is null`}},
		{"PATCH", server, asJSON, `{"weight":1`, 400, []string{"not valid JSON"}},
		{"PATCH", server, asJSON, strings.Repeat(" ", maxBody+1), 413, []string{"65536 bytes"}},
		{"PUT", server, "application/x-www-form-urlencoded", `{"weight":1}`, 415, []string{`"application/x-www-form-urlencoded"; send application/json`}},
		{"PUT", server, "application/merge-patch+json", `{"weight":1}`, 415, []string{"send application/json"}},
		{"PATCH", server, "text/plain; charset=utf-8", `{"weight":1}`, 415, []string{"send application/json"}},
		{"PATCH", server, "application/json;", `{"weight":0}`, 400, []string{"1 to 256"}},
		{"PATCH", server, "application/merge-patch+json", `{"weight":0}`, 400, []string{"1 to 256"}},
		{"PATCH", server, "", `{"weight":0}`, 400, []string{"1 to 256"}},
		{"POST", server + "/drain", asJSON, `{}`, 400, []string{"a body is not allowed here"}},
		{"POST", "/v1/pools/web/undrain", asJSON, `{}`, 400, []string{"a body is not allowed here"}},
		{"DELETE", server, asJSON, `{"force":true}`, 400, []string{"a body is not allowed here"}},
		{"DELETE", server + "?force=1", asJSON, ``, 400, []string{`"force" is "1"`}},
		{"DELETE", server + "?pool=web", asJSON, ``, 400, []string{`"pool" is not known; the parameters are force, dry_run`}},
		{"POST", server + "/drain?force=true", asJSON, ``, 400, []string{`"force" is not known; the parameters are dry_run`}},
		{"PUT", server + "?dry_run=yes", asJSON, ``, 400, []string{`"dry_run" is "yes"`}},
		{"PUT", server + "?dry_run=true&dry_run=true", asJSON, ``, 400, []string{"given 2 times"}},

		{"PUT", "/v1/pools/web/servers/a%00:1", asJSON, ``, 400, []string{`"server" is "a\x00:1"`, "no control characters"}},
		{"PUT", "/v1/pools/web/servers/%ff", asJSON, ``, 400, []string{`"server"`, "UTF-8"}},
		{"PUT", "/v1/pools/" + long + "/servers/a:1", asJSON, ``, 400, []string{`"pool"`, "1 to 512"}},
		{"PUT", "/v1/pools/web/servers/" + strings.Repeat("%41", maxText+1), asJSON, ``, 400, []string{`"server"`, "1 to 512"}},
		{"PUT", "/v1/pools/a%0d%0ab/servers/a:1", asJSON, ``, 400, []string{`"pool" is "a\r\nb"`}},
		{"PUT", "/v1/pools/web/servers/", asJSON, ``, 404, []string{"does not exist", "PUT /v1/pools/{pool}/servers/{server}"}},
		{"PUT", "/v1/pools//servers/a:1", asJSON, ``, 404, []string{"does not exist"}},
		{"PUT", "/v1/pools/web/servers/unix:/run/a.sock", asJSON, ``, 404, []string{"does not exist"}},
		{"PUT", "/v1/pools/web/../web/servers/a:1", asJSON, ``, 404, []string{"does not exist"}},
		{"PUT", "/v1/pools/web/servers%2Fa:1", asJSON, ``, 404, []string{"does not exist"}},
		{"PUT", "/v1/p%6Fols/web/servers/a:1", asJSON, ``, 404, []string{"does not exist"}},
		{"PUT", "/V1/pools/web/servers/a:1", asJSON, ``, 404, []string{"does not exist", "POST /upload_server", "those under /v1/"}},
		{"POST", "/upload%5Fserver", asJSON, `{"server":"a:1"}`, 404, []string{"does not exist"}},
		{"POST", server + "/drain/", asJSON, ``, 404, []string{"does not exist"}},
		{"GET", "/v2/pools", asJSON, ``, 404, []string{"does not exist"}},

		{"POST", server, asJSON, ``, 405, []string{"use GET, HEAD, PUT, PATCH, DELETE"}},
		{"GET", server + "/drain", asJSON, ``, 405, []string{"use POST"}},
		{"PUT", "/v1/pools/web", asJSON, ``, 405, []string{"use GET, HEAD"}},
		{"DELETE", "/v1/config", asJSON, ``, 405, []string{"use GET, HEAD"}},
		{"get", "/v1/config", asJSON, ``, 405, []string{"use GET, HEAD"}},
	} {
		t.Run(fmt.Sprintf("%s %.60s %.60s", c.method, c.target, c.body), func(t *testing.T) {
			response, text := w.do(c.method, c.target, strings.NewReader(c.body), "Content-Type", c.kind)
			wantRefused(t, response, text, c.status, c.says...)
			if len(text) > 1280 {
				t.Errorf("the answer has %d bytes", len(text))
			}
			if allow := response.Header.Get("Allow"); (allow != "") != (c.status == 405) {
				t.Errorf("status %d has Allow %q", c.status, allow)
			}
		})
	}
	w.wantChanges(0)
}

// A condition is read strictly: what could be meant in two ways is refused.
func TestConditions(t *testing.T) {
	const tag, other = `"0a"`, `"0b"`
	for _, c := range []struct {
		match, none []string
		etag        string
		status      int // 0: it holds
	}{
		{nil, nil, tag, 0},
		{nil, nil, "", 0},
		{[]string{tag}, nil, tag, 0},
		{[]string{tag}, nil, other, 412},
		{[]string{tag}, nil, "", 412},
		{[]string{"*"}, nil, tag, 0},
		{[]string{" * "}, nil, "", 412},
		{[]string{`"x", ` + tag}, nil, tag, 0},
		{[]string{`"x"`, tag}, nil, tag, 0},
		{[]string{`,"x",,` + tag + ` ,`}, nil, tag, 0},
		{[]string{`"a,b"`}, nil, `"a,b"`, 0},
		{[]string{"W/" + tag}, nil, tag, 412},
		{nil, []string{"*"}, "", 0},
		{nil, []string{"*"}, tag, 412},
		{nil, []string{tag}, tag, 412},
		{nil, []string{tag}, other, 0},
		{[]string{tag}, []string{tag}, tag, 412},
		{[]string{""}, nil, tag, 400},
		{[]string{","}, nil, tag, 400},
		{[]string{"0a"}, nil, tag, 400},
		{[]string{`"0a`}, nil, tag, 400},
		{[]string{`0a"`}, nil, tag, 400},
		{[]string{`"0a""0b"`}, nil, tag, 400},
		{[]string{`"0 a"`}, nil, tag, 400},
		{[]string{"w/" + tag}, nil, tag, 400},
		{[]string{"*, " + tag}, nil, tag, 400},
		{[]string{"*", "*"}, nil, tag, 400},
		{nil, []string{`"`}, tag, 400},
		{nil, []string{"W/"}, tag, 400},
	} {
		r := &http.Request{Header: http.Header{}}
		for name, values := range map[string][]string{"If-Match": c.match, "If-None-Match": c.none} {
			for _, value := range values {
				r.Header.Add(name, value)
			}
		}
		condition, err := readCondition(r)
		if err == nil {
			err = condition.Holds(c.etag)
		}
		refusal, _ := errors.AsType[*Refusal](err)
		if refusal == nil {
			refusal = &Refusal{}
		}
		if refusal.Status != c.status || len(refusal.Reason) > 600 {
			t.Errorf("If-Match %q, If-None-Match %q of %s: %+v, want %d", c.match, c.none, c.etag, refusal, c.status)
		}
	}
}

// Every change goes by its condition, and says what is wrong.
func TestEveryChangeTakesAConditionAndADryRun(t *testing.T) {
	w := start(t)
	w.fake.pool.Servers = []Server{{Address: "a:1", Weight: 1}}
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/v1/pools/web/servers/a:1", ""}, {"PATCH", "/v1/pools/web/servers/a:1", "{}"}, {"DELETE", "/v1/pools/web/servers/a:1", ""},
		{"POST", "/v1/pools/web/servers/a:1/drain", ""}, {"POST", "/v1/pools/web/servers/a:1/undrain", ""},
		{"POST", "/v1/pools/web/drain", ""}, {"POST", "/v1/pools/web/undrain", ""},
		{"POST", "/upload_server", `{"server":"a:1"}`}, {"DELETE", "/delete_server", `{"server":"a:1"}`}, {"POST", "/reload", ""},
	} {
		response, text := w.do(c.method, c.path, strings.NewReader(c.body), "If-Match", `"stale"`)
		wantRefused(t, response, text, 412, `If-Match: "stale" does not hold`, "its ETag is", "GET it again")
		response, text = w.do(c.method, c.path, strings.NewReader(c.body), "If-None-Match", `*`)
		wantRefused(t, response, text, 412, "If-None-Match: * does not hold: it exists")
		response, text = w.do(c.method, c.path, strings.NewReader(c.body), "If-Match", `stale`)
		wantRefused(t, response, text, 400, `If-Match is "stale"`, "double quotes")
		response, text = w.do(c.method, c.path+"?dry_run=true", strings.NewReader(c.body), "If-Match", "*")
		if response.StatusCode != 200 || !strings.Contains(text, `"dry_run":true`) {
			t.Errorf("%s %s dry: %d %s", c.method, c.path, response.StatusCode, text)
		}
	}
	if s := w.fake.pool.Servers; len(s) != 1 || !reflect.DeepEqual(s[0], Server{Address: "a:1", Weight: 1}) || len(w.log.lines("who=-")) != len(w.log.lines("change refused")) {
		t.Errorf("something was changed: %+v, %q", s, w.log.lines(""))
	}
}
