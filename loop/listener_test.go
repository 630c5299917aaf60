package loop

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// accepting is an AcceptHandler made of functions; by default it echoes.
type accepting struct {
	accepted func(*Conn)
	stopped  chan struct{} // closed by Stopped
	rested   int           // how often descriptors were told to have run out
}

func (a *accepting) Accepted(c *Conn) {
	if a.accepted != nil {
		a.accepted(c)
		return
	}
	c.SetHandler(echoes)
	c.Resume()
}

func (a *accepting) Admit() bool { return true }

func (a *accepting) Resting(error) { a.rested++ }
func (a *accepting) Unadmit()      {}

func (a *accepting) Stopped(*Listener) { close(a.stopped) }

var echoes = &hooks{
	data:  func(c *Conn, b []byte) { c.Send(b) },
	ended: func(c *Conn) { c.Close() },
}

// listen opens a listening socket on the loop.
func (w *world) listen(h AcceptHandler) (ln *Listener, at netip.AddrPort) {
	w.t.Helper()
	sockets, bound, err := Bind(loopback, 1, SocketOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.listenOn(sockets[0], h), bound.(*net.TCPAddr).AddrPort()
}

func (w *world) listenOn(socket int, h AcceptHandler) (ln *Listener) {
	w.t.Helper()
	w.do(func() {
		var err error
		if ln, err = w.Listen(socket, h); err != nil {
			w.t.Error(err)
		}
	})
	return ln
}

func descriptors(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestConnectionsAreAcceptedInBatches(t *testing.T) {
	w := start(t)
	const clients = 3*acceptBatch + 5
	byTurn := map[time.Duration]int{}
	from := map[netip.AddrPort]bool{}
	all := make(chan struct{})
	var at netip.AddrPort
	_, at = w.listen(&accepting{accepted: func(c *Conn) {
		byTurn[w.Now()]++
		from[c.RemoteAddr()] = true
		if c.LocalAddr() != at {
			t.Errorf("accepted at %s instead of %s", c.LocalAddr(), at)
		}
		c.Close()
		if len(from) == clients {
			close(all)
		}
	}})
	release := w.hold()
	var own []netip.AddrPort
	for range clients {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		own = append(own, c.LocalAddr().(*net.TCPAddr).AddrPort())
	}
	release()
	within(t, all, "not all were accepted")
	w.do(func() {
		for _, n := range byTurn {
			if n > acceptBatch {
				t.Errorf("%d were accepted in one turn", n)
			}
		}
		for _, a := range own {
			if !from[a] {
				t.Errorf("%s is not among the clients", a)
			}
		}
	})
}

func TestAnAcceptThatPanicsCostsOneConnection(t *testing.T) {
	w := start(t)
	n := 0
	_, at := w.listen(&accepting{accepted: func(c *Conn) {
		if n++; n == 1 {
			panic("a bug")
		}
		c.SetHandler(echoes)
		c.Resume()
	}})
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection was not closed: %v", err)
	}
	if err := echo(at); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

// echo connects, sends and gets back one message. It returns errNotConnected
// when it could not connect.
func echo(at netip.AddrPort) error {
	c, err := net.DialTimeout("tcp", at.String(), time.Second/2)
	if err != nil {
		return errNotConnected
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	if err == nil && string(b) != "hello" {
		err = errors.New("cut off: " + string(b))
	}
	return err
}

var errNotConnected = errors.New("not connected")

func TestClosingAListenerRefuses(t *testing.T) {
	w := start(t)
	ln, at := w.listen(&accepting{})
	if err := echo(at); err != nil {
		t.Fatal(err)
	}
	w.do(ln.Close)
	w.do(ln.Close)
	w.do(ln.Drain)
	if err := echo(at); err != errNotConnected {
		t.Errorf("connecting to a closed listener: %v", err)
	}
}

// What was connected when a drain began is accepted; who comes later is not, and
// nobody is reset.
func TestADrainAcceptsWhatIsConnected(t *testing.T) {
	w := start(t)
	stopped := make(chan struct{})
	ln, at := w.listen(&accepting{stopped: stopped})
	release := w.hold()
	var early []net.Conn
	for range acceptBatch + 10 {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		early = append(early, c)
	}
	if err := refuseHandshakes(ln.fd); err != nil {
		t.Fatal(err)
	}
	if c, err := net.DialTimeout("tcp", at.String(), 200*time.Millisecond); err == nil {
		c.Close()
		t.Error("a client connected after handshakes were to be refused")
	}
	w.Post(ln.Drain)
	release()
	for _, c := range early {
		c.Write([]byte("x"))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatalf("a client that was connected: %v", err)
		}
	}
	within(t, stopped, "the drain does not end")
	if err := echo(at); err != errNotConnected {
		t.Errorf("connecting after a drain: %v", err)
	}
	early[0].Write([]byte("y"))
	if _, err := io.ReadFull(early[0], make([]byte, 1)); err != nil {
		t.Errorf("a connection after the drain: %v", err)
	}
}

func TestADrainIgnoresWhoComesLater(t *testing.T) {
	w := start(t)
	stopped := make(chan struct{})
	ln, at := w.listen(&accepting{stopped: stopped})
	w.do(ln.Drain)
	w.do(ln.Drain)
	if c, err := net.DialTimeout("tcp", at.String(), drainWindow/2); err == nil {
		c.Close()
		t.Error("a client connected during a drain")
	}
	within(t, stopped, "the drain does not end")
}

// Clients connect as fast as they can while two loops drain: whoever gets
// connected is served.
func TestADrainUnderLoadResetsNobody(t *testing.T) {
	for range 3 {
		sockets, bound, err := Bind(loopback, 2, SocketOptions{})
		if err != nil {
			t.Fatal(err)
		}
		at := bound.(*net.TCPAddr).AddrPort()
		worlds := []*world{start(t), start(t)}
		var listeners []*Listener
		stopped := []chan struct{}{make(chan struct{}), make(chan struct{})}
		for i, w := range worlds {
			w.do(func() {
				ln, err := w.Listen(sockets[i], &accepting{stopped: stopped[i]})
				if err != nil {
					t.Error(err)
				}
				listeners = append(listeners, ln)
			})
		}
		var served atomic.Int64
		var clients sync.WaitGroup
		enough := make(chan struct{})
		for range 8 {
			clients.Go(func() {
				for {
					err := echo(at)
					if err == errNotConnected {
						return
					}
					if err != nil {
						t.Errorf("a connected client: %v", err)
						return
					}
					if served.Add(1) == 300 {
						close(enough)
					}
				}
			})
		}
		within(t, enough, "the clients are not served")
		for i, w := range worlds {
			w.Post(listeners[i].Drain)
		}
		for i := range worlds {
			within(t, stopped[i], "the drain does not end")
		}
		clients.Wait()
		for _, w := range worlds {
			w.Stop()
		}
	}
}

const inChild = "FULCRUM_TEST_IN_CHILD"

// Without descriptors accepting pauses, which is said once, costs no processor
// time, and ends by itself. The story plays in a process of its own, as nothing
// else can go on in one that has run out.
func TestAcceptingPausesWhenDescriptorsRunOut(t *testing.T) {
	if os.Getenv(inChild) != "" {
		runOut(t)
		return
	}
	playInChild(t, nil)
}

// playInChild plays this test, and no other, in a process of its own.
func playInChild(t *testing.T, how *syscall.SysProcAttr) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=30s")
	child.Env = append(os.Environ(), inChild+"=1")
	child.SysProcAttr = how
	out, err := child.CombinedOutput()
	if errors.Is(err, unix.EPERM) {
		t.Skip("not permitted here: ", err)
	}
	if strings.Contains(string(out), "--- SKIP: "+t.Name()) {
		t.Skipf("in a process of its own:\n%s", out)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func runOut(t *testing.T) {
	w := start(t)
	a := &accepting{}
	ln, at := w.listen(a)
	if err := echo(at); err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: 100, Max: 100}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		var filler []int
		fill := func() {
			for {
				fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					return
				}
				filler = append(filler, fd)
			}
		}
		fill()
		unix.Close(filler[0])
		filler = filler[1:]
		c, err := net.Dial("tcp", at.String()) // takes the last one
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if round == 0 {
			if said := within(t, w.said.lines, "the pause is not said"); !strings.Contains(said, "paused") || !strings.Contains(said, "too many open files") {
				t.Errorf("said %q", said)
			}
		}
		w.do(func() { ln.Pause(); ln.Resume() }) // of another matter
		w.wantIdle()
		for _, fd := range filler {
			unix.Close(fd)
		}
		c.SetDeadline(time.Now().Add(patience))
		c.Write([]byte("x"))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatalf("after descriptors came free: %v", err)
		}
		if err := echo(at); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.said.lines) > 0 {
		t.Errorf("it was said again: %q", <-w.said.lines)
	}
	w.do(ln.Close)
	if a.rested != 1 {
		t.Errorf("the handler was told %d times, want once", a.rested)
	}
}

// wantIdle has the loop do what it does for a while, which may cost next to no
// processor time.
func (w *world) wantIdle() {
	w.t.Helper()
	var before, after unix.Rusage
	w.do(func() { unix.Getrusage(unix.RUSAGE_THREAD, &before) })
	w.passes(4 * acceptPause)
	w.do(func() { unix.Getrusage(unix.RUSAGE_THREAD, &after) })
	if used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()); used > acceptPause {
		w.t.Errorf("%v cost %v of processor time", 4*acceptPause, used)
	}
}

// passes waits until so much of the loop's time has passed.
func (w *world) passes(d time.Duration) {
	w.t.Helper()
	over := make(chan struct{})
	a := &alarm{fires: func(*alarm) { close(over) }}
	a.owner = a
	w.do(func() { w.timers.start(&a.timer, w.Now()+d) })
	within(w.t, over, "a timer did not fire")
}
