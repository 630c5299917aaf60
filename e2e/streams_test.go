package e2e_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// streams are many connections on each of which both sides send noise now and then,
// independently of each other, and hold what they get against what was sent, byte by
// byte.
type streams struct {
	w       *world
	servers []string
	all     []*stream
	pause   time.Duration // between what a side sends and what it sends next, at most
	slow    int           // each that many-th receives slowly; 0: none does
	stopped chan struct{} // closed to have both sides send their end
	over    sync.WaitGroup

	perServer map[string]*atomic.Int64 // connections that each has
}

// A stream is one of them. A connection begins with its number.
type stream struct {
	number int
	client net.Conn
	ways   [2]way // to the server, to the client
}

// A way is one direction of a stream.
type way struct {
	sent, got atomic.Int64
	ended     chan struct{} // closed when the receiver has seen the end
	err       error         // why it is not whole; to be read once ended is closed
}

// errCorrupt is that a receiver got what was not sent.
var errCorrupt = errors.New("other bytes than were sent")

// isSlow reports whether both sides of a stream receive more slowly than the other one
// sends, so that there is always something on the way.
func (s *streams) isSlow(one *stream) bool { return s.slow > 0 && one.number%s.slow == 0 }

const numberLength = 8 // bytes of a stream's number

// streams starts servers for n streams, which are opened by open.
func (w *world) streams(servers, n int) *streams {
	w.Helper()
	s := &streams{w: w, pause: 4 * time.Second, stopped: make(chan struct{}), perServer: make(map[string]*atomic.Int64)}
	for i := range n {
		one := &stream{number: i}
		for j := range one.ways {
			one.ways[j].ended = make(chan struct{})
		}
		s.all = append(s.all, one)
	}
	for range servers {
		count := new(atomic.Int64)
		address := w.tcpServer(func(conn *net.TCPConn) { s.serve(conn, count) })
		s.servers = append(s.servers, address)
		s.perServer[address] = count
	}
	return s
}

// serve is the server's side. Who says nothing is no stream.
func (s *streams) serve(conn *net.TCPConn, count *atomic.Int64) {
	var number [numberLength]byte
	if _, err := io.ReadFull(conn, number[:]); err != nil {
		return
	}
	one := s.all[binary.BigEndian.Uint64(number[:])]
	count.Add(1)
	defer count.Add(-1)
	var sending sync.WaitGroup
	sending.Go(func() { s.send(conn, one, 1) })
	s.receive(conn, one, 0)
	sending.Wait()
}

// open connects all of them.
func (s *streams) open(address string) {
	s.w.Helper()
	s.w.must(onEach(len(s.all), func(i int) error {
		dialed, err := new(net.Dialer).DialContext(s.w.ctx, "tcp", address)
		if err != nil {
			return err
		}
		conn := dialed.(*net.TCPConn)
		conn.SetDeadline(s.w.deadline())
		one := s.all[i]
		one.client = conn
		if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, uint64(i))); err != nil {
			return err
		}
		s.over.Go(func() { s.send(conn, one, 0) })
		s.over.Go(func() { s.receive(conn, one, 1) })
		return nil
	}))
	s.w.Cleanup(func() {
		for _, one := range s.all {
			one.client.Close()
		}
		s.over.Wait()
	})
	s.advance(s.all)
}

// send is the sender of a way. Now and then it sends more than is taken at once.
func (s *streams) send(conn *net.TCPConn, one *stream, side int) {
	pace := rand.New(rand.NewPCG(uint64(one.number), uint64(side)))
	noise := newNoise(2*one.number + side)
	buffer := make([]byte, 4<<10)
	pause := s.pause
	if s.isSlow(one) {
		pause = time.Millisecond
	}
	for {
		select {
		case <-s.stopped:
			conn.CloseWrite()
			return
		case <-s.w.ended():
			return
		case <-one.ways[1-side].ended:
			if one.ways[1-side].err != nil { // the connection is dead
				return
			}
			conn.CloseWrite()
			return
		case <-time.After(pause/20 + time.Duration(pace.Int64N(int64(pause)))):
		}
		amount := 1 + pace.IntN(len(buffer))
		if s.isSlow(one) || pace.IntN(100) == 0 {
			amount += pace.IntN(300 << 10)
		}
		for amount > 0 {
			b := buffer[:min(len(buffer), amount)]
			noise.Read(b)
			n, err := conn.Write(b)
			one.ways[side].sent.Add(int64(n))
			if err != nil {
				return
			}
			amount -= n
		}
	}
}

