package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"fulcrum/admin"
)

// streams answers with these lines, each of which arrives at once.
func streams(t *testing.T, end func(*http.Request), lines ...string) *Client {
	t.Helper()
	return client(t, answers(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/live" || r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("asked for %s, accepts %q", r.URL, r.Header.Get("Accept"))
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, line := range lines {
			fmt.Fprint(w, line)
			http.NewResponseController(w).Flush()
		}
		end(r)
	}))
}

func TestLive(t *testing.T) {
	lines := []string{"retry: 1000\n\n", `data: {"balancer": {"version": "1.2"}}` + "\n\n", ":\n\n", `data: {"servers": [{"pool": "web", "address": "a:1", "rate": 5}]}` + "\n\n"}
	c := streams(t, func(*http.Request) {}, lines...)
	var got []admin.Live
	tell := func(m admin.Live) error { got = append(got, m); return nil }
	if err := c.Live(t.Context(), tell); err != nil {
		t.Errorf("the stream ended by %v", err)
	}
	if len(got) != 2 || got[0].Balancer.Version != "1.2" || got[1].Servers[0].Address != "a:1" || got[1].Servers[0].Rate != 5 {
		t.Errorf("got %+v", got)
	}
	enough := errors.New("enough")
	if err := c.Live(t.Context(), func(admin.Live) error { return enough }); err != enough {
		t.Errorf("ended by %v, want the error of tell", err)
	}
}

func TestLiveThatIsNone(t *testing.T) {
	never := func(admin.Live) error { t.Error("told of something"); return nil }
	for says, handle := range map[string]http.HandlerFunc{
		"does not stream what happens": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "data: <html>\n") },
		"64 streams are open (503": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"error": "64 streams are open"}`)
		},
		"token too long":                       func(w http.ResponseWriter, _ *http.Request) { spill(w, strings.Repeat("x", 1<<20)) },
		"does not answer like":                 http.NotFound,
		"no answer from the admin listener at": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		if err := client(t, answers(t, handle)).Live(t.Context(), never); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

// A stream on which nothing comes any more is dead; one that is not wanted any more ends.
func TestSilentStream(t *testing.T) {
	c := streams(t, func(r *http.Request) { <-r.Context().Done() }, "data: {}\n\n")
	err := c.read(t.Context(), stream{path: "/live", silence: 50 * time.Millisecond}, func(string) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "nothing has come for too long") {
		t.Errorf("ended by %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Live(ctx, func(admin.Live) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("ended by %v", err)
	}
}
