package loop

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A socket that is bound to a free port and then connects to that same port is
// connected, to itself.
func TestASocketConnectedToItselfIsFound(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	own, err := boundTo(fd)
	if err != nil {
		t.Fatal(err)
	}
	sa, _ := sockaddr(own)
	if err := unix.Connect(fd, sa); err != nil {
		t.Fatalf("connect to itself: %v", err)
	}
	if !isSelfConnected(fd) {
		t.Error("not found to be connected to itself")
	}

	_, address := bind(t, "127.0.0.1:0", 1)
	other, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	sa, _ = sockaddr(address)
	if err := unix.Connect(other, sa); err != nil {
		t.Fatal(err)
	}
	if isSelfConnected(other) {
		t.Error("a connection to a listener is taken for one to itself")
	}
}
