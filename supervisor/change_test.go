package supervisor

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"fulcrum/admin"
)

// makes makes a change that is not refused, and returns what came of it.
func (w *world) makes(c admin.ServerChange) admin.Changed {
	w.t.Helper()
	done, err := w.Change(w.t.Context(), c)
	if err != nil {
		w.t.Fatalf("%+v: %v", c, err)
	}
	return done
}

// wantChanges makes a change, first dry, and expects these words for it both times.
func (w *world) wantChanges(c admin.ServerChange, want ...string) {
	w.t.Helper()
	before := w.etag()
	for _, c.DryRun = range []bool{true, false} {
		if done := w.makes(c); !reflect.DeepEqual(done.Changes, append([]string{}, want...)) {
			w.t.Errorf("%+v\n got %q\nwant %q", c, done.Changes, want)
		}
		if c.DryRun && w.etag() != before {
			w.t.Errorf("%+v has changed something", c)
		}
	}
}

// etag is that of all servers of the first pool.
func (w *world) etag() string {
	p := w.Pools()[0]
	return p.ETag()
}

func TestPatch(t *testing.T) {
	const a = "127.0.0.1:1"
	w := start(t, oneTCP, quoted(a), "false")
	const of = `pool "all": server "127.0.0.1:1" changed: `
	w.wantChanges(admin.ServerChange{Action: admin.Patch, Server: a, Weight: new(5)}, of+"weight from 1 to 5")
	w.wantChanges(admin.ServerChange{Action: admin.Patch, Server: a, MaxConnections: new(7)}, of+"max_connections from 0 to 7")
	w.wantChanges(admin.ServerChange{Action: admin.Patch, Server: a, Weight: new(5)})
	w.wantChanges(admin.ServerChange{Action: admin.Drain, Server: a}, of+"draining from false to true")
	w.wantChanges(admin.ServerChange{Action: admin.Patch, Server: "http://" + a, Weight: new(6), MaxConnections: new(0)}, of+"weight from 5 to 6, max_connections from 7 to 0")
}

// A server that drains finishes its work and stays, until it is undrained or uploaded.
func TestDrain(t *testing.T) {
	a, b := echo(t, "a"), echo(t, "b")
	w := start(t, onePool, quoted(a, b), "1ms")
	w.ready(a, b)
	held := dial(t, w.address("echo"))
	on := held.say("before")
	drained := map[string]string{"a": a, "b": b}[on]
	for range 2 {
		w.makes(admin.ServerChange{Action: admin.Drain, Server: drained})
	}
	for range 6 {
		if name := dial(t, w.address("echo")).say("new"); name == on {
			t.Errorf("%q got new work", name)
		}
	}
	held.say("after")
	if s := w.server(drained); !s.Draining || s.Deleting || s.Ready || !s.Healthy || s.Active != 1 {
		t.Errorf("while draining: %+v", s)
	}
	w.makes(admin.ServerChange{Action: admin.Undrain, Server: drained})
	held.say("still here")
	eventually(t, "new work", func() bool { return dial(t, w.address("echo")).say("new") == on })

	w.wantChanges(admin.ServerChange{Action: admin.Drain}, fmt.Sprintf(`pool "all": server %q changed: draining from false to true`, a),
		fmt.Sprintf(`pool "all": server %q changed: draining from false to true`, b))
	w.wantChanges(admin.ServerChange{Action: admin.Drain})
	if created, err := w.upload("", a); created || err != nil {
		t.Errorf("created %t, error %v", created, err)
	}
	if name := dial(t, w.address("echo")).say("new"); name != "a" {
		t.Errorf("%q answered, want a, which was uploaded", name)
	}
	w.wantChanges(admin.ServerChange{Action: admin.Undrain, Pool: "all"}, fmt.Sprintf(`pool "all": server %q changed: draining from true to false`, b))
}

// Nothing can be done with a server that is being deleted, but to have it back.
func TestChangesWhileAServerIsDeleted(t *testing.T) {
	a, b := echo(t, "a"), echo(t, "b")
	w := start(t, onePool, quoted(a, b), "1h")
	w.ready(a, b)
	held := dial(t, w.address("echo"))
	leaving := map[string]string{"a": a, "b": b}[held.say("before")]
	w.makes(admin.ServerChange{Action: admin.Drain, Server: leaving})
	drained := w.etag()
	w.delete(leaving, false)
	if s := w.server(leaving); !s.Draining || !s.Deleting || w.etag() == drained {
		t.Errorf("while it is deleted: %+v", s)
	}
	for _, action := range []admin.Action{admin.Patch, admin.Drain, admin.Undrain} {
		_, err := w.Change(t.Context(), admin.ServerChange{Action: action, Server: leaving, Weight: new(3)})
		wantRefusal(t, err, 409, "is being deleted; upload it to keep it")
	}
	if done := w.makes(admin.ServerChange{Action: admin.Undrain}); len(done.Changes) != 0 || !w.server(leaving).Deleting {
		t.Errorf("all of the pool undrained: %q", done.Changes)
	}
	w.wantChanges(admin.ServerChange{Action: admin.Delete, Server: leaving})
	w.wantChanges(uploadOf("", leaving, 1, 0), fmt.Sprintf("pool \"all\": server %q added", leaving))
	if s := w.server(leaving); s.Draining || s.Deleting || !s.Ready {
		t.Errorf("came back as %+v", s)
	}
	held.say("after")
	w.wantChanges(admin.ServerChange{Action: admin.Delete, Server: leaving, Force: true}, fmt.Sprintf("pool \"all\": server %q removed", leaving))
	held.wantClosed()
	w.gone(leaving)
	_, err := w.Change(t.Context(), admin.ServerChange{Action: admin.Drain, Server: leaving})
	wantRefusal(t, err, 404, "has no server")
}

