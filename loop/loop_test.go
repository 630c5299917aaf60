package loop

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPostRunsEverythingInOrder(t *testing.T) {
	w := start(t)
	const goroutines, posts = 16, 2000
	var last [goroutines]int // the loop's
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for i := range posts {
				w.Post(func() {
					if last[g] != i {
						t.Errorf("post %d ran when %d was due", i, last[g])
					}
					last[g] = i + 1
				})
			}
		})
	}
	all.Wait()
	w.do(func() {
		for g, n := range last {
			if n != posts {
				t.Errorf("of goroutine %d only %d posts ran", g, n)
			}
		}
	})
}

func TestPostMayBeCalledFromTheLoop(t *testing.T) {
	w := start(t)
	done := make(chan struct{})
	depth := 0
	var again func()
	again = func() {
		if depth++; depth == 1000 {
			close(done)
			return
		}
		w.Post(again)
	}
	w.Post(again)
	within(t, done, "posts from a post do not run")
}

// What Post accepted runs, whenever Stop comes.
func TestStopRunsWhatWasPosted(t *testing.T) {
	for range 50 {
		w := start(t)
		var accepted, ran atomic.Int64
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for w.Post(func() { ran.Add(1) }) {
					accepted.Add(1)
				}
			})
		}
		w.Stop()
		all.Wait()
		if accepted.Load() != ran.Load() {
			t.Fatalf("of %d accepted posts %d ran", accepted.Load(), ran.Load())
		}
		if w.Post(func() { t.Error("ran after Stop") }) {
			t.Fatal("a stopped loop takes posts")
		}
		w.Stop()
	}
}

func TestStopClosesEverythingWithoutAWord(t *testing.T) {
	w, d := start(t), newDiary(t)
	sockets, at, err := Bind(loopback, 1, SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.do(func() {
		if _, err := w.Listen(sockets[0], &accepting{}); err != nil {
			t.Error(err)
		}
	})
	_, peer := w.open(d)
	c, sleeper := w.open(d)
	w.do(func() { c.Resume(); c.SetTimer(time.Hour) })
	w.Stop()
	for _, p := range []net.Conn{peer, sleeper} {
		if _, err := p.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the peer reads: %v", err)
		}
	}
	if _, err := net.Dial("tcp", at.String()); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connecting after Stop: %v", err)
	}
	if len(d.events) > 0 {
		t.Error("a handler was told of the loop's end")
	}
}

// A panic costs the connection that it happened on, and nothing else.
func TestAPanicIsContained(t *testing.T) {
	w := start(t)
	bystander := newDiary(t)
	other, otherPeer := w.open(bystander)
	w.do(other.Resume)
	for name, panicking := range map[string]*hooks{
		"data":    {data: func(*Conn, []byte) { panic("a bug in data") }},
		"ended":   {ended: func(*Conn) { panic("a bug in ended") }},
		"expired": {expired: func(*Conn) { panic("a bug in expired") }},
		"sent":    {sent: func(*Conn) { panic("a bug in sent") }},
		"posted":  {},
		"closed":  {data: func(c *Conn, _ []byte) { c.Close(); panic("a bug in closed") }},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			failed := make(chan error, 1)
			panicking.failed = func(_ *Conn, err error) { failed <- err }
			c, peer := w.open(panicking)
			switch name {
			case "expired":
				w.do(func() { c.SetTimer(1) })
			case "sent":
				w.do(func() {
					for c.Unsent() == 0 {
						c.Send(make([]byte, readSize))
					}
				})
				go io.Copy(io.Discard, peer)
			case "ended":
				peer.CloseWrite()
			case "posted":
				w.Post(func() { c.Do(func() { panic("a bug in posted") }) })
			default:
				peer.Write([]byte("x"))
			}
			w.do(c.Resume)
			if err := within(t, failed, "Failed did not come"); err != ErrPanicked {
				t.Errorf("failed with %v", err)
			}
			if said := within(t, w.said.lines, "nothing was logged"); !strings.Contains(said, "a bug in "+name) || !strings.Contains(said, "loop_test.go") {
				t.Errorf("logged %q", said)
			}
			w.do(func() {
				if c.fd >= 0 {
					t.Error("the connection is still open")
				}
			})
		})
	}
	w.t = t
	otherPeer.Write([]byte("still here"))
	otherPeer.CloseWrite()
	bystander.want("ended", nil, 10)
}

