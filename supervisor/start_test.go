package supervisor

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"fulcrum/porttest"
)

var quiet = slog.New(slog.DiscardHandler)

// descriptors returns how many files and sockets are open.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// freeAddresses returns addresses that nobody else is given.
func freeAddresses(t *testing.T, n int) (all []string) {
	t.Helper()
	for range n {
		all = append(all, porttest.Closed(t))
	}
	return all
}

func TestEverythingOrNothing(t *testing.T) {
	taken := []string{listen(t).Addr().String(), listen(t).Addr().String(), listen(t).Addr().String()}
	free := freeAddresses(t, 2)
	nowhere := filepath.Join(t.TempDir(), "none", "access.log")
	c := parse(t, someTaken, free[0], taken[0], nowhere, taken[1], free[1], echo(t, "a"), taken[2])
	open := descriptors(t)
	_, err := Start(c, quiet)
	wantErr(t, err,
		`listener "taken-tcp"`, taken[0],
		`listener "no-log"`, nowhere, "no such file or directory",
		`listener "taken-web"`, taken[1],
		"admin", taken[2], "address already in use")
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 4+1 || !strings.Contains(lines[0], "problems") {
		t.Errorf("%d lines: %s", len(lines), err)
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the cause cannot be told: %v", err)
	}
	for _, address := range free {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Errorf("left bound: %v", err)
			continue
		}
		l.Close()
	}
	if now := descriptors(t); now != open {
		t.Errorf("%d descriptors open, %d before", now, open)
	}
}

const someTaken = `{
  "listeners": [
    {"name": "free-tcp",  "protocol": "tcp",  "address": %q, "pool": "all"},
    {"name": "taken-tcp", "protocol": "tcp",  "address": %q, "pool": "all", "access_log": "stderr"},
    {"name": "no-log",    "protocol": "tcp",  "address": "127.0.0.1:0", "pool": "all", "access_log": %q},
    {"name": "taken-web", "protocol": "http", "address": %q, "pool": "all"},
    {"name": "free-web",  "protocol": "http", "address": %q, "pool": "all"}],
  "pools": [{"name": "all", "servers": [%q]}],
  "admin": {"address": %q}}`

func TestOneProblemIsOneLine(t *testing.T) {
	taken := listen(t).Addr().String()
	_, err := Start(parse(t, `{"listeners": [{"name": "web", "protocol": "http", "address": %q, "pool": "p"}], "pools": [{"name": "p"}]}`, taken), quiet)
	wantErr(t, err, `listener "web": `, taken, "address already in use")
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than a line: %s", err)
	}
}

// Two balancers do not share an address, though each shares it among its loops.
func TestAnAddressIsNotSharedWithAnotherBalancer(t *testing.T) {
	const text = `{"listeners": [{"name": "db", "protocol": "tcp", "address": %q, "pool": "p"}], "pools": [{"name": "p"}]}`
	first := start(t, text, "127.0.0.1:0")
	_, err := Start(parse(t, text, first.address("db")), quiet)
	wantErr(t, err, `listener "db"`, first.address("db"), "address already in use")
}

func TestStart(t *testing.T) {
	a, b := echo(t, "a"), startWeb(t, "b")
	w := start(t, `{
	  "listeners": [
	    {"name": "db",   "protocol": "tcp",  "address": "127.0.0.1:0", "pool": "db"},
	    {"name": "wide", "protocol": "tcp",  "address": ":0",          "pool": "db"},
	    {"name": "web",  "protocol": "http", "address": "localhost:0", "pool": "web"},
	    {"name": "far",  "protocol": "http", "address": ":0",          "pool": "web"}],
	  "pools": [
	    {"name": "db", "algorithm": "round_robin", "servers": [%q]},
	    {"name": "web", "servers": [{"address": %q, "weight": 7, "max_connections": 9}], "health": {"path": "/"}},
	    {"name": "spare", "health": false}],
	  "admin": {"address": "127.0.0.1:0"}}`, a, "http://"+b.address)
	for _, l := range w.Listeners() {
		_, port, err := net.SplitHostPort(l.Address)
		if err != nil || port == "0" {
			t.Errorf("%s is bound to %q", l.Name, l.Address)
		}
		if l.Pool == "db" {
			if name := dial(t, "127.0.0.1:"+port).say("hello"); name != "a" {
				t.Errorf("%s: %q answered", l.Name, name)
			}
			continue
		}
		if status, body, err := get(t, "127.0.0.1:"+port, "/"); err != nil || status != 200 || body != "b" {
			t.Errorf("%s: %d %q, error %v", l.Name, status, body, err)
		}
	}
	status, body, err := get(t, w.AdminAddress(), "/servers")
	for _, part := range []string{a, b.address, `"spare"`, `"round_robin"`, `"weight":7`, `"max_connections":9`, `"status 200"`, `"connected"`} {
		if err != nil || status != 200 || !strings.Contains(body, part) {
			t.Errorf("no %q in %d %s, error %v", part, status, body, err)
		}
	}
	if log := w.log.String(); strings.Count(log, "msg=listening") != 4 || !strings.Contains(log, w.address("web")) {
		t.Errorf("logged %s", log)
	}
}

func TestNoAdminListener(t *testing.T) {
	w := start(t, `{"listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "p"}], "pools": [{"name": "p"}]}`)
	if a := w.AdminAddress(); a != "" {
		t.Errorf("admin at %q", a)
	}
	if status, _, err := get(t, w.address("web"), "/"); status != 503 || err != nil {
		t.Errorf("a pool without servers: %d, error %v", status, err)
	}
}

// Clients that come at once are served: they wait for the first check.
func TestClientsThatComeBeforeTheFirstCheck(t *testing.T) {
	for range 10 {
		a := echo(t, "a")
		w := start(t, onePool, quoted(a), "1s")
		if name := dial(t, w.address("echo")).say("early"); name != "a" {
			t.Errorf("%q answered", name)
		}
	}
}
