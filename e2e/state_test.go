package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stateful is a config with one pool of servers that nobody checks, and its file.
func (w *world) stateful(more object, servers ...string) (config object, path string) {
	w.Helper()
	config = object{
		"listeners":        []object{{"name": "db", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "db"}},
		"pools":            []object{{"name": "db", "servers": servers, "health": false}},
		"admin":            object{"address": "127.0.0.1:0"},
		"shutdown_timeout": "2s",
	}
	maps.Copy(config, more)
	return config, w.configFile(config)
}

// again runs a config file.
func (w *world) again(path string) *balancer {
	w.Helper()
	return w.balancerOf(w.start(w.command(raceBinary, "run", "--log-format", "text", "--config", path)), 1)
}

// sources returns where each server of the pool comes from, but for those that
// are going.
func (b *balancer) sources() map[string]string {
	b.w.Helper()
	status, text, err := b.ask("GET", "/servers", "")
	var answer struct {
		Pools []struct {
			Servers []struct {
				Address, Source string
				Draining        bool
			}
		}
	}
	if err != nil || status != 200 || json.Unmarshal([]byte(text), &answer) != nil {
		b.w.Fatalf("GET /servers: status %d, %v: %s", status, err, text)
	}
	all := make(map[string]string)
	for _, s := range answer.Pools[0].Servers {
		if !s.Draining {
			all[s.Address] = s.Source
		}
	}
	return all
}

func (b *balancer) wantSources(when string, want map[string]string) {
	b.w.Helper()
	if got := b.sources(); !maps.Equal(got, want) {
		b.w.Fatalf("%s the servers are %v, want %v", when, got, want)
	}
}

// TestChangesOutlastTheProcess: what was answered is there after kill -9, SIGTERM
// and a reload; what the config no longer names is gone.
func TestChangesOutlastTheProcess(t *testing.T) {
	const one, two, three = "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"
	w := newWorld(t, 60*time.Second)
	config, path := w.stateful(nil, one, two)
	b := w.again(path)
	b.wantSources("at first", map[string]string{one: "config", two: "config"})
	b.change("POST", "/upload_server", "db", three, 201)
	b.delete("db", one)
	want := map[string]string{two: "config", three: "uploaded"}
	b.wantSources("after the changes", want)
	b.kill()

	b = w.again(path)
	b.wantSources("after kill -9", want)
	b.signal(syscall.SIGTERM)
	w.await("fulcrum has ended", b.ended)

	const differences = "pool db, server 127.0.0.1:1: deleted\npool db, server 127.0.0.1:3: uploaded, weight 1, max_connections 0\n"
	if got := w.mustRun(raceBinary, "state", "diff", "--config", path); got != differences {
		t.Errorf("state diff prints %q, want %q", got, differences)
	}
	b = w.again(path)
	b.wantSources("after SIGTERM", want)
	b.change("POST", "/upload_server", "db", one, 201)
	b.delete("db", two)
	b.kill()

	// Who is deleted from the config and comes back is new.
	pool := config["pools"].([]object)[0]
	for _, step := range []struct {
		servers []string
		want    map[string]string
	}{
		{[]string{one, two}, map[string]string{one: "config", three: "uploaded"}},
		{[]string{one}, map[string]string{one: "config", three: "uploaded"}},
		{[]string{one, two}, map[string]string{one: "config", two: "config", three: "uploaded"}},
	} {
		pool["servers"] = step.servers
		w.rewrite(path, config)
		b = w.again(path)
		b.wantSources(fmt.Sprintf("with %v in the config", step.servers), step.want)
		b.kill()
	}
}

// TestDrainsOutlastTheProcess: who was drained gets no work after kill -9 either, and
// whose draining was ended does.
func TestDrainsOutlastTheProcess(t *testing.T) {
	w := newWorld(t, 60*time.Second)
	kept, drained := w.echoServer(), w.echoServer()
	_, path := w.stateful(nil, kept, drained)
	b := w.again(path)
	command := func(want string, args ...string) {
		t.Helper()
		args = append([]string{args[0], args[1], "--admin", b.admin}, args[2:]...)
		if got := w.mustRun(raceBinary, args...); got != want+"\n" {
			t.Errorf("fulcrum %q printed %q, want %q", args, got, want)
		}
	}
	want := func(when string, draining, total bool) {
		t.Helper()
		for range 4 {
			wantEcho(w, w.dial(b.listeners["db"]), "hello")
		}
		if s, there := b.server("db", drained); !there || s.Draining != draining || s.Ready == draining || s.Total > 0 != total {
			t.Errorf("%s: %+v, want draining %t, traffic %t", when, s, draining, total)
		}
	}
	command(drained+" of pool db: draining", "servers", "drain", drained)
	want("after the drain", true, false)
	command(drained+" updated in pool db", "servers", "patch", "--weight", "3", drained)
	b.kill()
	b = w.again(path)
	want("after kill -9", true, false)
	if got, want := w.mustRun(raceBinary, "state", "diff", "--config", path), "pool db, server "+drained+": weight 3 instead of 1, draining\n"; got != want {
		t.Errorf("state diff prints %q, want %q", got, want)
	}
	command("pool db: takes new work", "pools", "undrain", "db")
	b.kill()
	b = w.again(path)
	want("after it was undrained and kill -9", false, true)
}

