package relay

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// most is what the relay itself may hold of one direction: one read, or what is
// in a pipe of the kernel.
const most = 1 << 20

// pump writes n random bytes in pieces of random size, then the end, and
// returns their checksum.
func pump(t testing.TB, to *net.TCPConn, n int, seed byte) (sum [32]byte) {
	random := rand.NewChaCha8([32]byte{seed})
	sizes := rand.New(random)
	hash := sha256.New()
	block := make([]byte, 300_000)
	for n > 0 {
		piece := block[:min(n, 1+sizes.IntN(1<<(1+sizes.IntN(18))))]
		random.Read(piece)
		hash.Write(piece)
		if _, err := to.Write(piece); err != nil {
			t.Errorf("write: %v", err)
			return
		}
		n -= len(piece)
	}
	if err := to.CloseWrite(); err != nil {
		t.Errorf("close write: %v", err)
	}
	return [32]byte(hash.Sum(nil))
}

// swallow reads to the end, in pieces of up to size bytes.
func swallow(t testing.TB, from *net.TCPConn, size int) (n int, sum [32]byte) {
	hash := sha256.New()
	block := make([]byte, size)
	for {
		k, err := from.Read(block)
		hash.Write(block[:k])
		n += k
		if err == io.EOF {
			return n, [32]byte(hash.Sum(nil))
		}
		if err != nil {
			t.Errorf("read after %d bytes: %v", n, err)
			return
		}
	}
}

// watch looks at what is unsent, over and over, until it is stopped.
func (w *world) watch() (stop func() int) {
	var all sync.WaitGroup
	end := make(chan struct{})
	highest := 0
	all.Go(func() {
		for {
			done := make(chan struct{})
			if !w.loop.Post(func() {
				highest = max(highest, w.pair.Client.Unsent(), w.pair.Upstream.Unsent())
				close(done)
			}) {
				return
			}
			<-done
			select {
			case <-end:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	return func() int { close(end); all.Wait(); return highest }
}

func TestBothDirectionsAreExact(t *testing.T) {
	const size = 64 << 20
	for _, story := range []struct {
		name             string
		up, down         int
		readUp, readDown int // how much the readers take at a time
	}{
		{name: "both at once", up: size, down: size, readUp: 128 << 10, readDown: 100_003},
		{name: "slow server", up: size / 8, down: size / 8, readUp: 701, readDown: 128 << 10},
		{name: "slow client", up: size / 8, down: size / 8, readUp: 128 << 10, readDown: 701},
		{name: "both slow", up: size / 8, down: size/8 + 1, readUp: 997, readDown: 991},
		{name: "one way only", up: 0, down: size / 8, readUp: 1, readDown: 128 << 10},
	} {
		t.Run(story.name, func(t *testing.T) {
			w := start(t, time.Hour)
			unsent := w.watch()
			var sentUp, sentDown, gotUp, gotDown [32]byte
			var nUp, nDown int
			var all sync.WaitGroup
			all.Go(func() { sentUp = pump(t, w.client, story.up, 1) })
			all.Go(func() { sentDown = pump(t, w.upstream, story.down, 2) })
			all.Go(func() { nUp, gotUp = swallow(t, w.upstream, story.readUp) })
			all.Go(func() { nDown, gotDown = swallow(t, w.client, story.readDown) })
			all.Wait()
			if n := unsent(); n > most {
				t.Errorf("%d bytes were held, want up to %d", n, most)
			}
			if nUp != story.up || nDown != story.down || sentUp != gotUp || sentDown != gotDown {
				t.Errorf("%d and %d bytes came, and the checksums are right: %v, %v", nUp, nDown, sentUp == gotUp, sentDown == gotDown)
			}
			w.wantOver(ClientEnded, UpstreamEnded)
			w.wantMoved(story.up, story.down)
		})
	}
}

// A reader that does not read at all stops the writer, and what the relay holds
// meanwhile is bounded.
func TestBackPressureReachesTheOtherEnd(t *testing.T) {
	eachWay(t, time.Hour, func(t *testing.T, w *world, actor, other *net.TCPConn, _ Cause) {
		unsent := w.watch()
		n := w.stuff(actor)
		actor.CloseWrite()
		w.wantGoingOn()
		if held := unsent(); held == 0 || held > most {
			t.Errorf("%d bytes are held, want up to %d", held, most)
		}
		// The other direction does not feel it.
		other.Write([]byte("still fine"))
		w.wantRead(actor, "still fine")
		if got, _ := swallow(t, other, 1<<20); got != n {
			t.Errorf("%d bytes came of %d", got, n)
		}
		other.Close()
		w.wantOver(w.endedBy(actor))
	})
}

func TestOneEndLeavesTheOtherDirectionOpen(t *testing.T) {
	eachWay(t, time.Hour, func(t *testing.T, w *world, actor, other *net.TCPConn, _ Cause) {
		actor.Write([]byte("a question"))
		actor.CloseWrite()
		w.wantRead(other, "a question")
		w.wantEnd(other, io.EOF)
		content := make([]byte, 16<<10)
		for range 300 { // in steps: each is there before the next is sent
			rand.NewChaCha8([32]byte{9}).Read(content)
			other.Write(content)
			w.wantRead(actor, string(content))
		}
		w.wantGoingOn()
		other.CloseWrite()
		w.wantEnd(actor, io.EOF)
		w.wantOver(w.endedBy(actor))
		up, down := 10, 300*len(content)
		if actor == w.upstream {
			up, down = down, up
		}
		w.wantMoved(up, down)
	})
}

// The last bytes and the end in one segment, at every moment of a relay's life.
func TestTheEndComesWithTheLastBytes(t *testing.T) {
	for _, when := range []string{"before the start", "at once", "in one batch"} {
		t.Run(when, func(t *testing.T) {
			for i := range 20 {
				w, open := prepare(t, time.Hour)
				release := func() {}
				switch when {
				case "at once":
					open()
				case "in one batch":
					open()
					release = w.hold()
				}
				want := bytes.Repeat([]byte{byte(i)}, 1+i*i*i*9)
				for _, peer := range []*net.TCPConn{w.client, w.upstream} {
					cork(t, peer)
					peer.Write(want)
					peer.CloseWrite()
				}
				if when == "before the start" {
					open()
				}
				release()
				for _, peer := range []*net.TCPConn{w.client, w.upstream} {
					if got, err := io.ReadAll(peer); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("%d of %d bytes came, error %v", len(got), len(want), err)
					}
				}
				w.wantOver(ClientEnded, UpstreamEnded)
				w.wantMoved(len(want), len(want))
			}
		})
	}
}

// cork has the kernel keep segments back until they are full or the end comes.
func cork(t *testing.T, peer *net.TCPConn) {
	t.Helper()
	raw, err := peer.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 1) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheServerMaySpeakFirst(t *testing.T) {
	w, open := prepare(t, time.Hour)
	w.upstream.Write([]byte("220 welcome"))
	open()
	w.wantRead(w.client, "220 welcome")
	w.client.Write([]byte("HELO"))
	w.wantRead(w.upstream, "HELO")
	w.client.Close()
	w.wantEnd(w.upstream, io.EOF)
	w.upstream.Close()
	w.wantOver(ClientEnded)
	w.wantMoved(4, 11)
}
