package httpproxy

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fulcrum/pool"
)

// keepaliveQuestions is how many may stay without an answer until a connection
// fails.
const keepaliveQuestions = 3

var errNotResolved = errors.New("the name is not resolved")

// A dialer connects to servers.
type dialer struct {
	timeout     time.Duration
	keepalive   time.Duration // 0: never asks
	userTimeout time.Duration // 0: the kernel's
}

// dial connects to where a server's address leads, from the server's source
// address if it has one. The caller closes the connection.
func (d dialer) dial(ctx context.Context, s *pool.Server, to net.Addr) (net.Conn, error) {
	if to == nil {
		return nil, errNotResolved
	}
	netDialer := net.Dialer{Timeout: d.timeout, KeepAlive: -1}
	if to.Network() == "unix" {
		return netDialer.DialContext(ctx, "unix", to.String())
	}
	if d.keepalive > 0 {
		netDialer.KeepAliveConfig = net.KeepAliveConfig{
			Enable: true, Idle: d.keepalive, Interval: d.keepalive, Count: keepaliveQuestions,
		}
	}
	source := s.Source()
	if source.IsValid() {
		netDialer.LocalAddr = &net.TCPAddr{IP: source.AsSlice()}
	}
	netDialer.Control = func(_, _ string, raw syscall.RawConn) error {
		return d.prepare(raw, source.IsValid())
	}
	return netDialer.DialContext(ctx, "tcp", to.String())
}

// prepare sets what net.Dialer has no words for on a socket that is not bound yet.
func (d dialer) prepare(raw syscall.RawConn, bound bool) (err error) {
	controlErr := raw.Control(func(fd uintptr) {
		if bound {
			// connect finds a port even when every port of the source address is in
			// use towards other servers. Where the kernel does not know the option,
			// bind chooses.
			unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		}
		if d.userTimeout > 0 {
			ms := int((d.userTimeout + time.Millisecond - 1) / time.Millisecond)
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms)
		}
	})
	return errors.Join(controlErr, err)
}

// hostOf returns the Host of a request that came without one. A path is none
// (RFC 9110, section 7.2).
func hostOf(s *pool.Server) string {
	if strings.HasPrefix(s.Address(), "unix:") {
		return "localhost"
	}
	return s.Address()
}
