package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"fulcrum/admin"
	"fulcrum/events"
)

func TestEvents(t *testing.T) {
	at := balancer(t, `{"name": "web", "health": false, "servers": ["127.0.0.1:1"]}, {"name": "api", "health": false}`)
	fulcrum(t, "servers", "upload", "--admin", at, "--pool", "api", "--weight", "3", "127.0.0.1:2").ok()
	all := fulcrum(t, "events", "--admin", at)
	all.ok("server ready       web  127.0.0.1:1  checks are off (was unchecked for ", "listener started   web  http on 127.0.0.1:", "balancer started ",
		"server uploaded    api  127.0.0.1:2  weight 3, max_connections 0", "pool ready         api  1 ready")
	api := fulcrum(t, "events", "--admin", at, "--pool", "api")
	if api.ok(); strings.Contains(api.stdout, "web") || strings.Count(api.stdout, "\n") != 3 {
		t.Errorf("printed %s", api.stdout)
	}
	last := fulcrum(t, "events", "--admin", at, "--json", "-n", "1")
	last.ok()
	var e events.Event
	if err := json.Unmarshal([]byte(last.stdout), &e); err != nil || strings.Count(last.stdout, "\n") != 1 || e.Pool != "api" || e.ID == 0 {
		t.Errorf("printed %s, error %v, parsed %+v", last.stdout, err, e)
	}
	fulcrum(t, "events", "--admin", at, "--pool", strings.Repeat("x", 600)).refused(exitFailed, "1 to 512 bytes")
}

// Following shows what there is and what happens, until nobody wants to read it.
func TestFollowEvents(t *testing.T) {
	at := balancer(t, `{"name": "web", "health": false}`)
	in, out := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run([]string{"fulcrum", "events", "--follow", "--json", "--admin", at}, out, io.Discard)
	}()
	kinds := make(chan events.Event)
	go func() {
		for lines := json.NewDecoder(in); ; {
			var e events.Event
			if lines.Decode(&e) != nil {
				close(kinds)
				return
			}
			kinds <- e
		}
	}()
	until := func(kind events.Kind, server string) {
		t.Helper()
		for {
			if e := received(t, kinds); e.Kind == kind && e.Server == server {
				return
			}
		}
	}
	until(events.BalancerStarted, "")
	fulcrum(t, "servers", "upload", "--admin", at, "127.0.0.1:2").ok()
	until(events.ServerUploaded, "127.0.0.1:2")
	in.Close()
	fulcrum(t, "servers", "delete", "--admin", at, "127.0.0.1:2").ok()
	if code := received(t, ended); code != exitFailed {
		t.Errorf("exit code %d after nobody reads any more", code)
	}
	<-kinds
}

func TestPrintEvent(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	var out bytes.Buffer
	for _, e := range []events.Event{
		{Kind: events.ServerNotReady, Pool: "web", Server: "10.0.0.1:80", Reason: "connection refused", Was: "ready", Since: now.Add(-3*time.Hour - 12*time.Minute), Count: 1},
		{Kind: events.ServerReady, Pool: "web", Server: "10.0.0.1:80", Reason: "status 200", Was: "not healthy", Since: now.Add(-72 * time.Hour), Count: 1},
		{Kind: events.PoolQueueFull, Pool: "web", Reason: "every ready server is at its max_connections, and 5 wait", Count: 667},
		{Kind: events.ConfigReloaded, Reason: "changes: 2", Details: []string{`pool "a" added`, `pool "b" removed`}, Count: 1},
		{Kind: events.ListenerStopped, Listener: "db", Reason: "tcp on [::1]:5432", Count: 1},
	} {
		e.At = now
		if err := printEvent(&out, &e); err != nil {
			t.Fatal(err)
		}
	}
	const want = `
2026-01-02 03:04:05  server not ready   web  10.0.0.1:80  connection refused (was ready for 3h12m0s)
2026-01-02 03:04:05  server ready       web  10.0.0.1:80  status 200 (was not healthy for 3 days)
2026-01-02 03:04:05  pool queue full    web  every ready server is at its max_connections, and 5 wait (667 times)
2026-01-02 03:04:05  config reloaded    changes: 2
    pool "a" added
    pool "b" removed
2026-01-02 03:04:05  listener stopped   db  tcp on [::1]:5432
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("printed:%s\nwant:%s", got, want)
	}
}

func TestExplain(t *testing.T) {
	at := balancer(t, `{"name": "web", "health": false, "servers": ["127.0.0.1:1", "127.0.0.1:2"]}, {"name": "api"}`)
	fulcrum(t, "explain", "--admin", at, "web").ok("pool web: least_connections, fed by web\n",
		"next:    127.0.0.1:1: of the 2 that have the least active by weight it has its turn", "127.0.0.1:1  ready  ", "yes, and it is next")
	fulcrum(t, "explain", "--admin", at, "--listener", "web").ok("pool web")
	fulcrum(t, "explain", "--admin", at, "api").ok("pool api: least_connections, fed by no listener", "next:    none: no server is ready")
	var e admin.Explanation
	asJSON := fulcrum(t, "explain", "--admin", at, "--json", "web")
	asJSON.ok()
	if err := json.Unmarshal([]byte(asJSON.stdout), &e); err != nil || e.Next != "127.0.0.1:1" || len(e.Servers) != 2 || e.Retries.Attempts == 0 {
		t.Errorf("printed %s, error %v", asJSON.stdout, err)
	}
	fulcrum(t, "explain", "--admin", at).refused(exitUsage, "pool is missing; use one of: web, api")
	fulcrum(t, "explain", "--admin", at, "wbe").refused(exitFailed, `pool "wbe" does not exist; use one of: web, api`)
	fulcrum(t, "explain", "--admin", at, "--listener", "web", "api").refused(exitUsage, `listener "web" does not feed pool "api"`)
	fulcrum(t, "explain", "--admin", at, "--listener", "x").refused(exitFailed, `listener "x" does not exist; use one of: web`)
}

func TestPrintExplanation(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	since := now.Add(-90 * time.Second)
	var out bytes.Buffer
	err := printExplanation(&out, &admin.Explanation{
		Pool: "web", Listeners: []string{"http", "https"}, Algorithm: "least_connections", Next: "10.0.0.2:80", Why: "of the 2 that can be chosen it has the least active by weight",
		Queue: admin.ExplainedQueue{Waiting: 0, Length: 100}, Retries: admin.ExplainedRetries{Attempts: 7, Percent: 20, Left: 33},
		Servers: []admin.ExplainedServer{
			{Address: "10.0.0.1:80", Resolved: "10.0.0.1:80", State: "ready", Since: since, Weight: 3, Active: 4, Score: 4. / 3},
			{Address: "10.0.0.2:80", Resolved: "10.0.0.2:80", State: "ready", Since: since, Weight: 1, Active: 1, MaxConnections: 5, Score: 1},
			{Address: "10.0.0.3:80", Resolved: "10.0.0.3:80", State: "not healthy", Since: since, Weight: 1, Excluded: "not healthy: connection refused"},
			{Address: "app.example:80", State: "ready", Since: since, Weight: 1, Active: 9, Score: 9},
		},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	const want = `
pool web: least_connections, fed by http, https
next:    10.0.0.2:80: of the 2 that can be chosen it has the least active by weight
queue:   0 wait, 100 may
retries: 7 for each connection or request; 33 left of all (20% of the last 10 s)

SERVER          STATE        SINCE      WEIGHT  ACTIVE  ACTIVE/WEIGHT  CAN BE CHOSEN
10.0.0.1:80     ready        1m30s ago  3       4       1.33           yes
10.0.0.2:80     ready        1m30s ago  1       1/5     1              yes, and it is next
10.0.0.3:80     not healthy  1m30s ago  1       0       0              no: not healthy: connection refused
app.example:80  ready        1m30s ago  1       9       9              yes, but its name leads nowhere
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("printed:%s\nwant:%s", got, want)
	}
}

