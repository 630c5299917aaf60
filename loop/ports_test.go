package loop

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Each source has every port once for each server. The story plays in a network
// of its own, in which there are two ports to connect from.
func TestEachSourceHasAllPortsForEachServer(t *testing.T) {
	if os.Getenv(inChild) == "" {
		playInChild(t, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET})
		return
	}
	raiseLoopback(t)
	w := start(t)
	servers := []net.Addr{w.port.Addr()}
	other, err := net.ListenTCP("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	servers = append(servers, other.Addr())
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("20000 20001"), 0); err != nil {
		t.Skip("the range of ports cannot be set here: ", err)
	}
	for _, source := range []string{"127.0.0.2", "127.0.0.3"} {
		o := SocketOptions{Source: netip.MustParseAddr(source)}
		for _, server := range servers {
			for range 2 {
				d := newDiary(t)
				w.do(func() {
					if _, err := w.Dial(server, o, d); err != nil {
						t.Error(err)
					}
				})
				d.want("connected", nil, 0)
			}
			if err := w.fails(server, o); !errors.Is(err, unix.EADDRNOTAVAIL) || !Exhausted(err) {
				t.Errorf("dial when all ports are in use: %v", err)
			}
		}
	}
}

// raiseLoopback sets up the one interface that a new network has.
func raiseLoopback(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
}
