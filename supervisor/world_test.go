package supervisor

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fulcrum/admin"
	"fulcrum/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests. None of them needs it to pass.
const patience = 20 * time.Second

// parse returns the config that a text says.
func parse(t *testing.T, format string, args ...any) *config.Config {
	t.Helper()
	c, err := config.Parse(fmt.Appendf(nil, format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// world is a running balancer and what it logged.
type world struct {
	*Supervisor
	t   *testing.T
	log *record
}

// start runs the balancer that a text says, until the test ends.
func start(t *testing.T, format string, args ...any) *world {
	t.Helper()
	log := &record{}
	s, err := Start(parse(t, format, args...), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Supervisor: s, t: t, log: log}
	t.Cleanup(func() { w.stop(0) })
	return w
}

// stop stops the balancer; what is in flight may go on for so long.
func (w *world) stop(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	w.Stop(ctx)
}

// record is what was logged.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (r *record) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(line)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// onePool is a tcp and an http listener that feed one pool, with an admin
// listener beside them.
const onePool = `{
  "listeners": [
    {"name": "echo", "protocol": "tcp",  "address": "127.0.0.1:0", "pool": "all"},
    {"name": "web",  "protocol": "http", "address": "127.0.0.1:0", "pool": "all"}],
  "pools": [{"name": "all", "servers": [%s], "drain_timeout": %q, "health": {"interval": "1m", "timeout": "20s"}}],
  "admin": {"address": "127.0.0.1:0"},
  "shutdown_timeout": "1m"}`

// listen returns a listener on a free port, closed when the test ends.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// echo is a server that answers each line by its name and the line.
func echo(t *testing.T, name string) (address string) {
	t.Helper()
	l := listen(t)
	serveEcho(t, l, name)
	return l.Addr().String()
}

// serveEcho is that server until the test ends.
func serveEcho(t *testing.T, l net.Listener, name string) {
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					if _, err := fmt.Fprintf(conn, "%s %s\n", name, lines.Text()); err != nil {
						return
					}
				}
			})
		}
	})
}

// web is an http server that answers by its name; a request for /held waits in
// the middle of its answer.
type web struct {
	address string
	held    chan struct{} // delivers when a request is in the middle of its answer
	release chan struct{} // closed to let them go on
	open    atomic.Int64  // connections
}

func startWeb(t *testing.T, name string) *web {
	t.Helper()
	l := listen(t)
	s := &web{address: l.Addr().String(), held: make(chan struct{}, 100), release: make(chan struct{})}
	count := func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.open.Add(1)
		case http.StateClosed:
			s.open.Add(-1)
		}
	}
	server := &http.Server{ConnState: count, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/held" {
			io.WriteString(w, name)
			return
		}
		io.WriteString(w, "begun ")
		w.(http.Flusher).Flush()
		s.held <- struct{}{}
		select {
		case <-s.release:
			io.WriteString(w, "ended "+name)
		case <-r.Context().Done():
		}
	})}
	var all sync.WaitGroup
	all.Go(func() { server.Serve(l) })
	t.Cleanup(func() { server.Close(); all.Wait() })
	return s
}

// talk is a client's connection to a tcp listener.
type talk struct {
	net.Conn
	t     *testing.T
	lines *bufio.Reader
}

func dial(t *testing.T, address string) *talk {
	t.Helper()
	return dialOver(t, "tcp", address)
}

func dialUnix(t *testing.T, path string) *talk {
	t.Helper()
	return dialOver(t, "unix", path)
}

func dialOver(t *testing.T, network, address string) *talk {
	t.Helper()
	conn, err := net.DialTimeout(network, address, patience)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { conn.Close() })
	return &talk{conn, t, bufio.NewReader(conn)}
}

// say sends a line and expects an answer; it returns who answered.
func (c *talk) say(line string) (name string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c, line); err != nil {
		c.t.Fatal(err)
	}
	answer, err := c.lines.ReadString('\n')
	name, rest, _ := strings.Cut(answer, " ")
	if err != nil || rest != line+"\n" {
		c.t.Fatalf("said %q, got %q, error %v", line, answer, err)
	}
	return name
}

// wantClosed expects that the connection is closed by the balancer.
func (c *talk) wantClosed() {
	c.t.Helper()
	if _, err := c.lines.ReadByte(); err == nil || os.IsTimeout(err) {
		c.t.Fatalf("want the connection closed, got error %v", err)
	}
}

// get returns the body of an http answer.
func get(t *testing.T, address, path string) (status int, body string, err error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Get("http://" + address + path)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// server returns what is known of a server, nil if it is in no pool.
func (w *world) server(address string) *admin.Server {
	for _, p := range w.Pools() {
		for _, s := range p.Servers {
			if s.Address == address {
				return &s
			}
		}
	}
	return nil
}

func (w *world) ready(addresses ...string) {
	w.t.Helper()
	for _, a := range addresses {
		eventually(w.t, a+" ready", func() bool { s := w.server(a); return s != nil && s.Ready })
	}
}

func (w *world) gone(address string) {
	w.t.Helper()
	eventually(w.t, address+" gone", func() bool { return w.server(address) == nil })
}

// address returns where a listener is bound.
func (w *world) address(name string) string {
	for _, l := range w.Listeners() {
		if l.Name == name {
			return l.Address
		}
	}
	w.t.Fatalf("no listener %q", name)
	return ""
}

// uploadOf is the upload of a server.
func uploadOf(pool, server string, weight, maxConnections int) admin.ServerChange {
	return admin.ServerChange{Action: admin.Upload, Pool: pool, Server: server, Weight: &weight, MaxConnections: &maxConnections}
}

func (w *world) upload(pool, server string) (created bool, err error) {
	done, err := w.Change(context.Background(), admin.ServerChange{Action: admin.Upload, Pool: pool, Server: server})
	return done.Created, err
}

func (w *world) delete(server string, force bool) {
	w.t.Helper()
	done, err := w.Change(context.Background(), admin.ServerChange{Action: admin.Delete, Server: server, Force: force})
	if err != nil || done.Pool != "all" {
		w.t.Fatalf("delete: pool %q, error %v", done.Pool, err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// quoted lists addresses as a config does.
func quoted(addresses ...string) string { return `"` + strings.Join(addresses, `", "`) + `"` }

// wantErr expects an error that has all these parts.
func wantErr(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in %q", part, err)
		}
	}
}
