package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fulcrum/admin"
	"fulcrum/config"
	"fulcrum/events"
	"fulcrum/porttest"
)

// story follows the events of a balancer.
type story struct {
	*world
	ctx    context.Context
	at     int64
	unread []events.Event
}

// follow begins with the first event.
func (w *world) follow() *story {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	return &story{world: w, ctx: ctx}
}

// next returns the next event; there has to be one soon.
func (s *story) next() events.Event {
	s.t.Helper()
	for len(s.unread) == 0 {
		all, missed, more := s.Events().After(s.at)
		if missed > 0 {
			s.t.Fatalf("missed %d", missed)
		}
		if s.unread = all; len(all) > 0 {
			break
		}
		select {
		case <-more:
		case <-s.ctx.Done():
			s.t.Fatal("no more events")
		}
	}
	e := s.unread[0]
	s.at, s.unread = e.ID, s.unread[1:]
	if e.Kind == events.ListenerStarted || e.Kind == events.BalancerStarted { // while the first checks go on
		return s.next()
	}
	return e
}

// want compares the next events: kind, pool, server, listener, and what they stood
// like before, with a reason that begins as given.
func (s *story) want(lines ...string) (last events.Event) {
	s.t.Helper()
	for _, line := range lines {
		last = s.next()
		got := strings.Join(strings.Fields(fmt.Sprint(last.Kind, " ", last.Pool, " ", last.Server, " ", last.Listener, " ", last.Was)), " ") + ": " + last.Reason
		if !strings.HasPrefix(got, line) {
			s.t.Fatalf("%s\nwant %s", got, line)
		}
	}
	return last
}

const watched = `{
  "listeners": [{"name": "db", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}],
  "pools": [{"name": "all", "servers": [%s], "drain_timeout": "1m", "on_unhealthy": "close",
    "health": {"interval": "1m", "timeout": "20s", "rise": 1, "fall": 1}}]}`

// Scripted changes of health, one after another, with their reasons and since when it
// was otherwise.
func TestEventsOfHealth(t *testing.T) {
	at := porttest.Closed(t)
	w := start(t, watched, quoted(at))
	s := w.follow()
	s.want("server_not_ready all "+at+" unchecked: connection refused", "pool_not_ready all: 1 not healthy")
	down := time.Now()
	check := func() { // now, not in a minute
		p := w.current.Load().pools[0]
		p.Upload(p.Find(at).Spec())
	}
	for range 2 {
		again, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		check()
		up := s.want("server_ready all " + at + " not healthy: connected")
		s.want("pool_ready all: 1 ready")
		if up.Since.After(down) || up.At.Before(up.Since) {
			t.Errorf("it was not healthy since %v, and is ready at %v; that was seen at %v", up.Since, up.At, down)
		}
		if server := w.server(at); !server.Since.Equal(up.At) || server.State != "ready" {
			t.Errorf("%s since %v, the event was at %v", server.State, server.Since, up.At)
		}
		again.Close()
		check()
		fell := s.want("server_not_ready all " + at + " ready: connection refused")
		if fell.Since != up.At {
			t.Errorf("it was ready since %v, by the event before since %v", fell.Since, up.At)
		}
		s.want("pool_not_ready all: 1 not healthy")
		if server := w.server(at); !server.Since.Equal(fell.At) || server.State != "not healthy" || server.Reason != "connection refused" {
			t.Errorf("%s since %v (%s), the event was at %v", server.State, server.Since, server.Reason, fell.At)
		}
		down = time.Now()
	}
}

