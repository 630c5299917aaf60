package e2e_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// awaitStop waits for the balancer's end and returns its exit code and how long
// that took.
func (b *balancer) awaitStop() (code int, took time.Duration) {
	b.w.Helper()
	started := time.Now()
	b.w.await("fulcrum has ended", b.ended)
	return b.code(), time.Since(started)
}

// wantStop tells the balancer to stop, which has to end well within a limit.
func (b *balancer) wantStop(limit time.Duration) {
	b.w.Helper()
	b.signal(syscall.SIGTERM)
	if code, took := b.awaitStop(); code != 0 || took > limit {
		b.w.Errorf("after SIGTERM: exit code %d after %s, want 0 within %s", code, took, limit)
	}
}

// TestStopUnderLoad: a request whose connection was made is answered, whatever
// the moment of the signal.
func TestStopUnderLoad(t *testing.T) {
	const rounds = 3
	w := newWorld(t, 60*time.Second)
	web, db := w.nginxes("one", "two", "three"), w.redises("one", "two")
	for round := range rounds {
		config := w.fixed(underLoad(web, db))
		config["shutdown_timeout"] = "10s"
		b := w.balance(config)
		loads := []*load{
			w.loadUntilRefused("http keep-alive", b.listeners["web"], 8, keepAlive),
			w.loadUntilRefused("http close", b.listeners["web"], 24, closing),
			w.loadUntilRefused("tcp short", b.listeners["db"], 24, once(redisName)),
		}
		for _, l := range loads {
			l.more(int64(100 + 37*round))
		}
		b.wantStop(9 * time.Second)
		for _, l := range loads {
			l.all.Wait()
			l.wantNoFailure()
		}
	}
}

// TestStopServesTheBacklog: connections that the kernel has accepted and fulcrum
// has not, because it was busy, are served before the end.
func TestStopServesTheBacklog(t *testing.T) {
	const clients = 400
	w := newWorld(t, 30*time.Second)
	config := underLoad(w.nginxes("one"), w.redises("one"))
	config["shutdown_timeout"] = "10s"
	b := w.balance(config)
	b.signal(syscall.SIGSTOP)
	results := make(chan error, 2*clients)
	var asked sync.WaitGroup
	ask := func(address string, t talk) {
		conn := w.dial(address)
		asked.Add(1)
		go func() {
			_, _, err := t(asking{conn, &asked}, bufio.NewReader(conn))
			conn.Close()
			results <- err
		}()
	}
	for range clients {
		ask(b.listeners["web"], closing)
		ask(b.listeners["db"], redisName)
	}
	asked.Wait()
	b.signal(syscall.SIGTERM)
	b.signal(syscall.SIGCONT)
	failed := map[string]int{}
	for range 2 * clients {
		if err := receive(w, "every client has an answer", results); err != nil {
			failed[reason(err)]++
		}
	}
	if len(failed) > 0 {
		t.Errorf("of %d clients, half http and half tcp, these have failed: %v", 2*clients, failed)
	}
	if code, _ := b.awaitStop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// asking is a connection on which one request is sent.
type asking struct {
	net.Conn
	asked *sync.WaitGroup
}

func (a asking) Write(request []byte) (int, error) {
	defer a.asked.Done()
	return a.Conn.Write(request)
}

// TestStopLetsWorkFinish: what was in flight at the signal is finished, while
// new connections are not taken; then the end comes at once.
func TestStopLetsWorkFinish(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	g, echo := w.gate("held"), w.echoServer()
	config := w.fixed(httpAndTCP([]any{g.address}, []any{echo}, "round_robin"))
	config["shutdown_timeout"] = "20s"
	b := w.balance(config)
	held := w.getLater(b.listeners["web"], "/held")
	receive(w, "the request arrives", g.arrived)
	conn := w.dial(b.listeners["db"])
	wantEcho(w, conn, "before")

	b.signal(syscall.SIGTERM)
	for name, address := range b.listeners {
		w.eventually("listener "+name+" takes no connections", func() bool {
			late, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
			if err == nil {
				late.Close()
			}
			return err != nil
		})
	}
	if status, text, err := b.ask("GET", "/healthz", ""); err != nil || status != 503 || !strings.Contains(text, "stopping") {
		t.Errorf("/healthz while stopping: %d %s %v, want 503 and the reason", status, text, err)
	}
	wantEcho(w, conn, "still here")
	g.open()
	if a := receive(w, "the held request is answered", held); a.status != 200 || a.body != "held" || a.err != nil {
		t.Errorf("the request in flight: %+v", a)
	}
	w.must(conn.CloseWrite())
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("the connection in flight ended with %q, %v", rest, err)
	}
	if code, took := b.awaitStop(); code != 0 || took > 3*time.Second {
		t.Errorf("exit code %d, %s after the last work has ended; want 0 soon", code, took)
	}
}

