package accesslog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Files are renamed while records are being written to them.
func TestRotationLosesNoRecord(t *testing.T) {
	w := start(t, nil)
	written := make(chan struct{})
	go func() {
		defer close(written)
		for range 10 {
			w.write(900, 100)
			w.await(func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return len(w.filling) == 0
			})
		}
	}()
	var files []string
	for going := true; going; {
		files = append(files, fmt.Sprintf("%s.%d", w.path, len(files)))
		if err := errors.Join(os.Rename(w.path, files[len(files)-1]), w.Reopen()); err != nil {
			t.Error(err)
			break
		}
		w.await(func() bool { return len(w.next) == 0 })
		select {
		case <-written:
			going = false
		default:
		}
	}
	<-written
	w.Close()
	var content []byte
	for _, f := range append(files, w.path) {
		content = append(content, w.read(f)...)
	}
	w.wantRecords(content, 100)
	if w.Dropped() != 0 {
		t.Errorf("%d were dropped", w.Dropped())
	}
}

func TestWhatComesAfterReopenIsInTheNewFile(t *testing.T) {
	for range 50 {
		w := start(t, nil)
		w.write(1, 100)
		old := w.path + ".1"
		if err := errors.Join(os.Rename(w.path, old), w.Reopen()); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("after\n"))
		w.Close()
		before, after := string(w.read(old)), string(w.read(w.path))
		first := string(record(0, 100))
		if (before != first || after != "after\n") && (before != "" || after != first+"after\n") {
			t.Fatalf("old file %q, new file %q", before, after)
		}
	}
}

// The pipe takes five records and a third of the sixth.
func TestATornRecordIsWrittenWholeToTheNewFile(t *testing.T) {
	const size, capacity = 3 * portion, 16 * portion
	var reader *os.File
	w := start(t, fifo(t, &reader))
	w.write(20, size)
	w.await(func() bool { return inPipe(t, reader) == capacity })
	if err := os.Remove(w.path); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); err != nil {
		t.Fatal(err)
	}
	w.await(func() bool { return len(w.next) == 0 })
	content := readAll(t, reader) // ends when the log has let go of the pipe
	before := content()
	w.Close()
	if len(before) != capacity {
		t.Fatalf("%d bytes were in the pipe", len(before))
	}
	whole := before[:capacity/size*size]
	w.wantRecords(append(whole, w.read(w.path)...), size)
}

func TestReopeningOftenKeepsTheLast(t *testing.T) {
	w := start(t, nil)
	for i := range 20 {
		if err := os.Rename(w.path, fmt.Sprintf("%s.%d", w.path, i)); err != nil {
			t.Fatal(err)
		}
		if err := w.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	w.write(10, 100)
	w.Close()
	w.wantRecords(w.read(w.path), 100)
}

func TestWhenReopeningFailsTheOldFileStays(t *testing.T) {
	w := start(t, nil)
	elsewhere := t.TempDir() + "/moved"
	if err := os.Rename(filepath.Dir(w.path), elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reopened with %v", err)
	}
	w.write(10, 100)
	w.Close()
	w.wantRecords(w.read(elsewhere+"/access.log"), 100)
	w.wantTold()
}
