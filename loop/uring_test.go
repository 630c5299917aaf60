package loop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// startUring starts a loop over io_uring, or skips the test.
func startUring(t testing.TB) *world {
	t.Helper()
	if testIO() != IOUring {
		t.Skip("only for io_uring, which is not asked for or not to be had: ", ProbeIOUring())
	}
	return start(t)
}

// adopt makes connections, each of one end of a pair of sockets, and returns
// them and the other ends, which do not block either.
func (w *world) adopt(n int, handler func(i int) Handler) (all []*Conn, peers []int) {
	w.t.Helper()
	w.do(func() {
		for i := range n {
			ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				w.t.Error(err)
				return
			}
			w.t.Cleanup(func() { unix.Close(ends[1]) })
			c, err := w.Adopt(ends[0], handler(i))
			if err != nil {
				w.t.Error(err)
				return
			}
			all, peers = append(all, c), append(peers, ends[1])
		}
	})
	if len(all) < n {
		w.t.FailNow()
	}
	return all, peers
}

// kernelsBuffers returns the receive buffers that the kernel may use. It is
// called on the loop.
func (u *uring) kernelsBuffers(t testing.TB) (all []int) {
	const registerStatus = 26 // IORING_REGISTER_PBUF_STATUS, since Linux 6.8
	status := struct {
		group, head uint32
		_           [8]uint32
	}{group: bufferGroup}
	if err := u.register(registerStatus, unsafe.Pointer(&status), 1); err != nil {
		t.Logf("the kernel does not tell what buffers it has: %v", err)
		return nil
	}
	for at := uint16(status.head); at != u.bufferTail; at++ {
		id := u.bufferRing[int(at%ringBuffers)*16+12:]
		all = append(all, int(id[0])|int(id[1])<<8)
	}
	return all
}

// wantEverythingBack waits until so many sources are left on the loop, and wants
// each of the buffers to be with the kernel, once.
func (w *world) wantEverythingBack(sources int) {
	w.t.Helper()
	left, busy := -1, -1
	for until := time.Now().Add(patience); left != sources || busy != 0; {
		if time.Now().After(until) {
			w.t.Fatalf("%d sources are left, %d of them closed and busy; want %d", left, busy, sources)
		}
		w.do(func() { left, busy = len(w.sources.all)-len(w.sources.free), w.ring.busy })
	}
	w.do(func() {
		seen := map[int]bool{}
		all := w.ring.kernelsBuffers(w.t)
		for _, id := range all {
			seen[id] = true
		}
		if all != nil && (len(all) != w.ring.offered || len(seen) != w.ring.offered) {
			w.t.Errorf("the kernel has %d buffers, %d different ones, of %d", len(all), len(seen), w.ring.offered)
		}
		if len(w.spare) > spareBuffers {
			w.t.Errorf("%d spare buffers", len(w.spare))
		}
	})
}

// Far more connections than there are buffers hold what comes in back: the
// kernel runs out, and none of them loses a byte or its place.
func TestMoreReceiversThanBuffers(t *testing.T) {
	w := startUring(t)
	const connections, size = 3 * ringBuffers, 3 * ringBufferSize
	text := noise(size + connections) // of each another part
	got := make([][]byte, connections)
	done := make(chan struct{}, connections)
	all, peers := w.adopt(connections, func(i int) Handler {
		return &hooks{
			data:  func(_ *Conn, b []byte) { got[i] = append(got[i], b...) },
			ended: func(c *Conn) { c.Close(); done <- struct{}{} },
		}
	})
	each := func(f func(*Conn)) {
		w.do(func() {
			for _, c := range all {
				f(c)
			}
		})
	}
	each((*Conn).Resume)
	each((*Conn).Pause)
	for i, peer := range peers {
		if n, err := unix.Write(peer, text[i:i+size]); n != size {
			t.Fatalf("only %d bytes were taken: %v", n, err)
		}
		unix.Shutdown(peer, unix.SHUT_WR)
	}
	var free []int
	for until := time.Now().Add(patience); len(free) != 0 || free == nil; {
		if time.Now().After(until) {
			t.Fatalf("the kernel has %d buffers left", len(free))
		}
		w.do(func() { free = append([]int{}, w.ring.kernelsBuffers(t)...) })
	}
	d := newDiary(t) // of one that comes too late, and must not wait for the others
	late, peer := w.adopt(1, func(int) Handler { return d })
	w.do(late[0].Resume)
	unix.Write(peer[0], []byte("hello"))
	unix.Shutdown(peer[0], unix.SHUT_WR)
	d.want("ended", nil, len("hello"))
	w.do(late[0].Close)
	each((*Conn).Resume)
	for range connections {
		within(t, done, "an end does not come")
	}
	for i := range got {
		if !bytes.Equal(got[i], text[i:i+size]) {
			t.Fatalf("of %d bytes came %d, or others", size, len(got[i]))
		}
	}
	w.wantEverythingBack(1)
}

// counter is a source that counts.
type counter struct{ n, good int }

func (c *counter) event(uint32) {}
func (c *counter) discard()     {}

