package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// patience is how long one write waits for a reader before it looks up
	// whether something else is to be done.
	patience = 50 * time.Millisecond
	// portion is what a pipe that can be written to takes without blocking, and
	// takes whole (PIPE_BUF).
	portion = 4096
)

// standard returns the descriptor that a path stands for, or -1 for a file's.
func standard(path string) int {
	switch path {
	case "stdout":
		return unix.Stdout
	case "stderr":
		return unix.Stderr
	}
	return -1
}

// open returns a descriptor of its own for a path.
func open(path string) (fd int, err error) {
	if std := standard(path); std >= 0 {
		fd, err = unix.FcntlInt(uintptr(std), unix.F_DUPFD_CLOEXEC, 0)
	} else {
		// Without O_NONBLOCK the open of a named pipe would wait for its reader.
		const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
		fd, err = unix.Open(path, flags, 0o640)
	}
	if err != nil {
		return -1, fmt.Errorf("access log %q cannot be opened: %w", path, err)
	}
	return fd, nil
}

// A sink is what records are written to. Its writes are plain system calls,
// because os.File ends the process when the reader of stdout or stderr is gone.
type sink struct {
	fd   int
	file bool // a regular one: it takes anything and has no reader to wait for
}

func newSink(fd int) sink {
	var stat unix.Stat_t
	err := unix.Fstat(fd, &stat)
	return sink{fd: fd, file: err == nil && stat.Mode&unix.S_IFMT == unix.S_IFREG}
}

func (s sink) close() { unix.Close(s.fd) }

// write writes some or all of b. Nothing and no error means that the reader is
// slow. Stdout is often blocking and not ours to change, so a write must be known
// not to block: only a portion, and only when the kernel says there is room.
func (s sink) write(b []byte) (n int, err error) {
	if !s.file {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}, int(patience.Milliseconds()))
		if ready == 0 || err != nil {
			return 0, passing(err)
		}
		b = wholeRecords(b)
	}
	n, err = unix.Write(s.fd, b)
	return max(n, 0), passing(err)
}

// passing returns nil for an error that only means to try again.
func passing(err error) error {
	if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
		return nil
	}
	return err
}

// wholeRecords returns as many of the first records of b as are a portion, or a
// portion of a longer one: others may be writing to the same pipe.
func wholeRecords(b []byte) []byte {
	if len(b) <= portion {
		return b
	}
	if end := bytes.LastIndexByte(b[:portion], '\n'); end >= 0 {
		return b[:end+1]
	}
	return b[:portion]
}
