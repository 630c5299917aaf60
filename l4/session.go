package l4

import (
	"errors"
	"log/slog"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"fulcrum/loop"
	"fulcrum/pool"
	"fulcrum/relay"
)

// session is the way of one connection: begin, identified, go to an upstream,
// acquire, connect, relay, end. There are many at a time that do nothing, so that
// what most of them do not need is kept apart.
type session struct {
	worker  *worker
	plan    *plan         // by which it finds its way; that of its worker whenever a part of it begins
	pair    relay.Pair    // its Upstream is there while connecting and relaying
	details *details      // nil: there are none yet
	to      *Upstream     // nil: not known yet
	counts  *serverCounts // of its server, once relayed
	lease   pool.Lease

	began       time.Duration // in the loop's time
	since       time.Duration // when its server was dialled, or connected
	connectTime micros
	firstByte   micros // known if the server has sent anything
	stage       stage
	limited     bool // counts in the listener's clients
	leaving     bool // is to go on in another process,
	stays       bool // or cannot
	over        bool

	next, prev *session
}

// stage is what a session is waiting for.
type stage uint8

const (
	awaitsHeader stage = iota
	awaitsHello
	awaitsCheck // the first check of a server
	awaitsPlace // on a server, all being full
	connecting
	relaying
	arriving // from another process
)

// micros is a time in microseconds, or the longest that it can tell.
type micros uint32

func microsOf(d time.Duration) micros { return micros(min(d.Microseconds(), math.MaxUint32)) }

func (t micros) duration() time.Duration { return time.Duration(t) * time.Microsecond }

// begin finds out, as far as anybody needs to know, who the client is.
func (s *session) begin() {
	if s.worker.identifies() {
		if !s.identify() {
			s.end(ClientReset, nil)
			return
		}
		if s.plan.fromProxy(s.details.client) {
			s.await(awaitsHeader)
			return
		}
	}
	s.identified()
}

// identified goes on, once it is known who the client is, to find out where it
// wants to go.
func (s *session) identified() {
	if !s.catchUp() {
		s.end(ClientReset, nil)
		return
	}
	if s.plan.MaxPerClient > 0 && s.details.client.IsValid() {
		if s.limited = s.worker.parent.clients.Enter(s.details.client.Addr()); !s.limited {
			s.end(ClientLimit, nil)
			return
		}
	}
	if s.plan.routes.needed() {
		s.await(awaitsHello)
		return
	}
	s.goTo(s.plan.routes.otherwise)
}

// goTo goes on to an upstream, if there is one. No more is read from the client
// until it is relayed.
func (s *session) goTo(to *Upstream) {
	if to == nil {
		s.end(UnknownName, nil)
		return
	}
	s.pair.Client.Pause()
	s.pair.Client.StopTimer()
	s.to = to
	s.acquire()
}

// acquire gets a server that was not tried yet and begins to connect to it.
func (s *session) acquire() {
	lease, err := s.to.Pool.Acquire(s.tried())
	switch {
	case err == nil:
		s.lease = lease
		s.connect()
	case errors.Is(err, pool.ErrUnchecked):
		s.queue(awaitsCheck, s.to.CheckWait)
	case errors.Is(err, pool.ErrFull) && s.to.QueueTimeout > 0:
		s.queue(awaitsPlace, s.to.QueueTimeout)
	case errors.Is(err, pool.ErrFull): // or only others' turn; the pool does not let anybody wait
		s.queue(awaitsPlace, s.to.CheckWait)
	default:
		s.refuse(err)
	}
}

// queue waits until the pool has a server, up to a limit.
func (s *session) queue(stage stage, limit time.Duration) {
	w := &pool.Waiter{Tried: s.tried()}
	w.Granted = func(lease pool.Lease, err error) {
		if !s.worker.loop.Post(func() { s.granted(w, lease, err) }) {
			lease.Release(pool.Served)
		}
	}
	d := s.detail()
	d.waiter, d.waited = w, true
	if err := s.to.Pool.Await(w); err != nil {
		d.waiter = nil
		s.refuse(err)
		return
	}
	s.stage = stage
	s.pair.Client.SetTimer(limit)
}

// granted goes on with the server that was waited for; a session that has given
// up meanwhile gives it back.
func (s *session) granted(w *pool.Waiter, lease pool.Lease, err error) {
	if s.details.waiter != w {
		lease.Release(pool.Served)
		return
	}
	s.details.waiter = nil
	s.pair.Client.StopTimer()
	s.lease = lease
	s.pair.Client.Do(func() {
		if err != nil {
			s.refuse(err)
			return
		}
		s.connect()
	})
}

func (s *session) connect() {
	s.worker.sampler.Touch(s)
	s.stage, s.since = connecting, s.worker.loop.Now()
	server, o := s.lease.Server(), s.to.Socket
	o.Source = server.Source()
	upstream, err := s.worker.loop.Dial(server.Resolved(), o, s)
	if err != nil {
		s.connectFailed(err)
		return
	}
	s.pair.Upstream = upstream
	s.pair.Upstream.SetTimer(s.to.ConnectTimeout)
}

// Connected begins to relay.
func (s *session) Connected(_ *loop.Conn, err error) {
	if err != nil {
		s.connectFailed(err)
		return
	}
	s.worker.sampler.End(s)
	s.counts = s.worker.countsOf(s.lease.Server())
	s.counts.open++
	s.counts.connected.Add(1)
	now := s.worker.loop.Now()
	s.connectTime = microsOf(now - s.since)
	s.counts.connectTime.Observe(now - s.since)
	s.stage, s.since = relaying, now
	s.pair.Start(&s.counts.relay, s, s.sendPreface())
}

