package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"fulcrum/admin"
	"fulcrum/porttest"
)

func TestUpload(t *testing.T) {
	a, b := echo(t, "a"), echo(t, "b")
	w := start(t, onePool, quoted(a), "1m")
	w.ready(a)
	done, err := w.Change(t.Context(), uploadOf("", "http://"+b, 3, 5))
	if !done.Created || done.Pool != "all" || done.Server != b || err != nil {
		t.Fatalf("%+v, error %v", done, err)
	}
	w.ready(b)
	held := []*talk{}
	names := ""
	for range 8 {
		c := dial(t, w.address("echo"))
		names += c.say("hello")
		held = append(held, c)
	}
	if strings.Count(names, "b") != 5 {
		t.Errorf("served by %s, want 5 of b, which is at its limit then", names)
	}

	before := w.server(b)
	done, err = w.Change(t.Context(), uploadOf("all", b, 3, 5))
	if done.Created || len(done.Changes) != 0 || err != nil {
		t.Errorf("the same again: %+v, error %v", done, err)
	}
	if after := w.server(b); after.Active != 5 || after.Total != before.Total || !after.Ready || after.LastCheck.At != before.LastCheck.At {
		t.Errorf("the same again: %+v, before %+v", after, before)
	}
	done, err = w.Change(t.Context(), uploadOf("", b, 9, 0))
	if after := w.server(b); done.Created || err != nil || after.Weight != 9 || after.MaxConnections != 0 || after.Active != 5 {
		t.Errorf("updated: %+v, error %v, %+v", done, err, after)
	}
	if name := dial(t, w.address("echo")).say("more"); name != "b" {
		t.Errorf("%s was chosen, want b, which has no limit now", name)
	}
	for _, c := range held {
		c.say("still here")
	}
}

// An uploaded server that is down takes no traffic.
func TestUploadOfAServerThatIsDown(t *testing.T) {
	a := echo(t, "a")
	w := start(t, onePool, quoted(a), "1m")
	down := porttest.Closed(t)
	if created, err := w.upload("all", down); !created || err != nil {
		t.Fatalf("created %t, error %v", created, err)
	}
	eventually(t, "checked", func() bool { return w.server(down).LastCheck != nil })
	if s := w.server(down); s.Ready || s.Healthy || s.LastCheck.Passed || s.LastCheck.Reason != "connection refused" {
		t.Errorf("%+v, %+v", s, s.LastCheck)
	}
	for range 4 {
		if name := dial(t, w.address("echo")).say("hello"); name != "a" {
			t.Errorf("%q answered", name)
		}
	}
	if total := w.server(down).Total; total != 0 {
		t.Errorf("chosen %d times", total)
	}
}

func TestRefusals(t *testing.T) {
	const twoPools = `{"listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "one"}],
	  "pools": [{"name": "one", "servers": ["127.0.0.1:1", "127.0.0.1:2"], "health": false}, {"name": "two"}]}`
	const onlyOne = `{"listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "one"}], "pools": [{"name": "one"}]}`
	one, two := start(t, onlyOne), start(t, twoPools)
	for name, c := range map[string]struct {
		w            *world
		pool, server string
		status       int // of the upload, and of the delete if that is not another
		upload       string
		delete       string
	}{
		"no pool named":   {two, "", "127.0.0.1:1", 400, "pool is missing; use one of: one, two", ""},
		"unknown pool":    {two, "tow", "127.0.0.1:1", 404, `pool "tow" does not exist; use one of: one, two`, ""},
		"unknown pool, 1": {one, "two", "127.0.0.1:1", 404, `pool "two" does not exist; use one of: one`, ""},
		"bad address":     {one, "", "127.0.0.1", 400, `"127.0.0.1" has no port`, ""},
		"empty address":   {one, "", "", 400, `server: "" has no port`, ""},
		"https":           {two, "one", "https://127.0.0.1:1", 400, "TLS to servers is not supported yet", ""},
		"unknown server":  {two, "one", "127.0.0.1:3", 404, "", `pool "one" has no server "127.0.0.1:3"; it has 127.0.0.1:1, 127.0.0.1:2`},
		"other pool's":    {two, "two", "127.0.0.1:1", 404, "", `pool "two" has no server "127.0.0.1:1"; it has none`},
	} {
		t.Run(name, func(t *testing.T) {
			want := c.delete
			if want == "" {
				want = c.upload
				_, err := c.w.upload(c.pool, c.server)
				wantRefusal(t, err, c.status, want)
			}
			_, err := c.w.Change(t.Context(), admin.ServerChange{Action: admin.Delete, Pool: c.pool, Server: c.server})
			wantRefusal(t, err, c.status, want)
		})
	}
	_, err := one.upload("", "http://operator:secret@127.0.0.1:1")
	wantRefusal(t, err, 400, "a user or password is not allowed")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("a password is repeated: %v", err)
	}
	if n := len(two.Pools()[0].Servers); n != 2 {
		t.Errorf("%d servers after refusals", n)
	}
}

