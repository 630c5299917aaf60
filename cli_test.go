package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fulcrum/admin"
	"fulcrum/config"
	"fulcrum/supervisor"
)

// written puts a text into a file and returns its path.
func written(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const valid = `{
  "listeners": [{"name": "web", "protocol": "http", "address": %q, "pool": "web"}],
  "pools": [{"name": "web", "servers": ["127.0.0.1:1", "127.0.0.1:2"]}, {"name": "spare"}]}`

func TestCheck(t *testing.T) {
	path := written(t, fmt.Sprintf(valid, "127.0.0.1:0"))
	want := path + " is valid: 1 listener, 2 pools, 2 servers\n"
	for _, args := range [][]string{{"check", "--config", path}, {"check", "-c", path}, {"run", "--config", path, "--check"}} {
		o := fulcrum(t, args...)
		o.ok()
		if o.stdout != want {
			t.Errorf("%q printed %q, want %q", args, o.stdout, want)
		}
	}
}

// The file that comes with the program, found by default in the working
// directory.
func TestCheckWithoutFlags(t *testing.T) {
	fulcrum(t, "check").ok("config.json is valid: 2 listeners, 2 pools, 4 servers")
	t.Chdir(t.TempDir())
	for _, command := range []string{"check", "run"} {
		fulcrum(t, command).refused(exitUsage, "fulcrum: config.json: cannot open the file: no such file or directory")
	}
}

// Everything that is wrong is said at once, each with its place.
func TestBadConfig(t *testing.T) {
	path := written(t, `{
  "listeners": [{"name": "web", "protocol": "htpp", "address": ":80", "pool": "wbe"}],
  "pools": [{"name": "web", "servers": [{"address": "127.0.0.1:1", "weight": 0}]}], "speed": 1}`)
	for _, args := range [][]string{{"run", "--config", path}, {"check", "--config", path}, {"run", "--check", "--config", path}} {
		fulcrum(t, args...).refused(exitUsage, path+": 4 problems",
			path+`:2:45: listeners[0].protocol: "htpp" is not known`, "listeners[0].pool", `the pools are "web"`,
			"pools[0].servers[0].weight: 0 is not allowed", `speed`)
	}
	fulcrum(t, "check", "--config", written(t, "{]")).refused(exitUsage, "config.json:1:2")
	fulcrum(t, "check", "--config", t.TempDir()).refused(exitUsage, "is a directory")
}

// A port that is taken is no mistake in the config.
func TestPortIsTaken(t *testing.T) {
	taken := listen(t).Addr().String()
	for _, args := range [][]string{
		{"run", "--config", written(t, fmt.Sprintf(valid, taken))},
		{"tcp", "--listen", taken, "--server", "127.0.0.1:1"},
		{"http", "--listen", taken, "--server", "127.0.0.1:1"},
		{"http", "--listen", "127.0.0.1:0", "--server", "127.0.0.1:1", "--admin", taken},
	} {
		o := fulcrum(t, args...)
		o.refused(exitFailed, taken+": bind: address already in use")
		if strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%q said %q", args, o.stderr)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// balancer runs a balancer with one pool, or two, and returns the address of
// its admin listener.
func balancer(t *testing.T, pools string) (address string) {
	t.Helper()
	return guarded(t, pools, "")
}

// guarded is a balancer with more members of its admin listener.
func guarded(t *testing.T, pools, members string) (address string) {
	t.Helper()
	return startFor(t, pools, members).AdminAddress()
}

// balancerWithLevel is a balancer of which the log's level can be changed.
func balancerWithLevel(t *testing.T, pools string) (address string, level *slog.LevelVar) {
	t.Helper()
	s, level := startFor(t, pools, ""), new(slog.LevelVar)
	s.LevelBy(level)
	return s.AdminAddress(), level
}

func startFor(t *testing.T, pools, members string) *supervisor.Supervisor {
	t.Helper()
	c, err := config.Parse(fmt.Appendf(nil, `{
	  "listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "web"}],
	  "pools": [%s], "admin": {"address": "127.0.0.1:0"%s}}`, pools, members))
	if err != nil {
		t.Fatal(err)
	}
	s, err := supervisor.Start(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

func TestServers(t *testing.T) {
	at := balancer(t, `{"name": "web", "health": false, "servers": ["127.0.0.1:1"]}`)
	servers := func(args ...string) outcome {
		t.Helper()
		return fulcrum(t, append([]string{"servers", args[0], "--admin", at}, args[1:]...)...)
	}
	exactly := func(o outcome, want string) {
		t.Helper()
		o.ok()
		if o.stdout != want {
			t.Errorf("printed %q, want %q", o.stdout, want)
		}
	}
	servers("list").ok("POOL", "LAST CHECK", "web", "127.0.0.1:1", "ready", "checks are off")
	exactly(servers("upload", "http://127.0.0.1:2"), "127.0.0.1:2 added to pool web\n")
	exactly(servers("upload", "--pool", "web", "--weight", "2", "--max-connections", "7", "127.0.0.1:2"), "127.0.0.1:2 updated in pool web\n")
	servers("list").ok("0/7")

	var pools []admin.Pool
	list := servers("list", "--json")
	list.ok()
	if err := json.Unmarshal([]byte(list.stdout), &pools); err != nil || len(pools) != 1 || len(pools[0].Servers) != 2 ||
		pools[0].Servers[1].Weight != 2 || pools[0].Servers[1].MaxConnections != 7 {
		t.Errorf("printed %s, error %v, parsed %+v", list.stdout, err, pools)
	}
	var uploaded, deleted admin.ChangeAnswer
	upload := servers("upload", "--json", "127.0.0.1:3")
	upload.ok()
	if err := json.Unmarshal([]byte(upload.stdout), &uploaded); err != nil || !uploaded.Created || uploaded.Pool != "web" {
		t.Errorf("printed %s, error %v", upload.stdout, err)
	}
	exactly(servers("delete", "127.0.0.1:2"), "127.0.0.1:2 of pool web: draining, then deleted\n")
	exactly(servers("delete", "--force", "127.0.0.1:3"), "127.0.0.1:3 of pool web: closed and deleted\n")
	remove := servers("delete", "--json", "127.0.0.1:1")
	remove.ok()
	if err := json.Unmarshal([]byte(remove.stdout), &deleted); err != nil || len(deleted.Changes) != 1 {
		t.Errorf("printed %s, error %v", remove.stdout, err)
	}
	for end := time.Now().Add(patience); !strings.Contains(servers("list").stdout, "(no servers)"); {
		if time.Now().After(end) {
			t.Fatalf("not deleted: %s", servers("list").stdout)
		}
	}
}

// What the balancer refuses: a mistake is exit code 2, what happens to be so 1.
func TestServersRefused(t *testing.T) {
	at := balancer(t, `{"name": "web", "servers": ["127.0.0.1:1"]}, {"name": "api"}`)
	for _, c := range []struct {
		line string
		code int
		part string
	}{
		{"upload 127.0.0.1:2", exitUsage, "pool is missing; use one of: web, api"},
		{"upload --pool web 127.0.0.1", exitUsage, `"127.0.0.1" has no port`},
		{"upload --pool web --weight 257 127.0.0.1:2", exitUsage, "257"},
		{"upload --pool web --max-connections -1 127.0.0.1:2", exitUsage, "-1"},
		{"upload --pool wbe 127.0.0.1:2", exitFailed, `pool "wbe" does not exist; use one of: web, api`},
		{"delete --pool web 127.0.0.1:2", exitFailed, `pool "web" has no server "127.0.0.1:2"; it has 127.0.0.1:1`},
		{"delete --pool api 127.0.0.1:2", exitFailed, "it has none"},
	} {
		t.Run(c.line, func(t *testing.T) {
			fulcrum(t, append([]string{"servers"}, strings.Fields(strings.Replace(c.line, " ", " --admin "+at+" ", 1))...)...).refused(c.code, c.part)
		})
	}
}

func TestNoBalancerThere(t *testing.T) {
	l := listen(t)
	at := l.Addr().String()
	l.Close()
	for _, line := range []string{"list", "list --json", "upload 127.0.0.1:1", "delete 127.0.0.1:1"} {
		fulcrum(t, append([]string{"servers"}, strings.Fields(strings.Replace(line+" ", " ", " --admin "+at+" ", 1))...)...).
			refused(exitFailed, "no admin listener answers at "+at)
	}
}

func TestTable(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	err := printServers(&out, []admin.Pool{
		{Name: "web", Servers: []admin.Server{
			{Address: "10.0.0.1:80", State: "ready", Since: now.Add(-100 * time.Hour), Weight: 1, Healthy: true, Ready: true, Active: 3, Total: 12345, Failures: 2,
				LastCheck: &admin.Check{Passed: true, Reason: "status 200", At: now.Add(-1400 * time.Millisecond), TookMS: 0.42},
				TCP:       &admin.Traffic{ToUpstream: 999, ToClient: 12_345_678}},
			{Address: "app-2.example:8080", State: "not healthy", Since: now.Add(-95 * time.Second), Weight: 256, MaxConnections: 500, Active: 500, Total: 7,
				LastCheck: &admin.Check{Reason: "connection refused", At: now.Add(-90 * time.Second), TookMS: 12}},
			{Address: "[2001:db8::1]:80", State: "draining", Since: now.Add(-3*time.Hour - time.Minute), Weight: 2, Draining: true, Healthy: true, Active: 1,
				LastCheck: &admin.Check{Passed: true, Reason: "connected", At: now, TookMS: 1},
				HTTP:      &admin.HTTPTraffic{}},
			{Address: "10.0.0.4:80", State: "unchecked", Since: now.Add(-42 * time.Millisecond), Weight: 1,
				TCP: &admin.Traffic{ToUpstream: 500, ToClient: 1000, FirstByte: admin.Durations{Count: 1, P50MS: 7, P99MS: 7}},
				HTTP: &admin.HTTPTraffic{Received: 1000, Sent: 1000, Statuses: map[string]int64{"5xx": 42},
					FirstByte: admin.Durations{Count: 9, P50MS: 3, P99MS: 500}}},
		}},
		{Name: "spare"},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	const want = `
POOL   SERVER              STATE              WEIGHT  ACTIVE   TOTAL  FAILURES  5XX  TO UPSTREAM  TO CLIENT  FIRST BYTE     LAST CHECK
web    10.0.0.1:80         ready 4 days       1       3        12345  2         -    999 B        12 MB      -              status 200 (0.4 ms, 1s ago)
web    app-2.example:8080  not healthy 1m35s  256     500/500  7      0         -    -            -          -              connection refused (12.0 ms, 1m30s ago)
web    [2001:db8::1]:80    draining 3h1m0s    2       1        0      0         0    0 B          0 B        -              connected (1.0 ms, 0s ago)
web    10.0.0.4:80         unchecked 42ms     1       0        0      0         42   1.5 KB       2.0 KB     3.0 ms/500 ms  none yet
spare  (no servers)
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("printed:%s\nwant:%s", got, want)
	}
}

// The demo prints events as lines that people read.
func TestEventLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(eventLog{out: &out, mu: new(sync.Mutex)})
	log.Debug("not this")
	one := log.With("pool", "web")
	one.Info("server is healthy", "server", "127.0.0.1:1")
	one.With("server", "127.0.0.1:2").Warn("server is not healthy", "reason", "connection refused")
	log.Info("stopped")
	lines := strings.Split(out.String(), "\n")
	for i, want := range []string{
		"server is healthy       pool=web  server=127.0.0.1:1",
		"server is not healthy   pool=web  server=127.0.0.1:2  reason=connection refused",
		"stopped               ",
		"",
	} {
		if i >= len(lines) {
			t.Fatalf("%d lines, want 4: %q", len(lines), lines)
		}
		if _, event, _ := strings.Cut(lines[i], "  "); event != want {
			t.Errorf("line %d is %q, want %q", i, event, want)
		}
	}
}
