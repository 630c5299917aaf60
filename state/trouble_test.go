package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mounted returns a directory in memory with that many bytes; the test is skipped
// where it may not mount one.
func mounted(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("fulcrum-state", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

func TestAFullDisk(t *testing.T) {
	dir := mounted(t, 128<<10)
	path, filler := filepath.Join(dir, "state.json"), filepath.Join(dir, "filler")
	f := locked(t, path)
	var want *State
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		want = f.State()
		err = f.Change(uploading(fmt.Sprintf("%s%d:1", strings.Repeat("s", 400), i), 1))
	}
	wantError(t, err, syscall.ENOSPC, path, "the change is not recorded")
	if len(want.records) == 0 || !f.State().equal(want) {
		t.Fatalf("the State has changed from %v", want.records)
	}
	wantOnDisk(t, path, want)

	// A disk without one free byte, and one on which there is room again.
	if err := os.WriteFile(filler, make([]byte, 128<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	wantError(t, f.Change(uploading("b:1", 1)), syscall.ENOSPC)
	wantOnDisk(t, path, want)
	if again := opened(t, path).State(); !again.equal(want) {
		t.Fatal("read again it is not what it was")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := f.Change(func(s *State) error { *s = State{}; return nil }); err != nil {
		t.Fatal(err)
	}
	upload(t, f, "b:1", 1)
	wantOnDisk(t, path, f.State())
}

// A balancer starts and runs in a directory that it may not write to. It says that
// nothing can be recorded, and once that is mended it can.
func TestAReadOnlyDirectory(t *testing.T) {
	dir := mounted(t, 128<<10)
	path := filepath.Join(dir, "state.json")
	readOnly := func(flag uintptr) {
		t.Helper()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|flag, ""); err != nil {
			t.Fatal(err)
		}
	}
	readOnly(unix.MS_RDONLY)
	f := opened(t, path)
	wantError(t, f.Lock(), ErrUnwritable, path, "read-only file system")
	wantError(t, f.Change(uploading("a:1", 1)), ErrUnwritable, path, "read-only file system")
	if err := f.Change(func(s *State) error { *s = *s.Merge(nil).State; return nil }); err != nil {
		t.Fatalf("nothing to record, and yet: %v", err)
	}
	wantRecords(t, f.State())

	readOnly(0)
	upload(t, f, "a:1", 1)
	t.Cleanup(f.Unlock)
	want := f.State()
	readOnly(unix.MS_RDONLY)
	wantError(t, f.Change(uploading("b:1", 1)), syscall.EROFS, path)
	wantOnDisk(t, path, want)
	readOnly(0)
	upload(t, f, "b:1", 1)
}

func TestADirectoryThatIsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "state.json")
	f := opened(t, path)
	wantError(t, f.Lock(), ErrUnwritable, path)
	wantError(t, f.Change(uploading("a:1", 1)), os.ErrNotExist, path)
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	upload(t, f, "a:1", 1)
	f.Unlock()
}

// A disk on which nothing can be made sure of: what was not synced is neither the
// State nor on disk.
func TestASyncThatFails(t *testing.T) {
	for name, fails := range map[string]func(info os.FileInfo) bool{
		"of the file":      func(info os.FileInfo) bool { return !info.IsDir() },
		"of the directory": func(info os.FileInfo) bool { return info.IsDir() },
	} {
		t.Run(name, func(t *testing.T) {
			path := fresh(t)
			f := locked(t, path)
			whole := f.sync
			broken := func(file *os.File) error {
				if info, err := file.Stat(); err != nil || fails(info) {
					return errors.Join(syscall.EIO, err)
				}
				return whole(file)
			}
			for weight := range 3 {
				want := f.State()
				f.sync = broken
				wantError(t, f.Change(uploading("a:1", weight+1)), syscall.EIO, path)
				wantOnDisk(t, path, want)
				if !f.State().equal(want) {
					t.Fatal("the State has changed")
				}
				f.sync = whole
				upload(t, f, "a:1", weight+1)
			}
		})
	}
}

// The new content is synced before it takes the old one's place, and its place before
// Change returns.
func TestWhatIsAnsweredIsOnDisk(t *testing.T) {
	path := fresh(t)
	f := locked(t, path)
	upload(t, f, "a:1", 1)
	before := f.State()
	after := before.clone()
	after.Set("web", "b:1", nil, &Settings{Weight: 2})
	whole := f.sync
	var synced []string
	f.sync = func(file *os.File) error {
		there := opened(t, path).State()
		switch file.Name() {
		case path + ".new":
			if data, err := os.ReadFile(file.Name()); err != nil || string(data) != string(after.encode()) || !there.equal(before) {
				t.Errorf("synced %q in the place of %v: %v", data, there.records, err)
			}
		case filepath.Dir(path):
			if !there.equal(after) {
				t.Errorf("the directory is synced when there is %v", there.records)
			}
		}
		synced = append(synced, file.Name())
		return whole(file)
	}
	upload(t, f, "b:1", 2)
	if want := []string{path + ".new", filepath.Dir(path)}; strings.Join(synced, " ") != strings.Join(want, " ") {
		t.Fatalf("synced %v, want %v", synced, want)
	}
}

func TestAFileThatWouldBeTooLarge(t *testing.T) {
	path := fresh(t)
	f := locked(t, path)
	err := f.Change(uploading(strings.Repeat("s", maxFile), 1))
	wantError(t, err, nil, path, "at most 67108864 are allowed")
	wantOnDisk(t, path, &State{})
}
