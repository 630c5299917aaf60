package state

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Change has change alter a copy of the State, which it must not keep, writes that
// to disk, and then makes it the State. Changes come one after the other. An error
// is that of change, or says why it could not be recorded; then the State is what it
// was, and so is the file. A change that alters nothing writes nothing.
func (f *File) Change(change func(*State) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.state.clone()
	if err := change(next); err != nil {
		return err
	}
	if next.equal(f.state) {
		return nil
	}
	if !f.owned {
		return fmt.Errorf("%s: %w", f.path, ErrUnlocked)
	}
	if err := f.takeLocked(); err != nil {
		return err
	}
	info, err := f.replaceLocked(next)
	if err != nil {
		return fmt.Errorf("%s: the change is not recorded: %w", f.path, err)
	}
	f.state, f.info = next, info
	return nil
}

// replaceLocked puts a new file in the place of the old one.
func (f *File) replaceLocked(next *State) (info fs.FileInfo, err error) {
	data := next.encode()
	if len(data) > maxFile {
		return nil, fmt.Errorf("the file would have %d bytes; at most %d are allowed", len(data), maxFile)
	}
	// A file that could not be read at the next start would be worse than none.
	if again, err := parse(data, f.address); err != nil {
		return nil, err
	} else if !again.equal(next) {
		return nil, errors.New("it would not be read as it was meant")
	}
	old, err := f.uneditedLocked()
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if info, err = f.put(data, old); err != nil {
		return nil, err
	}
	if err := f.sync(dir); err != nil {
		if failed := f.putBackLocked(old); failed != nil {
			err = fmt.Errorf("%w; the file as it was cannot be put back: %w", err, failed)
		}
		return nil, err
	}
	return info, nil
}

// uneditedLocked returns what is known of the file, nil if it is absent, or an error
// if it is not the one that was read or written last.
func (f *File) uneditedLocked() (fs.FileInfo, error) {
	now, err := os.Lstat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		now = nil
	case err != nil:
		return nil, withoutPath(err)
	}
	if (now == nil) != (f.info == nil) {
		return nil, ErrEdited
	}
	if now != nil && !(os.SameFile(now, f.info) && now.Size() == f.info.Size() && now.ModTime().Equal(f.info.ModTime())) {
		return nil, ErrEdited
	}
	return now, nil
}

// putBackLocked undoes what may not outlast a crash of the machine, so that it is not
// there either when there is none.
func (f *File) putBackLocked(old fs.FileInfo) (err error) {
	if old == nil {
		err = os.Remove(f.path)
	} else {
		f.info, err = f.put(f.state.encode(), old)
	}
	return err
}

func (f *File) temporary() string { return f.path + ".new" }

// put writes a file beside that at path and moves it there. It has the mode and, as
// far as this process may give it away, the owner of the old one.
func (f *File) put(data []byte, old fs.FileInfo) (info fs.FileInfo, err error) {
	name := f.temporary()
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	mode := fs.FileMode(0o640)
	if old != nil {
		mode = old.Mode().Perm()
	}
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(name)
		}
	}()
	_, err = out.Write(data)
	if err == nil && old != nil {
		if s, ok := old.Sys().(*syscall.Stat_t); ok {
			_ = out.Chown(int(s.Uid), int(s.Gid))
		}
		err = out.Chmod(mode)
	}
	if err == nil {
		err = f.sync(out)
	}
	if err == nil {
		info, err = out.Stat()
	}
	if err = cmp.Or(err, out.Close()); err == nil {
		err = os.Rename(name, f.path)
	}
	return info, err
}
