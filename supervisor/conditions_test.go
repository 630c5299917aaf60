package supervisor

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"fulcrum/admin"
	"fulcrum/config"
)

// ask sends a request to the admin listener; header holds names and values in turn.
func (w *world) ask(method, path, body string, header ...string) (status int, etag, text string) {
	w.t.Helper()
	request, err := http.NewRequest(method, "http://"+w.AdminAddress()+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Do(request)
	if err != nil {
		w.t.Error(err)
		return 0, "", ""
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Error(err)
	}
	return answer.StatusCode, answer.Header.Get("ETag"), string(all)
}

// Of many who change what they have seen at the same time, one does; the others are
// told that it is not what they have seen any more. So nobody's change is lost.
func TestWritersThatRace(t *testing.T) {
	const a, writers, rounds = "127.0.0.1:1", 4, 10
	w := start(t, strings.Replace(stateful, `"state"`, `"admin": {"address": "127.0.0.1:0"}, "state"`, 1), quoted(a), filepath.Join(t.TempDir(), "state.json"))
	path := "/v1/pools/all/servers/" + a
	var won, lost atomic.Int64
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for mine := 0; mine < rounds; {
				_, etag, text := w.ask("GET", path, "")
				var seen admin.Server
				if err := json.Unmarshal([]byte(text), &seen); err != nil {
					t.Error(err)
					return
				}
				switch status, _, text := w.ask("PATCH", path, fmt.Sprintf(`{"weight": %d}`, seen.Weight+1), "If-Match", etag); status {
				case 200:
					won.Add(1)
					mine++
				case 412:
					lost.Add(1)
				default:
					t.Errorf("status %d: %s", status, text)
					return
				}
			}
		})
	}
	all.Wait()
	if weight := w.server(a).Weight; won.Load() != writers*rounds || weight != 1+writers*rounds {
		t.Errorf("%d changes were made, and the weight is %d; want each to be one more", won.Load(), weight)
	}
	t.Logf("%d came too late", lost.Load())
}

// A condition is that of the server, the pool or the config that it is asked of.
func TestConditions(t *testing.T) {
	a, b := echo(t, "a"), echo(t, "b")
	w := start(t, onePool, quoted(a), "1m")
	w.ready(a)
	const pool = "/v1/pools/all"
	server, other := pool+"/servers/"+a, pool+"/servers/"+url.PathEscape("http://"+b)
	want := func(status int, method, path, body string, header ...string) (etag string) {
		t.Helper()
		got, etag, text := w.ask(method, path, body, header...)
		if got != status {
			t.Errorf("%s %s %s %v: status %d, want %d: %s", method, path, body, header, got, status, text)
		}
		return etag
	}
	seen := want(200, "GET", server, "")
	dial(t, w.address("echo")).say("counted")
	if again := want(200, "GET", server, ""); again != seen {
		t.Errorf("the ETag was %s and is %s, although nobody changed anything", seen, again)
	}
	whole := want(200, "GET", pool, "")
	if again := want(200, "GET", pool+"/servers", ""); again != whole {
		t.Errorf("the ETag of a pool is %s, of its servers %s", whole, again)
	}
	want(412, "PUT", server, "", "If-None-Match", "*")
	want(412, "PUT", other, "", "If-Match", "*")
	want(201, "PUT", other, "", "If-None-Match", "*")
	want(412, "POST", pool+"/drain", "", "If-Match", whole)
	want(200, "PUT", server, `{"weight": 2}`, "If-Match", `"x", `+seen)
	next := want(200, "GET", server, "")
	if next == seen {
		t.Error("the ETag is the same after a change")
	}
	want(412, "DELETE", server, "", "If-Match", seen)
	want(412, "PATCH", server, `{"weight": 3}`, "If-Match", "W/"+next)
	if dry := want(200, "PATCH", server+"?dry_run=true", `{"weight": 3}`, "If-Match", next); dry != next {
		t.Errorf("a dry run answers the ETag %s, want what it looked at, %s", dry, next)
	}
	if made := want(200, "PATCH", server, `{"weight": 3}`, "If-Match", next); made != want(200, "GET", server, "") {
		t.Errorf("a change answers the ETag %s, which is another's", made)
	}
	want(412, "DELETE", "/delete_server?server="+a, "", "If-Match", next)
	want(412, "POST", "/upload_server", fmt.Sprintf(`{"server": %q}`, a), "If-None-Match", "*")
	want(200, "POST", pool+"/drain", "", "If-Match", want(200, "GET", pool, ""))
	want(404, "PATCH", pool+"/servers/127.0.0.1:1", `{"weight": 3}`, "If-Match", "*")

	loaded := parse(t, onePool, quoted(a), "1m")
	w.ReloadBy(func() (*config.Config, error) { return loaded, nil })
	config := want(200, "GET", "/v1/config", "")
	want(412, "POST", "/reload", "", "If-Match", next)
	want(200, "POST", "/reload", "", "If-Match", config)
	loaded = parse(t, onePool, quoted(a), "2m")
	want(200, "POST", "/reload", "", "If-Match", config)
	want(412, "POST", "/reload", "", "If-Match", config)
}

// What the config as it is shown hides is a part of what a reload goes by all the same.
func TestConditionOnWhatIsHidden(t *testing.T) {
	const text = `{"listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "all",
		"routes": [{"path": "/", "pool": "all", "request_headers": {"set": {"X-Key": %q}}}]}], "pools": [{"name": "all"}]}`
	w := start(t, text, "first")
	shown, seen := w.Config()
	if again := w.reload(text, "first"); len(again) != 0 {
		t.Fatalf("changes: %q", again)
	}
	if _, etag := w.Config(); etag != seen {
		t.Error("the ETag is another although nothing has changed")
	}
	w.reload(text, "second")
	if now, etag := w.Config(); etag == seen || string(now) != string(shown) {
		t.Errorf("the ETag is %s as before, or something is shown: %s", etag, now)
	}
}
