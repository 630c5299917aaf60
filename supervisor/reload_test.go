package supervisor

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fulcrum/config"
	"fulcrum/porttest"
)

// tryReload reloads to what a text says.
func (w *world) tryReload(dryRun bool, text string) (changes []string, err error) {
	w.t.Helper()
	w.ReloadBy(func() (*config.Config, error) { return config.Parse([]byte(text)) })
	return w.Reload(w.t.Context(), dryRun)
}

func (w *world) reload(format string, args ...any) (changes []string) {
	w.t.Helper()
	changes, err := w.tryReload(false, fmt.Sprintf(format, args...))
	if err != nil {
		w.t.Fatal(err)
	}
	return changes
}

// leaving returns how many servers are being removed.
func (w *world) leaving() int {
	w.changes.Lock()
	defer w.changes.Unlock()
	return len(w.removals)
}

// What is not changed does not notice: connections, counts, health, sockets and who
// looks after them stay.
func TestReloadToTheSame(t *testing.T) {
	a := echo(t, "a")
	w := start(t, onePool, quoted(a), "1m")
	w.ready(a)
	c := dial(t, w.address("echo"))
	c.say("before")
	before, was, addresses := w.server(a), w.current.Load(), []string{w.address("echo"), w.address("web")}
	if changes := w.reload(onePool, quoted(a), "1m"); len(changes) != 0 {
		t.Errorf("changes: %q", changes)
	}
	c.say("after")
	now := w.current.Load()
	if after := w.server(a); after.Total != before.Total || after.Active != 1 || after.LastCheck.At != before.LastCheck.At {
		t.Errorf("%+v, before %+v", after, before)
	}
	if p, kept := now.pools[0], was.pools[0]; p.Pool != kept.Pool || p.checker != kept.checker || p.names != kept.names || now.admin != was.admin {
		t.Error("something has taken another's place")
	}
	if got := []string{w.address("echo"), w.address("web")}; !slices.Equal(got, addresses) {
		t.Errorf("the listeners are at %q, were at %q", got, addresses)
	}
	if n := w.leaving(); n != 0 {
		t.Errorf("%d servers are on their way out", n)
	}
}

const twoListeners = `{
  "listeners": [
    {"name": %q, "protocol": "tcp", "address": %q, "pool": "one"},
    {"name": %q, "protocol": %q, "address": %q, "pool": "two"}],
  "pools": [{"name": "one", "servers": [%s]}, {"name": "two", "servers": [%s]}]}`

// A reload that cannot be leaves everything as it is, and nothing open; so does one that
// is only tried.
func TestReloadRefusedOrTried(t *testing.T) {
	a := echo(t, "a")
	at := freeAddresses(t, 3)
	taken := listen(t).Addr().String()
	text := func(first, second, protocol string) string {
		return fmt.Sprintf(twoListeners, "x", first, "y", protocol, second, quoted(a), "")
	}
	w := start(t, "%s", text(at[0], at[1], "tcp"))
	if _, err := w.Reload(t.Context(), false); refusalStatus(err) != http.StatusConflict {
		t.Errorf("without a file: %v", err)
	}
	w.ready(a)
	c := dial(t, at[0])
	c.say("before")
	was := w.current.Load()
	unchanged := func(what string, open int) {
		t.Helper()
		if w.current.Load() != was {
			t.Errorf("%s: something else runs", what)
		}
		eventually(t, what+": nothing is left open", func() bool { return descriptors(t) <= open })
		c.say("still here")
	}
	open := descriptors(t)
	_, err := w.tryReload(false, text(taken, at[1], "http"))
	wantRefusal(t, err, http.StatusConflict, "2 problems")
	wantErr(t, err, taken, "address already in use", `"y"`, "the protocol of an address cannot change")
	unchanged("refused", open)
	_, err = w.tryReload(false, `{"listeners": 1}`)
	wantRefusal(t, err, http.StatusBadRequest, "listeners")
	unchanged("not a config", open)
	log := filepath.Join(t.TempDir(), "access.log")
	changes, err := w.tryReload(true, strings.Replace(text(at[2], at[1], "tcp"), `"pool": "one"`, fmt.Sprintf(`"pool": "one", "access_log": %q`, log), 1))
	if err != nil || len(changes) == 0 {
		t.Errorf("tried: changes %q, error %v", changes, err)
	}
	unchanged("tried", open)
	dial(t, at[0]).say("new")
}

