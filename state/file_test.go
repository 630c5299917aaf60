package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatIsChangedIsThereAfterARestart(t *testing.T) {
	path := fresh(t)
	f := locked(t, path)
	wantRecords(t, f.State())
	upload(t, f, "a:1", 2)
	upload(t, f, "b:1", 3)
	f.Unlock()

	f = locked(t, path)
	wantRecords(t, f.State(),
		"a:1 source: uploaded, weight: 2, max_connections: 0",
		"b:1 source: uploaded, weight: 3, max_connections: 0")
	err := f.Change(func(s *State) error {
		s.Set("web", "a:1", nil, nil)
		s.Set("web", "b:1", nil, nil)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantRecords(t, opened(t, path).State())
}

// Nothing is written as long as there is nothing to record, so a balancer that nobody
// changes leaves no state file.
func TestAChangeThatAltersNothingWritesNothing(t *testing.T) {
	path := fresh(t)
	f := locked(t, path)
	same := func(s *State) error { *s = *s.Merge(nil).State; return nil }
	if err := f.Change(same); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("there is a file: %v", err)
	}
	upload(t, f, "a:1", 2)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	upload(t, f, "a:1", 2)
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Fatalf("it was written again: %v", err)
	}
}

func TestAChangeThatFailsChangesNothing(t *testing.T) {
	path := fresh(t)
	f := locked(t, path)
	upload(t, f, "a:1", 2)
	want := f.State()
	mistake := errors.New("a mistake")
	err := f.Change(func(s *State) error {
		s.Set("web", "a:1", nil, nil)
		return mistake
	})
	wantError(t, err, mistake)
	for _, server := range []string{"A:1", "a", "a:1\n", "a\xff:1"} {
		wantError(t, f.Change(uploading(server, 1)), nil, path, "the change is not recorded")
	}
	wantError(t, f.Change(uploading("b:1", 257)), nil, "weight: 257 is not allowed; use a whole number from 1 to 256")
	wantError(t, f.Change(uploading("b:1", unset)), nil, "it would not be read as it was meant")
	wantOnDisk(t, path, want)
	if !f.State().equal(want) {
		t.Fatalf("the State is %v", f.State().records)
	}
	f.State().Set("web", "c:1", nil, &Settings{Weight: 1})
	if !f.State().equal(want) {
		t.Fatal("State returned no copy")
	}
}

func TestManyChangeAtOnce(t *testing.T) {
	path := fresh(t)
	f := locked(t, path)
	const each = 10
	var all sync.WaitGroup
	for who := range 8 {
		all.Go(func() {
			for i := range each {
				if err := f.Change(uploading(fmt.Sprintf("s%d:%d", who, i), 1)); err != nil {
					t.Error(err)
				}
				f.State()
			}
		})
	}
	all.Wait()
	if n := len(opened(t, path).State().records); n != 8*each {
		t.Fatalf("%d servers are recorded, want %d", n, 8*each)
	}
	wantOnDisk(t, path, f.State())
}

func TestWhatCannotBeReadIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		make func(path string) error
		want []string
	}{
		"damaged": {
			func(path string) error { return os.WriteFile(path, []byte("{\n  \"version\": 1,\n  servers"), 0o600) },
			[]string{":3:3: not valid JSON", "repair the file, or move it away to forget what it records"},
		},
		"empty": {
			func(path string) error { return os.WriteFile(path, nil, 0o600) },
			[]string{": empty, and so damaged; remove it to begin with nothing recorded"},
		},
		"large": {
			func(path string) error {
				return errors.Join(os.WriteFile(path, []byte("{}"), 0o600), os.Truncate(path, maxFile+1))
			},
			[]string{": larger than the 67108864 bytes that are allowed"},
		},
		"directory": {func(path string) error { return os.Mkdir(path, 0o700) }, []string{": not a regular file (d"}},
		"pipe":      {func(path string) error { return unix.Mkfifo(path, 0o600) }, []string{": not a regular file (p"}},
		"device":    {func(path string) error { return os.Symlink("/dev/zero", path) }, []string{": not a regular file (L"}},
		"link":      {func(path string) error { return os.Symlink("nothing", path) }, []string{": not a regular file (L"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := fresh(t)
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path, address)
			wantError(t, err, nil, append(c.want, path)...)
		})
	}
	_, err := Open(filepath.Join(t.TempDir(), strings.Repeat("x", 300)), address)
	wantError(t, err, syscall.ENAMETOOLONG)
}

