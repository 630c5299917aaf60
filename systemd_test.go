package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager is the service manager's end of what services tell it.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T) manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(patience))
	return manager{t, conn}
}

// told returns the next message.
func (m manager) told() string {
	m.t.Helper()
	buffer := make([]byte, 4096)
	n, err := m.conn.Read(buffer)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(buffer[:n])
}

// environment is that of a service.
func (m manager) environment() []string {
	return append(os.Environ(), asProgram+"=1", "NOTIFY_SOCKET="+m.conn.LocalAddr().String())
}

// The program as a service: it says that it is ready when its port is open, goes
// on answering the watchdog, and says that it drains, or stops and how long that may
// take.
func TestService(t *testing.T) {
	manager := newManager(t)
	told := manager.told
	toldElse := func() string {
		t.Helper()
		for {
			if got := told(); got != "WATCHDOG=1" {
				return got
			}
		}
	}

	socket, admin := filepath.Join(t.TempDir(), "web.sock"), "unix:"+filepath.Join(t.TempDir(), "admin.sock")
	path := written(t, fmt.Sprintf(`{"shutdown_timeout": "1m", "pools": [{"name": "p", "servers": ["127.0.0.1:1"]}],
		"listeners": [{"name": "a", "protocol": "tcp", "address": "unix:%s", "pool": "p"}], "admin": {"address": %q}}`, socket, admin))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	service := exec.CommandContext(t.Context(), self, "run", "--config", path)
	service.Env = append(manager.environment(), "WATCHDOG_USEC=20000")
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	defer service.Process.Kill()
	if got := told(); got != "READY=1\nSTATUS=1 listener, 1 pool, 1 server" {
		t.Errorf("told %q first", got)
	}
	client, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatalf("ready, but %v", err)
	}
	client.Close()
	for range 3 {
		if got := told(); got != "WATCHDOG=1" {
			t.Errorf("told %q, not that it answers", got)
		}
	}
	fulcrum(t, "drain", "--admin", admin).ok("draining until")
	if got := toldElse(); !strings.HasPrefix(got, "STATUS=draining until 20") {
		t.Errorf("told %q of a drain", got)
	}
	fulcrum(t, "undrain", "--admin", admin).ok("not draining")
	if got := toldElse(); got != "STATUS=1 listener, 1 pool, 1 server" {
		t.Errorf("told %q of the end of a drain", got)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), `"127.0.0.1:1"`, `"127.0.0.1:1", "127.0.0.1:2"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	fulcrum(t, "reload", "--admin", admin).ok("added")
	if got := toldElse(); got != "STATUS=1 listener, 1 pool, 2 servers" {
		t.Errorf("told %q of a reload", got)
	}
	service.Process.Signal(syscall.SIGTERM)
	got := toldElse()
	if want := "STOPPING=1\nSTATUS=stopping: work in flight may go on for 1m0s\nEXTEND_TIMEOUT_USEC=70000000"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if err := service.Wait(); err != nil {
		t.Errorf("ended by %v", err)
	}
}

// A reload by signal is told, and who the service is once another process has taken over,
// before that one says that it is ready.
func TestServiceIsReplaced(t *testing.T) {
	manager := newManager(t)
	path := written(t, fmt.Sprintf(`{"pools": [{"name": "p", "servers": ["127.0.0.1:1"]}],
		"listeners": [{"name": "a", "protocol": "tcp", "address": "unix:%s", "pool": "p"}]}`, filepath.Join(t.TempDir(), "a.sock")))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	service := exec.CommandContext(t.Context(), self, "run", "--config", path)
	service.Env = manager.environment()
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	defer service.Process.Kill()
	const ready = "READY=1\nSTATUS=1 listener, 1 pool, 1 server"
	wants := func(want string) {
		t.Helper()
		if got := manager.told(); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	wants(ready)
	service.Process.Signal(syscall.SIGHUP)
	if got := manager.told(); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		t.Errorf("told %q of a reload", got)
	}
	wants("STATUS=1 listener, 1 pool, 1 server")
	wants("READY=1")
	service.Process.Signal(syscall.SIGUSR2)
	pid := 0
	if _, err := fmt.Sscanf(manager.told(), "MAINPID=%d", &pid); err != nil || pid == service.Process.Pid {
		t.Fatalf("told that process %d is the service, error %v", pid, err)
	}
	wants(ready)
	if err := service.Wait(); err != nil {
		t.Errorf("ended by %v", err)
	}
	next, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Kill()
	next.Signal(syscall.SIGTERM)
	if got := manager.told(); !strings.HasPrefix(got, "STOPPING=1\n") {
		t.Errorf("told %q of the end", got)
	}
}

// With a socket that the service manager has opened, clients that come while no process
// runs wait for one.
func TestSocketActivation(t *testing.T) {
	server := echoServer(t)
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	l, err := plain.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	path := written(t, fmt.Sprintf(`{"pools": [{"name": "p", "servers": [%q]}],
		"listeners": [{"name": "a", "protocol": "tcp", "address": %q, "pool": "p"}]}`, server, l.Addr()))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "fulcrum.socket"} {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		service := exec.CommandContext(t.Context(), "sh", "-c", `LISTEN_PID=$$ exec "$0" run --config "$1"`, self, path)
		service.Env = append(os.Environ(), asProgram+"=1", "LISTEN_FDS=1", "LISTEN_FDNAMES="+name)
		service.ExtraFiles = []*os.File{socket}
		if err := service.Start(); err != nil {
			t.Fatal(err)
		}
		defer service.Process.Kill()
		client.SetDeadline(time.Now().Add(patience))
		if _, err := client.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(client, got); err != nil || string(got) != "hello" {
			t.Errorf("got %q, error %v", got, err)
		}
		client.Close()
		service.Process.Signal(syscall.SIGTERM)
		if err := service.Wait(); err != nil {
			t.Errorf("ended by %v", err)
		}
	}
}

// echoServer returns the address of a server that sends back what it gets.
func echoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

// The unit is one that the service manager understands, and refuses none of the
// system calls that the program needs.
func TestUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	for _, name := range []string{"fulcrum.service", "fulcrum.socket"} {
		verify(t, analyze, name)
	}
	out, err := exec.Command(analyze, "syscall-filter", "--no-pager", "@aio").CombinedOutput()
	if calls := strings.Fields(string(out)); err != nil || !slices.Contains(calls, "io_uring_enter") {
		t.Errorf("%v: io_uring is not of @aio: %s", err, out)
	}
}

func verify(t *testing.T, analyze, name string) {
	t.Helper()
	dir := t.TempDir()
	// The program has to be where the unit says.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"fulcrum.service", name} {
		unit, err := os.ReadFile(filepath.Join("packaging", of))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(unit), "/usr/local/bin/fulcrum", self)
		if err := os.WriteFile(filepath.Join(dir, of), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", "--recursive-errors=no", filepath.Join(dir, name)).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s: %v: %s", name, err, out)
	}
}