// rewrite writes a config file anew.
func (w *world) rewrite(path string, config object) {
	w.Helper()
	text, err := json.Marshal(config)
	w.must(err)
	w.must(os.WriteFile(path, text, 0o600))
}

// TestKilledWhileServersChange: of a stream of uploads and deletes everything that
// was answered is there after kill -9, whenever that comes.
func TestKilledWhileServersChange(t *testing.T) {
	w := newWorld(t, 120*time.Second)
	_, path := w.stateful(nil, "127.0.0.1:1")
	want := map[string]string{"127.0.0.1:1": "config"}
	changes := 0
	for round := range 30 {
		b := w.again(path)
		b.wantSources(fmt.Sprintf("in round %d", round), want)
		killed := make(chan struct{})
		time.AfterFunc(rand.N(100*time.Millisecond), func() { b.kill(); close(killed) })
		unanswered := ""
		for unanswered == "" {
			address := fmt.Sprintf("127.0.0.1:%d", 2+rand.N(8))
			method, route := "POST", "/upload_server"
			if want[address] != "" {
				method, route = "DELETE", "/delete_server"
			}
			status, text, err := b.ask(method, route, fmt.Sprintf(`{"pool": "db", "server": %q}`, address))
			switch {
			case err != nil:
				unanswered = address
			case status > 201:
				t.Fatalf("%s %s: status %d: %s", method, address, status, text)
			case method == "POST":
				want[address] = "uploaded"
				changes++
			default:
				delete(want, address)
				changes++
			}
		}
		w.await("fulcrum is killed", killed)
		// What nobody answered may have been done or not.
		if out := w.mustRun(raceBinary, "state", "diff", "--config", path); strings.Contains(out, unanswered+": uploaded") {
			want[unanswered] = "uploaded"
		} else {
			delete(want, unanswered)
		}
	}
	if changes < 30 {
		t.Errorf("%d changes were answered in 30 rounds, too few to say anything", changes)
	}
}

// TestDamagedState: a state file that is not understood is no state at all.
func TestDamagedState(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	_, path := w.stateful(nil, "127.0.0.1:1")
	at := filepath.Join(filepath.Dir(path), "state.json")
	w.must(os.WriteFile(at, []byte("{\n  \"version\": 1,\n  \"servers\": ["), 0o600))
	p := w.run(raceBinary, "run", "--config", path)
	if said := p.stderr.String(); p.code() != 1 || !strings.Contains(said, at+":3:") || !strings.Contains(said, "repair the file, or move it away") {
		t.Errorf("exit code %d, stderr %q", p.code(), said)
	}
}

// TestStateThatCannotBeWritten: a change that cannot be recorded is refused, and
// nothing has changed. A directory in the place of the new file keeps root out too.
func TestStateThatCannotBeWritten(t *testing.T) {
	const one, two = "127.0.0.1:1", "127.0.0.1:2"
	w := newWorld(t, 30*time.Second)
	echo := w.echoServer()
	_, path := w.stateful(nil, one, echo)
	b := w.again(path)
	obstacle := filepath.Join(filepath.Dir(path), "state.json.new")
	w.must(os.MkdirAll(filepath.Join(obstacle, "full"), 0o700))
	b.change("POST", "/upload_server", "db", two, 500)
	b.change("DELETE", "/delete_server", "db", one, 500)
	b.wantSources("after the refusals", map[string]string{one: "config", echo: "config"})
	wantEcho(w, w.dial(b.listeners["db"]), "served on")
	w.must(os.RemoveAll(obstacle))
	b.change("POST", "/upload_server", "db", two, 201)
}

// TestWithoutState: "state": false leaves no file behind.
func TestWithoutState(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	_, path := w.stateful(object{"state": false}, "127.0.0.1:1")
	b := w.again(path)
	b.change("POST", "/upload_server", "db", "127.0.0.1:2", 201)
	b.kill()
	files, err := os.ReadDir(filepath.Dir(path))
	w.must(err)
	if len(files) != 1 {
		t.Errorf("files beside the config: %v", files)
	}
	w.again(path).wantSources("after kill -9", map[string]string{"127.0.0.1:1": "config"})
	if p := w.run(raceBinary, "state", "diff", "--config", path); p.code() != 2 {
		t.Errorf("state diff ended with exit code %d, want 2", p.code())
	}
}
