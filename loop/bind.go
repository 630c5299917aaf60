package loop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const backlog = 4096 // connections that the kernel may queue; it takes no more than net.core.somaxconn

// Bind opens n listening sockets on one address, one for each loop. Each is to be
// given to Loop.Listen; those that are not must be closed by Abandon.
//
// On a *net.TCPAddr the kernel spreads new connections over them (SO_REUSEPORT).
// Port 0 means a free port, the same for all; an address without an IP means
// every address of the machine, of both families. What o says of connections
// holds for those accepted. On a *net.UnixAddr they share one queue. A socket
// file that nobody listens on is replaced.
//
// It returns the address with its port. An address that somebody listens on is an
// error that wraps unix.EADDRINUSE.
func Bind(address net.Addr, n int, o SocketOptions) (sockets []int, bound net.Addr, err error) {
	name := address.String()
	switch a := address.(type) {
	case *net.TCPAddr:
		sockets, bound, err = bindTCP(a.AddrPort(), n, o)
	case *net.UnixAddr:
		name = "unix:" + a.Name
		sockets, err = bindUnix(a.Name, n)
		bound = a
	default:
		err = errors.New("not a TCP or unix address")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("listen on %s: %w", name, err)
	}
	return sockets, bound, nil
}

// Abandon closes sockets of Bind that no loop was given, and removes the file of
// a unix socket.
func Abandon(sockets []int) {
	for _, fd := range sockets {
		fileOf(fd).remove()
		unix.Close(fd)
	}
}

func bindTCP(address netip.AddrPort, n int, o SocketOptions) (sockets []int, bound net.Addr, err error) {
	if !address.Addr().IsValid() {
		address = netip.AddrPortFrom(anyAddress(), address.Port())
	}
	for i := range n {
		fd, err := bindOne(address, i == 0, o)
		if err == nil {
			sockets = append(sockets, fd)
			address, err = boundTo(fd)
		}
		if err != nil {
			Abandon(sockets)
			return nil, nil, err
		}
	}
	return sockets, net.TCPAddrFromAddrPort(address), nil
}

// bindOne opens one listening socket. The first of an address is bound without
// SO_REUSEPORT, which it is given only then: an address that another process,
// even another fulcrum, listens on must be refused and not shared.
func bindOne(address netip.AddrPort, first bool, o SocketOptions) (fd int, err error) {
	sa, family := sockaddr(address)
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	set := func(level, option, value int) {
		if err == nil {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, option, value))
		}
	}
	set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	set(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // like o inherited by the connections
	if err == nil {
		err = o.set(fd)
	}
	if family == unix.AF_INET6 && address.Addr().IsUnspecified() {
		set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	}
	if !first {
		set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, sa))
	}
	if first {
		set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// refuseHandshakes has a listening socket ignore new handshakes while those under
// way end as usual, by a socket filter that drops segments with SYN and without
// ACK. When nothing is left to accept the socket can be closed, and no client
// that believes itself connected is reset.
func refuseHandshakes(fd int) error {
	const flags = 13 // offset of the flags in a TCP header (RFC 9293, section 3.1)
	const syn, ack = 0x02, 0x10
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: syn | ack},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: syn, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog))
}

func sockaddr(a netip.AddrPort) (unix.Sockaddr, int) {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}, unix.AF_INET
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}, unix.AF_INET6
}

func boundTo(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)), nil
	}
	return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
}

// anyAddress returns the address that takes connections of both families, or of
// IPv4 where the machine has no IPv6.
func anyAddress() netip.Addr {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return netip.IPv4Unspecified()
	}
	unix.Close(fd)
	return netip.IPv6Unspecified()
}
