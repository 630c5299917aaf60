package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

// noNames replaces name resolution: every lookup fails at once, or hangs.
func noNames(t *testing.T, hang bool) {
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if hang {
			<-ctx.Done()
		}
		return nil, errors.New("no name server here")
	}}
}

// descriptors returns how many files and sockets are open.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// freeAddress returns an address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l := listen(t)
	defer l.Close()
	return l.Addr().String()
}

func TestEverythingOrNothing(t *testing.T) {
	noNames(t, false)
	for name, names := range map[string]bool{"ports": false, "ports and names": true} {
		t.Run(name, func(t *testing.T) {
			taken := []string{listen(t).Addr().String(), listen(t).Addr().String(), listen(t).Addr().String()}
			free := []string{freeAddress(t), freeAddress(t)}
			server := echo(t, "a")
			if names {
				server = "nowhere.example:80"
			}
			c := parse(t, someTaken, free[0], taken[0], taken[1], free[1], server, taken[2])
			open := descriptors(t)
			_, err := Start(c, quiet)
			wantErr(t, err,
				`listener "taken-tcp"`, taken[0],
				`listener "taken-web"`, taken[1],
				"admin", taken[2], "address already in use")
			want := 3
			if names {
				wantErr(t, err, `pool "all": server "nowhere.example:80"`)
				want++
			}
			if lines := strings.Split(err.Error(), "\n"); len(lines) != want+1 || !strings.Contains(lines[0], "problems") {
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
		})
	}
}

const someTaken = `{
  "listeners": [
    {"name": "free-tcp",  "protocol": "tcp",  "address": %q, "pool": "all"},
    {"name": "taken-tcp", "protocol": "tcp",  "address": %q, "pool": "all"},
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

func TestHostNames(t *testing.T) {
	_, port, _ := net.SplitHostPort(echo(t, "a"))
	w := start(t, onePool, quoted("LOCALHOST:"+port), "1s")
	w.ready("localhost:" + port)
	if name := dial(t, w.address("echo")).say("hello"); name != "a" {
		t.Errorf("%q answered", name)
	}
	w.delete("http://Localhost:"+port, true)
	w.gone("localhost:" + port)
}

func TestNamesThatDoNotResolve(t *testing.T) {
	noNames(t, false)
	_, err := Start(parse(t, `{
	  "listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "one"}],
	  "pools": [{"name": "one", "servers": ["a.example:1", "127.0.0.1:2"]}, {"name": "two", "servers": ["b.example:3"]}]}`), quiet)
	wantErr(t, err, "2 problems\n", `pool "one": server "a.example:1": `, `pool "two": server "b.example:3": `, "no name server here")
}

// A name server that does not answer holds up an upload only as long as its
// client waits, and nobody else.
func TestNameServerThatHangs(t *testing.T) {
	noNames(t, true)
	a := echo(t, "a")
	w := start(t, onePool, quoted(a), "1s")
	ctx, cancel := context.WithCancel(t.Context())
	uploaded := make(chan error, 1)
	go func() {
		_, _, err := w.Upload(ctx, uploadRequest("slow.example:80"))
		uploaded <- err
	}()
	w.delete(a, false)
	w.gone(a)
	cancel()
	select {
	case err := <-uploaded:
		wantErr(t, err, `server "slow.example:80"`)
	case <-time.After(patience):
		t.Fatal("the upload does not end")
	}
	if w.server("slow.example:80") != nil {
		t.Error("uploaded although it did not resolve")
	}
}
