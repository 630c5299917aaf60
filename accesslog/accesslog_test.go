package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRecordsAreAppendedToTheFile(t *testing.T) {
	w := start(t, func(path string) error { return os.WriteFile(path, []byte("earlier\n"), 0o600) })
	w.write(1000, 100)
	w.Close()
	content, ok := bytes.CutPrefix(w.read(w.path), []byte("earlier\n"))
	if !ok {
		t.Error("what was there is gone")
	}
	w.wantRecords(content, 100)
	if w.Dropped() != 0 {
		t.Errorf("%d were dropped", w.Dropped())
	}
	w.wantTold()
}

func TestAFileIsCreated(t *testing.T) {
	w := start(t, nil)
	info, err := os.Stat(w.path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got&^0o640 != 0 {
		t.Errorf("its mode is %v", got)
	}
}

func TestRecordsDoNotWaitForMore(t *testing.T) {
	var reader *os.File
	w := start(t, fifo(t, &reader))
	for range 3 {
		w.write(1, 50)
		if _, err := io.ReadFull(reader, make([]byte, 50)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARecordIsCopied(t *testing.T) {
	w := start(t, nil)
	record := []byte("mine\n")
	w.Write(record)
	copy(record, "xxxx")
	w.Close()
	if got := w.read(w.path); string(got) != "mine\n" {
		t.Errorf("got %q", got)
	}
}

func TestManyWritersAtOnce(t *testing.T) {
	const writers, each = 8, 5000
	w := start(t, nil)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range each {
				w.Write(fmt.Appendf(nil, "%d %d and some more to make it longer\n", i, n))
			}
		})
	}
	all.Wait()
	w.Close()
	var seen int
	last := [writers]int{}
	for line := range bytes.Lines(w.read(w.path)) {
		var i, n int
		if _, err := fmt.Sscanf(string(line), "%d %d and some more to make it longer\n", &i, &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if n < last[i] {
			t.Fatalf("writer %d's record %d is after its %d", i, n, last[i])
		}
		last[i] = n + 1
		seen++
	}
	if seen+int(w.Dropped()) != writers*each {
		t.Errorf("%d records and %d dropped, of %d", seen, w.Dropped(), writers*each)
	}
}

func TestWhatIsTooLongOrLateIsDropped(t *testing.T) {
	w := start(t, nil)
	w.Write(make([]byte, limit+1))
	w.write(1, 100)
	w.Close()
	w.Close()
	w.Write([]byte("too late\n"))
	if w.Dropped() != 2 {
		t.Errorf("%d were dropped, want 2", w.Dropped())
	}
	if got := w.read(w.path); !bytes.Equal(got, record(0, 100)) {
		t.Errorf("got %.100q", got)
	}
	if err := w.Reopen(); !errors.Is(err, errClosed) || !strings.Contains(err.Error(), w.path) {
		t.Errorf("reopened with %v", err)
	}
}

func TestWhatCannotBeOpenedIsNamed(t *testing.T) {
	directory := t.TempDir()
	for path, want := range map[string]error{
		"":                                     fs.ErrNotExist,
		directory:                              nil,
		filepath.Join(directory, "no", "file"): fs.ErrNotExist,
	} {
		l, err := Open(path, Options{})
		if err == nil {
			l.Close()
			t.Errorf("%q was opened", path)
			continue
		}
		if want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", path)) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestClosingIsQuickWhenNothingIsInTheWay(t *testing.T) {
	w := start(t, nil)
	w.write(5000, 200)
	w.Close()
	select {
	case <-w.done:
	case <-time.After(soon):
		t.Error("the goroutine goes on")
	}
	w.wantRecords(w.read(w.path), 200)
}

func TestWholeRecords(t *testing.T) {
	for _, c := range []struct{ length, each, want int }{
		{100, 100, 100},
		{portion, 1000, portion},
		{5000, 1000, 4000},
		{portion * 3, portion, portion},
		{portion * 3, portion + 1, portion},
	} {
		b := bytes.Repeat(record(1, c.each), c.length/c.each+1)[:c.length]
		if got := len(wholeRecords(b)); got != c.want {
			t.Errorf("%d bytes in records of %d: %d, want %d", c.length, c.each, got, c.want)
		}
	}
}

func TestWriteAllocatesNothing(t *testing.T) {
	w := start(t, nil)
	line := record(0, 200)
	if n := testing.AllocsPerRun(2000, func() { w.Write(line) }); n != 0 {
		t.Errorf("%v allocations for a write", n)
	}
}

func BenchmarkWrite(b *testing.B) {
	b.ReportAllocs()
	w := start(b, func(path string) error { return os.Symlink("/dev/null", path) })
	line := record(0, 250)
	for b.Loop() {
		w.Write(line)
	}
	b.ReportMetric(float64(w.Dropped())/float64(b.N), "dropped/op")
}

func BenchmarkWriteParallel(b *testing.B) {
	b.ReportAllocs()
	w := start(b, func(path string) error { return os.Symlink("/dev/null", path) })
	line := record(0, 250)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w.Write(line)
		}
	})
	b.ReportMetric(float64(w.Dropped())/float64(b.N), "dropped/op")
}