// TestSecondSignal ends fulcrum at once, whatever is in flight, and says so.
func TestSecondSignal(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	config := tcpOnly(w.echoServer())
	config["shutdown_timeout"] = "1m"
	b := w.balance(config)
	conn := w.dial(b.listeners["db"])
	wantEcho(w, conn, "before")
	b.signal(syscall.SIGINT)
	w.eventually("fulcrum stops", func() bool { return strings.Contains(b.stderr.String(), "msg=stopping") })
	b.signal(syscall.SIGTERM)
	if code, took := b.awaitStop(); code != 1 || took > 2*time.Second {
		t.Errorf("exit code %d %s after the second signal, want 1 at once", code, took)
	}
	if !strings.Contains(b.stderr.String(), "second signal") {
		t.Error("stderr does not say why")
	}
}

// TestStuckClients: clients that never finish do not outlive the
// shutdown_timeout.
func TestStuckClients(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	g, echo := w.gate("held"), w.echoServer()
	config := httpAndTCP([]any{g.address}, []any{echo}, "round_robin")
	config["shutdown_timeout"] = "1s"
	b := w.balance(config)
	silent := w.dial(b.listeners["db"])
	wantEcho(w, silent, "before")
	held := w.getLater(b.listeners["web"], "/held")
	receive(w, "the request arrives", g.arrived)
	uploading := w.dial(b.listeners["web"])
	io.WriteString(uploading, "POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 1000\r\n\r\nthat is not all")
	beginning := w.dial(b.listeners["web"])
	io.WriteString(beginning, "GET / HTTP/1.1\r\nHost: ")

	started := time.Now()
	b.wantStop(4 * time.Second)
	if took := time.Since(started); took < 900*time.Millisecond {
		t.Errorf("work in flight was given %s, want the shutdown_timeout of 1s", took)
	}
	for name, conn := range map[string]net.Conn{"tcp": silent, "http, in a body": uploading, "http, in a head": beginning} {
		if text, err := io.ReadAll(conn); isTimeout(err) {
			t.Errorf("%s: the connection is still open, it got %q", name, text)
		}
	}
	if a := receive(w, "the held request ends", held); a.status == 200 {
		t.Errorf("the held request: %+v, want no answer from its server", a)
	}
}

// TestIdleClients: clients that keep a connection without a request do not hold
// up the stop, and see a clean end.
func TestIdleClients(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	config := underLoad(w.nginxes("one"), w.redises("one"))
	config["shutdown_timeout"] = "10s"
	b := w.balance(config)
	var idle []net.Conn
	for i := range 10 {
		conn := w.dial(b.listeners["web"])
		if i > 0 { // the first one has never asked anything
			if _, again, err := keepAlive(conn, bufio.NewReader(conn)); err != nil || !again {
				t.Fatalf("a first request: %v, kept: %t", err, again)
			}
		}
		idle = append(idle, conn)
	}
	b.wantStop(4 * time.Second)
	for i, conn := range idle {
		if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
			t.Errorf("idle connection %d ended with %q, %v; want a clean end", i, rest, err)
		}
	}
}

func isTimeout(err error) bool {
	network, ok := err.(net.Error)
	return ok && network.Timeout()
}
