package loop

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	chaosAtOnce = 500  // pairs
	chaosTotal  = 3000 // of them
	chaosActs   = 40   // of an actor until it closes
	chaosStream = 400 << 10
	chaosHeader = 4 // bytes: the number of the pair
)

// chaos is a loop connected to itself many times over, by connections that do
// anything at any moment, and whose structs are used again.
type chaos struct {
	*world
	choose *rand.Rand
	port   uint16
	text   []byte // each sends another part of it
	pairs  [][2]*actor
	open   int // actors that are not over
	over   chan struct{}
}

// actor is one end of a connection: side 0 has dialled. The pair of side 1 is
// not known until the header has come.
type actor struct {
	*chaos
	conn      *Conn
	side      int
	pair      *[2]*actor
	header    []byte // as far as it has come
	out, in   []byte // what it sends, what is to come
	sent, got int
	acts      int
	saidEnd   bool
	fate      fate
}

type fate string

const (
	lives    fate = ""
	closed   fate = "closed"
	aborted  fate = "aborted"
	failed   fate = "failed"
	panicked fate = "panicked"
)

// begin opens another connection.
func (x *chaos) begin() {
	if len(x.pairs) == chaosTotal {
		return
	}
	a := &actor{chaos: x}
	x.pairs = append(x.pairs, [2]*actor{})
	a.meet(len(x.pairs) - 1)
	c, err := x.dialSelf(len(x.pairs), x.port, a)
	if err != nil {
		x.t.Error(err)
		return
	}
	a.enter(c)
	c.Send(binary.LittleEndian.AppendUint32(nil, uint32(len(x.pairs)-1)))
	c.Resume()
}

func (x *chaos) Admit() bool { return true }

func (x *chaos) Resting(error) {}
func (x *chaos) Unadmit()      {}

func (x *chaos) Accepted(c *Conn) {
	a := &actor{chaos: x, side: 1}
	c.SetHandler(a)
	a.enter(c)
	c.Resume()
}

func (x *chaos) Stopped(*Listener) {}

func (a *actor) enter(c *Conn) {
	a.open++
	a.conn = c
	c.SetTimer(time.Duration(a.choose.IntN(100)) * time.Millisecond)
}

// meet joins a pair and fixes what goes each way.
func (a *actor) meet(number int) {
	a.pair = &a.pairs[number]
	if a.pair[a.side] != nil {
		a.t.Errorf("the header of pair %d came twice", number)
	}
	a.pair[a.side] = a
	streams := [2][]byte{a.text[number:][:chaosStream], a.text[chaosTotal+number:][:chaosStream]}
	a.out, a.in = streams[a.side], streams[1-a.side]
}

func (a *actor) send(n int) {
	if a.pair == nil || a.saidEnd || a.conn.Unsent() > 2*readSize {
		return
	}
	b := a.out[a.sent:min(a.sent+n, len(a.out))]
	a.sent += len(b)
	a.conn.Send(b)
}

// told begins each call of the handler, act ends it.
func (a *actor) told(what string) {
	if a.fate != lives {
		a.t.Errorf("told of %s after it has %s", what, a.fate)
	}
}

func (a *actor) act() {
	c := a.conn
	c.SetTimer(time.Duration(a.choose.IntN(10)) * time.Millisecond)
	if a.acts++; a.acts > chaosActs {
		a.leave(closed, c.Close)
		return
	}
	switch a.choose.IntN(40) {
	case 0:
		a.leave(closed, c.Close)
	case 1:
		a.leave(aborted, c.Abort)
	case 2:
		a.saidEnd = true
		c.CloseWrite()
	case 3, 4, 5:
		c.Pause()
	case 6, 7:
		c.Pause()
		c.Resume()
	case 8:
		if !c.direct {
			c.leave()
		}
	case 9:
		if a.choose.IntN(20) == 0 {
			a.fate = panicked
			panic("a bug")
		}
	case 10, 11, 12, 13, 14, 15, 16, 17, 18, 19:
		a.send(a.choose.IntN(2 * readSize))
	default:
		a.send(a.choose.IntN(2000))
	}
}

func (a *actor) leave(how fate, end func()) {
	a.fate = how
	end()
	a.conn.Recycle() // and is another actor's from the next turn on
	if a.open--; a.side == 0 {
		a.begin()
	}
	if a.open == 0 {
		select {
		case a.over <- struct{}{}:
		default:
		}
	}
}

func (a *actor) Connected(_ *Conn, err error) {
	a.told("a connection")
	if err != nil {
		a.leave(failed, func() {})
		a.t.Error(err)
		return
	}
	a.act()
}

func (a *actor) Data(c *Conn, b []byte) {
	a.told("data")
	if c != a.conn {
		a.t.Error("the data of another connection")
	}
	if a.side == 1 && len(a.header) < chaosHeader {
		if a.header = append(a.header, b...); len(a.header) < chaosHeader {
			return
		}
		number := int(binary.LittleEndian.Uint32(a.header))
		if number >= len(a.pairs) {
			a.t.Errorf("a header of %d", number)
			a.leave(closed, c.Close)
			return
		}
		a.meet(number)
		b = a.header[chaosHeader:]
	}
	if a.got+len(b) > len(a.in) || !bytes.Equal(b, a.in[a.got:a.got+len(b)]) {
		a.t.Errorf("%d bytes that nobody sent, after %d", len(b), a.got)
	}
	a.got += len(b)
	a.act()
}

// Ended wants all to have come that the other has sent. One that has closed may
// have dropped something, which is told by an end all the same; after an abort
// comes none.
func (a *actor) Ended(*Conn) {
	a.told("an end")
	if a.pair != nil && a.pair[1-a.side] != nil {
		switch other := a.pair[1-a.side]; {
		case other.saidEnd && other.fate == lives && a.got != other.sent:
			a.t.Errorf("the end came after %d bytes of %d", a.got, other.sent)
		case !other.saidEnd && other.fate != closed && other.fate != panicked:
			a.t.Errorf("an end came from one that has %q", other.fate)
		}
	}
	a.act()
}

func (a *actor) Sent(*Conn)         { a.told("Sent"); a.act() }
func (a *actor) Spliced(*Conn, int) { a.told("splicing") }
func (a *actor) Expired(*Conn)      { a.told("the time"); a.conn.Resume(); a.act() }

func (a *actor) Failed(_ *Conn, err error) {
	if a.fate != panicked || err != ErrPanicked {
		a.told(err.Error())
	}
	if a.fate == lives {
		a.fate = failed
	}
	a.leave(a.fate, func() {})
}

// A thousand connections send, pause, end, close, abort, panic and go over to
// readiness at any moment, and others take their places. Nothing reaches a wrong
// connection or one that is over, no byte is another, no abort looks like an
// end, and in the end nothing is left.
func TestNothingReachesAWrongConnection(t *testing.T) {
	w := startUring(t)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	x := &chaos{
		world:  w,
		choose: rand.New(rand.NewPCG(seed, 0)),
		text:   noise(2*chaosTotal + chaosStream),
		over:   make(chan struct{}, 1),
	}
	quiet, hushed := make(chan struct{}), make(chan struct{})
	go func() { // else panics block the loop when the room for notes is full
		defer close(hushed)
		for {
			select {
			case <-w.said.lines:
			case <-quiet:
				return
			}
		}
	}()
	ln, port := w.listenEverywhere(x)
	x.port = port
	w.do(func() {
		for range chaosAtOnce {
			x.begin()
		}
	})
	within(t, x.over, "they do not come to an end")
	w.wantEverythingBack(2)
	w.do(ln.Close)
	close(quiet)
	<-hushed
}
