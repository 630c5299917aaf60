package health

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fulcrum/pool"
	"fulcrum/porttest"
)

// eager checks as often as possible.
func eager(path string) Options {
	return Options{Interval: 5 * time.Millisecond, Timeout: patience, Rise: 2, Fall: 3, Path: path, Status: anyStatus}
}

// lazy checks once and then not for a long time.
func lazy(path string) Options {
	return Options{Interval: time.Hour, Timeout: time.Hour, Rise: 2, Fall: 3, Path: path, Status: anyStatus}
}

func TestNothingIsReadyBeforeItsFirstCheckPassed(t *testing.T) {
	asked, answered := make(chan struct{}), make(chan struct{})
	address := script(t, func(conn net.Conn) {
		readHead(conn)
		close(asked)
		<-answered
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	})
	w := newWorld(t, lazy("/"))
	upload(w.Pool, address)
	if w.status(address).Health.Checked() {
		t.Error("checked by New, before Reconcile")
	}
	granted := make(chan pool.Lease, 1)
	w.Reconcile()
	<-asked // at once: the interval is an hour
	if _, err := w.Acquire(nil); err != pool.ErrUnchecked {
		t.Errorf("acquire before the answer: %v", err)
	}
	if err := w.Await(&pool.Waiter{Granted: func(l pool.Lease, _ error) { granted <- l }}); err != nil {
		t.Fatalf("await: %v", err)
	}
	close(answered)
	select {
	case lease := <-granted:
		if lease.Server() == nil {
			t.Error("no server was granted after the answer")
		}
		lease.Release(pool.Served)
	case <-time.After(patience):
		t.Fatal("nothing is granted to those who wait for the first check")
	}
	h := w.status(address).Health
	if !h.Healthy || !h.Passed || h.Reason != "status 200" || h.At.IsZero() || h.Since.IsZero() || h.Took <= 0 || h.Took > patience {
		t.Errorf("recorded %+v", h)
	}
}

func TestAServerThatIsDownIsNotReady(t *testing.T) {
	w := newWorld(t, lazy(""))
	address := porttest.Closed(t)
	w.upload(address)
	eventually(t, "checked", func() bool { return w.status(address).Health.Checked() })
	if s := w.status(address); s.Ready || s.Health.Passed || s.Health.Reason != "connection refused" {
		t.Errorf("status %+v", s)
	}
	if _, err := w.Acquire(nil); err != pool.ErrNoneReady {
		t.Errorf("acquire: %v", err)
	}
}

// A real server goes down and comes back; each change is one line.
func TestServerFallsAndRises(t *testing.T) {
	var down atomic.Bool
	address := script(t, func(conn net.Conn) {
		readHead(conn)
		if down.Load() {
			io.WriteString(conn, "HTTP/1.1 500 Oops\r\n\r\n")
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	})
	w := newWorld(t, eager("/health"))
	w.upload(address)
	for i := range 2 {
		eventually(t, "healthy", func() bool { return w.status(address).Ready })
		down.Store(true)
		eventually(t, "unhealthy", func() bool { return !w.status(address).Ready })
		down.Store(i > 0)
	}
	w.Stop()
	const up, gone = `INFO server is healthy`, `WARN server is not healthy`
	attrs := func(reason string) string { return " [pool=web server=" + address + " reason=" + reason + "]" }
	wantLines(t, w,
		up+attrs("status 200"),
		gone+attrs("status 500, expected 200-399"),
		up+attrs("status 200"),
		gone+attrs("status 500, expected 200-399"))
}

func wantLines(t *testing.T, w *world, want ...string) {
	t.Helper()
	got := w.log.take()
	if len(got) != len(want) {
		t.Fatalf("logged %q, want %q", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("line %d is %q, want %q", i, got[i], want[i])
		}
	}
}

// Servers come and go by name, as after a lookup: the check follows Resolved.
func TestAddressChangesUnderTheSameName(t *testing.T) {
	good, bad := script(t, func(net.Conn) {}), porttest.Closed(t)
	w := newWorld(t, eager(""))
	to := func(resolved string) {
		at := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(resolved))
		w.Pool.Upload(pool.ServerSpec{Address: "app.example:80", Resolved: at})
		w.Reconcile()
	}
	to(good)
	eventually(t, "healthy", func() bool { return w.status("app.example:80").Ready })
	to(bad)
	eventually(t, "unhealthy", func() bool { return !w.status("app.example:80").Ready })
	to(good)
	eventually(t, "healthy again", func() bool { return w.status("app.example:80").Ready })
}

func TestOff(t *testing.T) {
	w := newWorld(t, Options{Off: true})
	address := porttest.Closed(t)
	s := w.upload(address)
	w.upload("later.example:80")
	for _, name := range []string{address, "later.example:80"} {
		if s := w.status(name); !s.Ready || s.Health.Reason != "checks are off" || !s.Health.Passed || !s.Health.Checked() {
			t.Errorf("status %+v", s)
		}
	}
	w.remove(s)
	w.upload(address)
	if !w.status(address).Ready {
		t.Error("not ready after it came back")
	}
	wantLines(t, w)
}

// Stop does not wait for servers: neither for their answers nor for their
// handshakes; and what a check was stopped in says nothing about the server.
func TestStopInTheMiddleOfChecks(t *testing.T) {
	const servers = 50
	var asked sync.WaitGroup
	asked.Add(servers)
	w := newWorld(t, lazy("/"))
	for range servers {
		w.upload(script(t, func(conn net.Conn) {
			readHead(conn)
			asked.Done()
			io.Copy(io.Discard, conn)
		}))
	}
	asked.Wait()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.Stop()
	}()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatalf("not stopped within %v", patience)
	}
	for _, s := range w.Status() {
		if s.Health.Checked() {
			t.Fatalf("a check that was stopped was recorded: %+v", s.Health)
		}
	}
	wantLines(t, w)
	w.Stop()
}

// Everything at once, for the race detector: uploads, removals, traffic that
// fails, and Stop in the middle of it.
func TestStorm(t *testing.T) {
	address := script(t, answer("HTTP/1.1 200 OK\r\n\r\n"))
	w := newWorld(t, eager("/"))
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				w.remove(w.upload(address))
			}
		})
	}
	var healthy, served atomic.Int64
	all.Go(func() {
		for ctx.Err() == nil {
			if lease, err := w.Acquire(nil); err == nil {
				lease.Release(pool.ConnectFailed)
				served.Add(1)
			}
			for _, s := range w.Status() {
				if s.Ready {
					healthy.Add(1)
				}
			}
		}
	})
	eventually(t, "a server got traffic", func() bool { return served.Load() > 0 && healthy.Load() > 0 })
	w.Stop()
	cancel()
	all.Wait()
	for _, s := range w.Servers() {
		w.remove(s)
	}
}

// A server behind net/http, as most are.
func TestNetHTTP(t *testing.T) {
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" || r.Method != http.MethodGet || r.Host != listener.Addr().String() {
			w.WriteHeader(http.StatusTeapot)
		}
	})}
	var all sync.WaitGroup
	all.Go(func() { server.Serve(listener) })
	t.Cleanup(all.Wait)
	t.Cleanup(func() { server.Close() })
	reason, passed := probed(t, Options{Timeout: patience, Path: "/health", Status: anyStatus}, listener.Addr().String())
	want(t, reason, passed, "status 200", true)
	reason, passed = probed(t, Options{Timeout: patience, Path: "/other", Status: anyStatus}, listener.Addr().String())
	want(t, reason, passed, "status 418, expected 200-399", false)
}
