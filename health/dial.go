package health

import (
	"context"
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"fulcrum/pool"
	"fulcrum/proxyproto"
)

var errNotResolved = errors.New("the name is not resolved")

// dial connects to a server the way that traffic does: to where its address
// leads, from its source address if it has one, with a PROXY protocol header
// first if the servers expect one. The caller closes the connection.
func dial(ctx context.Context, s *pool.Server, send proxyproto.Version) (net.Conn, error) {
	to := s.Resolved()
	if to == nil {
		return nil, errNotResolved
	}
	var dialer net.Dialer
	if source := s.Source(); source.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: source.AsSlice()}
		dialer.Control = bindWithoutPort
	}
	conn, err := dialer.DialContext(ctx, to.Network(), to.String())
	if err != nil {
		return nil, err
	}
	if send == 0 {
		return conn, nil
	}
	// A new connection has room for the few bytes of a header: this never waits.
	if _, err := conn.Write(proxyproto.AppendLocal(nil, send)); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// bindWithoutPort leaves the choice of a port to connect, which finds one even
// when every port of the source address is in use towards other servers. Where
// the kernel does not know the option, bind chooses.
func bindWithoutPort(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}