func wantRefusal(t *testing.T, err error, status int, part string) {
	t.Helper()
	wantErr(t, err, part)
	if refusal, ok := errors.AsType[*admin.Refusal](err); !ok || refusal.Status != status {
		t.Errorf("refused as %#v, want status %d", err, status)
	}
}

// What is in flight on a deleted server finishes.
func TestDelete(t *testing.T) {
	a, b := echo(t, "a"), echo(t, "b")
	w := start(t, onePool, quoted(a), "1m")
	held := dial(t, w.address("echo"))
	held.say("before")
	if _, err := w.upload("", b); err != nil {
		t.Fatal(err)
	}
	w.ready(b)
	w.delete(a, false)
	w.delete(a, false) // again, while it drains
	if s := w.server(a); s == nil || !s.Draining || s.Ready || !s.Healthy || s.Active != 1 {
		t.Fatalf("while draining: %+v", s)
	}
	for range 4 {
		if name := dial(t, w.address("echo")).say("new"); name != "b" {
			t.Errorf("%q got new work", name)
		}
	}
	held.say("after")
	held.Close()
	w.gone(a)
	w.changes.Lock()
	if n := len(w.removals); n != 0 {
		t.Errorf("%d removals are kept after the server is gone", n)
	}
	w.changes.Unlock()
	_, err := w.Change(t.Context(), admin.ServerChange{Action: admin.Delete, Server: a})
	wantRefusal(t, err, 404, "it has "+b)
	if created, err := w.upload("", a); !created || err != nil {
		t.Errorf("uploaded after it was gone: created %t, error %v", created, err)
	}
	if s := w.server(a); s.Total != 0 || s.Draining {
		t.Errorf("came back as %+v", s)
	}
}

// held is an http request in the middle of its answer.
func (w *world) held(s *web) *http.Response {
	w.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Get("http://" + w.address("web") + "/held")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { answer.Body.Close() })
	<-s.held
	if begun, err := bufio.NewReader(io.LimitReader(answer.Body, 6)).ReadString(' '); begun != "begun " || err != nil {
		w.t.Fatalf("got %q, error %v", begun, err)
	}
	return answer
}

func TestDeleteLetsAnswersFinish(t *testing.T) {
	a := startWeb(t, "a")
	w := start(t, onePool, quoted(a.address), "1m")
	answer := w.held(a)
	w.delete(a.address, false)
	if status, _, err := get(t, w.address("web"), "/"); status != 503 || err != nil {
		t.Errorf("new request: %d, error %v", status, err)
	}
	if w.server(a.address) == nil {
		t.Fatal("gone with an answer in flight")
	}
	close(a.release)
	if rest, err := io.ReadAll(answer.Body); string(rest) != "ended a" || err != nil {
		t.Errorf("got %q, error %v", rest, err)
	}
	w.gone(a.address)
	eventually(t, "idle connections closed", func() bool { return a.open.Load() == 0 })
}

