package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"fulcrum/admin"
	"fulcrum/events"
)

// watched is what a fake has to be looked at.
type watched struct {
	ring  *events.Ring
	level *slog.LevelVar
}

func (f *watched) Events() *events.Ring     { return f.ring }
func (f *watched) LogLevel() *slog.LevelVar { return f.level }

func (f *watched) Explain(pool, listener string) (admin.Explanation, error) {
	if pool == "none" {
		return admin.Explanation{}, admin.NotFound("pool %q does not exist", pool)
	}
	return admin.Explanation{Pool: cmp.Or(pool, "of "+listener), Next: "a:1"}, nil
}

// happen adds one event for each of the servers named, one per letter.
func (f *watched) happen(servers string) {
	for _, name := range strings.Split(servers, "") {
		f.ring.Add(events.Event{Kind: events.ServerReady, Pool: "web", Server: name})
	}
}

func TestWatching(t *testing.T) {
	f := &fake{watched: watched{events.New(10), new(slog.LevelVar)}}
	c, err := New(Options{Address: serve(t, f)})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	f.happen("abc")
	for _, test := range []struct {
		wanted EventsWanted
		want   string
	}{{EventsWanted{}, "abc"}, {EventsWanted{Limit: 2}, "bc"}, {EventsWanted{Pool: "api"}, ""}} {
		answer, err := c.Events(ctx, test.wanted)
		got := ""
		for _, e := range answer.Events {
			got += e.Server
		}
		if err != nil || got != test.want {
			t.Errorf("%+v: got %q, error %v, want %q", test.wanted, got, err, test.want)
		}
	}
	all, _ := c.Events(ctx, EventsWanted{})
	if rest, err := c.Events(ctx, EventsWanted{After: all.Events[1].ID}); err != nil || len(rest.Events) != 1 || rest.Events[0].Server != "c" {
		t.Errorf("after the second: %+v, error %v", rest, err)
	}
	if e, err := c.Explain(ctx, "web", ""); err != nil || e.Pool != "web" || e.Next != "a:1" {
		t.Errorf("explained %+v, error %v", e, err)
	}
	if e, err := c.Explain(ctx, "", "http"); err != nil || e.Pool != "of http" {
		t.Errorf("explained %+v, error %v", e, err)
	}
	if _, err := c.Explain(ctx, "none", ""); err == nil || !strings.Contains(err.Error(), "does not exist (404") {
		t.Errorf("error %v", err)
	}
	if err := c.SetLogLevel(ctx, "debug"); err != nil || f.level.Level() != slog.LevelDebug {
		t.Errorf("level %v, error %v", f.level.Level(), err)
	}
	if level, err := c.LogLevel(ctx); err != nil || level != "debug" {
		t.Errorf("level %q, error %v", level, err)
	}
	if err := c.SetLogLevel(ctx, "loud"); err == nil || !strings.Contains(err.Error(), "use debug, info, warn or error") {
		t.Errorf("error %v", err)
	}
}

// Who follows goes on where it was when the balancer comes back, and hears of what it
// has missed.
func TestFollow(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	f := &fake{watched: watched{events.New(10), nil}}
	l, at := listener(t, f, "127.0.0.1:0")
	c, err := New(Options{Address: at})
	if err != nil {
		t.Fatal(err)
	}
	f.happen("xab")
	told := make(chan string, 100)
	over := make(chan error, 1)
	enough := errors.New("enough")
	go func() {
		over <- c.Follow(ctx, EventsWanted{Limit: 2, Pool: "web"}, func(e events.Event) error {
			switch {
			case e.Kind == events.Missed:
				told <- fmt.Sprint("missed ", e.Count)
			case e.Server == "z":
				return enough
			default:
				told <- e.Server
			}
			return nil
		})
	}()
	want := func(all ...string) {
		t.Helper()
		for _, one := range all {
			select {
			case got := <-told:
				if got != one {
					t.Fatalf("told of %q, want %q", got, one)
				}
			case <-ctx.Done():
				t.Fatalf("not told of %q", one)
			}
		}
	}
	want("a", "b")
	f.happen("c")
	want("c")
	if err := l.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	f.happen("defghijklmno") // two more than are kept
	listener(t, f, at)
	want("missed 2", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o")
	f.happen("z")
	if err := <-over; err != enough {
		t.Errorf("over by %v", err)
	}
}

// listener is an admin listener that the test may stop.
func listener(t *testing.T, c admin.Controller, at string) (l *admin.Listener, address string) {
	t.Helper()
	socket, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	if l, err = admin.New(admin.Options{Listener: socket, Controller: c}); err != nil {
		t.Fatal(err)
	}
	l.Start()
	t.Cleanup(func() { l.Stop(context.Background()) })
	return l, l.Addr().String()
}

func TestFollowEnds(t *testing.T) {
	f := &fake{watched: watched{events.New(10), nil}}
	l, at := listener(t, f, "127.0.0.1:0")
	c, err := New(Options{Address: at})
	if err != nil {
		t.Fatal(err)
	}
	f.happen("a")
	ctx, cancel := context.WithCancel(t.Context())
	tell := func(events.Event) error { cancel(); return nil }
	if err := c.Follow(ctx, EventsWanted{}, tell); !errors.Is(err, context.Canceled) {
		t.Errorf("over by %v", err)
	}
	refused, err := New(Options{Address: at, Token: "wrong-wrong-wrong-wrong"})
	if err != nil {
		t.Fatal(err)
	}
	if err := refused.Follow(t.Context(), EventsWanted{Pool: strings.Repeat("x", 600)}, nil); err == nil || !strings.Contains(err.Error(), "400 Bad Request") {
		t.Errorf("over by %v", err)
	}
	l.Stop(t.Context())
	if err := c.Follow(t.Context(), EventsWanted{}, nil); err == nil || !strings.Contains(err.Error(), "no admin listener answers at "+at) {
		t.Errorf("over by %v", err)
	}
}
