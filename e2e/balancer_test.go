package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// balancer is a running fulcrum.
type balancer struct {
	*process
	w         *world
	listeners map[string]string // the bound addresses by listener's name
	admin     string
}

// server is a server as GET /servers shows it.
type server struct {
	Address       string
	Weight        int
	Healthy       bool
	Draining      bool
	Ready         bool
	Active, Total int64
	Failures      int64
}

var (
	listeningLine = regexp.MustCompile(`msg=listening listener=(\S+) protocol=\S+ address=(\S+)`)
	adminLine     = regexp.MustCompile(`msg="admin listening" address=(\S+)`)
)

// balance runs a config and waits until all its servers are ready.
func (w *world) balance(config object) *balancer {
	w.Helper()
	b := w.startBalancer(raceBinary, config)
	b.awaitReady()
	return b
}

// startBalancer runs a config, with an admin listener on a free port and a short
// shutdown_timeout unless it says otherwise.
func (w *world) startBalancer(binary string, config object) *balancer {
	w.Helper()
	defaults := object{"admin": object{"address": "127.0.0.1:0"}, "shutdown_timeout": "2s"}
	for key, value := range defaults {
		if _, said := config[key]; !said {
			config[key] = value
		}
	}
	path := w.configFile(config)
	return w.balancerOf(w.start(w.command(binary, "run", "--log-format", "text", "--config", path)), len(config["listeners"].([]object)))
}

func (w *world) configFile(config object) string {
	w.Helper()
	text, err := json.MarshalIndent(config, "", "  ")
	w.must(err)
	path := filepath.Join(w.TempDir(), "config.json")
	w.must(os.WriteFile(path, text, 0o600))
	return path
}

// balancerOf waits until the process says that it listens, on n listeners and
// the admin listener. With the test it is told to stop, which has to end well.
func (w *world) balancerOf(p *process, n int) *balancer {
	w.Helper()
	b := &balancer{process: p, w: w, listeners: make(map[string]string)}
	w.eventually("fulcrum listens", func() bool {
		select {
		case <-p.ended:
			w.Fatalf("fulcrum ended at once, exit code %d", p.code())
		default:
		}
		log := p.stderr.String()
		for _, found := range listeningLine.FindAllStringSubmatch(log, -1) {
			b.listeners[found[1]] = found[2]
		}
		if found := adminLine.FindStringSubmatch(log); found != nil {
			b.admin = found[1]
		}
		return len(b.listeners) == n && b.admin != ""
	})
	w.Cleanup(b.end)
	w.eventually("/healthz is ok", func() bool {
		status, _, err := b.ask("GET", "/healthz", "")
		return err == nil && status == 200
	})
	return b
}

// end stops the balancer if the test has not, and looks at what it leaves.
func (b *balancer) end() {
	select {
	case <-b.ended:
	default:
		b.signal(syscall.SIGTERM)
		select {
		case <-b.ended:
			if code := b.code(); code != 0 {
				b.w.Errorf("fulcrum ended with exit code %d after SIGTERM, want 0", code)
			}
		case <-time.After(10 * time.Second):
			b.w.Error("fulcrum did not end within 10s after SIGTERM")
			b.kill()
		}
	}
	for _, sign := range []string{"DATA RACE", "panic", "fatal error"} {
		if strings.Contains(b.stderr.String(), sign) {
			b.w.Errorf("fulcrum's stderr has %q in it", sign)
		}
	}
}

// adminHTTP keeps no connections, so that none stands in the way of a stop.
var adminHTTP = http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

// ask sends a request to the admin listener.
func (b *balancer) ask(method, path, body string) (status int, answer string, err error) {
	return b.askBy(adminHTTP, method, path, body)
}

// askBy is ask by a client of its own.
func (b *balancer) askBy(client http.Client, method, path, body string) (status int, answer string, err error) {
	host := b.admin
	if socket, isUnix := strings.CutPrefix(b.admin, "unix:"); isUnix {
		host = "fulcrum"
		client.Transport = &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
		}
	}
	request, err := http.NewRequest(method, "http://"+host+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// pools returns the servers of every pool.
func (b *balancer) pools() map[string][]server {
	b.w.Helper()
	status, text, err := b.ask("GET", "/servers", "")
	b.w.must(err)
	var answer struct {
		Pools []struct {
			Name    string
			Servers []server
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 {
		b.w.Fatalf("GET /servers: status %d, %v: %s", status, err, text)
	}
	pools := make(map[string][]server)
	for _, p := range answer.Pools {
		pools[p.Name] = p.Servers
	}
	return pools
}

// server returns one server's state, and false when it is not in the pool.
func (b *balancer) server(pool, address string) (server, bool) {
	b.w.Helper()
	all := b.pools()[pool]
	i := slices.IndexFunc(all, func(s server) bool { return s.Address == address })
	if i < 0 {
		return server{}, false
	}
	return all[i], true
}

func (b *balancer) awaitReady() {
	b.w.Helper()
	b.w.eventually("all servers are ready", func() bool {
		for _, servers := range b.pools() {
			if slices.ContainsFunc(servers, func(s server) bool { return !s.Ready }) {
				return false
			}
		}
		return true
	})
}

// awaitServer waits until a server's state is as wanted.
func (b *balancer) awaitServer(pool, address, what string, holds func(server) bool) {
	b.w.Helper()
	b.w.eventually(fmt.Sprintf("server %s of pool %s is %s", address, pool, what), func() bool {
		s, there := b.server(pool, address)
		return there && holds(s)
	})
}

func ready(s server) bool    { return s.Ready }
func notReady(s server) bool { return !s.Ready }

// upload adds a server and waits until it is ready.
func (b *balancer) upload(pool, address string) {
	b.w.Helper()
	b.change("POST", "/upload_server", pool, address, 201)
	b.awaitServer(pool, address, "ready", ready)
}

// delete drains a server; awaitGone waits for its end.
func (b *balancer) delete(pool, address string) {
	b.w.Helper()
	b.change("DELETE", "/delete_server", pool, address, 200)
}

func (b *balancer) awaitGone(pool, address string) {
	b.w.Helper()
	b.w.eventually(fmt.Sprintf("server %s has left pool %s", address, pool), func() bool {
		_, there := b.server(pool, address)
		return !there
	})
}

func (b *balancer) change(method, path, pool, address string, want int) {
	b.w.Helper()
	status, text, err := b.ask(method, path, fmt.Sprintf(`{"pool": %q, "server": %q}`, pool, address))
	if err != nil || status != want {
		b.w.Fatalf("%s %s of %s: status %d, want %d; %v: %s", method, path, address, status, want, err, text)
	}
}

// TestRepositoryConfig: the example that people start from is valid.
func TestRepositoryConfig(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	if out := w.mustRun(raceBinary, "check", "--config", "../config.json"); !strings.Contains(out, "is valid") {
		t.Errorf("check says %q, want it to say that the config is valid", out)
	}
}
