package systemd

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A process finds the sockets that were opened for it, with their names, and only once.
func TestSockets(t *testing.T) {
	if os.Getenv("SYSTEMD_CHILD") == "1" {
		os.Setenv("LISTEN_PID", os.Getenv("LISTEN_PID_OF_CHILD"))
		if os.Getenv("LISTEN_PID") == "" {
			os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
		}
		all, err := Sockets()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			listens, _ := unix.GetsockoptInt(s.Descriptor, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
			flags, _ := unix.FcntlInt(uintptr(s.Descriptor), unix.F_GETFD, 0)
			os.Stdout.WriteString("socket " + s.Name + " " + strconv.Itoa(listens) + " " + strconv.Itoa(flags) + "\n")
		}
		if again, err := Sockets(); again != nil || err != nil || os.Getenv("LISTEN_FDS") != "" {
			t.Error("found again")
		}
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, story := range []struct{ pid, want string }{{"", "socket web 1 1\nsocket fulcrum.socket 1 1\n"}, {"1", ""}} {
		command := exec.Command(os.Args[0], "-test.run=^TestSockets$")
		command.ExtraFiles = []*os.File{file, file}
		command.Env = append(os.Environ(), "SYSTEMD_CHILD=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=web:fulcrum.socket", "LISTEN_PID_OF_CHILD="+story.pid)
		out, err := command.CombinedOutput()
		got := ""
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "socket ") {
				got += line
			}
		}
		if got != story.want || err != nil {
			t.Errorf("found %q, error %v, want %q; it said\n%s", got, err, story.want, out)
		}
	}
}