// Listeners have their addresses: two may swap names, and keep their sockets, counts
// and connections.
func TestReloadSwapsNames(t *testing.T) {
	a, b := echo(t, "a"), echo(t, "b")
	at := freeAddresses(t, 2)
	w := start(t, twoListeners, "x", at[0], "y", "tcp", at[1], quoted(a), quoted(b))
	w.ready(a, b)
	c := dial(t, at[0])
	c.say("hello")
	w.reload(twoListeners, "y", at[0], "x", "tcp", at[1], quoted(a), quoted(b))
	if name := dial(t, at[0]).say("hello"); name != "a" {
		t.Errorf("%q answered", name)
	}
	c.say("still here")
	if l := w.info("y"); l.Address != at[0] || l.TCP.Accepted != 2 {
		t.Errorf("%+v", l)
	}
	w.stop(0)
	if log := w.log.String(); !strings.Contains(log, `msg="listener stopped" listener=y accepted=2`) {
		t.Errorf("logged:\n%s", log)
	}
}

const oneTCP = `{
  "listeners": [{"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}],
  "pools": [{"name": "all", "servers": [%s], "drain_timeout": "1m", "health": %s}],
  "shutdown_timeout": "1m"}`

// A server that was deleted and is named by the next config, be it with another weight,
// or that was removed by one config and is named by the next, or uploaded, comes back with
// its connections. Its removal is over, and another one can begin.
func TestReloadBringsServersBack(t *testing.T) {
	weighted := func(address string) string { return fmt.Sprintf(`{"address": %q, "weight": 7}`, address) }
	removeByReload := func(w *world, a, b string) { w.reload(oneTCP, quoted(b), "false") }
	for name, story := range map[string]struct{ leave, back func(w *world, a, b string) }{
		"deleted, named as before": {
			func(w *world, a, _ string) { w.delete(a, false) },
			func(w *world, a, b string) { w.reload(oneTCP, quoted(a, b), "false") }},
		"deleted, named with another weight": {
			func(w *world, a, _ string) { w.delete(a, false) },
			func(w *world, a, b string) { w.reload(oneTCP, weighted(a)+","+quoted(b), "false") }},
		"removed, named again": {removeByReload,
			func(w *world, a, b string) { w.reload(oneTCP, quoted(a, b), "false") }},
		"removed, named with another weight": {removeByReload,
			func(w *world, a, b string) { w.reload(oneTCP, weighted(a)+","+quoted(b), "false") }},
		"removed, uploaded": {removeByReload,
			func(w *world, a, _ string) {
				if created, err := w.upload("all", a); !created || err != nil {
					w.t.Errorf("created %t, error %v", created, err)
				}
			}},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := echo(t, "a"), echo(t, "b")
			w := start(t, oneTCP, quoted(a), "false")
			c := dial(t, w.address("echo"))
			c.say("before")
			w.reload(oneTCP, quoted(a, b), "false")
			server := w.current.Load().pools[0].Find(a)
			story.leave(w, a, b)
			if s := w.server(a); !s.Draining || s.Active != 1 {
				t.Fatalf("while it leaves: %+v", s)
			}
			story.back(w, a, b)
			if s := w.server(a); !s.Ready || s.Active != 1 || w.leaving() != 0 || w.current.Load().pools[0].Find(a) != server {
				t.Fatalf("back: %+v, %d leave", s, w.leaving())
			}
			c.say("after")
			w.delete(a, false)
			if s := w.server(a); !s.Draining {
				t.Errorf("deleted: %+v", s)
			}
			c.say("still here")
			c.Close()
			w.gone(a)
			if n := w.leaving(); n != 0 {
				t.Errorf("%d removals are left", n)
			}
		})
	}
}

// An uploaded server stays through a reload that says nothing of it, and leaves with one
// that no longer names it.
func TestReloadLeavesUploadedServers(t *testing.T) {
	a, b := echo(t, "a"), echo(t, "b")
	w := start(t, oneTCP, quoted(a), "false")
	if _, err := w.upload("all", b); err != nil {
		t.Fatal(err)
	}
	w.reload(oneTCP, "", "false")
	w.gone(a)
	if s := w.server(b); s == nil || !s.Ready {
		t.Errorf("uploaded: %+v", s)
	}
	w.reload(oneTCP, quoted(b), "false")
	w.reload(oneTCP, "", "false")
	w.gone(b)
}

// A pool that is removed and added again is another one. The old one's connections end
// where they are, and what becomes of its servers does not touch the new one's.
func TestReloadRemovesAPoolAndAddsItAgain(t *testing.T) {
	const other = `{
	  "listeners": [{"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "other"}],
	  "pools": [{"name": "other", "servers": [%s], "health": false}]}`
	a, b := echo(t, "a"), echo(t, "b")
	w := start(t, oneTCP, quoted(a), "false")
	old := dial(t, w.address("echo"))
	old.say("old")
	w.reload(other, quoted(b))
	if name := dial(t, w.address("echo")).say("hello"); name != "b" {
		t.Errorf("%q answered", name)
	}
	if n := w.leaving(); n != 1 {
		t.Errorf("%d servers leave", n)
	}
	w.reload(oneTCP, quoted(a), "false")
	w.ready(a)
	c := dial(t, w.address("echo"))
	if name := c.say("hello"); name != "a" {
		t.Errorf("%q answered", name)
	}
	if s := w.server(a); s.Active != 1 || s.Total != 1 {
		t.Errorf("the new pool's: %+v", s)
	}
	old.say("still here")
	old.Close()
	eventually(t, "the old server is gone", func() bool { return w.leaving() <= 1 }) // b may still leave
	if s := w.server(a); s == nil || !s.Ready || s.Draining {
		t.Errorf("the new pool's: %+v", s)
	}
	c.say("still here")
}

