package httpproxy

import (
	"net"
	"syscall"

	"fulcrum/loop"
)

// quiesce has a listener ignore new handshakes, so that its queue can be emptied
// before it is closed. Where that is not possible (a multipath TCP listener takes
// no socket filter) a few clients may be reset.
func quiesce(l net.Listener) {
	s, ok := l.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := s.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { loop.RefuseHandshakes(int(fd)) })
	}
}
