package systemd

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests. None of them needs it to pass.
const patience = 20 * time.Second

// A manager is the service manager's end.
type manager struct {
	t      *testing.T
	socket *net.UnixConn
}

// manage makes a manager and names it, and its watchdog, to this process.
func manage(t *testing.T, watchdog time.Duration) manager {
	t.Helper()
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	socket, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	t.Setenv("NOTIFY_SOCKET", address.Name)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	return manager{t, socket}
}

// told returns the next message.
func (m manager) told() string {
	m.t.Helper()
	m.socket.SetReadDeadline(time.Now().Add(patience))
	buffer := make([]byte, 4096)
	n, err := m.socket.Read(buffer)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(buffer[:n])
}

func (m manager) wants(want string) {
	m.t.Helper()
	if got := m.told(); got != want {
		m.t.Errorf("told %q, want %q", got, want)
	}
}

func yes(context.Context) bool { return true }

func TestLife(t *testing.T) {
	m := manage(t, time.Hour)
	s := Ready(slog.New(slog.DiscardHandler), "1 listener", yes)
	m.wants("READY=1\nSTATUS=1 listener")
	s.Status("draining")
	m.wants("STATUS=draining")
	s.Stopping(90 * time.Second)
	m.wants("STOPPING=1\nSTATUS=stopping: work in flight may go on for 1m30s\nEXTEND_TIMEOUT_USEC=100000000")
	s.Close()
}

// The watchdog hears of every answer, and of nothing while there is none.
func TestWatchdog(t *testing.T) {
	m := manage(t, 2*time.Millisecond)
	asked, answer := make(chan struct{}), make(chan bool)
	s := Ready(slog.New(slog.DiscardHandler), "", func(ctx context.Context) bool {
		select {
		case asked <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		select {
		case a := <-answer:
			return a
		case <-ctx.Done():
			return true
		}
	})
	m.wants("READY=1\nSTATUS=")
	for range 3 {
		<-asked
		answer <- true
		m.wants("WATCHDOG=1")
	}
	<-asked
	answer <- false
	<-asked // and it goes on asking
	s.Stopping(0)
	if got := m.told(); !strings.HasPrefix(got, "STOPPING=1\n") {
		t.Errorf("told %q without an answer", got)
	}
	s.Close() // with an answer outstanding
}

// Without a watchdog, or with one that is meant for another process, nobody is
// asked.
func TestNoWatchdog(t *testing.T) {
	never := func(context.Context) bool {
		t.Error("asked for an answer")
		return false
	}
	for key, value := range map[string]string{"WATCHDOG_USEC": "", "WATCHDOG_PID": "1"} {
		m := manage(t, time.Microsecond)
		t.Setenv(key, value)
		s := Ready(slog.New(slog.DiscardHandler), "", never)
		m.wants("READY=1\nSTATUS=")
		s.Close()
	}
}

// What goes wrong is said, and nothing else comes of it.
func TestTrouble(t *testing.T) {
	m := manage(t, time.Hour)
	t.Setenv("WATCHDOG_USEC", "soon")
	var log bytes.Buffer
	s := Ready(slog.New(slog.NewTextHandler(&log, nil)), "", yes)
	m.wants("READY=1\nSTATUS=")
	m.socket.Close()
	s.Stopping(0)
	s.Close()
	for _, part := range []string{"watchdog", "WATCHDOG_USEC", "cannot be told", "STOPPING=1"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("no %q in %q", part, log.String())
		}
	}
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	log.Reset()
	s = Ready(slog.New(slog.NewTextHandler(&log, nil)), "", yes)
	s.Stopping(0)
	s.Close()
	if log.Len() > 0 {
		t.Errorf("without a service manager it said %q", log.String())
	}
}

// Who is not the service any more has nothing to tell the watchdog.
func TestReplaced(t *testing.T) {
	m := manage(t, 2*time.Millisecond)
	s := Ready(slog.New(slog.DiscardHandler), "", yes)
	m.wants("READY=1\nSTATUS=")
	m.wants("WATCHDOG=1")
	go func() {
		s.Replaced(77)
		time.Sleep(20 * time.Millisecond) // for what should not come
		s.Status("moving")
	}()
	for m.told() != "MAINPID=77" {
	}
	m.wants("STATUS=moving")
	s.Close()
}
