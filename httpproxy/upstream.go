package httpproxy

import (
	"errors"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"fulcrum/loop"
	"fulcrum/pool"
)

const (
	youngFor   = time.Second // what cannot be sent twice goes only on a connection kept no longer than this
	beforeEnd  = time.Second // how long before the server would close it a connection is given up
	maxSilence = time.Hour   // of a server in the middle of an answer
)

var errNotResolved = errors.New("the name is not resolved")

// An upstream is one connection to a server, and the loop.Handler of it. It
// serves one exchange at a time, or is idle.
type upstream struct {
	w      *worker
	set    *serverSet
	conn   transport
	to     net.Addr  // what it leads to
	owner  *client   // who alone may use it; nil: anybody
	x      *exchange // nil: idle, or the end of a tunnel
	in     []byte    // the beginning of a head; nil mostly
	alarm  alarm
	born   time.Duration // in the loop's time, as keptAt
	keptAt time.Duration
	tunnel *tunnel

	connecting bool
	reused     bool
	answered   bool // a byte has come since it was taken

	next, prev *upstream // of the same set
}

// shelf is where the connection is when it is idle.
func (u *upstream) shelf() *[]*upstream {
	if u.owner != nil {
		return &u.owner.kept
	}
	return &u.set.idle
}

// dial begins a new connection for an exchange. After an error nothing follows.
func (w *worker) dial(s *pool.Server, x *exchange) (*upstream, error) {
	u := &upstream{w: w, to: s.Resolved(), x: x, owner: x.owner(), connecting: true, born: w.loop.Now()}
	if u.to == nil {
		return nil, errNotResolved
	}
	o := x.to.Socket
	o.Source = s.Source()
	conn, err := w.loop.Dial(u.to, o, u)
	if err != nil {
		return nil, err
	}
	u.conn = conn
	u.alarm.start(conn, u.born, x.to.ConnectTimeout)
	w.setOf(s, x.to).add(u)
	return u, nil
}

// put keeps the connection for the next request, for as long as the server says
// it does, if it says so, and no longer than it may get old.
func (u *upstream) put(patience time.Duration) {
	u.keptAt = u.w.loop.Now()
	to := u.set.to
	keepFor := min(to.KeepFor, u.born+to.MaxAge-u.keptAt)
	if patience > 0 {
		keepFor = min(keepFor, patience-beforeEnd)
	}
	if u.set.forgotten || u.w.retiring || to.KeepNone || keepFor <= 0 || len(*u.shelf()) >= to.MaxIdle {
		u.drop()
		return
	}
	u.in = u.w.keep(u.in, nil)
	u.alarm.start(u.conn, u.keptAt, keepFor)
	shelf := u.shelf()
	*shelf = append(*shelf, u)
}

// drop closes the connection, whatever it is at, and takes it from its exchange.
func (u *upstream) drop() {
	if u.set == nil {
		return
	}
	if u.x != nil {
		u.x.u = nil
		u.x = nil
	}
	u.in = u.w.keep(u.in, nil)
	u.conn.Close()
	u.conn.Recycle()
	u.conn = closedTransport{}
	shelf := u.shelf()
	if i := slices.Index(*shelf, u); i >= 0 {
		*shelf = slices.Delete(*shelf, i, i+1)
	}
	u.set.remove(u)
	u.set = nil
}

// Connected sends the request, or tries elsewhere.
func (u *upstream) Connected(_ *loop.Conn, err error) {
	x, c := u.x, u.x.c
	u.w.serving = c
	u.connecting = false
	u.alarm.stop()
	if err != nil {
		u.drop()
		x.connectFailed(err)
	} else {
		x.connected(u.w.loop.Now() - u.born)
		x.send()
		u.conn.Resume()
	}
	c.proceed()
}

// Data is the answer, or nothing that an idle connection may bring.
func (u *upstream) Data(_ *loop.Conn, b []byte) {
	x := u.x
	if x == nil {
		u.drop()
		return
	}
	u.w.serving = x.c
	u.answered = true
	x.heard = u.w.loop.Now()
	if len(u.in) > 0 {
		u.in = append(u.in, b...)
		b = u.in
	}
	if x.begun {
		x.body(u.w.out[:0], b, 0)
	} else {
		x.answer(b)
	}
}

// Sent: the server has taken all it was sent.
func (u *upstream) Sent(*loop.Conn) {
	if x := u.x; x != nil && x.uploadHeld {
		u.w.serving = x.c
		x.resumeUpload()
	}
}

// Ended: no more will come from the server.
func (u *upstream) Ended(*loop.Conn) { u.over(errEnded) }

// Failed: the connection broke down, or there was a panic here.
func (u *upstream) Failed(_ *loop.Conn, err error) {
	if errors.Is(err, loop.ErrPanicked) {
		u.w.panicked()
		u.drop()
		return
	}
	u.over(err)
}

func (u *upstream) over(err error) {
	x := u.x
	if x == nil {
		u.drop()
		return
	}
	u.w.serving = x.c
	x.over(err)
}

// Spliced: so much of the answer's body went to the client.
func (u *upstream) Spliced(_ *loop.Conn, n int) {
	x := u.x
	u.w.serving = x.c
	x.heard = u.w.loop.Now()
	x.down.spliced(n)
	x.delivered += int64(n)
	x.body(u.w.out[:0], nil, n)
}

// Expired: it was idle for long enough, or the server is too slow.
func (u *upstream) Expired(*loop.Conn) {
	if !u.alarm.rang(u.conn, u.w.loop.Now()) {
		return
	}
	x := u.x
	if x == nil {
		u.drop()
		return
	}
	c := x.c
	u.w.serving = c
	if u.connecting {
		u.drop()
		x.connectFailed(unix.ETIMEDOUT)
		c.proceed()
		return
	}
	if x.answerHeld {
		u.alarm.start(u.conn, u.w.loop.Now(), maxSilence)
		return // it is the client who is slow
	}
	x.over(errSlow)
}

// closeNow ends the connection's exchange or tunnel by the operator's wish.
func (u *upstream) closeNow() {
	switch x := u.x; {
	case u.tunnel != nil:
		u.tunnel.leave(Drained)
	case x == nil:
		u.drop()
	case u.connecting:
		c := x.c
		u.w.serving = c
		u.drop()
		x.connectFailed(errClosed)
		c.proceed()
	default:
		u.w.serving = x.c
		x.failed(errClosed, Drained)
	}
}

// panicked closes the client that the handler which panicked was at work for.
func (w *worker) panicked() {
	if c := w.serving; c != nil {
		w.serving = nil
		c.close(InternalError)
	}
}
