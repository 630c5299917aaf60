package relay

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAResetIsPassedOn(t *testing.T) {
	stories := map[string]func(w *world, actor, other *net.TCPConn){
		"at once": func(w *world, actor, other *net.TCPConn) {},
		"in the middle": func(w *world, actor, other *net.TCPConn) {
			actor.Write([]byte("hello"))
			w.wantRead(other, "hello")
			other.Write([]byte("hello"))
			w.wantRead(actor, "hello")
		},
		"after its own end": func(w *world, actor, other *net.TCPConn) {
			actor.CloseWrite()
			w.wantEnd(other, io.EOF)
		},
		"after the end of the other": func(w *world, actor, other *net.TCPConn) {
			other.CloseWrite()
			w.wantEnd(actor, io.EOF)
		},
		"while it does not read": func(w *world, actor, other *net.TCPConn) {
			w.stuff(other)
		},
	}
	for name, before := range stories {
		t.Run(name, func(t *testing.T) {
			eachWay(t, time.Hour, func(t *testing.T, w *world, actor, other *net.TCPConn, failed Cause) {
				before(w, actor, other)
				w.wantGoingOn()
				reset(actor)
				w.wantOver(failed)
				if name == "after its own end" {
					other.Write([]byte("x")) // its end was read before
					for {
						if _, err := other.Write([]byte("x")); err != nil {
							return
						}
					}
				}
				w.wantReset(other)
			})
		})
	}
}

// With both directions stuck neither side is read, and still a reset must get
// through: to a peer that reads only once it has written all.
func TestAResetGetsThroughWhenBothDirectionsAreStuck(t *testing.T) {
	eachWay(t, time.Hour, func(t *testing.T, w *world, actor, other *net.TCPConn, failed Cause) {
		w.stuff(actor)
		w.stuff(other)
		w.wantGoingOn()
		reset(actor)
		other.SetWriteDeadline(time.Now().Add(patience))
		if _, err := other.Write(make([]byte, 32<<20)); err != nil {
			t.Fatalf("the other is not let go on: %v", err)
		}
		w.wantReset(other)
		w.wantOver(failed)
	})
}

func TestResetsOfBothSidesEndAPairThatIsStuck(t *testing.T) {
	eachWay(t, time.Hour, func(t *testing.T, w *world, actor, other *net.TCPConn, _ Cause) {
		w.stuff(actor)
		w.stuff(other)
		reset(actor)
		w.wantGoingOn()
		reset(other)
		within(t, w.causes, "the pair does not end")
	})
}

// What is sent to a side that is gone is no sign of life: a peer that never
// reads must not keep the pair by writing.
func TestWritingToWhoIsGoneKeepsNothingAlive(t *testing.T) {
	eachWay(t, 300*time.Millisecond, func(t *testing.T, w *world, actor, other *net.TCPConn, _ Cause) {
		w.stuff(actor) // other does not read
		reset(actor)
		written := make(chan struct{})
		go func() {
			defer close(written)
			for {
				if _, err := other.Write(make([]byte, 10_000)); err != nil {
					return
				}
			}
		}()
		within(t, w.causes, "the pair does not end")
		within(t, written, "the other is not closed")
	})
}

func TestWhatCameBeforeAResetIsPassedOn(t *testing.T) {
	eachWay(t, time.Hour, func(t *testing.T, w *world, actor, other *net.TCPConn, failed Cause) {
		release := w.hold()
		actor.Write(make([]byte, 20_000))
		reset(actor)
		release()
		w.wantOver(failed)
		n, err := io.Copy(io.Discard, other)
		if n != 20_000 || err == nil {
			t.Errorf("%d bytes came before %v", n, err)
		}
	})
}

// A server that answers and closes without having read everything resets the
// connection; the answer that it sent before still goes to the client.
func TestAnEarlyAnswerIsPassedOn(t *testing.T) {
	w := start(t, time.Hour)
	w.client.Write(make([]byte, 10_000))
	w.wantRead(w.upstream, string(make([]byte, 10)))
	release := w.hold()
	w.client.Write(make([]byte, 10_000))
	w.upstream.Write([]byte("413 too large"))
	w.upstream.Close() // with bytes unread: a reset
	release()
	w.wantRead(w.client, "413 too large")
	w.wantOver(UpstreamFailed)
}

func TestIdlePairsAreClosed(t *testing.T) {
	const idle = 150 * time.Millisecond
	w, open := prepare(t, idle)
	begin := time.Now()
	open()
	w.wantOver(Idle)
	if took := time.Since(begin); took < idle {
		t.Errorf("closed after %v, before the idle timeout of %v", took, idle)
	}
	w.wantEnd(w.client, io.EOF)
	w.wantEnd(w.upstream, io.EOF)
}

// A byte in either direction keeps both open, and the timeout counts from the
// last one.
func TestActivityEitherWayKeepsAPairOpen(t *testing.T) {
	const idle = 400 * time.Millisecond
	const coarse = 10 * time.Millisecond // a turn of the loop has one time for all of it
	eachWay(t, idle, func(t *testing.T, w *world, actor, other *net.TCPConn, _ Cause) {
		if actor == w.client {
			actor.CloseWrite() // a half-closed one is no different
			actor, other = other, actor
		}
		tick := time.NewTicker(idle / 8)
		defer tick.Stop()
		var last time.Time
		for range 16 {
			<-tick.C
			last = time.Now()
			actor.Write([]byte("x"))
			w.wantRead(other, "x")
		}
		w.wantOver(Idle)
		if took := time.Since(last); took < idle-coarse {
			t.Errorf("closed %v after the last byte, before the idle timeout of %v", took, idle)
		}
	})
}

func TestAnIdlePairThatIsStuckIsClosed(t *testing.T) {
	w := start(t, 400*time.Millisecond)
	w.stuff(w.client)
	w.wantOver(Idle)
}

func TestWithoutATimeoutAPairStaysOpen(t *testing.T) {
	w := start(t, 0)
	w.do(func() {}) // nothing is set that could fire: there is nothing to wait for
	w.client.Write([]byte("x"))
	w.wantRead(w.upstream, "x")
	w.wantGoingOn()
}

func TestCloseTellsNobody(t *testing.T) {
	w := start(t, 100*time.Millisecond)
	w.client.Write([]byte("x"))
	w.wantRead(w.upstream, "x")
	w.do(w.pair.Close)
	w.wantEnd(w.client, io.EOF)
	w.wantEnd(w.upstream, io.EOF)
	w.do(w.pair.Close)
	w.wantGoingOn()
	w.wantMoved(1, 0)
}

// Urgent data makes reads short; what comes after it is not held back.
func TestUrgentDataHoldsNothingBack(t *testing.T) {
	eachWay(t, time.Hour, func(t *testing.T, w *world, actor, other *net.TCPConn, _ Cause) {
		release := w.hold()
		actor.Write([]byte("before "))
		raw, err := actor.SyscallConn()
		if err == nil {
			raw.Write(func(fd uintptr) bool { err = unix.Send(int(fd), []byte("!"), unix.MSG_OOB); return true })
		}
		if err != nil {
			t.Fatal(err)
		}
		actor.Write([]byte("after"))
		release()
		w.wantRead(other, "before after")
	})
}

func TestCausesHaveWords(t *testing.T) {
	words := map[string]bool{}
	for c := ClientEnded; c <= Panicked; c++ {
		words[c.String()] = true
	}
	if len(words) != 7 || words[""] {
		t.Errorf("causes are called %v", words)
	}
}
