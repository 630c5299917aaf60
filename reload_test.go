package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"fulcrum/admin"
	"fulcrum/config"
	"fulcrum/supervisor"
)

// fromFile runs a balancer that reloads the config file at a path.
func fromFile(t *testing.T, path string) (adminAddress string) {
	t.Helper()
	load := func() (*config.Config, error) { return config.Load(path) }
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	s, err := supervisor.Start(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.ReloadBy(load)
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s.AdminAddress()
}

const reloadable = `{
  "listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "web"}],
  "pools": [{"name": "web", "health": false, "servers": [{"address": "127.0.0.1:1", "weight": %d}]}],
  "admin": {"address": "127.0.0.1:0"}}`

func TestReloadCommand(t *testing.T) {
	path := written(t, fmt.Sprintf(reloadable, 1))
	at := fromFile(t, path)
	reload := func(args ...string) outcome {
		t.Helper()
		return fulcrum(t, append([]string{"reload", "--admin", at}, args...)...)
	}
	prints := func(want string, args ...string) {
		t.Helper()
		o := reload(args...)
		o.ok()
		if o.stdout != want {
			t.Errorf("%q printed %q, want %q", args, o.stdout, want)
		}
	}
	rewrite := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const change = `pool "web": server "127.0.0.1:1" changed: weight from 1 to 3`
	prints("nothing has changed\n")
	prints("nothing would change\n", "--dry-run")
	rewrite(fmt.Sprintf(reloadable, 3))
	prints(change+"\n", "--dry-run")
	var answer admin.ReloadAnswer
	if err := json.Unmarshal([]byte(reload("--dry-run", "--json").stdout), &answer); err != nil || !answer.DryRun || len(answer.Changes) != 1 || answer.Changes[0] != change {
		t.Errorf("--json printed %+v, error %v", answer, err)
	}
	prints(change + "\n")
	prints("nothing has changed\n")

	rewrite(fmt.Sprintf(reloadable, 300))
	reload().refused(exitUsage, path, "pools[0].servers[0].weight", "300", "1 to 256", "400 Bad Request")
	rewrite(fmt.Sprintf(reloadable, 3)[1:])
	reload("--dry-run").refused(exitUsage, path, "not valid JSON")
	rewrite(`{"io": "none", "listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "wbe"}]}`)
	reload().refused(exitUsage, "2 problems", "io: ", `"wbe"`)
	os.Remove(path)
	reload().refused(exitUsage, path, "no such file")

	taken := listen(t).Addr().String()
	rewrite(fmt.Sprintf(`{"listeners": [
	  {"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "web"},
	  {"name": "taken", "protocol": "tcp", "address": %q, "pool": "web"}], "pools": [{"name": "web"}]}`, taken))
	reload().refused(exitFailed, `listener "taken"`, "address already in use", "409 Conflict")
	fulcrum(t, "servers", "list", "--admin", at).ok("127.0.0.1:1", "ready")
}

// Without a file there is nothing to reload.
func TestReloadWithoutAFile(t *testing.T) {
	at := balancer(t, `{"name": "web"}`)
	fulcrum(t, "reload", "--admin", at).refused(exitFailed, "without a config file", "409 Conflict")
}
