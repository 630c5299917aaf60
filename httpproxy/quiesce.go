package httpproxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"fulcrum/loop"
)

// quiesce has a listener ignore new handshakes, so that its queue can be emptied
// before it is closed. Where that is not possible (a multipath TCP listener takes
// no socket filter) a few clients may be reset. A unix socket is not found any
// more by new clients.
func quiesce(l net.Listener) {
	if file, ok := l.(interface{ RemoveFile() }); ok {
		file.RemoveFile()
		return
	}
	s, ok := l.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := s.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { loop.RefuseHandshakes(int(fd)) })
	}
}

// hasQueue reports whether connections wait to be accepted.
func hasQueue(l net.Listener) (some bool) {
	s, ok := l.(syscall.Conn)
	if !ok {
		return false
	}
	if raw, err := s.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			some = n > 0
		})
	}
	return some
}
