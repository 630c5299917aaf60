package supervisor

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// overUnix is an http client that finds everybody at one unix socket.
func overUnix(t *testing.T, path string) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	return &http.Client{Transport: transport, Timeout: patience}
}

func absent(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left behind: %v", path, err)
		}
	}
}

// stale leaves a socket behind as a process does that is killed.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

// echoUnix is an echo on a unix socket.
func echoUnix(t *testing.T, name string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serveEcho(t, l, name)
	return path
}

const onUnix = `{
  "listeners": [
    {"name": "echo", "protocol": "tcp",  "address": "unix:%[1]s/echo", "pool": "echo"},
    {"name": "web",  "protocol": "http", "address": "unix:%[1]s/web",  "pool": "web"}],
  "pools": [
    {"name": "echo", "servers": ["unix:%[2]s"], "source": "127.0.0.1"},
    {"name": "web", "servers": ["%[3]s"], "health": {"path": "/"}}],
  "admin": {"address": "unix:%[1]s/admin"}}`

// Everything that listens can do so on unix sockets, and so can servers. Files
// that were left behind are replaced; a stop leaves none.
func TestUnixSockets(t *testing.T) {
	dir := t.TempDir()
	paths := []string{dir + "/echo", dir + "/web", dir + "/admin"}
	for _, path := range paths {
		stale(t, path)
	}
	server, origin := echoUnix(t, "server"), startWeb(t, "w")
	w := start(t, onUnix, dir, server, origin.address)
	w.ready("unix:"+server, origin.address)
	if a := w.address("web"); a != "unix:"+paths[1] {
		t.Errorf("web is bound to %q", a)
	}
	if name := dialUnix(t, paths[0]).say("hello"); name != "server" {
		t.Errorf("%q answered", name)
	}
	answer, err := overUnix(t, paths[1]).Get("http://web.example/")
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(answer.Body); string(body) != "w" || err != nil {
		t.Errorf("got %q, error %v", body, err)
	}
	answer.Body.Close()

	if a := w.AdminAddress(); a != "unix:"+paths[2] {
		t.Errorf("admin is bound to %q", a)
	}
	answer, err = overUnix(t, paths[2]).Get("http://admin.example/servers")
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(answer.Body); !strings.Contains(string(body), `"address":"unix:`+server+`"`) || err != nil {
		t.Errorf("got %s, error %v", body, err)
	}
	answer.Body.Close()
	_, err = Start(parse(t, onUnix, dir, server, origin.address), quiet)
	wantErr(t, err, "3 problems", `listener "echo"`, `listener "web"`, "admin: ", "somebody listens on it", "address already in use")
	w.stop(0)
	absent(t, paths...)
}

// Whatever the umask, those who are neither owner nor group control nothing.
func TestAdminSocketOfALooseUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := t.TempDir()
	start(t, onUnix, dir, echoUnix(t, "server"), startWeb(t, "w").address)
	for name, want := range map[string]os.FileMode{"echo": 0o777, "admin": 0o770} {
		file, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := file.Mode().Perm(); got != want {
			t.Errorf("the mode of %s is %v, want %v", name, got, want)
		}
	}
}

// A balancer that stops leaves the sockets of its successor alone.
func TestUnixSocketsOfASuccessor(t *testing.T) {
	dir := t.TempDir()
	server, origin := echoUnix(t, "server"), startWeb(t, "w")
	old := start(t, onUnix, dir, server, origin.address)
	for _, name := range []string{"echo", "web", "admin"} {
		os.Remove(dir + "/" + name)
	}
	next := start(t, onUnix, dir, server, origin.address)
	next.ready(origin.address)
	old.stop(0)
	if name := dialUnix(t, dir+"/echo").say("hello"); name != "server" {
		t.Errorf("%q answered", name)
	}
	for _, name := range []string{"web", "admin"} {
		answer, err := overUnix(t, dir+"/"+name).Get("http://any.example/")
		if err != nil || answer.StatusCode != 200 {
			t.Errorf("%s: %v, error %v", name, answer, err)
			continue
		}
		answer.Body.Close()
	}
	next.stop(0)
	absent(t, dir+"/echo", dir+"/web", dir+"/admin")
}

// What was taken by a file that is no socket stays as it is.
func TestAFileIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/web", []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(parse(t, onUnix, dir, "/none", "127.0.0.1:1"), quiet)
	wantErr(t, err, `listener "web"`, "no socket")
	if text, err := os.ReadFile(dir + "/web"); string(text) != "precious" {
		t.Errorf("%q, error %v", text, err)
	}
	absent(t, dir+"/echo", dir+"/admin")
}