// The drain timeout and force close what is in flight, both protocols; the
// client of an unfinished answer can tell.
func TestDeleteCloses(t *testing.T) {
	for name, c := range map[string]struct {
		drain string
		force []bool // of each delete
	}{
		"after the drain timeout": {"200ms", []bool{false}},
		"at once with force":      {"1h", []bool{true}},
		"by force after all":      {"1h", []bool{false, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			a := startWeb(t, "a")
			w := start(t, onePool, quoted(a.address), c.drain)
			answer := w.held(a)
			silent := dial(t, w.address("echo"))
			eventually(t, "two in flight", func() bool { return w.server(a.address).Active == 2 })
			for _, force := range c.force {
				w.delete(a.address, force)
			}
			silent.wantClosed()
			if rest, err := io.ReadAll(answer.Body); err == nil {
				t.Errorf("an answer cut off looks complete: %q", rest)
			}
			w.gone(a.address)
		})
	}
}

// Only what is on that server is closed.
func TestForceLeavesOthersAlone(t *testing.T) {
	a, b := echo(t, "a"), echo(t, "b")
	w := start(t, onePool, quoted(a, b), "1m")
	w.ready(a, b)
	on := map[string]*talk{}
	for len(on) < 2 {
		c := dial(t, w.address("echo"))
		on[c.say("hello")] = c
	}
	w.delete(a, true)
	on["a"].wantClosed()
	w.gone(a)
	on["b"].say("still here")
}

// A server that is uploaded again while it drains stays, as it was.
func TestUploadRevives(t *testing.T) {
	a := echo(t, "a")
	w := start(t, onePool, quoted(a), "1h")
	held := dial(t, w.address("echo"))
	held.say("before")
	dial(t, w.address("echo")).say("gone") // two in all
	before := w.current.Load().pools[0].Find(a)
	w.delete(a, false)
	done, err := w.Change(t.Context(), uploadOf("", a, 4, 0))
	if !done.Created || err != nil {
		t.Fatalf("created %t, error %v", done.Created, err)
	}
	w.removing.Wait()
	if s := w.server(a); s.Draining || !s.Ready || s.Total != 2 || s.Weight != 4 || w.current.Load().pools[0].Find(a) != before {
		t.Errorf("came back as %+v", s)
	}
	held.say("after")
	if name := dial(t, w.address("echo")).say("new"); name != "a" {
		t.Errorf("%q answered", name)
	}
	if created, err := w.upload("", a); created || err != nil {
		t.Errorf("uploaded once more: created %t, error %v", created, err)
	}
	w.delete(a, true) // the second removal is one of its own
	held.wantClosed()
	w.gone(a)
}

// The API of the admin listener does what the methods do.
func TestOverTheAdminListener(t *testing.T) {
	a := echo(t, "a")
	w := start(t, onePool, quoted(a), "1m")
	b := echo(t, "b")
	call := func(method, path, body string, want int) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.AdminAddress()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Close = true
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s %s %s: status %d, want %d", method, path, body, answer.StatusCode, want)
		}
	}
	call("POST", "/upload_server", `{"server": "`+b+`"}`, 201)
	call("POST", "/upload_server", `{"pool": "all", "server": "http://`+b+`"}`, 200)
	w.ready(b)
	call("DELETE", "/delete_server?server="+a, "", 200)
	w.gone(a)
	call("DELETE", "/delete_server", `{"server": "`+a+`"}`, 404)
	call("GET", "/healthz", "", 200)
	if name := dial(t, w.address("echo")).say("hello"); name != "b" {
		t.Errorf("%q answered", name)
	}
}

// A message names servers, but not without end.
func TestMessagesAreBounded(t *testing.T) {
	all := make([]string, 100)
	for i := range all {
		all[i] = fmt.Sprintf("10.0.0.%d:80", i)
	}
	w := start(t, `{"listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "all"}],
	  "pools": [{"name": "all", "servers": [%s], "health": false}]}`, quoted(all...))
	_, err := w.Change(t.Context(), admin.ServerChange{Action: admin.Delete, Server: "127.0.0.1:80"})
	wantRefusal(t, err, 404, "it has "+all[0]+", "+all[1])
	if text := err.Error(); len(text) > 500 || !strings.HasSuffix(text, ", …") {
		t.Errorf("a message of %d bytes: %s", len(text), text)
	}
	_, err = w.upload("", strings.Repeat("x", 60000))
	wantRefusal(t, err, 400, "no port")
	if len(err.Error()) > 500 {
		t.Errorf("a message of %d bytes", len(err.Error()))
	}
}