// loggers runs what newLogger makes of flags, for what is written to.
func loggers(t *testing.T, to io.Writer, flags ...string) (log *slog.Logger, level *slog.LevelVar) {
	t.Helper()
	app := &cli.App{ErrWriter: to, Flags: []cli.Flag{logLevelFlag, logFormatFlag}, Action: func(c *cli.Context) (err error) {
		log, level, err = newLogger(c)
		return err
	}}
	if err := app.Run(append([]string{"fulcrum"}, flags...)); err != nil {
		t.Fatal(err)
	}
	return log, level
}

// People get text, programs JSON, unless they want it otherwise.
func TestLogFormat(t *testing.T) {
	for flags, want := range map[string]string{"": `"msg":"listening","port":80}`, "--log-format json": `"msg":"listening"`, "--log-format text": "msg=listening port=80"} {
		var out bytes.Buffer
		log, _ := loggers(t, &out, strings.Fields(flags)...)
		log.Info("listening", "port", 80)
		has(t, out.String(), want)
	}
	var out bytes.Buffer
	log, _ := loggers(t, &out)
	log.Info("all", "timeout", 30*time.Second, "error", errors.New("no"), "address", netip.MustParseAddr("::1"), "signal", syscall.SIGHUP)
	has(t, out.String(), `"level":"INFO"`, `"timeout":"30s","error":"no","address":"::1","signal":"hangup"`)
	there, here := terminal(t)
	log, _ = loggers(t, here)
	log.Info("listening", "port", 80)
	read := make([]byte, 200)
	n, err := there.Read(read)
	if err != nil {
		t.Fatal(err)
	}
	has(t, string(read[:n]), "msg=listening port=80")
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if isTerminal(null) {
		t.Error("a device that is no terminal is taken for one")
	}
}

// terminal opens a pseudo terminal: what is written here is read there.
func terminal(t *testing.T) (there, here *os.File) {
	t.Helper()
	there, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	t.Cleanup(func() { there.Close() })
	fd := int(there.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		here, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_WRONLY|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	t.Cleanup(func() { here.Close() })
	return there, here
}

func TestLogLevel(t *testing.T) {
	var out bytes.Buffer
	log, level := loggers(t, &out, "--log-level", "warn", "--log-format", "text")
	say := func() string {
		out.Reset()
		log.Debug("d")
		log.Info("i")
		log.Warn("w")
		log.Error("e")
		return out.String()
	}
	if text := say(); strings.Count(text, "\n") != 2 {
		t.Errorf("at warn it says %s", text)
	}
	level.Set(slog.LevelDebug)
	if text := say(); strings.Count(text, "\n") != 4 {
		t.Errorf("at debug it says %s", text)
	}

	at, of := balancerWithLevel(t, `{"name": "web"}`)
	of.Set(slog.LevelWarn)
	fulcrum(t, "log-level", "--admin", at).ok("warn\n")
	fulcrum(t, "log-level", "--admin", at, "debug").ok("debug\n")
	fulcrum(t, "log-level", "--admin", at, "--json").ok(`"level": "debug"`)
	if of.Level() != slog.LevelDebug {
		t.Errorf("the level is %v", of.Level())
	}
	fulcrum(t, "log-level", "--admin", at, "loud").refused(exitUsage, `"loud" is not known; use debug, info, warn or error`)
	fulcrum(t, "log-level", "--admin", balancer(t, `{"name": "web"}`), "info").refused(exitFailed, "cannot be changed")
}
