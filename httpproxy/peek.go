package httpproxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// quiet reports whether a connection is open and nothing has arrived on it. A
// connection that cannot be looked into counts as quiet.
func quiet(conn net.Conn) bool {
	n, err := peek(conn)
	return n < 0 && err == unix.EAGAIN
}

// ended reports whether the other side has closed the connection or its
// direction of it, and nothing is left to be read.
func ended(conn net.Conn) bool {
	n, err := peek(conn)
	return n == 0 && err == nil || err != nil && err != unix.EAGAIN && err != unix.EINTR
}

// peek looks whether anything can be read, without waiting or taking it.
func peek(conn net.Conn) (n int, err error) {
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return -1, unix.EAGAIN
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return -1, err
	}
	var one [1]byte
	controlErr := control.Control(func(fd uintptr) {
		n, _, err = unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	if controlErr != nil {
		return -1, controlErr
	}
	return n, err
}