// While one balancer runs, a second cannot take its file, and may read it.
func TestOnlyOneHasTheFile(t *testing.T) {
	path := fresh(t)
	one, two := locked(t, path), opened(t, path)
	wantError(t, two.Lock(), ErrInUse, path)
	wantError(t, two.Change(uploading("a:1", 1)), ErrUnlocked, path)
	upload(t, one, "a:1", 1)
	if err := two.Reload(); err != nil {
		t.Fatal(err)
	}
	wantRecords(t, two.State(), "a:1 source: uploaded, weight: 1, max_connections: 0")
	if err := one.Lock(); err != nil {
		t.Fatalf("locked twice by the same: %v", err)
	}
}

// An upgrade: the new process has read the file when the old one still changes it. It
// takes over, fails, and the old one goes on.
func TestTheFileIsHandedOver(t *testing.T) {
	path := fresh(t)
	old := locked(t, path)
	next := opened(t, path)
	upload(t, old, "a:1", 1)
	old.Unlock()
	wantError(t, old.Change(uploading("b:1", 1)), ErrUnlocked)
	if err := next.Lock(); err != nil {
		t.Fatal(err)
	}
	wantRecords(t, next.State(), "a:1 source: uploaded, weight: 1, max_connections: 0")
	upload(t, next, "b:1", 1)
	next.Unlock()
	next.Unlock()

	if err := old.Lock(); err != nil {
		t.Fatal(err)
	}
	upload(t, old, "c:1", 1)
	if n := len(opened(t, path).State().records); n != 3 {
		t.Fatalf("%d servers are recorded, want 3", n)
	}
}

// A file that was damaged while nobody had it cannot be taken over, nor is it kept
// from the next one who tries.
func TestADamagedFileIsNotTakenOver(t *testing.T) {
	path := fresh(t)
	f := opened(t, path)
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, f.Lock(), nil, path, "not valid JSON")
	wantError(t, f.Change(uploading("a:1", 1)), ErrUnlocked)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	upload(t, locked(t, path), "a:1", 1)
}

// An operator edits the file while the balancer runs: it is neither overwritten nor
// taken in unasked, nor is one that was removed written again.
func TestAnEditIsNotOverwritten(t *testing.T) {
	path := fresh(t)
	f := locked(t, path)
	for _, text := range []string{file(uploaded), file(changed), ""} {
		upload(t, f, "e:1", 1)
		before, want := f.State(), &State{}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			want = parsed(t, text)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		wantError(t, f.Change(uploading("e:1", 2)), ErrEdited, path)
		if !f.State().equal(before) {
			t.Fatal("the State has changed")
		}
		if err := f.Reload(); err != nil {
			t.Fatal(err)
		}
		if !f.State().equal(want) {
			t.Fatalf("reloaded as %v", f.State().records)
		}
		upload(t, f, "e:1", 2)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := f.State()
	wantError(t, f.Reload(), nil, "not valid JSON")
	if !f.State().equal(before) {
		t.Fatal("a reload that failed has changed the State")
	}
}

// Who may read the file is the operator's to say, and stays so.
func TestModeAndOwnerStay(t *testing.T) {
	path := fresh(t)
	f := locked(t, path)
	upload(t, f, "a:1", 1)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Fatalf("a new file has the mode %v: %v", info.Mode(), err)
	}
	owner := os.Getuid()
	if owner == 0 {
		owner = 65534
	}
	if err := errors.Join(os.Chmod(path, 0o664), os.Chown(path, owner, -1)); err != nil {
		t.Fatal(err)
	}
	upload(t, f, "b:1", 1)
	info, err = os.Stat(path)
	if err != nil || info.Mode() != 0o664 || info.Sys().(*syscall.Stat_t).Uid != uint32(owner) {
		t.Fatalf("it has the mode %v and %+v: %v", info.Mode(), info.Sys(), err)
	}
}

// BenchmarkChange is one change of a file that records so many servers, on disk.
func BenchmarkChange(b *testing.B) {
	for _, servers := range []int{1, 100, 10000} {
		b.Run(fmt.Sprint(servers), func(b *testing.B) {
			f := locked(b, fresh(b))
			err := f.Change(func(s *State) error {
				for i := range servers {
					s.Set("web", fmt.Sprintf("10.0.%d.%d:80", i/256, i%256), nil, &Settings{Weight: 1})
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			for i := 0; b.Loop(); i++ {
				upload(b, f, "10.0.0.0:80", 2+i%2)
			}
		})
	}
}
