package main

import (
	"encoding/json"
	"strings"
	"testing"

	"fulcrum/admin"
	"fulcrum/config"
)

// operator runs command lines against a balancer.
type operator struct {
	t  *testing.T
	at string
}

// run runs a command of one or two words, of which the flag --admin follows.
func (a operator) run(command string, args ...string) outcome {
	a.t.Helper()
	return fulcrum(a.t, append(append(strings.Fields(command), "--admin", a.at), args...)...)
}

func (a operator) exactly(want, command string, args ...string) {
	a.t.Helper()
	o := a.run(command, args...)
	o.ok()
	if o.stdout != want {
		a.t.Errorf("fulcrum %s %q printed %q, want %q", command, args, o.stdout, want)
	}
}

// decoded runs a command with --json and returns what it prints.
func decoded[T any](a operator, command string, args ...string) (answer T) {
	a.t.Helper()
	o := a.run(command, append([]string{"--json"}, args...)...)
	o.ok()
	if err := json.Unmarshal([]byte(o.stdout), &answer); err != nil {
		a.t.Errorf("fulcrum %s printed %s: %v", command, o.stdout, err)
	}
	return answer
}

// An operator's day with one server: its weight is changed, by somebody who has seen
// what it was; it is drained, and comes back.
func TestChangesOfAServer(t *testing.T) {
	a := operator{t, balancer(t, `{"name": "web", "health": false, "servers": ["127.0.0.1:1", "127.0.0.1:2"]}`)}
	const server = "127.0.0.1:1"
	a.run("servers get", server).ok("POOL", "web", server, "ready", "\nETag: \"")
	seen := decoded[tagged](a, "servers get", server)
	if seen.Address != server || seen.Weight != 1 || seen.ETag == "" {
		t.Errorf("got %+v", seen)
	}
	const of = `pool "web": server "127.0.0.1:1" changed: `
	a.exactly(of+"weight from 1 to 5\n", "servers patch", "--dry-run", "--weight", "5", server)
	a.exactly("127.0.0.1:1 updated in pool web\n", "servers patch", "--if-match", seen.ETag, "--weight", "5", server)
	a.run("servers set", "--if-match", seen.ETag, "--weight", "6", server).refused(exitFailed, "If-Match: "+seen.ETag+" does not hold", "412 Precondition Failed")
	a.run("servers delete", "--if-match", "none", server).refused(exitFailed, `If-Match: "none" does not hold`)
	a.exactly("127.0.0.1:1 updated in pool web\n", "servers set", "--if-match", "*", "--max-connections", "7", server)
	if now := decoded[tagged](a, "servers get", server); now.Weight != 5 || now.MaxConnections != 7 || now.ETag == seen.ETag {
		t.Errorf("got %+v", now)
	}
	unquoted := strings.Trim(decoded[tagged](a, "servers get", server).ETag, `"`)
	a.exactly("127.0.0.1:1 of pool web: draining\n", "servers drain", "--if-match", unquoted, "--pool", "web", server)
	a.exactly("nothing would change\n", "servers drain", "--dry-run", server)
	a.run("servers list").ok("draining")
	a.exactly("127.0.0.1:1 of pool web: takes new work\n", "servers undrain", server)
	want := admin.ChangeAnswer{Pool: "web", Server: server, Changes: []string{of + "draining from false to true"}, DryRun: true}
	if got := decoded[admin.ChangeAnswer](a, "servers drain", "--dry-run", server); got.Pool != want.Pool || got.Server != want.Server || got.Changes[0] != want.Changes[0] || !got.DryRun {
		t.Errorf("got %+v, want %+v", got, want)
	}
	a.exactly("pool \"web\": server \"127.0.0.1:3\" added\n", "servers upload", "--dry-run", "127.0.0.1:3")
	a.exactly("pool \"web\": server \"127.0.0.1:2\" removed\n", "servers delete", "--dry-run", "--force", "127.0.0.1:2")
	if pools := decoded[[]admin.Pool](a, "servers list"); len(pools[0].Servers) != 2 {
		t.Errorf("dry runs have changed something: %+v", pools)
	}
	a.run("servers get", "127.0.0.1:3").refused(exitFailed, `pool "web" has no server "127.0.0.1:3"`)
	a.run("servers drain", "127.0.0.1").refused(exitUsage, "has no port")
	a.run("servers patch", "--weight", "257", server).refused(exitUsage, "257")
	a.run("servers patch", "--weight", "0", server).refused(exitUsage, "--weight: 0 is not allowed")
	a.run("servers patch", server).refused(exitUsage, "nothing to change; give --weight or --max-connections")
	a.run("servers drain", "").refused(exitUsage, "the server's address is empty")
}

func TestPools(t *testing.T) {
	a := operator{t, balancer(t, `{"name": "web", "health": false, "servers": ["127.0.0.1:1", "127.0.0.1:2"]}, {"name": "api"}`)}
	a.run("pools list").ok("POOL", "web", "api", "least_connections", "ETAG")
	pools := decoded[[]summary](a, "pools list")
	if len(pools) != 2 || pools[0].Servers != 2 || pools[0].Ready != 2 || pools[0].Draining != 0 {
		t.Errorf("got %+v", pools)
	}
	a.exactly("pool \"web\": server \"127.0.0.1:1\" changed: draining from false to true\n"+
		"pool \"web\": server \"127.0.0.1:2\" changed: draining from false to true\n", "pools drain", "--dry-run", "web")
	a.exactly("pool web: draining\n", "pools drain", "--if-match", pools[0].ETag, "web")
	a.run("pools drain", "--if-match", pools[0].ETag, "web").refused(exitFailed, "412 Precondition Failed")
	if now := decoded[[]summary](a, "pools list")[0]; now.Ready != 0 || now.Draining != 2 {
		t.Errorf("after the drain %+v", now)
	}
	a.exactly("pool web: takes new work\n", "pools undrain", "web")
	a.exactly("nothing would change\n", "pools undrain", "--dry-run", "web")
	a.run("pools drain", "wbe").refused(exitFailed, `pool "wbe" does not exist; use one of: web, api`)
	a.run("pools drain").refused(exitUsage, "expected one pool's name", "e.g. fulcrum pools drain")
	a.run("servers get", "127.0.0.1:1").refused(exitUsage, "pool is missing; use one of: web, api")
}

func TestWhatRuns(t *testing.T) {
	a := operator{t, balancer(t, `{"name": "web", "health": false}`)}
	a.run("status").ok("ready      yes\n", "version", "pid", "started", "s ago)", "no file", "in flight  nothing\n")
	if status := decoded[admin.Status](a, "status"); !status.Ready || status.PID == 0 {
		t.Errorf("got %+v", status)
	}
	a.run("drain", "--timeout", "1h").ok("draining until")
	a.run("status").ok("no: draining", "draining until  2")
	shown := a.run("config")
	shown.ok(`"shutdown_timeout": "30s"`, `"drain_timeout": "30s"`)
	if _, err := config.Parse([]byte(shown.stdout)); err != nil {
		t.Errorf("what is shown is no config: %v", err)
	}
	a.run("listeners get", "web").ok("HTTP LISTENER", "web")
	if got := decoded[admin.ListenerInfo](a, "listeners get", "web"); got.Protocol != "http" {
		t.Errorf("got %+v", got)
	}
	a.run("listeners get", "ftp").refused(exitFailed, `listener "ftp" does not exist; use one of: web`)
}
