package admin

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"

	"golang.org/x/sys/unix"
)

// An origin is where a connection comes from and under which Access it was made.
type origin struct {
	access *Access
	remote string // its address, or the user at the other end of a unix socket
}

type originKey struct{}

func originOf(r *http.Request) origin { return r.Context().Value(originKey{}).(origin) }

// accepted is a connection with its origin.
type accepted struct {
	net.Conn
	origin
}

// CloseWrite has what was sent arrive although not all was read.
func (a *accepted) CloseWrite() error {
	if half, ok := a.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// welcome returns a connection as the Access asks for it.
func (g *guard) welcome(conn net.Conn) net.Conn {
	access := g.access.Load()
	known := &accepted{conn, origin{access, remoteOf(conn)}}
	if access.tls == nil {
		return known
	}
	return tls.Server(known, access.tls)
}

// from returns the origin of a connection that welcome has returned.
func from(conn net.Conn) origin {
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	return conn.(*accepted).origin
}

// connContext is the http.Server's hook by which requests know their origin.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, originKey{}, from(conn))
}

// remoteOf returns who is at the other end: of a unix socket the user, whom the
// kernel knows, by unix(7).
func remoteOf(conn net.Conn) string {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return conn.RemoteAddr().String()
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return "unix"
	}
	var peer *unix.Ucred
	if controlErr := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); controlErr != nil || err != nil {
		return "unix"
	}
	return fmt.Sprintf("uid=%d", peer.Uid)
}