func (c *counter) completed(_ operation, result int32, _ uint32) {
	c.n++
	if result == 0 {
		c.good++
	}
}

// In one turn more is asked for than the queue of operations holds, and more is
// completed than the queue of completions holds. All of it is done, once and in
// order, and told.
func TestMoreInATurnThanTheQueuesHold(t *testing.T) {
	w := startUring(t)
	const connections, messages = 2*ringEntries + 100, 3
	const opNop, nops = 0, ringResults + ringEntries
	echoed := make([]int, connections)
	ended := make(chan int, connections)
	all, peers := w.adopt(connections, func(i int) Handler {
		return &hooks{
			data:  func(c *Conn, b []byte) { echoed[i] += len(b) },
			ended: func(c *Conn) { ended <- echoed[i]; c.Close() },
		}
	})
	told := &counter{}
	w.do(func() {
		w.ring.quiet = false
		slot := w.sources.put(told)
		for i, c := range all {
			c.Resume()
			for m := range messages {
				c.Send([]byte{byte(i), byte(i >> 8), byte(m)})
			}
			c.CloseWrite()
			for range 1 + nops/connections {
				w.ring.submit(opNop, -1, polled, slot)
			}
		}
	})
	for i, peer := range peers {
		b := readSocket(t, peer)
		for m := range messages {
			if want := []byte{byte(i), byte(i >> 8), byte(m)}; len(b) != 3*messages || !bytes.Equal(b[3*m:3*m+3], want) {
				t.Fatalf("connection %d sent % x", i, b)
			}
		}
		unix.Write(peer, b)
		unix.Shutdown(peer, unix.SHUT_WR)
	}
	for range connections {
		if n := within(t, ended, "an end does not come"); n != 3*messages {
			t.Fatalf("%d bytes came back", n)
		}
	}
	w.do(func() {
		if want := connections * (1 + nops/connections); told.n != want || told.good != want {
			t.Errorf("%d completions, %d of them good, of %d", told.n, told.good, want)
		}
	})
	w.wantEverythingBack(2)
}

// readSocket reads a socket that does not block to its end.
func readSocket(t testing.TB, fd int) (all []byte) {
	t.Helper()
	b := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, b)
		switch {
		case n > 0:
			all = append(all, b[:n]...)
		case err == unix.EAGAIN:
			if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience/time.Millisecond)); n == 0 {
				t.Fatal("nothing comes")
			}
		case err != unix.EINTR:
			return all
		}
	}
}

// A buffer is not lost to a handler that panics over it, sent or not.
func TestAPanicGivesTheBufferBack(t *testing.T) {
	w := startUring(t)
	const panics = 2 * ringBuffers
	failed := make(chan error, panics)
	all, peers := w.adopt(panics, func(i int) Handler {
		return &hooks{
			data: func(c *Conn, b []byte) {
				w.ring.quiet = false
				if i%2 == 0 {
					c.Send(b)
				}
				panic("a bug")
			},
			failed: func(_ *Conn, err error) { failed <- err },
		}
	})
	w.do(func() {
		for _, c := range all {
			c.Resume()
		}
	})
	for _, peer := range peers {
		unix.Write(peer, []byte("hello"))
	}
	for range panics {
		if err := within(t, failed, "a panic is not told"); err != ErrPanicked {
			t.Fatal(err)
		}
	}
	w.wantEverythingBack(1)
}

// Stop with thousands of operations in flight ends each of them: the address is
// free when it returns, and no client is left waiting.
func TestStopEndsWhatIsInFlight(t *testing.T) {
	w := startUring(t)
	const clients = 2000
	var all []net.Conn
	accepted, stuck := 0, 0
	text := make([]byte, 512<<10)
	_, at := w.listen(&accepting{accepted: func(c *Conn) {
		c.SetHandler(&hooks{})
		c.Resume()
		if accepted++; accepted%2 == 0 {
			rawSetInt(int(c.fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
			c.Send(text) // more than the sockets take
			stuck += min(c.Unsent(), 1)
		}
	}})
	for range clients {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
		if len(all)%100 == 0 { // else the kernel's queue may run over
			w.wantOpen(2 + len(all))
		}
	}
	w.Stop()
	if stuck != clients/2 {
		t.Errorf("%d connections have something unsent; want %d", stuck, clients/2)
	}
	if w.ring.busy != 0 {
		t.Errorf("%d sockets are still held by operations", w.ring.busy)
	}
	sockets, _, err := Bind(net.TCPAddrFromAddrPort(at), 1, SocketOptions{})
	if err != nil {
		t.Errorf("the address is not free: %v", err)
	}
	Abandon(sockets)
	for _, c := range all {
		c.SetDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, unix.ECONNRESET) {
			t.Fatal(err)
		}
	}
}

// wantOpen waits until the loop has so many sources.
func (w *world) wantOpen(sources int) {
	w.t.Helper()
	n := 0
	for until := time.Now().Add(patience); n != sources; {
		if time.Now().After(until) {
			w.t.Fatalf("the loop has %d sources; want %d", n, sources)
		}
		w.do(func() { n = len(w.sources.all) - len(w.sources.free) })
	}
}