// Who drains goes on draining after a reload, whether there is a state file or not,
// and with one after a restart; a reload that changes a weight lets no work through.
func TestDrainingOutlasts(t *testing.T) {
	for name, file := range map[string]string{"without a state file": "", "with one": filepath.Join(t.TempDir(), "state.json")} {
		t.Run(name, func(t *testing.T) {
			a, b, c := echo(t, "a"), echo(t, "b"), echo(t, "c")
			text := func(of string) string {
				if file == "" {
					return fmt.Sprintf(strings.Replace(stateful, "%q", "false", 1), of)
				}
				return fmt.Sprintf(stateful, of, file)
			}
			w := start(t, "%s", text(quoted(a, b)))
			w.upload("", c)
			for _, server := range []string{a, c} {
				w.makes(admin.ServerChange{Action: admin.Drain, Server: server})
			}
			want := func(when string) {
				t.Helper()
				for server, draining := range map[string]bool{a: true, b: false, c: true} {
					if s := w.server(server); s == nil || s.Draining != draining || s.Deleting {
						t.Errorf("%s: %+v, want draining %t", when, s, draining)
					}
				}
			}
			want("at first")
			w.reload("%s", text(quoted(a, b)))
			want("after a reload")
			stop := make(chan struct{})
			var looks sync.WaitGroup
			looks.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if w.server(a).Ready {
							t.Error("it was ready for a moment")
							return
						}
					}
				}
			})
			for i := range 20 {
				w.reload("%s", text(fmt.Sprintf(`{"address": %q, "weight": %d}, %q`, a, 2+i%2, b)))
			}
			close(stop)
			looks.Wait()
			want("after reloads with other weights")
			if w.server(a).Weight != 3 {
				t.Errorf("the weight is %d", w.server(a).Weight)
			}
			if file == "" {
				return
			}
			w.stop(0)
			w = start(t, stateful, quoted(a, b), file)
			want("after a restart")
			w.makes(admin.ServerChange{Action: admin.Undrain})
			w.stop(0)
			w = start(t, stateful, quoted(a, b), file)
			if s := w.server(a); s.Draining {
				t.Errorf("undrained before the restart: %+v", s)
			}
		})
	}
}

// Servers are drained and undrained under load, one at a time and again and again:
// nobody notices.
func TestDrainUnderLoad(t *testing.T) {
	echoes := []string{echo(t, "a"), echo(t, "b")}
	webs := []string{startWeb(t, "c").address, startWeb(t, "d").address}
	w := start(t, twoPools, echoes[0], echoes[1], webs[0], webs[1])
	w.ready(echoes[0], echoes[1], webs[0], webs[1])
	var l load
	l.start(w)
	for i := range 60 {
		for pool, servers := range map[string][]string{"echo": echoes, "web": webs} {
			drained, other := servers[i%2], servers[1-i%2]
			w.makes(admin.ServerChange{Action: admin.Undrain, Pool: pool, Server: other})
			w.makes(admin.ServerChange{Action: admin.Drain, Pool: pool, Server: drained})
			eventually(t, drained+" has finished", func() bool { return w.server(drained).Active == 0 })
			before := w.server(drained).Total
			served := l.served.Load()
			eventually(t, "some are served", func() bool { return l.served.Load() >= served+10 || l.failure.Load() != nil })
			if total := w.server(drained).Total; total != before {
				t.Errorf("%s got work %d times while it drained", drained, total-before)
			}
		}
	}
	w.stop(time.Minute)
	l.all.Wait()
	l.wantNoFailure(t)
}

func TestStatusAndConfig(t *testing.T) {
	w := start(t, onePool, quoted("127.0.0.1:1"), "1m")
	status := w.Status()
	if status.PID == 0 || status.Version != Version() || !status.Ready || status.UptimeSeconds <= 0 || status.Config != "" || status.IO != w.Listeners()[0].IO {
		t.Errorf("%+v", status)
	}
	text, _ := w.Config()
	if again := parse(t, "%s", text); !reflect.DeepEqual(again, w.current.Load().config) {
		t.Errorf("the config is shown as %s", text)
	}
	w.stop(0)
	if status := w.Status(); status.Ready || status.Reason != "stopping" {
		t.Errorf("after the stop %+v", status)
	}
}
