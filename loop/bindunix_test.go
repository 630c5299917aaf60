package loop

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// freePath returns a path for a unix socket, where nothing is.
func freePath(t testing.TB) *net.UnixAddr {
	t.Helper()
	// Not t.TempDir: with a long name of a test its path would be too long.
	dir, err := os.MkdirTemp("", "loop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"}
}

// stale leaves the file of a socket that nobody listens on.
func stale(t testing.TB, at *net.UnixAddr) {
	t.Helper()
	ln, err := net.ListenUnix("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
}

func dialUnix(t testing.TB, at net.Addr) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, at.(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func wantNoFile(t testing.TB, at *net.UnixAddr) {
	t.Helper()
	if _, err := os.Lstat(at.Name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's file: %v, want none", err)
	}
}

func wantFile(t testing.TB, at *net.UnixAddr) {
	t.Helper()
	if _, err := os.Lstat(at.Name); err != nil {
		t.Errorf("the file of another is gone: %v", err)
	}
}

// Two loops share a socket; what was connected when they drain is served, and
// the path is free again.
func TestLoopsShareAUnixSocket(t *testing.T) {
	path := freePath(t)
	sockets, at, err := Bind(path, 2, unusual)
	if err != nil || at != net.Addr(path) {
		t.Fatalf("bound to %v, error %v", at, err)
	}
	worlds := []*world{start(t), start(t)}
	var listeners []*Listener
	stopped := []chan struct{}{make(chan struct{}), make(chan struct{})}
	served := make([]int, 2)
	for i, w := range worlds {
		listeners = append(listeners, w.listenOn(sockets[i], &accepting{stopped: stopped[i], accepted: func(c *Conn) {
			served[i]++
			if c.RemoteAddr().IsValid() || c.LocalAddr().IsValid() {
				t.Error("a unix socket has the address of a TCP socket")
			}
			c.SetHandler(echoes)
			c.Resume()
		}}))
	}
	for i := range worlds {
		other := worlds[1-i].hold()
		c := dialUnix(t, at)
		wantEchoes(t, []net.Conn{c})
		other()
	}
	release := []func(){worlds[0].hold(), worlds[1].hold()}
	var early []net.Conn
	for range acceptBatch {
		early = append(early, dialUnix(t, at))
	}
	for i, w := range worlds {
		w.Post(listeners[i].Drain)
		release[i]()
	}
	wantEchoes(t, early)
	for i, w := range worlds {
		within(t, stopped[i], "the drain does not end")
		w.do(func() {
			if served[i] == 0 {
				t.Errorf("loop %d served nobody", i)
			}
		})
	}
	wantNoFile(t, path)
	wantEchoes(t, early[:1])
}

func TestADrainOfAUnixSocketHidesItFirst(t *testing.T) {
	w, path := start(t), freePath(t)
	sockets, _ := bindTo(t, path, 1, SocketOptions{})
	ln := w.listenOn(sockets[0], &accepting{stopped: make(chan struct{})})
	w.do(func() {
		ln.Drain()
		wantNoFile(t, path)
	})
	// The path is free for another while the drain goes on.
	bindTo(t, path, 1, SocketOptions{})
	within(t, ln.handler.(*accepting).stopped, "the drain does not end")
	wantFile(t, path)
	dialUnix(t, path)
}

// One of the sockets is closed, and clients wait for the other: the loop of the
// first has nothing to do with them.
func TestAClosedUnixSocketIsNotReportedAnyMore(t *testing.T) {
	path := freePath(t)
	sockets, _ := bindTo(t, path, 1, SocketOptions{})
	more, err := unix.FcntlInt(uintptr(sockets[0]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := start(t)
	ln := w.listenOn(more, &accepting{})
	w.do(func() { ln.Pause() })
	dialUnix(t, path)
	w.do(func() { ln.Resume(); ln.Close() })
	w.wantIdle()
	wantNoFile(t, path)
}

func TestOnlyOnesOwnFileIsRemoved(t *testing.T) {
	for name, end := range map[string]func(*Listener){"close": (*Listener).Close, "drain": (*Listener).Drain} {
		t.Run(name, func(t *testing.T) {
			w, path := start(t), freePath(t)
			sockets, _, err := Bind(path, 1, SocketOptions{})
			if err != nil {
				t.Fatal(err)
			}
			stopped := make(chan struct{})
			ln := w.listenOn(sockets[0], &accepting{stopped: stopped})
			os.Remove(path.Name)
			other, err := net.ListenUnix("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			w.do(func() { end(ln) })
			if name == "drain" {
				within(t, stopped, "the drain does not end")
			}
			wantFile(t, path)
		})
	}
}

func TestStoppingALoopRemovesTheFile(t *testing.T) {
	w, path := start(t), freePath(t)
	sockets, _, err := Bind(path, 1, SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.listenOn(sockets[0], &accepting{})
	w.Stop()
	wantNoFile(t, path)
}

func TestAnAbandonedUnixSocketLeavesNothing(t *testing.T) {
	path, before := freePath(t), descriptors(t)
	sockets, _, err := Bind(path, 3, SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	Abandon(sockets)
	wantNoFile(t, path)
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are left open", after-before)
	}
}

func TestAStaleSocketFileIsReplaced(t *testing.T) {
	path := freePath(t)
	stale(t, path)
	w := start(t)
	sockets, _ := bindTo(t, path, 1, SocketOptions{})
	ln := w.listenOn(sockets[0], &accepting{})
	wantEchoes(t, []net.Conn{dialUnix(t, path)})
	w.do(ln.Close)
	wantNoFile(t, path)
}

func TestAUnixAddressThatCannotBeBoundIsNamed(t *testing.T) {
	plain, taken, full, missing := freePath(t), freePath(t), freePath(t), freePath(t)
	if err := os.WriteFile(plain.Name, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	bindTo(t, taken, 1, SocketOptions{})
	fillQueue(t, full)
	missing.Name += "/below"
	for _, story := range []struct {
		at    *net.UnixAddr
		says  string
		cause error
	}{
		{plain, "a file that is no socket", unix.EADDRINUSE},
		{taken, "somebody listens on it", unix.EADDRINUSE},
		{full, "somebody listens on it", unix.EADDRINUSE},
		{missing, "bind", unix.ENOENT},
		{&net.UnixAddr{Name: "@abstract"}, "not the path of a unix socket", nil},
		{&net.UnixAddr{Name: ""}, "1 to 107 bytes", nil},
		{&net.UnixAddr{Name: "/" + strings.Repeat("x", 107)}, "1 to 107 bytes", nil},
		{&net.UnixAddr{Name: "/tmp/a\x00b"}, "none of them 0", nil},
	} {
		before := descriptors(t)
		_, _, err := Bind(story.at, 2, SocketOptions{})
		if err == nil || !strings.Contains(err.Error(), story.says) || !strings.Contains(err.Error(), "listen on unix:"+story.at.Name) ||
			story.cause != nil && !errors.Is(err, story.cause) {
			t.Errorf("%q: %v", story.at.Name, err)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%q: %d descriptors are left open", story.at.Name, after-before)
		}
	}
	for _, at := range []*net.UnixAddr{plain, taken, full} {
		wantFile(t, at)
	}
	if _, _, err := Bind(&net.UDPAddr{}, 1, SocketOptions{}); err == nil {
		t.Error("a UDP address was bound to")
	}
}

func TestTheLongestUnixPathIsTaken(t *testing.T) {
	path := freePath(t)
	path.Name += strings.Repeat("x", 107-len(path.Name))
	sockets, _ := bindTo(t, path, 1, SocketOptions{})
	w, d := start(t), newDiary(t)
	w.listenOn(sockets[0], &accepting{})
	w.dialTo(path, d)
	d.want("connected", nil, 0)
}

// fillQueue listens at a path and accepts nobody, until no more fit in.
func fillQueue(t testing.TB, at *net.UnixAddr) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: at.Name}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	dialUnix(t, at)
}

func (w *world) dialTo(to net.Addr, d *diary) (c *Conn) {
	w.t.Helper()
	w.do(func() {
		var err error
		if c, err = w.Dial(to, SocketOptions{}, d); err != nil {
			w.t.Errorf("dial: %v", err)
		}
		if len(d.events) > 0 {
			w.t.Error("Connected came before Dial had returned")
		}
	})
	return c
}
