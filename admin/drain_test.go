package admin

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

var deadline = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// undraining is what the fake was asked by Undrain.
type undraining struct{ dryRun bool }

func (f *fake) Drain(_ context.Context, r DrainRequest) (DrainAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, r)
	return DrainAnswer{DrainState{true, &deadline, &Remaining{2, 1, 1.5}}, r.DryRun}, f.reload
}

func (f *fake) Undrain(_ context.Context, dryRun bool) (DrainAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, undraining{dryRun})
	return DrainAnswer{DrainState{Remaining: &Remaining{}}, dryRun}, f.reload
}

func TestDrain(t *testing.T) {
	w := start(t)
	const draining = `{"draining":true,"deadline":"2030-01-02T03:04:05Z","remaining":{"connections":2,"requests":1,"oldest_seconds":1.5}`
	const over = `{"draining":false,"deadline":null,"remaining":{"connections":0,"requests":0,"oldest_seconds":0}`
	w.want("POST", "/drain", "", 200, draining+`,"dry_run":false}`)
	w.want("POST", "/drain?timeout=1m30s", " \n", 200, draining+`,"dry_run":false}`)
	w.want("POST", "/drain?timeout=0s&dry_run=true", "", 200, draining+`,"dry_run":true}`)
	w.want("POST", "/undrain", "", 200, over+`,"dry_run":false}`)
	w.want("POST", "/undrain?dry_run=true", "", 200, over+`,"dry_run":true}`)
	w.fake.reload = Conflict("the balancer is stopping")
	for _, path := range []string{"/drain", "/undrain"} {
		w.want("POST", path, "", 409, `{"error":"the balancer is stopping"}`)
	}
	most, none := 90*time.Second, time.Duration(0)
	want := []any{DrainRequest{}, DrainRequest{Timeout: &most}, DrainRequest{&none, true}, undraining{false}, undraining{true}, DrainRequest{}, undraining{false}}
	if got := w.fake.asked(); !reflect.DeepEqual(got, want) {
		t.Errorf("the controller was asked\n got %v\nwant %v", got, want)
	}
	for what, times := range map[string]int{"balancer drained": 2, "deadline=2030-01-02T03:04:05": 2, "balancer undrained": 1, "change refused": 2} {
		if got := w.log.lines(what); len(got) != times {
			t.Errorf("%q was logged %d times, want %d: %q", what, len(got), times, got)
		}
	}
}

func TestDrainsThatAreRefused(t *testing.T) {
	w := start(t)
	for _, c := range []struct {
		method, target, body string
		status               int
		says                 string
	}{
		{"POST", "/drain?timeout=30", "", 400, `"timeout" is "30"; it must be a duration from 0s to 720h such as 1m30s`},
		{"POST", "/drain?timeout=-1s", "", 400, `"-1s"`},
		{"POST", "/drain?timeout=721h", "", 400, "720h"},
		{"POST", "/drain?timeout=", "", 400, "duration"},
		{"POST", "/drain?timeout=1s&timeout=1s", "", 400, "2 times"},
		{"POST", "/drain?dry_run=1", "", 400, "true or false"},
		{"POST", "/drain?server=a:1", "", 400, "the parameters are timeout, dry_run"},
		{"POST", "/drain", `{"timeout":"30s"}`, 400, "the query are timeout, dry_run"},
		{"POST", "/drain", strings.Repeat(" ", maxBody+1), 413, "65536"},
		{"POST", "/undrain?timeout=1s", "", 400, "the parameters are dry_run"},
		{"POST", "/undrain", "{}", 400, "a body is not allowed"},
		{"PUT", "/drain", "", 405, "use POST"},
		{"GET", "/undrain", "", 405, "use POST"},
	} {
		response, text := w.do(c.method, c.target, strings.NewReader(c.body))
		wantRefused(t, response, text, c.status, c.says)
		if allow := response.Header.Get("Allow"); c.status == http.StatusMethodNotAllowed && !strings.Contains(c.says, allow) {
			t.Errorf("Allow is %q", allow)
		}
	}
	for _, path := range []string{"/drain", "/undrain", "/upgrade"} {
		for _, condition := range []string{"If-Match", "If-None-Match"} {
			response, text := w.do("POST", path, nil, condition, "*")
			wantRefused(t, response, text, 412, "there is no ETag")
		}
	}
	response, text := w.do("POST", "/upgrade?dry_run=true", nil)
	wantRefused(t, response, text, 400, "there are no parameters here")
	if got := w.fake.asked(); len(got) != 0 {
		t.Errorf("the controller was asked %v", got)
	}
}
