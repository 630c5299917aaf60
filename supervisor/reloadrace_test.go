package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fulcrum/admin"
	"fulcrum/config"
)

// swapped are two configs of which the second has other pools, routes, limits and logs.
// The servers are the same.
func swapped(dir string, webs, echoes []string) (one, other string) {
	const text = `{
	  "listeners": [
	    {"name": "echo", "protocol": "tcp",  "address": "127.0.0.1:0", "pool": "echo%[1]s", "access_log": %[2]q%[3]s},
	    {"name": "web",  "protocol": "http", "address": "127.0.0.1:0", "pool": "web%[1]s", "access_log": %[2]q%[3]s}],
	  "pools": [
	    {"name": "echo%[1]s", "servers": [%[4]s], "drain_timeout": "1m", "health": {"interval": %[6]q}},
	    {"name": "web%[1]s", "servers": [%[5]s], "drain_timeout": "1m", "health": {"interval": %[6]q}}],
	  "shutdown_timeout": "1m"}`
	one = fmt.Sprintf(text, "", filepath.Join(dir, "one.log"), "", quoted(echoes...), quoted(webs...), "1s")
	other = fmt.Sprintf(text, "s", filepath.Join(dir, "other.log"), `, "max_connections_per_client": 100, "idle_timeout": "30s"`,
		quoted(echoes...), quoted(webs...), "2s")
	return one, other
}

// Reloads that change nearly everything, one after the other, under load: nobody is
// refused, cut or left unrecorded, and connections that are open throughout go on.
func TestReloadUnderLoad(t *testing.T) {
	dir := t.TempDir()
	one, other := swapped(dir, []string{startWeb(t, "c").address, startWeb(t, "d").address}, []string{echo(t, "a"), echo(t, "b")})
	w := start(t, "%s", one)
	var l load
	l.start(w)
	throughout := dial(t, w.address("echo"))
	throughout.say("hello")
	for i := range 40 {
		w.reload("%s", []string{other, one}[i%2])
		served := l.served.Load()
		eventually(t, "some are served", func() bool { return l.served.Load() >= served+10 || l.failure.Load() != nil })
		throughout.say("still here")
	}
	served := l.served.Load()
	throughout.Close()
	w.stop(time.Minute)
	l.all.Wait()
	l.wantNoFailure(t)
	if served < 400 {
		t.Errorf("only %d were served", served)
	}
	if n := w.leaving(); n != 0 {
		t.Errorf("%d servers have not left", n)
	}
	records := int64(1) // that of the connection that was open throughout
	for _, name := range []string{"one.log", "other.log"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		records += int64(strings.Count(string(b), `"ended":`))
	}
	if records < l.served.Load() {
		t.Errorf("%d records of %d served", records, l.served.Load())
	}
	if log := w.log.String(); strings.Contains(log, "incomplete") || strings.Contains(log, "panic") {
		t.Errorf("logged:\n%s", log)
	}
}

// Servers are uploaded and deleted while one reload follows the other, which puts another
// in the place of those who look after them: each that was uploaded last is checked, and
// each that was deleted last is gone.
func TestReloadAndUploadAtTheSameTime(t *testing.T) {
	a := echo(t, "a")
	servers := []string{echo(t, "b"), echo(t, "c"), echo(t, "d"), echo(t, "e")}
	const every = `{"interval": %q}`
	w := start(t, oneTCP, quoted(a), fmt.Sprintf(every, "1s"))
	var all sync.WaitGroup
	var stop atomic.Bool
	for i, server := range servers {
		all.Go(func() {
			for stays := i%2 == 1; ; {
				if _, err := w.upload("all", server); err != nil {
					t.Error(err)
				}
				if stays && stop.Load() {
					return
				}
				if _, err := w.Change(t.Context(), admin.ServerChange{Action: admin.Delete, Server: server}); err != nil {
					t.Error(err)
				}
				if !stays && stop.Load() {
					return
				}
			}
		})
	}
	for i := range 100 {
		w.reload(oneTCP, quoted(a), fmt.Sprintf(every, []string{"1s", "2s"}[i%2]))
	}
	stop.Store(true)
	all.Wait()
	w.gone(servers[0])
	w.gone(servers[2])
	w.ready(a, servers[1], servers[3])
	if n := w.leaving(); n != 0 {
		t.Errorf("%d removals are left", n)
	}
}

// A server may leave its pool between the preparation of a reload that names it and its
// commit: it is a new one then, and where it leads is known.
func TestAServerIsDeletedWhileAReloadIsPrepared(t *testing.T) {
	a := echo(t, "a")
	w := start(t, oneTCP, quoted(a), "false")
	c, err := config.Parse(fmt.Appendf(nil, oneTCP, quoted(a), "false"))
	if err != nil {
		t.Fatal(err)
	}
	was := w.current.Load()
	next, err := w.prepare(t.Context(), c, was)
	if err != nil {
		t.Fatal(err)
	}
	w.delete(a, true)
	w.gone(a)
	w.goOver(was, next)
	w.ready(a)
	if name := dial(t, w.address("echo")).say("hello"); name != "a" {
		t.Errorf("%q answered", name)
	}
}

// An upload that a reload has overtaken begins anew: who looked after the pool's servers
// does so no longer, and the pool itself may be another.
func TestAReloadOvertakesAnUpload(t *testing.T) {
	a, b := echo(t, "a"), echo(t, "b")
	w := start(t, oneTCP, quoted(a), `{"interval": "1s"}`)
	p := w.current.Load().pools[0]
	lead, err := p.lead(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	w.reload(oneTCP, quoted(a), `{"interval": "2s"}`)
	if done, current, err := w.change(p, b, lead, uploadOf("", b, 1, 0)); current || err != nil || w.server(b) != nil {
		t.Errorf("%+v, current %t, error %v", done, current, err)
	}
	if created, err := w.upload("all", b); !created || err != nil {
		t.Errorf("created %t, error %v", created, err)
	}
	w.ready(b)
}
