package loop

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// bindUnix opens a listening unix socket and as many more descriptors of it as
// n asks for: the path leads to one socket, and the loops share its queue.
func bindUnix(path string, n int) (sockets []int, err error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := bindPath(fd, path); err != nil {
		unix.Close(fd)
		return nil, err
	}
	sockets = []int{fd}
	err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	for err == nil && len(sockets) < n {
		var more int
		if more, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			sockets = append(sockets, more)
		}
	}
	if err != nil {
		Abandon(sockets)
		return nil, err
	}
	return sockets, nil
}

// bindPath binds a socket to a path. A socket file that nobody listens on, as
// one that was killed leaves behind, is replaced.
func bindPath(fd int, path string) error {
	if _, err := rawSockaddrUnix(path, new(unix.RawSockaddrUnix)); err != nil {
		return err
	}
	err := unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if err != unix.EADDRINUSE {
		return os.NewSyscallError("bind", err)
	}
	file, isSocket := fileAt(path)
	if !isSocket {
		return fmt.Errorf("there is a file that is no socket: %w", err)
	}
	probe, err := connectUnix(path)
	switch {
	case err == nil:
		unix.Close(probe)
		return fmt.Errorf("somebody listens on it: %w", unix.EADDRINUSE)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("somebody listens on it: %w", unix.EADDRINUSE)
	case !errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("there is a socket, and whether somebody listens on it cannot be told: %w", err)
	}
	if err := file.remove(); err != nil {
		return fmt.Errorf("replace a socket that nobody listens on: %w", err)
	}
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
}

// A socketFile is where a unix socket is bound in the file system. As long as
// the socket is open no other file can have the same numbers.
type socketFile struct {
	path     string // "": not a unix socket
	dev, ino uint64
}

// fileAt returns the file with that path, and whether it is a socket's.
func fileAt(path string) (f socketFile, isSocket bool) {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return socketFile{path: path}, false
	}
	return socketFile{path, uint64(st.Dev), st.Ino}, true
}

// fileOf returns the file of a listening socket.
func fileOf(fd int) (f socketFile) {
	if sa, err := unix.Getsockname(fd); err == nil {
		if sa, ok := sa.(*unix.SockaddrUnix); ok {
			f, _ = fileAt(sa.Name)
		}
	}
	return f
}

// remove removes the file if it is still the same one. Of loops that share a
// socket several may do so at the same time.
func (f socketFile) remove() error {
	if f.path == "" {
		return nil
	}
	if now, isSocket := fileAt(f.path); !isSocket || now != f {
		return nil
	}
	if err := unix.Unlink(f.path); err != unix.ENOENT {
		return os.NewSyscallError("unlink", err)
	}
	return nil
}
