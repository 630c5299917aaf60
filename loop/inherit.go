package loop

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Inherit returns n listening sockets, one for each loop, made of those of one address
// that another process has opened, which stay the caller's. It stands for Bind. Loops
// that are more than the sockets share some of them. Clients that wait in the queues
// are served. Of other options than TCP_NODELAY nothing is changed: see
// Listener.SetOptions.
//
// Each is to be given to Loop.Listen; those that are not are closed by Disown.
func Inherit(sockets []int, n int) (own []int, bound net.Addr, err error) {
	if len(sockets) > n {
		return nil, nil, fmt.Errorf("%d listening sockets are more than the %d loops, and those left over would not be served", len(sockets), n)
	}
	for i := range n {
		fd, err := inheritOne(sockets[i%len(sockets)])
		if err != nil {
			Disown(own)
			return nil, nil, fmt.Errorf("inherited socket: %w", err)
		}
		own = append(own, fd)
	}
	bound, err = BoundTo(own[0])
	if err != nil {
		Disown(own)
		return nil, nil, fmt.Errorf("inherited socket: %w", err)
	}
	return own, bound, nil
}

func inheritOne(socket int) (fd int, err error) {
	if fd, err = Duplicate(socket); err != nil {
		return -1, err
	}
	if family, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); family != unix.AF_UNIX {
		if protocol, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); protocol != unix.IPPROTO_TCP {
			unix.Close(fd)
			return -1, fmt.Errorf("its protocol is number %d, not plain TCP", protocol)
		}
		err = rawSetInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Duplicate returns another descriptor of a listening socket, which does not block.
func Duplicate(socket int) (fd int, err error) {
	if listens, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
		return -1, errors.Join(errors.New("it is not a listening socket"), err)
	}
	fd, err = unix.FcntlInt(uintptr(socket), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	if err = unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Disown closes sockets that others have open too: what waits in their queues is
// theirs, and the file of a unix socket stays.
func Disown(sockets []int) {
	for _, fd := range sockets {
		unix.Close(fd)
	}
}

// BoundTo returns the address of a socket, a *net.TCPAddr or *net.UnixAddr.
func BoundTo(fd int) (net.Addr, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	if sa, ok := sa.(*unix.SockaddrUnix); ok {
		return &net.UnixAddr{Name: sa.Name, Net: "unix"}, nil
	}
	address, err := boundTo(fd)
	if err != nil {
		return nil, err
	}
	if !address.IsValid() {
		return nil, errors.New("it is neither a TCP nor a unix socket")
	}
	return net.TCPAddrFromAddrPort(address), nil
}

// Duplicate returns another descriptor of the listening socket, for another process.
// The caller closes it.
func (ln *Listener) Duplicate() (fd int, err error) {
	if ln.fd < 0 {
		return -1, errors.New("the listening socket is closed")
	}
	return Duplicate(ln.fd)
}

// Leave has nothing more accepted here and closes the socket, which others have open
// too: they serve those in its queue, and the file of a unix socket stays. Stopped
// does not follow.
func (ln *Listener) Leave() {
	ln.file = socketFile{}
	ln.Close()
}