// What begins to run is told, and what ends.
func TestEventsOfStartAndStop(t *testing.T) {
	w := start(t, onePool, "", "1m")
	address := w.address("echo")
	w.stop(0)
	all, _, _ := w.Events().After(0)
	var got []string
	for _, e := range all {
		got = append(got, fmt.Sprintf("%s %s: %s", e.Kind, e.Listener, e.Reason))
	}
	slices.Sort(got[4:]) // they stop at the same time
	want := []string{"listener_started echo: tcp on " + address, "listener_started web: http on " + w.address("web"),
		fmt.Sprint("balancer_started : process ", os.Getpid()), "balancer_stopping : work in flight may go on for 1m0s",
		"listener_stopped echo: tcp on " + address, "listener_stopped web: http on " + w.address("web")}
	if !slices.Equal(got, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What the operator does is told first, and then what comes of it.
func TestEventsOfTheOperator(t *testing.T) {
	a, b := echo(t, "a"), echo(t, "b")
	w := start(t, onePool, quoted(a), "1m")
	s := w.follow()
	w.ready(a)
	s.want("server_ready all "+a+" unchecked: connected", "pool_ready all: 1 ready")
	change := func(c admin.ServerChange) {
		t.Helper()
		c.Pool = "all"
		for _, c.DryRun = range []bool{true, false} {
			if _, err := w.Change(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
	}
	heavy := 7
	change(admin.ServerChange{Action: admin.Upload, Server: b})
	s.want("server_uploaded all "+b+": weight 1, max_connections 0", "server_ready all "+b+" unchecked: connected")
	change(admin.ServerChange{Action: admin.Upload, Server: b}) // which changes nothing
	change(admin.ServerChange{Action: admin.Patch, Server: b, Weight: &heavy})
	s.want("server_updated all " + b + ": weight 7, max_connections 0")
	change(admin.ServerChange{Action: admin.Drain, Server: a})
	change(admin.ServerChange{Action: admin.Drain})
	s.want("server_drained all "+a, "server_not_ready all "+a+" ready: draining",
		"server_drained all "+b, "server_not_ready all "+b+" ready: draining", "pool_not_ready all: 2 draining")
	change(admin.ServerChange{Action: admin.Undrain, Server: a})
	s.want("server_undrained all "+a, "server_ready all "+a+" draining: connected", "pool_ready all: 1 ready, 1 draining")
	change(admin.ServerChange{Action: admin.Upload, Server: b})
	s.want("server_undrained all "+b+": weight 1", "server_ready all "+b+" draining: connected")
	c := dial(t, w.address("echo"))
	c.say("held")
	w.delete(a, false)
	w.delete(b, true)
	for _, server := range []string{a, b} {
		s.want("server_deleted all "+server, "server_not_ready all "+server+" ready: draining")
		if server == b {
			s.want("pool_not_ready all: 2 draining")
		}
	}
	c.Close()
	gone := s.want("server_gone all").Server
	if other := s.want("server_gone all").Server; gone == other {
		t.Errorf("%s is gone twice", gone)
	}
	w.stop(0)
	s.want("balancer_stopping: work in flight may go on for 1m", "listener_stopped", "listener_stopped")
}

func TestEventsOfADrain(t *testing.T) {
	w := start(t, onePool, "", "1m")
	s := w.follow()
	w.drain(time.Hour)
	s.want("balancer_draining: what is left after 1h0m0s is closed")
	w.undrain()
	w.undrain()
	s.want("balancer_undrained")
	w.stop(0)
	s.want("balancer_stopping")
}

func TestEventsOfReloads(t *testing.T) {
	a := echo(t, "a")
	w := start(t, onePool, quoted(a), "1m")
	s := w.follow()
	w.ready(a)
	s.want("server_ready", "pool_ready")
	w.reload(onePool, quoted(a), "2m")
	if e := s.want("config_reloaded: changes: 1"); len(e.Details) != 1 || !strings.Contains(e.Details[0], "drain_timeout from 1m0s to 2m0s") {
		t.Errorf("details %q", e.Details)
	}
	if _, err := w.tryReload(true, fmt.Sprintf(onePool, quoted(a), "3m")); err != nil {
		t.Fatal(err)
	}
	w.ReloadBy(func() (*config.Config, error) { return nil, errors.New("2 problems\none\ntwo") })
	w.Reload(t.Context(), false)
	if e := s.want("reload_failed: 2 problems"); strings.Join(e.Details, "|") != "one|two" {
		t.Errorf("details %q", e.Details)
	}
	w.reload(strings.Replace(onePool, `{"name": "echo", "protocol": "tcp",  "address": "127.0.0.1:0", "pool": "all"},`, "", 1), quoted(a), "2m")
	first, second := s.next(), s.next() // the listener stops while the reload goes on
	if first.Kind == events.ConfigReloaded {
		first, second = second, first
	}
	if first.Kind != events.ListenerStopped || first.Listener != "echo" || second.Kind != events.ConfigReloaded {
		t.Errorf("%+v, %+v", first, second)
	}
}

// A full pool says so, once, and when the state file cannot be written that is told.
func TestEventsOfTrouble(t *testing.T) {
	a := echo(t, "a")
	dir := t.TempDir()
	file := filepath.Join(dir, "state.json")
	w := start(t, `{"listeners": [{"name": "db", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}],
	  "pools": [{"name": "all", "servers": [{"address": %q, "max_connections": 1}], "health": false}], "state": %q}`, a, file)
	s := w.follow()
	w.ready(a)
	s.want("server_ready all "+a+" unchecked: checks are off", "pool_ready")
	c := dial(t, w.address("db"))
	c.say("held")
	for range 3 {
		dial(t, w.address("db")).wantClosed()
	}
	s.want("pool_queue_full all: every ready server is at its max_connections, and nobody may wait")
	if err := os.WriteFile(file, []byte("edited"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.upload("all", a); err == nil {
		t.Error("uploaded although it could not be recorded")
	}
	s.want("state_trouble: ")
	if e, err := w.Explain("", "db"); err != nil || e.Next != "" || e.Servers[0].Excluded == "" {
		t.Errorf("explained %+v, error %v", e, err)
	}
}

// What another process has found of servers it has told, and it is no news.
func TestEventsOfServersThatAnotherProcessHasChecked(t *testing.T) {
	up, down := echo(t, "up"), porttest.Closed(t)
	w := start(t, onePool, quoted(up, down), "1s")
	w.ready(up)
	eventually(t, "the other is not healthy", func() bool { return w.server(down).State == admin.StateUnhealthy })
	before, _, _ := w.Events().After(0)
	next := w.succeeded(onePool, quoted(up, down), "1s")
	all, _, _ := next.Events().After(before[len(before)-1].ID)
	for _, e := range all {
		if e.Pool != "" {
			t.Errorf("%+v", e)
		}
	}
	if len(all) == 0 || next.server(down).State != admin.StateUnhealthy {
		t.Errorf("%d events, %+v", len(all), next.server(down))
	}
	<-w.leave()

	// What has become of the pool since is.
	third := next.succeeded(onePool, quoted(down), "1s")
	news, _, _ := third.Events().After(all[len(all)-1].ID)
	if !slices.ContainsFunc(news, func(e events.Event) bool { return e.Kind == events.PoolNotReady && e.Pool == "all" }) {
		t.Errorf("told of a pool whose only ready server is gone: %+v", news)
	}
	<-next.leave()
}
