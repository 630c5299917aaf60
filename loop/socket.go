package loop

import (
	"fmt"
	"net/netip"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls on the path of a connection go past the Go scheduler, which is safe
// because each of them returns at once: the descriptors are non-blocking.

func rawEpollWait(epfd int, events []unix.EpollEvent, ms int) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd),
		uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(ms), 0, 0)
	if errno != 0 {
		return -1
	}
	return int(n)
}

func rawEpollControl(epfd, operation, fd int, event *unix.EpollEvent) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epfd), uintptr(operation),
		uintptr(fd), uintptr(unsafe.Pointer(event)), 0, 0)
	return asError(errno)
}

// rawReceive reads into b. 0 and no error is the end of the stream.
func rawReceive(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
			uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// rawSend writes what the socket takes of b; that it takes nothing is no error.
func rawSend(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
			uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// rawSplice moves up to n bytes between a socket and a pipe. 0 and no error is
// the end of the stream.
func rawSplice(from, to, n int) (int, error) {
	for {
		moved, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0,
			uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if errno == 0 {
			return int(moved), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

func rawShutdown(fd int) {
	unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
}

func rawClose(fd int) {
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// rawResetOnClose has close send a reset in place of what is unsent.
func rawResetOnClose(fd int) {
	linger := unix.Linger{Onoff: 1}
	unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER,
		uintptr(unsafe.Pointer(&linger)), unsafe.Sizeof(linger), 0)
}

// rawSetInt sets an option of a socket.
func rawSetInt(fd, level, option, value int) error {
	v := int32(value)
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
	return asError(errno)
}

// rawAccept takes a connection from a listening socket's queue.
func rawAccept(fd int) (conn int, err error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0,
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return -1, errno
		}
	}
}

// socketError takes the pending error off a socket.
func socketError(fd int) error {
	var value int32
	size := uint32(unsafe.Sizeof(value))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ERROR,
		uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return asError(unix.Errno(value))
}

// isSelfConnected reports whether both ends of a connection are this socket: TCP
// lets one that was dialled to a closed port of this machine, and was given that
// very port as its own, connect to itself (RFC 9293, section 3.5).
func isSelfConnected(fd int) bool {
	local, ok := socketName(fd, unix.SYS_GETSOCKNAME)
	remote, okToo := socketName(fd, unix.SYS_GETPEERNAME)
	return ok && okToo && local == remote
}

func socketName(fd int, call uintptr) (netip.AddrPort, bool) {
	var sa unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	_, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	return addressOf(&sa), errno == 0
}

func asError(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

func addressOf(sa *unix.RawSockaddrAny) netip.AddrPort {
	switch sa.Addr.Family {
	case unix.AF_INET:
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(p.Addr), swapped(p.Port))
	case unix.AF_INET6:
		p := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom16(p.Addr).Unmap(), swapped(p.Port))
	}
	return netip.AddrPort{}
}

func rawSockaddr(a netip.AddrPort, sa *unix.RawSockaddrAny) (size uintptr, family uint16) {
	if ip := a.Addr().Unmap(); ip.Is4() {
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		p.Family, p.Port, p.Addr = unix.AF_INET, swapped(a.Port()), ip.As4()
		return unix.SizeofSockaddrInet4, unix.AF_INET
	}
	p := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
	p.Family, p.Port, p.Addr = unix.AF_INET6, swapped(a.Port()), a.Addr().As16()
	return unix.SizeofSockaddrInet6, unix.AF_INET6
}

// rawSockaddrUnix fills in the address of a unix socket. Abstract ones, which
// are in no directory and which no permission protects, are not supported.
func rawSockaddrUnix(path string, sa *unix.RawSockaddrUnix) (size uintptr, err error) {
	if most := len(sa.Path) - 1; path == "" || len(path) > most || path[0] == '@' || strings.IndexByte(path, 0) >= 0 {
		return 0, fmt.Errorf("%q is not the path of a unix socket: 1 to %d bytes, none of them 0, the first not @", path, most)
	}
	sa.Family = unix.AF_UNIX
	copy((*[len(sa.Path)]byte)(unsafe.Pointer(&sa.Path))[:], path)
	return unsafe.Offsetof(sa.Path) + uintptr(len(path)) + 1, nil
}

// swapped turns a port from network order, as it stands in a socket address, to
// the machine's, and back.
func swapped(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}

func wakeUp(eventfd int) {
	one := [8]byte{1} // any value but 0 will do, in either byte order
	unix.RawSyscall(unix.SYS_WRITE, uintptr(eventfd), uintptr(unsafe.Pointer(&one)), 8)
}

func drainEventfd(eventfd int) {
	var b [8]byte
	unix.RawSyscall(unix.SYS_READ, uintptr(eventfd), uintptr(unsafe.Pointer(&b)), 8)
}
