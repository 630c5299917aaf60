package supervisor

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"fulcrum/admin"
	"fulcrum/porttest"
)

// A stop lets work in flight finish, takes no new work, refuses changes and
// says so on the admin listener until the end.
func TestStop(t *testing.T) {
	a := startWeb(t, "a")
	w := start(t, onePool, quoted(a.address), "1m")
	if ok, reason := w.Ready(); !ok || reason != "" {
		t.Errorf("ready %t, %q", ok, reason)
	}
	answer := w.held(a)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.stop(time.Minute)
	}()
	eventually(t, "no longer ready", func() bool { ok, _ := w.Ready(); return !ok })
	if status, body, err := get(t, w.AdminAddress(), "/healthz"); status != 503 || !strings.Contains(body, "stopping") || err != nil {
		t.Errorf("healthz: %d %s, error %v", status, body, err)
	}
	if status, body, err := get(t, w.AdminAddress(), "/servers"); status != 200 || !strings.Contains(body, `"active":1`) || err != nil {
		t.Errorf("servers: %d %s, error %v", status, body, err)
	}
	_, err := w.upload("", "127.0.0.1:1")
	wantRefusal(t, err, 409, "the balancer is stopping")
	_, err = w.Change(t.Context(), admin.ServerChange{Action: admin.Delete, Server: a.address})
	wantRefusal(t, err, 409, "the balancer is stopping")
	for _, l := range w.Listeners() {
		eventually(t, l.Name+" takes no connections", func() bool {
			conn, err := net.DialTimeout("tcp", l.Address, 50*time.Millisecond)
			if err == nil {
				conn.Close()
			}
			return errors.Is(err, syscall.ECONNREFUSED)
		})
	}
	select {
	case <-stopped:
		t.Fatal("stopped with an answer in flight")
	default:
	}
	close(a.release)
	if rest, err := io.ReadAll(answer.Body); string(rest) != "ended a" || err != nil {
		t.Errorf("got %q, error %v", rest, err)
	}
	wait(t, stopped, "stopped")
	if _, err := net.DialTimeout("tcp", w.AdminAddress(), patience); err == nil {
		t.Error("the admin listener still answers")
	}
	w.stop(0) // again
}

func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
}

// Those who call Stop while it is under way wait for its end; work that does
// not end is closed when the shutdown timeout, or the context, is over.
func TestStopClosesWhatDoesNotEnd(t *testing.T) {
	for name, c := range map[string]struct {
		shutdown string
		grace    time.Duration
	}{
		"shutdown timeout": {"200ms", time.Hour},
		"context":          {"1h", 200 * time.Millisecond},
		"at once":          {"1h", 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := startWeb(t, "a")
			w := start(t, strings.Replace(onePool, `"1m"}`, `"`+c.shutdown+`"}`, 1), quoted(a.address), "1m")
			answer := w.held(a)
			silent := dial(t, w.address("echo"))
			eventually(t, "two in flight", func() bool { return w.server(a.address).Active == 2 })
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					w.stop(c.grace)
					if active := w.server(a.address).Active; active != 0 {
						t.Errorf("stopped with %d in flight", active)
					}
				})
			}
			stopped := make(chan struct{})
			go func() { all.Wait(); close(stopped) }()
			wait(t, stopped, "stopped")
			silent.wantClosed()
			if rest, err := io.ReadAll(answer.Body); err == nil {
				t.Errorf("an answer cut off looks complete: %q", rest)
			}
		})
	}
}

// A deleted server that drains does not hold up a stop, nor is it forgotten.
func TestStopWithADrainingServer(t *testing.T) {
	a := echo(t, "a")
	w := start(t, onePool, quoted(a), "1h")
	held := dial(t, w.address("echo"))
	held.say("before")
	w.delete(a, false)
	w.stop(0)
	held.wantClosed()
	if s := w.server(a); s != nil && s.Active != 0 {
		t.Errorf("%+v", s)
	}
}

// load is clients that talk to both listeners until they are refused. What
// was accepted must be served.
type load struct {
	all     sync.WaitGroup
	served  atomic.Int64
	failure atomic.Pointer[error]
}

func (l *load) fail(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	l.failure.CompareAndSwap(nil, &err)
}

func (l *load) tcp(address string) {
	for {
		conn, err := net.DialTimeout("tcp", address, patience)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err != nil {
			l.fail("tcp: %w", err)
			return
		}
		conn.SetDeadline(time.Now().Add(patience))
		answer := make([]byte, 100)
		_, err = io.WriteString(conn, "hello\n")
		n := 0
		if err == nil {
			n, err = conn.Read(answer)
		}
		conn.Close()
		if err != nil || !strings.HasSuffix(string(answer[:n]), " hello\n") {
			l.fail("tcp: %q, error %v", answer[:n], err)
			return
		}
		l.served.Add(1)
	}
}