// connectFailed goes on to the next server, if the pool lets it and unless the fault
// is this machine's. What the server refused, or never saw, is tried again for free.
func (s *session) connectFailed(err error) {
	// A want of ports, or a source that is not there, is this machine's fault but
	// need not concern the other servers.
	outcome, noPort := pool.ConnectFailed, errors.Is(err, unix.EADDRNOTAVAIL)
	switch {
	case noPort:
		outcome = pool.Served
		s.worker.exhausted(err)
	case loop.Exhausted(err):
		s.worker.exhausted(err)
		s.end(NoResources, err)
		return
	}
	if s.pair.Upstream != nil {
		s.pair.Upstream.Recycle()
		s.pair.Upstream = nil
	}
	server := s.lease.Server()
	if log := s.debugLog(); log != nil {
		log.Debug("connect failed", "server", server.Address(), "error", err)
	}
	s.lease.Release(outcome)
	d := s.detail()
	if d.tried == nil {
		d.tried = new(pool.Tried)
	}
	d.tried.Add(server)
	if !s.to.Pool.Retry(d.tried, noPort || err == errLeft || errors.Is(err, unix.ECONNREFUSED)) {
		s.end(ConnectFailed, err)
		return
	}
	s.acquire()
}

// leaveServer ends a session that is relayed to a server, and has one that is
// still connecting to it go on to another.
func (s *session) leaveServer() {
	if s.stage != connecting {
		s.end(Drained, nil)
		return
	}
	if s.pair.Upstream != nil {
		s.pair.Upstream.Close()
	}
	s.connectFailed(errLeft)
}

// Answered: the server's first byte has come.
func (s *session) Answered(*relay.Pair) {
	took := s.worker.loop.Now() - s.since
	s.firstByte = microsOf(took)
	s.counts.firstByte.Observe(took)
}

// Relayed ends the session: both sockets are closed.
func (s *session) Relayed(_ *relay.Pair, cause relay.Cause) { s.end(causeOf(cause), nil) }

// Expired: what the session waits for has not come in time.
func (s *session) Expired(*loop.Conn) {
	switch s.stage {
	case awaitsHeader:
		s.end(BadHeader, errLate)
	case awaitsHello:
		s.end(NoHello, errLate)
	case awaitsCheck:
		s.end(NoneReady, pool.ErrUnchecked)
	case awaitsPlace:
		s.end(QueueTimeout, pool.ErrFull)
	case connecting:
		s.pair.Upstream.Close()
		s.connectFailed(unix.ETIMEDOUT)
	}
}

// refuse closes a client that the pool has no server for.
func (s *session) refuse(err error) {
	switch {
	case errors.Is(err, pool.ErrFull), errors.Is(err, pool.ErrQueueFull) && s.to.QueueTimeout == 0:
		s.end(AllFull, pool.ErrFull)
	case errors.Is(err, pool.ErrQueueFull):
		s.end(QueueFull, err)
	case s.tried() != nil:
		s.end(ConnectFailed, err)
	default:
		s.end(NoneReady, err)
	}
}

// end is the one exit of a session, at whatever point it is. why may be nil.
func (s *session) end(cause Cause, why error) {
	if s.over {
		return
	}
	s.over = true
	switch {
	case s.pair.Upstream == nil:
		s.pair.Client.Close()
	default:
		s.pair.Close()
	}
	if d := s.details; d != nil && d.waiter != nil {
		s.to.Pool.Cancel(d.waiter)
		d.waiter = nil
	}
	if log := s.debugLog(); log != nil {
		log.Debug("connection ended", "how", cause, "error", why)
	}
	s.record(cause)
	s.settle(cause)
	s.worker.sampler.Drop(s)
	s.worker.remove(s)
	s.worker.recycle(s)
}

// settle counts the end.
func (s *session) settle(cause Cause) {
	w := s.worker
	if c := s.counts; c != nil {
		c.duration.Observe(w.loop.Now() - s.began)
		c.ends[cause].Add(1)
	} else {
		w.ends[cause].Add(1)
	}
	if c := s.counts; c != nil {
		c.open--
		w.retire(s.lease.Server(), c)
	}
	s.lease.Release(pool.Served)
	s.giveBack()
}

// giveBack gives back its places at the listener.
func (s *session) giveBack() {
	w := s.worker
	if s.limited {
		w.parent.clients.Leave(s.details.client.Addr())
	}
	w.Unadmit()
}

// Failed: a client broke off before it was relayed, or there was a panic here.
func (s *session) Failed(_ *loop.Conn, err error) {
	if errors.Is(err, loop.ErrPanicked) {
		s.end(InternalError, err)
		return
	}
	s.end(ClientReset, err)
}

// These never come: what is sent before the relay begins is the relay's to wait
// for, and nothing is spliced.
func (s *session) Spliced(*loop.Conn, int) {}
func (s *session) Sent(*loop.Conn)         {}

// debugLog returns where to log about this connection, or nil when nobody
// listens: what is to be logged is not even put together then.
func (s *session) debugLog() *slog.Logger {
	if !s.worker.debugs() {
		return nil
	}
	return s.worker.plan.Logger.With("listener", s.plan.Name, "client", s.detail().client)
}
