package supervisor

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fulcrum/admin"
	"fulcrum/config"
)

// origins returns where each server comes from, but for those that are going.
func (w *world) origins() map[string]string {
	all := make(map[string]string)
	for _, p := range w.Pools() {
		for _, s := range p.Servers {
			if !s.Draining {
				all[s.Address] = s.Source
			}
		}
	}
	return all
}

func (w *world) wantOrigins(when string, want map[string]string) {
	w.t.Helper()
	if got := w.origins(); !maps.Equal(got, want) {
		w.t.Errorf("%s the servers are %v, want %v", when, got, want)
	}
}

const stateful = `{"listeners": [{"name": "db", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}],
  "pools": [{"name": "all", "servers": [%s], "health": false}], "state": %q}`

// A reload applies the state file anew: what the operator changed stays, what the
// config or the file no longer names is gone.
func TestReloadWithState(t *testing.T) {
	const a, b, c, d = "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"
	file := filepath.Join(t.TempDir(), "state.json")
	w := start(t, stateful, quoted(a, b), file)
	next := parse(t, stateful, quoted(a, b), file)
	w.ReloadBy(func() (*config.Config, error) { return next, nil })
	reload := func(says string) {
		t.Helper()
		if _, err := w.Reload(t.Context(), false); says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("reload: %v, want %q in it", err, says)
		}
	}
	w.upload("", c)
	w.delete(a, false)
	want := map[string]string{b: "config", c: "uploaded"}
	reload("")
	w.wantOrigins("after a reload", want)

	next = parse(t, stateful, quoted(a, d), file)
	reload("")
	want = map[string]string{c: "uploaded", d: "config"}
	w.wantOrigins("without one server", want)

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit("{")
	reload("not valid JSON")
	w.wantOrigins("with a damaged file", want)
	edit(strings.Replace(string(text), c, b, 1))
	_, err = w.upload("", a)
	wantRefusal(t, err, 409, "reload first")
	reload("")
	w.wantOrigins("after the file was edited", map[string]string{b: "uploaded", d: "config"})
	edit(`{"version": 1, "servers": [{"pool": "all", "server": "` + d + `", "source": "config", "draining": true}]}`)
	reload("")
	w.wantOrigins("with one that drains", map[string]string{a: "config"})

	next = parse(t, stateful, quoted(a), file+"2")
	reload("restart it")
	if _, err := Start(parse(t, stateful, quoted(a), file), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another fulcrum is using the state file") {
		t.Errorf("a second balancer with the same file: %v", err)
	}
}

// What a reload says that it changes of servers is what it does, whether the config
// says it, the state file, or one against the other; a dry run says the same.
func TestReloadSaysWhatItDoesToServers(t *testing.T) {
	const a, b, c, d = "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"
	file := filepath.Join(t.TempDir(), "state.json")
	w := start(t, stateful, quoted(a, b), file)
	says := func(servers string, want ...string) {
		t.Helper()
		for i, one := range want {
			want[i] = `pool "all": server "127.0.0.1:` + one
		}
		text := fmt.Sprintf(stateful, servers, file)
		for _, dryRun := range []bool{true, false} {
			if got, err := w.tryReload(dryRun, text); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, dry run %t: got %q, want %q, error %v", servers, dryRun, got, want, err)
			}
		}
	}
	weight := func(n int) string { return fmt.Sprintf(`{"address": %q, "weight": %d}, %q`, a, n, b) }
	says(quoted(a, b))
	says(weight(2), `1" changed: weight from 1 to 2`)
	w.Change(t.Context(), uploadOf("", a, 7, 0))
	says(weight(3), `1" changed in the config, but stays as the operator changed it`)
	w.upload("", c)
	says(weight(3)+", "+quoted(c), `3" is named by the config now`)
	if err := os.WriteFile(file, []byte(`{"version": 1, "servers": [{"pool": "all", "server": "`+d+`", "source": "uploaded"},
		{"pool": "all", "server": "`+b+`", "source": "config", "draining": true}, {"pool": "all", "server": "`+c+`", "source": "config", "deleted": true}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	says(weight(3)+", "+quoted(c), `3" removed`, `1" changed: weight from 7 to 3`, `2" changed: draining from false to true`, `4" added`)
	w.gone(c)
	says(weight(3) + ", " + quoted(c))
	w.wantOrigins("in the end", map[string]string{a: "config", d: "uploaded"})
}

// Without a state file the config is all there is to go by, but for what drains.
func TestReloadSaysWhatItDoesWithoutState(t *testing.T) {
	const a, b = "127.0.0.1:1", "127.0.0.1:2"
	text := strings.Replace(fmt.Sprintf(stateful, quoted(a), ""), `"state": ""`, `"state": false`, 1)
	w := start(t, "%s", text)
	w.Change(t.Context(), uploadOf("", a, 7, 0))
	w.Change(t.Context(), admin.ServerChange{Action: admin.Drain, Server: a})
	w.upload("", b)
	want := []string{`pool "all": server "127.0.0.1:1" changed: weight from 7 to 1`}
	for _, dryRun := range []bool{true, false} {
		if got, err := w.tryReload(dryRun, text); err != nil || !slices.Equal(got, want) {
			t.Errorf("dry run %t: got %q, error %v", dryRun, got, err)
		}
	}
	if s := w.server(a); s.Weight != 1 || !s.Draining || w.server(b) == nil {
		t.Errorf("%+v, and the uploaded one %+v", s, w.server(b))
	}
}

// A pool that gets another name is another pool: that nothing drains in that one is said.
func TestReloadSaysWhatItKeeps(t *testing.T) {
	const a = "127.0.0.1:1"
	text := fmt.Sprintf(stateful, quoted(a), filepath.Join(t.TempDir(), "state.json"))
	w := start(t, "%s", text)
	w.Change(t.Context(), admin.ServerChange{Action: admin.Drain, Server: a})
	other := strings.ReplaceAll(text, `"all"`, `"other"`)
	kept := `pool "all": server "127.0.0.1:1": kept for when the config has the pool again: draining`
	for _, dryRun := range []bool{true, false} {
		if got, err := w.tryReload(dryRun, other); err != nil || !slices.Contains(got, kept) || !slices.Contains(got, `pool "all" removed`) {
			t.Errorf("dry run %t: got %q, error %v", dryRun, got, err)
		}
	}
	if got := w.reload("%s", other); len(got) != 0 {
		t.Errorf("once it is gone: %q", got)
	}
}
