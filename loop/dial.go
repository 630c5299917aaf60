package loop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SocketOptions say what is unusual about TCP sockets; the zero value is a
// socket as the kernel makes it. They mean nothing to unix sockets.
type SocketOptions struct {
	// Keepalive is after how long without a byte from the other side it is asked
	// whether it is still there, and asked again; after the third question
	// without an answer the connection fails. In whole seconds, rounded up, up
	// to 32767; 0: never.
	Keepalive time.Duration
	// UserTimeout is how long bytes may be sent, or a connection be asked for,
	// without an acknowledgement before the connection fails (RFC 5482). In
	// whole milliseconds, rounded up; 0: as long as the kernel tries.
	UserTimeout time.Duration
	// Source is the address of this machine that Dial connects from, and must be
	// of the family of the address dialled. Each source has all ports for each
	// address dialled. Invalid: the kernel chooses. Bind does not look at it.
	Source netip.Addr
}

const keepaliveQuestions = 3 // without an answer until the connection fails

// Dial begins to connect to a *net.TCPAddr or *net.UnixAddr. Connected follows,
// never before Dial has returned; there is no deadline other than the kernel's,
// so set a timer. The connection begins paused. After an error nothing follows.
func (l *Loop) Dial(to net.Addr, o SocketOptions, h Handler) (*Conn, error) {
	c, err := l.dial(to, o, h)
	if err != nil && l.reserve.giveUp(err) {
		return l.dial(to, o, h)
	}
	return c, err
}

func (l *Loop) dial(to net.Addr, o SocketOptions, h Handler) (*Conn, error) {
	var fd int
	var err error
	switch to := to.(type) {
	case *net.TCPAddr:
		return l.dialTCP(to.AddrPort(), o, h)
	case *net.UnixAddr:
		fd, err = connectUnix(to.Name)
	default:
		err = fmt.Errorf("connect to %v: not a TCP or unix address", to)
	}
	if err != nil {
		return nil, err
	}
	c, err := l.Adopt(fd, h)
	if err != nil {
		return nil, err
	}
	c.connecting = true
	c.hangup = true
	return c, l.poller.connect(c, nil, 0)
}

func (l *Loop) dialTCP(to netip.AddrPort, o SocketOptions, h Handler) (*Conn, error) {
	sa := &l.address
	size, family := rawSockaddr(to, sa)
	fd, err := openTCP(family, o)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", to, err)
	}
	c, err := l.Adopt(fd, h)
	if err != nil {
		return nil, err
	}
	c.connecting = true
	if to.Addr().Unmap().IsLoopback() {
		c.loopbackPort = to.Port()
	}
	if err := l.poller.connect(c, sa, size); err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to %s: %w", to, err)
	}
	return c, nil
}

// Exhausted reports whether an error of Dial, or one told to Connected, comes
// from a want of descriptors, ports or memory on this machine, or from a source
// that this machine does not have, and says nothing about the server.
func Exhausted(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EADDRNOTAVAIL, unix.ENOSPC} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// RemoteAddr asks the kernel for the address of the other side. It is invalid
// for a unix socket and for a connection that is over.
func (c *Conn) RemoteAddr() netip.AddrPort {
	a, _ := socketName(int(c.fd), unix.SYS_GETPEERNAME)
	return a
}

// LocalAddr asks the kernel for the address of this side. It is invalid for a
// unix socket and for a connection that is closed.
func (c *Conn) LocalAddr() netip.AddrPort {
	a, _ := socketName(int(c.fd), unix.SYS_GETSOCKNAME)
	return a
}

// connected finds out how connecting went, and tells.
func (c *Conn) connected(err error) {
	c.connecting = false
	if err == nil && c.failure != 0 {
		err = c.failure
	}
	if err == nil && c.loopbackPort != 0 && c.LocalAddr().Port() == c.loopbackPort && isSelfConnected(int(c.fd)) {
		err = unix.ECONNREFUSED
	}
	switch {
	case err != nil:
		c.Close()
	case c.endWanted:
		c.CloseWrite()
	}
	c.handler.Connected(c, err)
}

// openTCP opens a socket to connect from.
func openTCP(family uint16, o SocketOptions) (fd int, err error) {
	s, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family),
		unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if errno != 0 {
		return -1, os.NewSyscallError("socket", errno)
	}
	fd = int(s)
	rawSetInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err = o.set(fd); err == nil && o.Source.IsValid() {
		err = bindSource(fd, o.Source, family)
	}
	if err != nil {
		rawClose(fd)
		return -1, err
	}
	return fd, nil
}

// rawConnect begins to connect. How it went is read off the socket later.
func rawConnect(fd int, sa *unix.RawSockaddrAny, size uintptr) error {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(sa)), size)
	if errno == unix.EINPROGRESS || errno == unix.EINTR {
		return nil
	}
	return asError(errno)
}

// set makes no system call for what is zero.
func (o *SocketOptions) set(fd int) (err error) {
	set := func(level, option, value int) {
		if err == nil {
			err = os.NewSyscallError("setsockopt", rawSetInt(fd, level, option, value))
		}
	}
	if o.Keepalive > 0 {
		seconds := int((o.Keepalive + time.Second - 1) / time.Second)
		set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		set(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds)
		set(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds)
		set(unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepaliveQuestions)
	}
	if o.UserTimeout > 0 {
		ms := int((o.UserTimeout + time.Millisecond - 1) / time.Millisecond)
		set(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms)
	}
	return err
}

// clearOptions puts back what set may have changed, as the kernel has it at first.
func clearOptions(fd int) error {
	err := rawSetInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0)
	if err == nil {
		err = rawSetInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 0)
	}
	return os.NewSyscallError("setsockopt", err)
}

// bindSource has a socket connect from an address, and leaves the choice of a
// port to connect, where one that is in use for other destinations will do.
func bindSource(fd int, source netip.Addr, family uint16) error {
	var sa unix.RawSockaddrAny
	size, own := rawSockaddr(netip.AddrPortFrom(source, 0), &sa)
	if own != family {
		return fmt.Errorf("source %s: %w", source, unix.EAFNOSUPPORT)
	}
	err := os.NewSyscallError("setsockopt", rawSetInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
	if err == nil {
		_, _, errno := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&sa)), size)
		err = os.NewSyscallError("bind", asError(errno))
	}
	if err != nil {
		return fmt.Errorf("source %s: %w", source, err)
	}
	return nil
}

// connectUnix connects: a unix socket does so at once, or fails.
func connectUnix(path string) (fd int, err error) {
	var sa unix.RawSockaddrUnix
	size, err := rawSockaddrUnix(path, &sa)
	if err != nil {
		return -1, fmt.Errorf("connect: %w", err)
	}
	s, _, errno := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_UNIX,
		unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("socket", errno)
	}
	_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, s, uintptr(unsafe.Pointer(&sa)), size)
	if errno == 0 {
		return int(s), nil
	}
	rawClose(int(s))
	if errno == unix.EAGAIN {
		return -1, fmt.Errorf("connect to unix:%s: the server's queue of connections is full: %w", path, errno)
	}
	return -1, fmt.Errorf("connect to unix:%s: %w", path, errno)
}