// A listener that is removed takes nothing new and lets what it has finish. Its
// connections are closed all the same when their server is removed by force, or is found
// not to be healthy and that is said to close them.
func TestReloadRemovesAListener(t *testing.T) {
	const closing = `{
	  "listeners": [%s{"name": "stays", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}],
	  "pools": [{"name": "all", "algorithm": "round_robin", "servers": [%s], "drain_timeout": "1m", "on_unhealthy": "close",
	             "health": {"interval": "1s", "fall": 1}}],
	  "shutdown_timeout": "1m"}`
	const goes = `{"name": "goes", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"},`
	a, breakA := breakable(t, "a")
	b, c := echo(t, "b"), echo(t, "c")
	w := start(t, closing, goes, quoted(a, b, c))
	w.ready(a, b, c)
	on := map[string]*talk{}
	for len(on) < 3 {
		c := dial(t, w.address("goes"))
		on[c.say("hello")] = c
	}
	at := w.address("goes")
	w.reload(closing, "", quoted(a, b, c))
	eventually(t, "nothing new is taken", func() bool {
		conn, err := net.DialTimeout("tcp", at, 50*time.Millisecond)
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	for _, c := range on {
		c.say("still here")
	}
	w.delete(b, true)
	on["b"].wantClosed()
	w.gone(b)
	breakA()
	on["a"].wantClosed()
	on["c"].say("still here")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.stop(time.Minute)
	}()
	eventually(t, "it stops", func() bool { ok, _ := w.Ready(); return !ok })
	on["c"].say("still here")
	on["c"].Close()
	wait(t, stopped, "the stop")
}

// A stop ends what reloads have left, too, when its time is over.
func TestStopEndsWhatReloadsHaveLeft(t *testing.T) {
	const without = `{"listeners": [{"name": "other", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "other"}],
	  "pools": [{"name": "other"}], "shutdown_timeout": "1m"}`
	a := echo(t, "a")
	w := start(t, oneTCP, quoted(a), "false")
	c := dial(t, w.address("echo"))
	c.say("hello")
	w.reload(without)
	c.say("still here")
	w.stop(0)
	c.wantClosed()
}

// Checks are switched off and on: off, every server is ready; on, what they find counts.
func TestReloadSwitchesChecks(t *testing.T) {
	a, down := echo(t, "a"), porttest.Closed(t)
	w := start(t, oneTCP, quoted(a, down), `{"interval": "1s", "fall": 1}`)
	w.ready(a)
	eventually(t, "checked", func() bool { return w.server(down).LastCheck != nil })
	w.reload(oneTCP, quoted(a, down), "false")
	if s := w.server(down); !s.Ready || s.LastCheck.Reason != "checks are off" {
		t.Errorf("off: %+v, %+v", s, s.LastCheck)
	}
	w.reload(oneTCP, quoted(a, down), `{"interval": "1s", "fall": 1}`)
	eventually(t, "not ready", func() bool { return !w.server(down).Ready })
	if s := w.server(a); !s.Ready {
		t.Errorf("on: %+v", s)
	}
}

// The servers' specs follow the config; counts stay.
func TestReloadChangesServers(t *testing.T) {
	a, b := echo(t, "a"), echo(t, "b")
	w := start(t, oneTCP, quoted(a), "false")
	c := dial(t, w.address("echo"))
	c.say("hello")
	changes := w.reload(oneTCP, fmt.Sprintf(`{"address": %q, "weight": 5, "max_connections": 1}, %s`, a, quoted(b)), "false")
	want := []string{fmt.Sprintf("pool %q: server %q added", "all", b)}
	if len(changes) != 2 || !slices.Contains(changes, want[0]) {
		t.Errorf("changes: %q", changes)
	}
	if s := w.server(a); s.Weight != 5 || s.MaxConnections != 1 || s.Active != 1 || s.Total != 1 {
		t.Errorf("%+v", s)
	}
	if name := dial(t, w.address("echo")).say("hello"); name != "b" {
		t.Errorf("%q answered, though a is full", name)
	}
	got := map[string]bool{}
	for _, p := range w.Pools() {
		for _, s := range p.Servers {
			got[s.Address] = true
		}
	}
	if want := map[string]bool{a: true, b: true}; !maps.Equal(got, want) {
		t.Errorf("servers %v", got)
	}
	c.say("still here")
}
