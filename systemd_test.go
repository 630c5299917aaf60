package main

import (
	"fmt"
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

// The program as a service: it says that it is ready when its port is open, goes
// on answering the watchdog, and says that it drains, or stops and how long that may
// take.
func TestService(t *testing.T) {
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	manager.SetReadDeadline(time.Now().Add(patience))
	told := func() string {
		t.Helper()
		buffer := make([]byte, 4096)
		n, err := manager.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return string(buffer[:n])
	}

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
	service.Env = append(os.Environ(), asProgram+"=1", "NOTIFY_SOCKET="+manager.LocalAddr().String(), "WATCHDOG_USEC=20000")
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
	service.Process.Signal(syscall.SIGTERM)
	got := toldElse()
	if want := "STOPPING=1\nSTATUS=stopping: work in flight may go on for 1m0s\nEXTEND_TIMEOUT_USEC=70000000"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if err := service.Wait(); err != nil {
		t.Errorf("ended by %v", err)
	}
}

// The unit is one that the service manager understands, and refuses none of the
// system calls that the program needs.
func TestUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	unit, err := os.ReadFile("packaging/fulcrum.service")
	if err != nil {
		t.Fatal(err)
	}
	// The program has to be where the unit says.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "fulcrum.service")
	text := strings.ReplaceAll(string(unit), "/usr/local/bin/fulcrum", self)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", "--recursive-errors=no", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	out, err := exec.Command(analyze, "syscall-filter", "--no-pager", "@aio").CombinedOutput()
	if calls := strings.Fields(string(out)); err != nil || !slices.Contains(calls, "io_uring_enter") {
		t.Errorf("%v: io_uring is not of @aio: %s", err, out)
	}
}
