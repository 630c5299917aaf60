package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A machine is a network namespace: it has its own addresses, and the cable to
// another one can be pulled. Processes and sockets are put into it one by one.
type machine struct {
	w    *world
	name string
}

const (
	namespaces      = "/run/netns" // where ip keeps them
	namespacePrefix = "fulcrum-e2e-"
)

var machines atomic.Int64

// needNamespaces skips a test where they cannot be made, and removes those that
// a test process has left which was killed.
func needNamespaces(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces can only be made by root")
	}
	if ipProgram() == "" {
		t.Skip("network namespaces need ip, which scripts/test installs")
	}
	removeLeftOver()
	probe := fmt.Sprintf("%s%d-probe-%d", namespacePrefix, os.Getpid(), machines.Add(1))
	defer exec.Command(ipProgram(), "netns", "del", probe).Run()
	for _, args := range [][]string{
		{"netns", "add", probe},
		{"-n", probe, "link", "add", "name", "probe", "type", "veth", "peer", "name", "other"},
		{"netns", "exec", probe, "true"},
	} {
		if out, err := exec.Command(ipProgram(), args...).CombinedOutput(); err != nil {
			t.Skipf("no network namespaces here: ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
}

// ipProgram is the path of ip, "" if it is not installed.
var ipProgram = sync.OnceValue(func() string {
	for _, name := range []string{"ip", "/usr/sbin/ip", "/sbin/ip"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
})

var removeLeftOver = sync.OnceFunc(func() {
	all, _ := filepath.Glob(filepath.Join(namespaces, namespacePrefix+"*"))
	for _, path := range all {
		var pid int
		name := filepath.Base(path)
		if _, err := fmt.Sscanf(name, namespacePrefix+"%d-", &pid); err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			exec.Command(ipProgram(), "netns", "del", name).Run()
		}
	}
})

// machine makes a namespace, which is removed with the test.
func (w *world) machine(role string) *machine {
	w.Helper()
	m := &machine{w, fmt.Sprintf("%s%d-%s-%d", namespacePrefix, os.Getpid(), role, machines.Add(1))}
	w.Cleanup(func() {
		if out, err := exec.Command(ipProgram(), "netns", "del", m.name).CombinedOutput(); err != nil {
			w.Errorf("namespace %s is left behind: %v: %s", m.name, err, out)
		}
	})
	w.mustRun(ipProgram(), "netns", "add", m.name)
	m.ip("link", "set", "lo", "up")
	return m
}

// ip runs an ip command in the namespace.
func (m *machine) ip(args ...string) {
	m.w.Helper()
	m.w.mustRun(ipProgram(), append([]string{"-n", m.name}, args...)...)
}

// cable is what each end of the cable between two machines is called.
const cable = "cable"

// connect lays a cable to another machine and gives its ends addresses.
func (m *machine) connect(addresses []string, other *machine, itsAddress string) {
	m.w.Helper()
	m.ip("link", "add", "name", cable, "type", "veth", "peer", "name", cable, "netns", other.name)
	for _, a := range addresses {
		m.ip("address", "add", a+"/24", "dev", cable)
	}
	other.ip("address", "add", itsAddress+"/24", "dev", cable)
	m.ip("link", "set", cable, "up")
	other.ip("link", "set", cable, "up")
}

// vanish takes a machine off its cable, without a word to anybody; comeBack puts
// it back.
func (m *machine) vanish()   { m.w.Helper(); m.ip("link", "set", cable, "down") }
func (m *machine) comeBack() { m.w.Helper(); m.ip("link", "set", cable, "up") }

// do calls f in the namespace: sockets that it makes belong there.
func (m *machine) do(f func()) {
	m.w.Helper()
	failed := make(chan error, 1)
	go func() { failed <- m.visit(f) }()
	m.w.must(<-failed)
}

// visit is do on the goroutine that calls it, whose thread comes back afterwards:
// were it to end, the programs that were started from it would be killed, because
// they are not to outlive their parent. A thread that could not come back stays
// locked and ends with its goroutine.
func (m *machine) visit(f func()) error {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	away, err := os.Open(filepath.Join(namespaces, m.name))
	if err != nil {
		return err
	}
	defer away.Close()
	runtime.LockOSThread()
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("cannot enter namespace %s: %w", m.name, err)
	}
	f()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("cannot leave namespace %s: %w", m.name, err)
	}
	runtime.UnlockOSThread()
	return nil
}

// listen opens a listening socket on a free port of an address of the machine.
func (m *machine) listen(address string) (l net.Listener) {
	m.w.Helper()
	var err error
	m.do(func() { l, err = net.Listen("tcp", address+":0") })
	m.w.must(err)
	m.w.Cleanup(func() { l.Close() })
	return l
}

// dial is a world's dial from the machine.
func (m *machine) dial(address string) (conn *net.TCPConn) {
	m.w.Helper()
	var c net.Conn
	var err error
	m.do(func() { c, err = (&net.Dialer{Deadline: m.w.deadline()}).Dial("tcp", address) })
	m.w.must(err)
	c.SetDeadline(m.w.deadline())
	m.w.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// meet is a world's meet, with a client on the machine.
func (m *machine) meet(address string, arrived <-chan *partner) (client *net.TCPConn, server *partner) {
	m.w.Helper()
	client = m.dial(address)
	return client, m.w.introduce(client, arrived)
}

// smallBuffers has the kernel hold no more than a few hundred KiB of a connection
// in either buffer, so that it is soon seen who is held back.
func (m *machine) smallBuffers() {
	m.w.Helper()
	var err error
	m.do(func() { // these files are those of the namespace of the thread
		err = errors.Join(
			os.WriteFile("/proc/sys/net/ipv4/tcp_wmem", []byte("4096 16384 262144"), 0),
			os.WriteFile("/proc/sys/net/ipv4/tcp_rmem", []byte("4096 131072 262144"), 0))
	})
	m.w.must(err)
}

// balance runs a config on the machine.
func (m *machine) balance(config object) *balancer {
	m.w.Helper()
	return m.startBalancer(raceBinary, config)
}

// startBalancer is balance with one of the binaries. Its admin listener is a unix
// socket, which can be reached from everywhere.
func (m *machine) startBalancer(binary string, config object) *balancer {
	m.w.Helper()
	config["admin"] = object{"address": "unix:" + filepath.Join(m.w.socketFolder(), "admin.sock")}
	config["shutdown_timeout"] = "2s"
	cmd := m.w.command(ipProgram(), "netns", "exec", m.name, binary, "run", "--log-format", "text", "--config", m.w.configFile(config))
	b := m.w.balancerOf(m.w.start(cmd), len(config["listeners"].([]object)))
	b.awaitReady()
	return b
}
