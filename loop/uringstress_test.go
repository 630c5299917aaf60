package loop

import (
	"bytes"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

// dialSelf begins to connect the loop to itself, from and to one of many
// addresses of this machine, so that ports do not run out.
func (w *world) dialSelf(n int, port uint16, h Handler) (*Conn, error) {
	return w.Dial(&net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+n%200)), Port: int(port)}, SocketOptions{}, h)
}

// listenEverywhere listens on a free port of all addresses.
func (w *world) listenEverywhere(h AcceptHandler) (ln *Listener, port uint16) {
	w.t.Helper()
	sockets, at := bindTo(w.t, &net.TCPAddr{IP: net.IPv4zero}, 1, SocketOptions{})
	return w.listenOn(sockets[0], h), uint16(at.(*net.TCPAddr).Port)
}

// visitor is the client's side of many connections of a loop to itself, one
// after the other: it sends a message, and ends when the echo is there.
type visitor struct {
	*world
	port uint16
	left *int // connections still to be begun
	over chan<- struct{}
	told int
}

func (v *visitor) next() {
	if *v.left == 0 {
		v.over <- struct{}{}
		return
	}
	*v.left--
	v.told = 0
	if _, err := v.dialSelf(*v.left, v.port, v); err != nil {
		v.t.Error(err)
		v.over <- struct{}{}
	}
}

func (v *visitor) Connected(c *Conn, err error) {
	if err != nil {
		v.t.Error(err)
		v.over <- struct{}{}
		return
	}
	c.Resume()
	c.Send([]byte("hello"))
}

func (v *visitor) Data(c *Conn, b []byte) {
	if v.told += len(b); v.told < len("hello") {
		return
	}
	switch *v.left % 8 {
	case 0:
		c.Close()
	case 1:
		c.CloseWrite() // and the end comes back
		return
	default:
		c.Abort()
	}
	v.next()
}

func (v *visitor) Ended(c *Conn)             { c.Close(); v.next() }
func (v *visitor) Failed(c *Conn, err error) { v.t.Error(err); v.over <- struct{}{} }
func (v *visitor) Spliced(*Conn, int)        {}
func (v *visitor) Sent(*Conn)                {}
func (v *visitor) Expired(*Conn)             {}

// Twenty thousand connections leave nothing behind: no slot, no buffer, no
// descriptor, no memory.
func TestTwentyThousandConnectionsLeaveNothing(t *testing.T) {
	w := startUring(t)
	ln, port := w.listenEverywhere(&accepting{accepted: func(c *Conn) {
		c.SetHandler(&hooks{
			data:  func(c *Conn, b []byte) { c.Send(b) },
			ended: func(c *Conn) { c.Close() },
		})
		c.Resume()
	}})
	const atOnce = 100
	visit := func(connections int) {
		t.Helper()
		over := make(chan struct{}, atOnce)
		left := connections
		w.do(func() {
			for range atOnce {
				(&visitor{world: w, port: port, left: &left, over: over}).next()
			}
		})
		for range atOnce {
			within(t, over, "connections do not end")
		}
		w.wantEverythingBack(2)
	}
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	visit(1000)
	memory, open := used(), descriptors(t)
	visit(20_000)
	if n := descriptors(t); n != open {
		t.Errorf("%d descriptors are open, %d before", n, open)
	}
	const slack = 1 << 20 // the race detector, the runtime and the lists of slots have some
	if n := used(); n > memory+slack {
		t.Errorf("%d bytes are in use, %d before", n, memory)
	}
	w.do(ln.Close)
	w.wantEverythingBack(1)
}

// tunnel is two connections of which each sends what comes in on the other, as
// a relay does it.
type tunnel struct{ one, other *Conn }

func (p *tunnel) across(c *Conn) *Conn {
	if c == p.one {
		return p.other
	}
	return p.one
}

func (p *tunnel) passed(c *Conn) {
	if p.across(c).Unsent() > 0 {
		c.Pause()
	}
}

func (p *tunnel) Connected(*Conn, error)    {}
func (p *tunnel) Data(c *Conn, b []byte)    { p.across(c).Send(b); p.passed(c) }
func (p *tunnel) Spliced(c *Conn, _ int)    { p.passed(c) }
func (p *tunnel) Ended(c *Conn)             { p.across(c).CloseWrite() }
func (p *tunnel) Sent(c *Conn)              { p.across(c).Resume() }
func (p *tunnel) Failed(c *Conn, err error) { p.across(c).Abort() }
func (p *tunnel) Expired(*Conn)             {}

// Streams in both directions come through byte for byte, whenever the
// connections that they pass through go over to readiness.
func TestStreamsOutliveGoingOver(t *testing.T) {
	w := startUring(t)
	const tunnels, rounds, size = 8, 2, 1 << 20
	for round := range rounds {
		var all []*tunnel
		var streams sync.WaitGroup
		for i := range tunnels {
			p := &tunnel{}
			var ends [2]*net.TCPConn
			p.one, ends[0] = w.open(p)
			p.other, ends[1] = w.open(p)
			w.do(func() {
				if i%2 == 0 {
					p.one.SpliceTo(p.other)
					p.other.SpliceTo(p.one)
				}
				p.one.Resume()
				p.other.Resume()
			})
			all = append(all, p)
			for from := range ends {
				seed := uint64(round*100 + i*2 + from)
				streams.Go(func() { w.pour(ends[from], seed, size) })
				streams.Go(func() { w.drink(ends[1-from], seed, size) })
			}
		}
		over := make(chan struct{})
		go func() { streams.Wait(); close(over) }()
		choose := rand.New(rand.NewPCG(1, uint64(round)))
		for running := true; running; {
			select {
			case <-over:
				running = false
			case <-time.After(time.Duration(choose.IntN(10)) * time.Millisecond): // at some moment, it does not matter when
				p := all[choose.IntN(tunnels)]
				first := choose.IntN(2) == 0
				w.do(func() {
					c := p.one
					if first {
						c = p.other
					}
					if c.fd >= 0 && !c.direct {
						c.leave()
					}
				})
			}
		}
		w.do(func() {
			for _, p := range all {
				p.one.Close()
				p.other.Close()
			}
		})
		w.wantEverythingBack(1)
	}
}

// pour sends a stream in pieces of all sizes, and its end.
func (w *world) pour(to *net.TCPConn, seed uint64, size int) {
	source, pieces := rand.NewChaCha8([32]byte{byte(seed)}), rand.New(rand.NewPCG(2, seed))
	b := make([]byte, 200_000)
	for size > 0 {
		n := min(1+pieces.IntN(1<<pieces.IntN(18)), size)
		source.Read(b[:n])
		if _, err := to.Write(b[:n]); err != nil {
			w.t.Errorf("%d bytes before the end: %v", size, err)
			return
		}
		size -= n
	}
	to.CloseWrite()
}

// drink wants the stream that pour sends.
func (w *world) drink(from *net.TCPConn, seed uint64, size int) {
	source := rand.NewChaCha8([32]byte{byte(seed)})
	table := crc64.MakeTable(crc64.ECMA)
	want, got := crc64.New(table), crc64.New(table)
	io.CopyN(want, source, int64(size))
	n, err := io.Copy(got, from)
	if n != int64(size) || err != nil || !bytes.Equal(want.Sum(nil), got.Sum(nil)) {
		w.t.Errorf("%d bytes came of %d, or others; %v", n, size, err)
	}
}
