package supervisor

import (
	"net"
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

// listenOn binds the address of the admin listener.
func listenOn(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		return listenUnix(path)
	}
	return net.Listen("tcp", address)
}

// A unixListener listens on a unix socket, whose file goes when it is closed.
type unixListener struct {
	*net.UnixListener
	path   string
	file   os.FileInfo
	remove sync.Once
}

// listenUnix binds a path. A socket there that nobody listens on is replaced.
func listenUnix(path string) (net.Listener, error) {
	sockets, _, err := loop.Bind(&net.UnixAddr{Name: path, Net: "unix"}, 1, loop.SocketOptions{})
	if err != nil {
		return nil, err
	}
	file, err := os.Lstat(path)
	if err != nil {
		loop.Abandon(sockets)
		return nil, err
	}
	socket := os.NewFile(uintptr(sockets[0]), path)
	defer socket.Close() // FileListener has one of its own
	l, err := net.FileListener(socket)
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
