package supervisor

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"

	"fulcrum/loop"
)

// unixPrefix is what the address of a unix socket begins with in a config.
const unixPrefix = "unix:"

// written returns an address as a config writes it.
func written(a net.Addr) string {
	if a, ok := a.(*net.UnixAddr); ok {
		return unixPrefix + a.Name
	}
	return a.String()
}

// resolveListen turns a listener's address into one to bind: "" as the host
// means every address of the machine.
func resolveListen(address string) (net.Addr, error) {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		return &net.UnixAddr{Name: path, Net: "unix"}, nil
	}
	to, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err // not to, which would be a nil in a net.Addr that is none
	}
	return to, nil
}

// listenAdmin binds the address of the admin listener, or goes on with its socket.
func (r *running) listenAdmin() (net.Listener, error) {
	address := r.config.Admin.Address
	if in := r.heritage.find(AdminSocket, address); in != nil {
		r.adminBorrowed = in.Borrowed
		return in.listener()
	}
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		return listenUnix(path)
	}
	network := "tcp"
	if at, err := netip.ParseAddrPort(address); err == nil && at.Addr() == netip.IPv4Unspecified() {
		network = "tcp4" // not those of IPv6 too
	}
	return net.Listen(network, address)
}

// listener returns a listener on a copy of the socket.
func (in *Inherited) listener() (net.Listener, error) {
	socket, err := loop.Duplicate(in.Sockets[0])
	if err != nil {
		return nil, err
	}
	l, err := fromSocket(socket)
	if err != nil {
		return nil, err
	}
	u, ok := l.(*net.UnixListener)
	if !ok || in.Borrowed {
		return l, nil
	}
	path := u.Addr().(*net.UnixAddr).Name
	file, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, err
	}
	return &unixListener{UnixListener: u, path: path, file: file}, nil
}

// fromSocket takes over a listening socket. Closing the listener leaves the file of
// a unix socket.
func fromSocket(fd int) (net.Listener, error) {
	socket := os.NewFile(uintptr(fd), "socket")
	defer socket.Close() // FileListener has one of its own
	return net.FileListener(socket)
}

// A unixListener listens on a unix socket, whose file goes when it is closed.
type unixListener struct {
	*net.UnixListener
	path   string
	file   os.FileInfo
	remove sync.Once
}

// listenUnix binds a path. A socket there that nobody listens on is replaced. Whatever
// the umask, it is for its owner and group only.
func listenUnix(path string) (net.Listener, error) {
	sockets, _, err := loop.Bind(&net.UnixAddr{Name: path, Net: "unix"}, 1, loop.SocketOptions{})
	if err != nil {
		return nil, err
	}
	file, err := os.Lstat(path)
	if err == nil {
		err = os.Chmod(path, file.Mode().Perm()&^0o007)
	}
	if err != nil {
		loop.Abandon(sockets)
		return nil, err
	}
	l, err := fromSocket(sockets[0])
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return &unixListener{UnixListener: l.(*net.UnixListener), path: path, file: file}, nil
}

// Close removes the socket's file first, unless another has taken its place. Only
// the first call does: once the socket is closed, the file of another may look the
// same.
func (l *unixListener) Close() error {
	l.remove.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}

// keepFile has Close leave the file to others who have the socket too.
func (l *unixListener) keepFile() { l.remove.Do(func() {}) }
