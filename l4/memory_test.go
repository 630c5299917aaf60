package l4

import (
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"fulcrum/loop"
	"fulcrum/pool"
)

// An idle connection holds a session and two connections of the loop, and of the
// process's memory nothing else.
func TestAnIdleConnectionIsSmall(t *testing.T) {
	const most = 640
	if n := unsafe.Sizeof(session{}) + 2*unsafe.Sizeof(loop.Conn{}); n > most {
		t.Errorf("%d bytes: a session of %d and two connections of %d, want up to %d",
			n, unsafe.Sizeof(session{}), unsafe.Sizeof(loop.Conn{}), most)
	}
}

func message(t testing.TB, c *client, b []byte) {
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
}

func TestAMessageCostsNoMemory(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	w.start()
	c := w.dial()
	b := make([]byte, 64)
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for range 500 {
		message(t, c, b)
	}
	const messages = 5000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range messages {
		message(t, c, b)
	}
	runtime.ReadMemStats(&after)
	// The runtime and the test binary may allocate a little of their own.
	if n := after.Mallocs - before.Mallocs; n > messages/100 {
		t.Errorf("%d allocations for %d messages", n, messages)
	}
}

// A client that does not read holds the server back, and the listener keeps no
// more than it has taken in one turn.
func TestASlowReaderKeepsMemoryBounded(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.serve(pool.ServerSpec{}, func(c *net.TCPConn) {
		block := make([]byte, 1<<20)
		for range 64 {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
	w.start()
	c := w.dial()
	eventually(t, "bytes come", func() bool { return w.Stats().ToClient > 0 })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	last := int64(-1)
	eventually(t, "no more come", func() bool {
		n := w.Stats().ToClient
		still := n == last
		last = n
		return still
	})
	runtime.ReadMemStats(&after)
	if last > 32<<20 {
		t.Errorf("%d bytes are taken from the server though nobody reads them", last)
	}
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 4<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if n, err := io.Copy(io.Discard, c); n != 64<<20 || err != nil {
		t.Errorf("%d bytes came, error %v", n, err)
	}
}

func BenchmarkMessage(b *testing.B) {
	w := prepare(b, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	w.start()
	c := w.dial()
	content := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		message(b, c, content)
	}
}

// bare is a server and clients that cost no memory of their own, so that what a
// connection costs the listener shows. It takes one connection after the other.
type bare struct {
	at      unix.SockaddrInet4 // of the listener
	message []byte
}

func (w *world) bare() *bare {
	w.t.Helper()
	fd, at := w.bind()
	if err := unix.Listen(fd, 100); err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 100)
		for {
			c, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
			if errno != 0 {
				return
			}
			for n := 1; n > 0; {
				n, _ = unix.Read(int(c), b)
				unix.Write(int(c), b[:max(n, 0)])
			}
			unix.Close(int(c))
		}
	}()
	w.t.Cleanup(func() { unix.Shutdown(fd, unix.SHUT_RDWR); <-done })
	w.healthy(pool.ServerSpec{Resolved: at})
	w.start()
	return &bare{
		at:      unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: w.Address().(*net.TCPAddr).Port},
		message: make([]byte, 64),
	}
}

// connect is the life of one client.
func (b *bare) connect(t testing.TB) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(fd, &b.at)
	}
	if err == nil {
		_, err = unix.Write(fd, b.message)
	}
	if err == nil {
		_, err = unix.Read(fd, b.message)
	}
	unix.Shutdown(fd, unix.SHUT_WR)
	unix.Read(fd, b.message)
	unix.Close(fd)
	if err != nil {
		t.Fatal(err)
	}
}

// Once there were as many connections as there are at a time, all that one needs
// is used again.
func TestAConnectionCostsNoAllocation(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	b := w.bare()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for range 200 {
		b.connect(t)
	}
	const connections = 2000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range connections {
		b.connect(t)
	}
	runtime.ReadMemStats(&after)
	if n := float64(after.Mallocs-before.Mallocs) / connections; n > 0.1 {
		t.Errorf("%.2f allocations for each connection", n)
	}
}

func BenchmarkConnection(b *testing.B) {
	w := prepare(b, pool.LeastConnections)
	bare := w.bare()
	b.ReportAllocs()
	for b.Loop() {
		bare.connect(b)
	}
}
