package accesslog

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"
)

const (
	failed = "access log cannot be written"
	over   = "access log is written again"
)

// much is more records of 1000 bytes than both buffers hold.
const much = 4 * limit / 1000

func TestAFullDiskBlocksNobodyAndIsToldOnce(t *testing.T) {
	w := start(t, func(path string) error { return os.Symlink("/dev/full", path) })
	w.write(1, 1000)
	<-w.told.ill
	w.write(much, 1000)
	if w.Dropped() < much/4 {
		t.Errorf("%d of %d were dropped", w.Dropped(), much)
	}
	w.wantTold(failed)

	// Somebody makes room: what was kept is written.
	if err := os.Remove(w.path); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	w.wantRecords(w.read(w.path), 1000)
	w.wantTold(failed, over)
}

func TestClosingOnAFullDiskIsBounded(t *testing.T) {
	w := start(t, func(path string) error { return os.Symlink("/dev/full", path) })
	w.write(much, 1000)
	w.Close()
	<-w.done
	if w.Dropped() != much {
		t.Errorf("%d of %d were dropped", w.Dropped(), much)
	}
	w.wantTold(failed)
}

func TestASlowReaderBlocksNobody(t *testing.T) {
	var reader *os.File
	w := start(t, fifo(t, &reader))
	w.write(much, 1000)
	if w.Dropped() < much/4 {
		t.Errorf("%d of %d were dropped", w.Dropped(), much)
	}
	content := readAll(t, reader)
	w.Close()
	<-w.done
	w.wantRecords(content(), 1000)
	w.wantTold()
}

func TestClosingWithoutAReaderIsBounded(t *testing.T) {
	var reader *os.File
	w := start(t, fifo(t, &reader))
	w.write(much, 1000)
	begin := time.Now()
	w.Close()
	if took := time.Since(begin); took > soon/2 {
		t.Errorf("it took %v", took)
	}
	<-w.done
	content, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	w.wantRecords(content, 1000)
}

func TestAReaderGoesAndComesBack(t *testing.T) {
	var first *os.File
	w := start(t, fifo(t, &first))
	first.Close()
	w.write(2, 100)
	<-w.told.ill
	w.write(2, 100)
	content := readAll(t, openReader(t, w.path))
	// Nothing reaches the end of the pipe before the log is written again, as a
	// reader of a pipe without a writer would.
	w.await(func() bool {
		w.told.mu.Lock()
		defer w.told.mu.Unlock()
		return len(w.told.messages) == 2
	})
	w.Close()
	w.wantRecords(content(), 100)
	w.wantTold(failed, over)
	if w.Dropped() != 0 {
		t.Errorf("%d were dropped", w.Dropped())
	}
}

// children are what this test binary does as another process, with a stdout and
// stderr of its own.
var children = map[string]func(){
	"stdout": func() { standardChild("stdout", os.Stdout) },
	"stderr": func() { standardChild("stderr", os.Stderr) },
	"flood": func() {
		l := openChild("stdout", newTold())
		for i := range much {
			l.Write(record(i, 1000))
		}
		l.Close()
		fmt.Fprint(os.Stderr, l.Dropped())
	},
	"vanished": func() {
		told := newTold()
		l := openChild("stdout", told)
		l.Write([]byte("nobody reads this\n"))
		<-told.ill
		l.Close()
		fmt.Fprint(os.Stderr, "lives")
	},
}

func standardChild(path string, after *os.File) {
	l := openChild(path, newTold())
	l.Write([]byte("a record\n"))
	if err := l.Reopen(); err != nil {
		fmt.Fprintln(after, err)
	}
	l.Write([]byte("another\n"))
	l.Close()
	fmt.Fprintln(after, "still open")
}

func openChild(path string, told *told) *Log {
	l, err := Open(path, Options{Logger: slog.New(told)})
	if err != nil {
		panic(err)
	}
	return l
}

// child prepares this binary to tell one of the children's stories.
func child(t *testing.T, story string) *exec.Cmd {
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), "ACCESSLOG_CHILD="+story, "GORACE=atexit_sleep_ms=0")
	c.WaitDelay = soon
	return c
}

func TestStdoutAndStderrStayOpen(t *testing.T) {
	for _, name := range []string{"stdout", "stderr"} {
		c := child(t, name)
		out, err := c.CombinedOutput()
		if err != nil || string(out) != "a record\nanother\nstill open\n" {
			t.Errorf("%s: %v, %q", name, err, out)
		}
	}
}

// The signal for a broken pipe would end the process.
func TestAVanishedReaderOfStdoutEndsNothing(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := child(t, "vanished")
	var said bytes.Buffer
	c.Stdout, c.Stderr = w, &said
	r.Close()
	err = c.Run()
	w.Close()
	if err != nil || said.String() != "lives" {
		t.Errorf("%v, %q", err, said.String())
	}
}

// Its stdout is a blocking pipe, as a shell makes it, of which nobody reads
// before the child has ended.
func TestASlowReaderOfStdoutDelaysNothing(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := child(t, "flood")
	var said bytes.Buffer
	c.Stdout, c.Stderr = w, &said
	err = c.Run()
	w.Close()
	if err != nil {
		t.Fatalf("%v, %q", err, said.String())
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var dropped int
	fmt.Sscan(said.String(), &dropped)
	if whole := bytes.Count(content, []byte("\n")); whole == 0 || whole*1000 != len(content) || whole+dropped != much {
		t.Errorf("%d records in %d bytes and %d dropped, of %d", whole, len(content), dropped, much)
	}
}
