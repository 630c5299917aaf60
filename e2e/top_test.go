package e2e_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// A screen is a terminal of some size in which a shell's commands run: that of tmux,
// which knows what is to be seen on it.
type screen struct {
	w      *world
	socket string
}

func (w *world) screen(width, height int, commands string) *screen {
	w.Helper()
	s := &screen{w, filepath.Join(w.TempDir(), "tmux")}
	server := w.command("tmux", "-D", "-u", "-f", "/dev/null", "-S", s.socket)
	server.Env = append(server.Env, "LC_ALL=C.UTF-8")
	w.start(server)
	w.eventually("tmux listens", func() bool { _, err := os.Stat(s.socket); return err == nil })
	s.tmux("new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), "sh", "-c", commands)
	return s
}

func (s *screen) tmux(args ...string) string {
	s.w.Helper()
	return s.w.mustRun("tmux", append([]string{"-u", "-S", s.socket}, args...)...)
}

func (s *screen) text() string { s.w.Helper(); return s.tmux("capture-pane", "-p") }

func (s *screen) press(keys ...string) {
	s.w.Helper()
	s.tmux(append([]string{"send-keys"}, keys...)...)
}

// awaits waits until all of the texts are on the screen.
func (s *screen) awaits(texts ...string) {
	s.w.Helper()
	var seen string
	s.w.Cleanup(func() {
		if s.w.Failed() && seen != "" {
			s.w.Logf("the screen was last\n%s", seen)
		}
	})
	s.w.eventually(fmt.Sprintf("%q on the screen", texts), func() bool {
		seen = s.text()
		for _, text := range texts {
			if !strings.Contains(seen, text) {
				return false
			}
		}
		return true
	})
	seen = ""
}

// resize makes the screen another size and waits until all of it is used, with nothing
// beyond it.
func (s *screen) resize(width, height int, texts ...string) {
	s.w.Helper()
	s.tmux("resize-window", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height))
	s.awaits(texts...)
	for line := range strings.Lines(s.text()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
			s.w.Errorf("%d columns of %d: %q", n, width, line)
		}
	}
}

// TestTop: who watches sees the servers and what becomes of them, drains one, sees
// the balancer go and come back, and has the terminal again as it was.
func TestTop(t *testing.T) {
	w := newWorld(t, 60*time.Second)
	good, closed := w.mirror(), w.closedPort()
	config := object{
		"admin":     object{"address": w.freeAddress()},
		"listeners": []object{{"name": "db", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "db"}},
		"pools":     []object{{"name": "db", "servers": []string{good, closed}, "health": quick(nil)}},
	}
	b := w.startBalancer(raceBinary, config)
	settings := filepath.Join(w.TempDir(), "settings")
	s := w.screen(80, 24, fmt.Sprintf("echo the screen of the shell; stty -g >%[2]s; %[1]s top --admin %[3]s; code=$?; stty -g >>%[2]s; echo ended by $code; exec cat",
		raceBinary, settings, b.admin))
	s.awaits("live", "db ", "◌ 1/2 ready", good, "● ready", closed, "✗ not healthy", "connection refused", "server not ready  "+closed)

	for range 3 {
		w.dial(b.listeners["db"])
	}
	s.awaits("tcp                    3") // active
	s.press("jj", "d")
	s.awaits("y/n: drain " + good + " in pool db?")
	s.press("y")
	s.awaits("◌ draining", "✗ 0/2 ready", "server drained  "+good)
	b.awaitServer("db", good, "drained", notReady)
	s.press("u")
	s.awaits("y/n: undrain " + good + " in pool db?")
	s.press("y")
	s.awaits("● ready", "server undrained  "+good)
	b.awaitServer("db", good, "ready", ready)

	s.press("Escape")
	s.resize(30, 8, "●", "q quit")
	s.resize(130, 30, "WHY", "q quit")
	s.press("?")
	s.awaits("any key: back")
	s.press("x", "/", "6553", "BSpace", "BSpace")
	s.awaits("filter: 65_")
	s.press("Escape")
	s.awaits("q quit")

	b.signal(syscall.SIGTERM)
	w.await("the balancer has ended", b.ended)
	s.awaits("no connection for", "no admin listener answers at "+b.admin, good)
	w.startBalancer(raceBinary, config)
	s.awaits("live", "● ready", "balancer started")

	s.press("q")
	s.awaits("the screen of the shell", "ended by 0")
	if state := s.tmux("display-message", "-p", "#{alternate_on}#{cursor_flag}#{mouse_any_flag}"); state != "010\n" {
		t.Errorf("the terminal is left with alternate screen, cursor, mouse %q, want 010", state)
	}
	both, err := os.ReadFile(settings)
	w.must(err)
	if before, after, _ := strings.Cut(string(both), "\n"); before == "" || before+"\n" != after {
		t.Errorf("the settings of the terminal were %q, and are %q", before, after)
	}
}

// TestTopIsRefused: what is wrong is said on a terminal that is as it was.
func TestTopIsRefused(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	s := w.screen(120, 24, raceBinary+" top --admin "+w.closedPort()+"; echo ended by $?; exec cat")
	s.awaits("fulcrum: no admin listener answers at", "ended by 1")
}

// TestQuietStart: no command asks the terminal for anything before it has to.
func TestQuietStart(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	w.must(err)
	defer terminal.Close()
	n, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPTN)
	w.must(err)
	w.must(unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPTLCK, 0))
	side, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	w.must(err)
	cmd := exec.CommandContext(w.ctx, raceBinary, "--version")
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "GORACE=atexit_sleep_ms=0")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = side, side, side
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Run()
	side.Close()
	w.must(err)
	text, _ := io.ReadAll(terminal) // ends by an error: nobody has the other side any more
	if got := string(text); !strings.HasPrefix(got, "fulcrum version ") || strings.Count(got, "\n") != 1 || strings.Contains(got, "\x1b") {
		t.Errorf("the terminal got %q", got)
	}
}
