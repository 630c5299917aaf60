package accesslog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if story := os.Getenv("ACCESSLOG_CHILD"); story != "" {
		children[story]()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// soon bounds every wait of these tests. None of them needs it to pass.
const soon = 20 * time.Second

// told keeps what a log said to its logger.
type told struct {
	slog.Handler
	mu       sync.Mutex
	messages []string
	ill      chan struct{} // takes one for each warning
}

func newTold() *told { return &told{Handler: slog.DiscardHandler, ill: make(chan struct{}, 100)} }

func (h *told) Enabled(context.Context, slog.Level) bool { return true }

func (h *told) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	h.messages = append(h.messages, r.Message)
	h.mu.Unlock()
	if r.Level == slog.LevelWarn {
		h.ill <- struct{}{}
	}
	return nil
}

// world is a log at a path of its own.
type world struct {
	*Log
	t    testing.TB
	path string
	told *told
	sent int
}

// start opens the log at a path in an empty directory, after prepare (may be
// nil) has put there what is to be written to.
func start(t testing.TB, prepare func(path string) error) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "access.log"), told: newTold()}
	if prepare != nil {
		if err := prepare(w.path); err != nil {
			t.Fatal(err)
		}
	}
	before := descriptors(t)
	l, err := Open(w.path, Options{Logger: slog.New(w.told)})
	if err != nil {
		t.Fatal(err)
	}
	w.Log = l
	t.Cleanup(func() {
		l.Close()
		<-l.done
		if after := descriptors(t); after > before {
			t.Errorf("%d descriptors at the start, %d at the end", before, after)
		}
	})
	return w
}

func descriptors(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// fifo makes a named pipe with a reader, who reads when the test does.
func fifo(t testing.TB, reader **os.File) func(path string) error {
	return func(path string) error {
		if err := unix.Mkfifo(path, 0o600); err != nil {
			return err
		}
		*reader = openReader(t, path)
		return nil
	}
}

func openReader(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	f.SetReadDeadline(time.Now().Add(soon))
	return f
}

// record is the n-th record of a story, of size bytes.
func record(n, size int) []byte {
	head := fmt.Sprintf("%08d ", n)
	return []byte(head + strings.Repeat("x", size-len(head)-1) + "\n")
}

// write writes n more records and fails when that takes long.
func (w *world) write(n, size int) {
	w.t.Helper()
	begin := time.Now()
	for range n {
		w.Write(record(w.sent, size))
		w.sent++
	}
	if took := time.Since(begin); took > soon/2 {
		w.t.Fatalf("%d writes took %v", n, took)
	}
}

// wantRecords wants whole records of that size in order, each at most once, and
// that those which are missing were counted as dropped.
func (w *world) wantRecords(content []byte, size int) {
	w.t.Helper()
	seen, last := 0, -1
	for line := range bytes.Lines(content) {
		var n int
		fmt.Sscanf(string(line), "%08d", &n)
		if n <= last || !bytes.Equal(line, record(n, size)) {
			w.t.Fatalf("after record %d there is %.30q, %d bytes long", last, line, len(line))
		}
		last = n
		seen++
	}
	if dropped := int(w.Dropped()); seen+dropped != w.sent {
		w.t.Errorf("%d records are there and %d were dropped, of %d", seen, dropped, w.sent)
	}
}

func (w *world) wantTold(messages ...string) {
	w.t.Helper()
	w.told.mu.Lock()
	defer w.told.mu.Unlock()
	if !slices.Equal(w.told.messages, messages) {
		w.t.Errorf("told %q, want %q", w.told.messages, messages)
	}
}

func (w *world) read(path string) []byte {
	w.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return content
}

// readAll reads to the end in the background.
func readAll(t testing.TB, from io.Reader) (content func() []byte) {
	result := make(chan []byte, 1)
	go func() {
		all, err := io.ReadAll(from)
		if err != nil {
			t.Error(err)
		}
		result <- all
	}()
	return func() []byte { return <-result }
}

// await waits until something is so.
func (w *world) await(so func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(soon); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Error("what was to be awaited has not come")
			return
		}
	}
}

// inPipe returns how many bytes wait to be read.
func inPipe(t *testing.T, reader *os.File) (n int) {
	t.Helper()
	raw, err := reader.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}