func (l *load) http(address string, keep bool) {
	transport := &http.Transport{DisableKeepAlives: !keep}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	for {
		answer, err := client.Get("http://" + address + "/")
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err != nil {
			l.fail("http: %w", err)
			return
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != 200 || len(body) != 1 {
			l.fail("http: %d %q, error %v", answer.StatusCode, body, err)
			return
		}
		l.served.Add(1)
	}
}

const twoPools = `{
  "listeners": [
    {"name": "echo", "protocol": "tcp",  "address": "127.0.0.1:0", "pool": "echo"},
    {"name": "web",  "protocol": "http", "address": "127.0.0.1:0", "pool": "web"}],
  "pools": [
    {"name": "echo", "servers": [%q, %q], "drain_timeout": "1m"},
    {"name": "web", "servers": [%q, %q], "drain_timeout": "1m", "health": {"path": "/"}}],
  "admin": {"address": "127.0.0.1:0"}}`

func (l *load) start(w *world) {
	for range 4 {
		l.all.Go(func() { l.tcp(w.address("echo")) })
		l.all.Go(func() { l.http(w.address("web"), true) })
	}
	l.all.Go(func() { l.http(w.address("web"), false) })
}

func (l *load) wantNoFailure(t *testing.T) {
	t.Helper()
	if err := l.failure.Load(); err != nil {
		t.Errorf("after %d served: %v", l.served.Load(), *err)
	}
}

func TestStopUnderLoad(t *testing.T) {
	w := start(t, twoPools, echo(t, "a"), echo(t, "b"), startWeb(t, "c").address, startWeb(t, "d").address)
	var l load
	l.start(w)
	eventually(t, "load", func() bool { return l.served.Load() > 500 || l.failure.Load() != nil })
	w.stop(time.Minute)
	l.all.Wait()
	l.wantNoFailure(t)
}

// Servers come and go, by force and without, while traffic flows, from many
// sides at once; then a stop in the middle of it. Whoever was not forced out
// saw nothing of it.
func TestStorm(t *testing.T) {
	echoes := []string{echo(t, "a"), echo(t, "b"), echo(t, "e")}
	webs := []string{startWeb(t, "c").address, startWeb(t, "d").address, startWeb(t, "f").address}
	w := start(t, twoPools, echoes[0], echoes[1], webs[0], webs[1])
	w.ready(echoes[0], webs[0]) // these two stay
	var l load
	l.start(w)
	ctx := t.Context()
	var changes atomic.Int64
	var all sync.WaitGroup
	storm := func(pool string, servers []string, force bool) {
		for i := 0; ; i++ {
			server := servers[i%len(servers)]
			_, err := w.Change(ctx, uploadOf(pool, server, 1+i%3, 0))
			if err == nil {
				_, err = w.Change(ctx, admin.ServerChange{Action: admin.Delete, Pool: pool, Server: server, Force: force})
			}
			switch refusalStatus(err) {
			case 0, http.StatusNotFound: // the latter: another goroutine's delete came first
				changes.Add(1)
				w.Pools()
			case http.StatusConflict: // the stop
				return
			default:
				t.Errorf("refused: %v", err)
				return
			}
		}
	}
	for range 2 {
		all.Go(func() { storm("echo", echoes[1:], false) })
		all.Go(func() { storm("web", webs[1:], false) })
	}
	all.Go(func() { storm("echo", []string{porttest.Closed(t)}, true) })
	all.Go(func() { storm("web", []string{porttest.Closed(t)}, true) })
	eventually(t, "changes under load", func() bool {
		return changes.Load() > 500 && l.served.Load() > 500 || l.failure.Load() != nil
	})
	w.stop(time.Minute)
	all.Wait()
	l.all.Wait()
	l.wantNoFailure(t)
	for _, p := range w.Pools() {
		for _, s := range p.Servers {
			if s.Active != 0 {
				t.Errorf("%s has %d active after the stop", s.Address, s.Active)
			}
		}
	}
}

// refusalStatus returns 0 for no error and -1 for one that is no refusal.
func refusalStatus(err error) int {
	if refusal, ok := errors.AsType[*admin.Refusal](err); ok {
		return refusal.Status
	}
	if err != nil {
		return -1
	}
	return 0
}
