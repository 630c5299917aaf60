package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain also lets the test binary play the roles in which the program runs
// itself again, and that of a fulcrum that accepts connections and then hangs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "run" {
		hang(os.Args[len(os.Args)-1])
	}
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		main()
		os.Exit(0)
	}
	// The race detector otherwise sleeps for a second at the end of each process.
	if err := os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// hang accepts connections where the config says, until the process is killed.
func hang(config string) {
	text, err := os.ReadFile(config)
	if err != nil {
		panic(err)
	}
	var parsed struct{ Listeners []struct{ Address string } }
	if err := json.Unmarshal(text, &parsed); err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", parsed.Listeners[0].Address)
	if err != nil {
		panic(err)
	}
	for {
		if _, err := l.Accept(); err != nil {
			panic(err)
		}
	}
}

// bench runs the program with a command line, and returns what it printed.
func bench(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out, progress bytes.Buffer
	err = run(ctx, append([]string{"bench"}, args...), strings.NewReader(""), &out, &progress)
	if err != nil {
		t.Logf("progress: %s", progress.String())
	}
	return out.String(), err
}

// startOrigin serves in this process.
func startOrigin(t *testing.T, mode string) *origin {
	t.Helper()
	o, err := newOrigin(mode, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.close() })
	return o
}

// soon bounds everything that a test waits for.
func soon() time.Time { return time.Now().Add(10 * time.Second) }

// named returns a scenario.
func named(t *testing.T, name string) scenario {
	t.Helper()
	list, err := selectScenarios(scenarios(5000), "^"+name+"$")
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// A proxy passes bytes between clients and an origin and may spoil them.
type proxy struct {
	listener net.Listener
	target   string
	toClient func(io.Reader) io.Reader
	toServer func(io.Reader) io.Reader
	running  sync.WaitGroup
}

// startProxy starts a proxy; a nil function leaves a direction as it is.
func startProxy(t *testing.T, target string, toClient, toServer func(io.Reader) io.Reader) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	honest := func(r io.Reader) io.Reader { return r }
	p := &proxy{listener: l, target: target, toClient: honest, toServer: honest}
	if toClient != nil {
		p.toClient = toClient
	}
	if toServer != nil {
		p.toServer = toServer
	}
	p.running.Go(p.serve)
	t.Cleanup(func() {
		l.Close()
		p.running.Wait()
	})
	return l.Addr().String()
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		copyTo := func(to net.Conn, from io.Reader) {
			_, _ = io.Copy(to, from)
			_ = to.(*net.TCPConn).CloseWrite()
		}
		p.running.Go(func() {
			defer client.Close()
			defer server.Close()
			var up sync.WaitGroup
			up.Go(func() { copyTo(server, p.toServer(client)) })
			copyTo(client, p.toClient(server))
			// A client that only reads would otherwise never end.
			_ = client.SetReadDeadline(time.Now())
			up.Wait()
		})
	}
}

// spoil changes the byte at an offset.
type spoil struct {
	from io.Reader
	at   int
	seen int
}

func (s *spoil) Read(b []byte) (int, error) {
	n, err := s.from.Read(b)
	if i := s.at - s.seen; i >= 0 && i < n {
		b[i] ^= 0x20
	}
	s.seen += n
	return n, err
}
