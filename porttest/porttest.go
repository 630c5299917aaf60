// Package porttest gives tests addresses that nobody listens on and that the kernel
// gives to nobody else, however many tests run beside them: a port that was merely free
// a moment ago may be another process's by now.
package porttest

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// Closed returns an address of 127.0.0.1 that refuses connections. The test may listen
// on it, and again when it has stopped; with the test it becomes anybody's.
func Closed(t testing.TB) (address string) {
	t.Helper()
	fd, address := Bound(t)
	t.Cleanup(func() { unix.Close(fd) })
	return address
}

// Bound returns a socket that has an address of 127.0.0.1 and does not listen. The
// caller closes it.
func Bound(t testing.TB) (fd int, address string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	// Listening sockets may share the port with those that do not listen, if both say so.
	must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	must(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, err := unix.Getsockname(fd)
	must(err)
	return fd, fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}
