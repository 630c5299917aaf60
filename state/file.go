package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxFile is how many bytes a file may have.
const maxFile = 64 << 20

// advice follows what is wrong with the content of a file.
const advice = "; repair the file, or move it away to forget what it records"

var (
	// ErrInUse: another process has the lock.
	ErrInUse = errors.New("another fulcrum is using the state file; stop it, or give each a state file of its own")
	// ErrUnwritable: there is no way to lock the file, so nothing can be recorded.
	ErrUnwritable = errors.New("no change can be recorded")
	// ErrEdited: it is not the file any more that was read or written last.
	ErrEdited = errors.New("the state file was edited since it was read; reload first")
	// ErrUnlocked: Lock was not called, or Unlock was.
	ErrUnlocked = errors.New("the state file is not locked by this process")
)

var errTooLarge = fmt.Errorf("larger than the %d bytes that are allowed%s", maxFile, advice)

// A File is a state file. Its methods may be called from any goroutine. None of
// them waits for another process, but all do for the disk, and for each other.
type File struct {
	path    string
	address func(string) (string, error)
	sync    func(*os.File) error

	mu    sync.Mutex
	state *State      // as the file says; guarded by mu
	info  fs.FileInfo // of the file when it was read or written last, nil: absent; guarded by mu
	owned bool        // from Lock to Unlock; guarded by mu
	lock  *os.File    // holds the lock; nil in spite of owned: ErrUnwritable; guarded by mu
}

// Open reads the state file at path; one that is absent is an empty State. address
// returns the one form in which a server's address is compared, or why it is none.
// What cannot be read or understood in full is an error that says what is wrong, and
// where; so is a file of more than 64 MiB, or one that is no regular file, symbolic
// links included. Nothing is written and nothing held: a File that is not locked needs
// no closing.
func Open(path string, address func(string) (string, error)) (*File, error) {
	f := &File{path: path, address: address, sync: (*os.File).Sync}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// State returns a copy of what is recorded.
func (f *File) State() *State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.clone()
}

// Reload reads the file again, after it was edited. After an error, as those of
// Open, the State is what it was.
func (f *File) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reloadLocked()
}

func (f *File) reloadLocked() error {
	data, info, err := read(f.path)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	s := &State{}
	if info != nil {
		if s, err = parse(data, f.address); err != nil {
			return fmt.Errorf("%s:%w%s", f.path, err, advice)
		}
	}
	f.state, f.info = s, info
	return nil
}

// read returns the content of a file; info is nil if there is none.
func read(path string) (data []byte, info fs.FileInfo, err error) {
	if info, err = os.Lstat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, nil
		}
		return nil, nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("not a regular file (%v); use one", info.Mode())
	}
	if info.Size() > maxFile {
		return nil, nil, errTooLarge
	}
	// Should it have been replaced since, this neither follows a link nor waits for
	// the other end of a pipe.
	in, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	defer in.Close()
	if info, err = in.Stat(); err != nil {
		return nil, nil, withoutPath(err)
	}
	data, err = io.ReadAll(io.LimitReader(in, maxFile+1))
	switch {
	case err != nil:
		return nil, nil, withoutPath(err)
	case len(data) > maxFile:
		return nil, nil, errTooLarge
	case len(data) == 0:
		return nil, nil, errors.New("empty, and so damaged; remove it to begin with nothing recorded")
	}
	return data, info, nil
}

// Lock makes the file this process's to change, until Unlock or its end, and reads
// it again. It does not wait: ErrInUse means that another process has it. After
// ErrUnwritable, as in a directory that is read-only, the File may be used, and each
// Change that has something to record tries to lock it again.
func (f *File) Lock() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	unwritable := f.takeLocked()
	if unwritable != nil && !errors.Is(unwritable, ErrUnwritable) {
		return unwritable
	}
	f.owned = true
	if err := f.reloadLocked(); err != nil {
		f.unlockLocked()
		return err
	}
	return unwritable
}

// takeLocked takes the lock if it is not held.
func (f *File) takeLocked() error {
	if f.lock != nil {
		return nil
	}
	name := f.path + ".lock"
	lock, err := os.OpenFile(name, os.O_RDONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, ErrUnwritable, withoutPath(err))
	}
	switch err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case err == unix.EWOULDBLOCK:
		lock.Close()
		return fmt.Errorf("%s: %w", f.path, ErrInUse)
	case err != nil:
		lock.Close()
		return fmt.Errorf("%s: %w: cannot lock the file: %w", name, ErrUnwritable, err)
	}
	f.lock = lock
	// What a killed process left. If it cannot be removed, Change says so.
	_ = os.Remove(f.temporary())
	return nil
}

// Unlock lets another process have the file. From then on Change fails.
func (f *File) Unlock() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unlockLocked()
}

func (f *File) unlockLocked() {
	f.owned = false
	if f.lock != nil {
		// A child that is being started may have it open until it is another program.
		_ = unix.Flock(int(f.lock.Fd()), unix.LOCK_UN)
		f.lock.Close()
		f.lock = nil
	}
}

// withoutPath takes the path out of an error, for a message that names it.
func withoutPath(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("cannot %s the file: %w", at.Op, at.Err)
	}
	return err
}