func TestAPanicInAPanicIsContained(t *testing.T) {
	w := start(t)
	c, peer := w.open(&hooks{
		data:   func(*Conn, []byte) { panic("one") },
		failed: func(*Conn, error) { panic("two") },
	})
	peer.Write([]byte("x"))
	w.do(c.Resume)
	for _, want := range []string{"one", "two"} {
		if said := within(t, w.said.lines, "nothing was logged"); !strings.Contains(said, want) {
			t.Errorf("logged %q", said)
		}
	}
	w.Post(func() { panic("three") })
	if said := within(t, w.said.lines, "nothing was logged"); !strings.Contains(said, "three") {
		t.Errorf("logged %q", said)
	}
	w.do(func() {})
}

// Two connections have events in one batch; whichever comes first closes the
// other and opens a new connection, which gets the other's descriptor and slot.
// The event that is left belongs to nobody.
func TestEventsOfAClosedConnectionReachNobody(t *testing.T) {
	w, d := start(t), newDiary(t)
	to := silent(t)
	var a, b, heir *Conn
	replace := func(victim **Conn) func(*Conn, []byte) {
		return func(*Conn, []byte) {
			if heir != nil {
				t.Error("a closed connection got data")
				return
			}
			slot := (*victim).slot
			(*victim).Close()
			var err error
			if heir, err = w.Dial(net.TCPAddrFromAddrPort(to), SocketOptions{}, d); err != nil {
				t.Errorf("dial: %v", err)
			}
			if a.direct && heir.slot != slot {
				t.Errorf("slot %d instead of %d: the story shows nothing", heir.slot, slot)
			}
		}
	}
	a, aPeer := w.open(&hooks{data: replace(&b)})
	b, bPeer := w.open(&hooks{data: replace(&a)})
	w.do(func() { a.Resume(); b.Resume() })
	release := w.hold()
	aPeer.Write([]byte("x"))
	bPeer.Write([]byte("x"))
	release()
	for found := false; !found; {
		w.do(func() { found = heir != nil })
	}
	d.wantNothing(w)
	w.do(func() {
		if !heir.connecting || heir.readable || heir.writable {
			t.Error("a new connection got an event of a closed one")
		}
	})
}

func TestSlotsAreNumberedAnewAndNeverConfused(t *testing.T) {
	var s slots
	one, two := waker{&Loop{}}, waker{&Loop{}}
	n := s.put(one)
	old := s.all[n].generation
	if s.get(n, old) != one {
		t.Fatal("a slot does not give what was put")
	}
	s.remove(n)
	if s.get(n, old) != nil {
		t.Fatal("a removed source is still given")
	}
	if s.put(two) != n {
		t.Fatal("a free slot is not used again")
	}
	if s.get(n, old) != nil {
		t.Fatal("an old event gives a new source")
	}
	for range 1000 {
		s.remove(s.put(one))
	}
	if len(s.all) != 2 {
		t.Fatalf("%d slots for two sources", len(s.all))
	}
}

// A connection whose data never ends leaves the others their turns.
func TestAFirehoseDoesNotStarveTheOthers(t *testing.T) {
	w := start(t)
	var turn time.Duration
	inTurn, most := 0, 0
	hose, hosePeer := w.open(&hooks{data: func(c *Conn, b []byte) {
		if w.Now() != turn {
			turn, inTurn = w.Now(), 0
		}
		inTurn += len(b)
		most = max(most, inTurn)
		for begin := time.Now(); time.Since(begin) < 200*time.Microsecond; { // slower than the peer
		}
	}})
	echo, peer := w.open(&hooks{data: func(c *Conn, b []byte) { c.Send(b) }})
	w.do(func() { hose.Resume(); echo.Resume() })
	done := make(chan struct{})
	go func() {
		defer close(done)
		block := make([]byte, 1<<20)
		for {
			if _, err := hosePeer.Write(block); err != nil {
				return
			}
		}
	}()
	b := make([]byte, 1)
	for range 200 {
		peer.Write(b)
		if _, err := io.ReadFull(peer, b); err != nil {
			t.Fatalf("an echo beside a firehose: %v", err)
		}
	}
	w.do(hose.Close)
	within(t, done, "the firehose does not end")
	// Once for an event, and once because there was more than that.
	if most > 2*(readBudget+readSize) {
		t.Errorf("%d bytes were read in one turn, want up to about %d", most, 2*readBudget)
	}
}
