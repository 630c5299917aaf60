package top

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"go.uber.org/goleak"

	"fulcrum/admin"
	"fulcrum/admin/client"
	"fulcrum/events"
)

// fake is a Balancer whose streams are scripts.
type fake struct {
	mu      sync.Mutex
	streams []func(ctx context.Context, tell func(admin.Live) error) error // the next ones; guarded by mu
	events  []events.Event
	follows chan client.EventsWanted // what was asked for; nil: nobody is to follow
	change  func(admin.ServerChange) (admin.ChangeAnswer, error)
}

func (f *fake) Live(ctx context.Context, tell func(admin.Live) error) error {
	f.mu.Lock()
	next := f.streams[0]
	f.streams = f.streams[1:]
	f.mu.Unlock()
	return next(ctx, tell)
}

func (f *fake) Events(context.Context, client.EventsWanted) (admin.EventsAnswer, error) {
	return admin.EventsAnswer{Events: f.events}, nil
}

func (f *fake) Follow(ctx context.Context, w client.EventsWanted, tell func(events.Event) error) error {
	f.follows <- w
	for _, e := range f.events {
		tell(e)
	}
	return errAway
}

func (f *fake) Change(ctx context.Context, c admin.ServerChange, _ string) (admin.ChangeAnswer, string, error) {
	answer, err := f.change(c)
	return answer, "", err
}

func silent(ctx context.Context, _ func(admin.Live) error) error { <-ctx.Done(); return ctx.Err() }

func away(context.Context, func(admin.Live) error) error { return errAway }

func brief(_ context.Context, tell func(admin.Live) error) error { tell(admin.Live{}); return nil }

// What top is told is collected here, as far as it is of some kind.
func collector[of any]() (tell func(tea.Msg), told chan of) {
	told = make(chan of, 100)
	return func(m tea.Msg) {
		if one, ok := m.(of); ok {
			told <- one
		}
	}, told
}

func TestWatchComesBack(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	tell, told := collector[lost]()
	blocked := &client.Error{Status: 429, Message: "too many wrong tokens from there"}
	b := &fake{streams: []func(context.Context, func(admin.Live) error) error{brief, away, func(context.Context, func(admin.Live) error) error {
		return blocked
	}, silent}}
	ended := make(chan struct{})
	go func() { defer close(ended); watch(ctx, b, tell) }()
	if l := <-told; l.err != nil {
		t.Errorf("the first stream was lost by %v", l.err)
	}
	if l := <-told; l.err != errAway {
		t.Errorf("the second stream was lost by %v", l.err)
	}
	if l := <-told; l.err != blocked {
		t.Errorf("the third stream was lost by %v", l.err)
	}
	cancel()
	<-ended
}

func TestWatchGivesUp(t *testing.T) {
	refusal := &client.Error{Status: 401, Message: "a token is needed"}
	for name, test := range map[string]struct {
		streams []func(context.Context, func(admin.Live) error) error
		want    error
	}{
		"nobody there": {[]func(context.Context, func(admin.Live) error) error{away}, errAway},
		"refused later": {[]func(context.Context, func(admin.Live) error) error{brief, func(context.Context, func(admin.Live) error) error {
			return refusal
		}}, refusal},
	} {
		t.Run(name, func(t *testing.T) {
			tell, told := collector[refused]()
			watch(t.Context(), &fake{streams: test.streams}, tell)
			if r := <-told; r.err != test.want {
				t.Errorf("got %v, want %v", r.err, test.want)
			}
		})
	}
}

// Who follows events goes on behind the last that is known.
func TestFollowComesBack(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	b := &fake{follows: make(chan client.EventsWanted), events: []events.Event{{ID: 7}, {Kind: events.Missed}}}
	ended := make(chan struct{})
	go func() { defer close(ended); follow(ctx, b, func(tea.Msg) {}) }()
	if first, second := <-b.follows, <-b.follows; first.After != 0 || first.Limit != maxEvents || second.After != 7 {
		t.Errorf("asked for %+v, then %+v", first, second)
	}
	cancel()
	<-ended
}

func TestChange(t *testing.T) {
	drain := admin.ServerChange{Action: admin.Drain, Pool: "web", Server: "a:1"}
	b := &fake{}
	for _, test := range []struct {
		changes []string
		err     error
		want    string
	}{
		{[]string{"draining true, was false"}, nil, "drain a:1 in pool web: draining true, was false"},
		{nil, nil, "drain a:1 in pool web: it was so already"},
		{nil, errAway, "could not drain a:1 in pool web"},
	} {
		b.change = func(c admin.ServerChange) (admin.ChangeAnswer, error) {
			if !reflect.DeepEqual(c, drain) {
				t.Errorf("asked for %+v", c)
			}
			return admin.ChangeAnswer{Changes: test.changes}, test.err
		}
		if got := change(t.Context(), b, drain); got.what != test.want || got.err != test.err {
			t.Errorf("got %+v, want %q", got, test.want)
		}
	}
}

func TestOnce(t *testing.T) {
	w := newWorld(t, 80, 24)
	w.stream()
	w.happen()
	tellAll := func(_ context.Context, tell func(admin.Live) error) error {
		if err := tell(w.whole()); err != nil {
			return err
		}
		return tell(admin.Live{At: w.at, Servers: w.told})
	}
	half := func(_ context.Context, tell func(admin.Live) error) error { return tell(w.whole()) }
	b := &fake{events: w.m.known.events, streams: []func(context.Context, func(admin.Live) error) error{tellAll, tellAll, half, away, away}}
	var out bytes.Buffer
	if err := Once(t.Context(), b, &out, plain, 100); err != nil {
		t.Fatal(err)
	}
	compare(t, "once", out.String())
	now, err := Now(t.Context(), b)
	if err != nil || len(now.Servers) != 5 || len(now.Pools) != 2 || now.Balancer.Version != "1.4.0" {
		t.Errorf("now: %+v, %v", now, err)
	}
	if _, err := Now(t.Context(), b); err == nil || !strings.Contains(err.Error(), "before it had told everything") {
		t.Errorf("after half of it: %v", err)
	}
	if _, err := Now(t.Context(), b); err != errAway {
		t.Errorf("nobody there: %v", err)
	}
	if err := Once(t.Context(), b, &out, plain, 100); !errors.Is(err, errAway) {
		t.Errorf("nobody there: %v", err)
	}
}