// receive is the receiver of a way.
func (s *streams) receive(conn *net.TCPConn, one *stream, side int) {
	in := &one.ways[side]
	defer close(in.ended)
	noise := newNoise(2*one.number + side)
	buffer, want := make([]byte, 4<<10), make([]byte, 4<<10)
	for {
		if s.isSlow(one) {
			select {
			case <-s.stopped:
			case <-s.w.ended():
			case <-time.After(100 * time.Millisecond):
			}
		}
		n, err := conn.Read(buffer)
		noise.Read(want[:n])
		if !bytes.Equal(buffer[:n], want[:n]) {
			in.err = fmt.Errorf("stream %d, way %d: after %d bytes: %w", one.number, side, in.got.Load(), errCorrupt)
			conn.Close()
			return
		}
		in.got.Add(int64(n))
		if err == io.EOF {
			return
		}
		if err != nil {
			in.err = err
			return
		}
	}
}

// alive returns the streams of which neither way has ended.
func (s *streams) alive() (all []*stream) {
	for _, one := range s.all {
		if !isClosed(one.ways[0].ended) && !isClosed(one.ways[1].ended) {
			all = append(all, one)
		}
	}
	return all
}

// advance waits until more bytes have come on each way of some streams.
func (s *streams) advance(some []*stream) {
	s.w.Helper()
	before := make([][2]int64, len(some))
	for i, one := range some {
		before[i] = [2]int64{one.ways[0].got.Load(), one.ways[1].got.Load()}
	}
	still := func(i int) bool {
		return some[i].ways[0].got.Load() == before[i][0] || some[i].ways[1].got.Load() == before[i][1]
	}
	next := 0
	s.w.eventually("all streams have advanced", func() bool {
		for next < len(some) && !still(next) {
			next++
		}
		if next < len(some) && (isClosed(some[next].ways[0].ended) || isClosed(some[next].ways[1].ended)) {
			s.w.Fatalf("stream %d has ended: %v", some[next].number, some[next].how())
		}
		return next == len(some)
	})
}

// how says how the ways stand.
func (one *stream) how() (all []string) {
	for i := range one.ways {
		way := &one.ways[i]
		text := fmt.Sprintf("%d of %d bytes", way.got.Load(), way.sent.Load())
		if isClosed(way.ended) {
			text += fmt.Sprintf(", ended, %v", way.err)
		}
		all = append(all, text)
	}
	return all
}

// finish has both sides of some streams send their end, after which all they sent has
// to be there. It returns how much that is, each way.
func (s *streams) finish(some []*stream) (sent [2]int64) {
	s.w.Helper()
	close(s.stopped)
	wrong := 0
	for _, one := range some {
		for i := range one.ways {
			way := &one.ways[i]
			s.w.await(fmt.Sprintf("stream %d has ended", one.number), way.ended)
		}
		for i := range one.ways {
			way := &one.ways[i]
			sent[i] += way.sent.Load()
			if way.err != nil || way.got.Load() != way.sent.Load() {
				wrong++
				if wrong < 5 {
					s.w.Errorf("stream %d is not whole: %q", one.number, one.how())
				}
			}
		}
	}
	if wrong > 0 {
		s.w.Errorf("%d ways of %d streams are not whole", wrong, len(some))
	}
	return sent
}

// wantNoneCorrupt expects that nobody got what was not sent, whatever became of it.
func (s *streams) wantNoneCorrupt() {
	s.w.Helper()
	for _, one := range s.all {
		for i := range one.ways {
			if way := &one.ways[i]; isClosed(way.ended) && (errors.Is(way.err, errCorrupt) || way.got.Load() > way.sent.Load()) {
				s.w.Errorf("stream %d: %q", one.number, one.how())
			}
		}
	}
}

// wantCounts expects the active counts to be as the servers see it.
func (s *streams) wantCounts(b *balancer, pool string) {
	s.w.Helper()
	s.w.eventually("the active counts are as the servers see it", func() bool {
		return !slices.ContainsFunc(b.pools()[pool], func(one server) bool { return one.Active != s.perServer[one.Address].Load() })
	})
}

// config is one of a tcp listener "db" that feeds their servers by least connections,
// unchecked, so that all that is counted comes from clients.
func (s *streams) config(io string) object {
	config := tcpOnly(slices.Clone(s.servers)...)
	config["io"], config["shutdown_timeout"] = io, "5m"
	pool := poolOf(config)
	pool["algorithm"], pool["health"] = "least_connections", false
	return config
}
