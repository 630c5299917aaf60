package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// unixRedis starts a redis-server that listens on nothing but a unix socket.
func (w *world) unixRedis(folder, name string) (path string) {
	w.Helper()
	path = filepath.Join(folder, name+".redis")
	p := w.start(w.command("redis-server", "--port", "0", "--unixsocket", path, "--dir", folder, "--save", "", "--appendonly", "no"))
	p.silent = true
	w.eventually("redis answers on "+path, func() bool {
		return w.run("redis-cli", "-s", path, "SET", "name", name).code() == 0
	})
	return path
}

// unixNginx is nginx on nothing but a unix socket.
func (w *world) unixNginx(folder, name string) (path string) {
	w.Helper()
	path = filepath.Join(folder, name+".nginx")
	config := filepath.Join(folder, name+".conf")
	w.must(os.WriteFile(config, fmt.Appendf(nil, nginxConfig, folder, "unix:"+path, name), 0o600))
	p := w.start(w.command("nginx", "-p", folder, "-c", config, "-e", "stderr"))
	p.silent = true
	w.eventually("nginx listens on "+path, func() bool { return accepted(path) })
	return path
}

// accepted reports whether somebody listens on a unix socket.
func accepted(path string) bool {
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// there reports whether a path exists.
func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestUnixSockets: clients reach http and tcp listeners on unix sockets, which
// reach servers on unix sockets, on TCP ports, and on both in one pool.
func TestUnixSockets(t *testing.T) {
	overEachIO(t, 30*time.Second, func(w *world, io string) {
		folder := w.socketFolder()
		web, db, mixed := filepath.Join(folder, "web"), filepath.Join(folder, "db"), filepath.Join(folder, "mixed")
		nginx, redis := w.nginx("web"), w.redis("two")
		b := w.balance(object{
			"io": io,
			"listeners": []object{
				{"name": "web", "protocol": "http", "address": "unix:" + web, "pool": "web"},
				{"name": "raw", "protocol": "tcp", "address": "unix:" + mixed + ".raw", "pool": "web"},
				{"name": "db", "protocol": "tcp", "address": "unix:" + db, "pool": "db"},
				{"name": "mixed", "protocol": "tcp", "address": "unix:" + mixed, "pool": "mixed"},
				{"name": "port", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "db"},
			},
			"pools": []object{
				{"name": "web", "servers": []string{nginx.address}},
				{"name": "db", "servers": []string{"unix:" + w.unixRedis(folder, "one")}},
				{"name": "mixed", "algorithm": "round_robin", "servers": []string{"unix:" + w.unixRedis(folder, "three"), redis.address}},
			},
		})
		for _, path := range []string{web, mixed + ".raw"} {
			if got := w.mustRun("curl", "-sS", "--fail", "--unix-socket", path, "http://e2e/"); got != "web" {
				w.Errorf("curl through %s: %q, want %q", path, got, "web")
			}
		}
		if got := w.redisCLI(b.listeners["port"], "GET", "name"); got != "one\n" {
			w.Errorf("from a port to a unix socket: %q, want %q", got, "one")
		}
		if got := w.mustRun("redis-cli", "-s", db, "GET", "name"); got != "one\n" {
			w.Errorf("from a unix socket to a unix socket: %q, want %q", got, "one")
		}
		names := map[string]int{}
		for range 10 {
			names[w.mustRun("redis-cli", "-s", mixed, "GET", "name")]++
		}
		if names["two\n"] != 5 || names["three\n"] != 5 {
			w.Errorf("a pool of a unix socket and a port was asked for its names: %v, want 5 of each", names)
		}
		b.wantStop(5 * time.Second)
		for _, path := range []string{web, db, mixed, mixed + ".raw"} {
			if there(path) {
				w.Errorf("%s is still there after the stop", path)
			}
		}
		if log := b.stderr.String(); strings.Contains(log, "level=WARN") {
			w.Errorf("there is something to warn of: %s", log)
		}
	})
}

// TestHTTPToUnixServer: an http listener reaches a server on a unix socket too.
func TestHTTPToUnixServer(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	config := httpOnly("unix:" + w.unixNginx(w.socketFolder(), "one"))
	config["pools"].([]object)[0]["health"] = object{"path": "/", "interval": "200ms"}
	b := w.balance(config)
	for range 20 {
		if got := w.name(b.listeners["web"]); got != "one" {
			t.Fatalf("GET / is answered by %q, want %q", got, "one")
		}
	}
}

// onUnix is a config with a tcp and an http listener on two unix sockets.
func onUnix(db, web, server string) object {
	config := tcpOnly(server)
	config["listeners"] = []object{
		{"name": "db", "protocol": "tcp", "address": "unix:" + db, "pool": "db"},
		{"name": "web", "protocol": "http", "address": "unix:" + web, "pool": "db"},
	}
	return config
}

// TestUnixSocketTaken: a socket that somebody listens on is not taken from him,
// and a file that is no socket is left as it is.
func TestUnixSocketTaken(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	folder, server := w.socketFolder(), w.nginx("one").address
	in := func(name string) string { return filepath.Join(folder, name) }
	w.balance(onUnix(in("db"), in("web"), server))
	w.must(os.WriteFile(in("letter"), []byte("keep me"), 0o600))
	for _, test := range []struct{ db, web, taken string }{
		{in("db"), in("free"), in("db")},
		{in("free"), in("web"), in("web")},
		{in("letter"), in("free"), in("letter")},
		{in("free"), in("letter"), in("letter")},
	} {
		second := w.run(raceBinary, "run", "--config", w.configFile(onUnix(test.db, test.web, server)))
		if log := second.stderr.String(); second.code() != 1 || !strings.Contains(log, test.taken) {
			t.Errorf("with %s taken: exit code %d, want 1 and its path in the message: %s", test.taken, second.code(), log)
		}
		if there(in("free")) {
			t.Errorf("with %s taken the other socket is left behind", test.taken)
		}
	}
	if text, err := os.ReadFile(in("letter")); string(text) != "keep me" {
		t.Errorf("the file that is no socket has become %q, %v", text, err)
	}
	for _, path := range []string{in("db"), in("web")} {
		if got := w.mustRun("curl", "-sS", "--fail", "--unix-socket", path, "http://e2e/"); got != "one" {
			t.Errorf("%s of the first balancer is answered by %q, want %q", path, got, "one")
		}
	}
}

// TestStaleUnixSockets: the sockets of a balancer that was killed do not stand in
// the way of the next one.
func TestStaleUnixSockets(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	folder, server := w.socketFolder(), w.nginx("one").address
	db, web, admin := filepath.Join(folder, "db"), filepath.Join(folder, "web"), filepath.Join(folder, "admin")
	config := onUnix(db, web, server)
	config["admin"] = object{"address": "unix:" + admin}
	all := []string{db, web, admin}
	path := w.configFile(config)
	first := w.start(w.command(raceBinary, "run", "--log-format", "text", "--config", path))
	for _, socket := range all {
		w.eventually("somebody listens on "+socket, func() bool { return accepted(socket) })
	}
	first.kill()
	for _, socket := range all {
		if !there(socket) {
			t.Fatalf("%s has gone with a SIGKILL: nothing is shown here", socket)
		}
	}
	second := w.start(w.command(raceBinary, "run", "--log-format", "text", "--config", path))
	for _, socket := range []string{db, web} {
		w.eventually("curl is answered through "+socket, func() bool {
			return w.run("curl", "-sS", "--fail", "--unix-socket", socket, "http://e2e/").stdout.String() == "one"
		})
	}
	second.signal(syscall.SIGTERM)
	w.await("fulcrum has ended", second.ended)
	for _, socket := range all {
		if there(socket) {
			t.Errorf("%s is still there after the stop", socket)
		}
	}
}

// TestAdminOnUnixSocket: the command line and curl reach an admin listener on a
// unix socket.
func TestAdminOnUnixSocket(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	folder, one, two := w.socketFolder(), w.nginx("one"), w.redis("two")
	socket := filepath.Join(folder, "admin")
	config := tcpOnly(one.address)
	config["admin"] = object{"address": "unix:" + socket}
	p := w.start(w.command(raceBinary, "run", "--log-format", "text", "--config", w.configFile(config)))
	fulcrum := func(command string, args ...string) *process {
		return w.run(raceBinary, append(append(strings.Fields(command), "--admin", "unix:"+socket), args...)...)
	}
	w.eventually("the command line reaches the admin listener", func() bool { return fulcrum("servers list").code() == 0 })

	if p := fulcrum("servers upload", two.address); p.code() != 0 || !strings.Contains(p.stdout.String(), two.address+" added to pool db") {
		t.Errorf("upload: exit code %d, %s%s", p.code(), p.stdout.tail(), p.stderr.tail())
	}
	if p := fulcrum("servers delete", one.address); p.code() != 0 {
		t.Errorf("delete: exit code %d, %s%s", p.code(), p.stdout.tail(), p.stderr.tail())
	}
	w.eventually("the server that was uploaded is alone and ready", func() bool {
		out := fulcrum("servers list").stdout.String()
		return strings.Contains(out, two.address) && strings.Contains(out, "  ready ") && !strings.Contains(out, one.address)
	})
	var listeners []struct{ Name, Protocol, IO string }
	listing := fulcrum("listeners", "--json").stdout.String()
	if err := json.Unmarshal([]byte(listing), &listeners); err != nil || len(listeners) != 1 || listeners[0].Name != "db" || listeners[0].IO == "" {
		t.Errorf("listeners --json: %v: %s", err, listing)
	}
	if got := w.mustRun("curl", "-sS", "--fail", "--unix-socket", socket, "http://fulcrum/healthz"); !strings.Contains(got, `"ok"`) {
		t.Errorf("curl /healthz: %s", got)
	}
	p.signal(syscall.SIGTERM)
	w.await("fulcrum has ended", p.ended)
	if p.code() != 0 || there(socket) {
		t.Errorf("exit code %d, want 0; the socket's file is there: %t", p.code(), there(socket))
	}
}
