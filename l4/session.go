package l4

import (
	"errors"
	"log/slog"
	"net/netip"

	"golang.org/x/sys/unix"

	"fulcrum/loop"
	"fulcrum/pool"
	"fulcrum/relay"
)

// session is the way of one connection: acquire, connect, relay, end.
type session struct {
	worker   *worker
	client   *loop.Conn
	upstream *loop.Conn     // while connecting and relaying
	from     netip.AddrPort // known only where it is logged
	lease    pool.Lease
	tried    pool.Tried
	waiter   *pool.Waiter // while the pool has no server for it yet,
	why      error        // because of this
	pair     relay.Pair
	over     bool

	next, prev *session
}

// acquire gets a server that was not tried yet and begins to connect to it.
func (s *session) acquire() {
	lease, err := s.worker.options.Pool.Acquire(&s.tried)
	switch {
	case err == nil:
		s.lease = lease
		s.connect()
	case errors.Is(err, pool.ErrUnchecked), errors.Is(err, pool.ErrFull):
		s.await(err)
	default:
		s.refuse(err)
	}
}

func (s *session) connect() {
	var err error
	s.upstream, err = s.worker.loop.Dial(s.lease.Server().Resolved(), loop.SocketOptions{}, s)
	if err != nil {
		s.connectFailed(err)
		return
	}
	s.upstream.SetTimer(s.worker.options.ConnectTimeout)
}

// Connected begins to relay.
func (s *session) Connected(_ *loop.Conn, err error) {
	if err != nil {
		s.connectFailed(err)
		return
	}
	s.pair.Start(s.client, s.upstream, &s.worker.relay, s)
}

// Relayed ends the session: both sockets are closed.
func (s *session) Relayed(_ *relay.Pair, cause relay.Cause) {
	s.end(cause.String())
}

// connectFailed goes on to the next server, unless the fault is this machine's.
func (s *session) connectFailed(err error) {
	if loop.Exhausted(err) {
		s.worker.exhausted(err)
		s.refuse(err)
		return
	}
	server := s.lease.Server()
	if log := s.debugLog(); log != nil {
		log.Debug("connect failed", "server", server.Address(), "error", err)
	}
	s.lease.Release(pool.ConnectFailed)
	if !s.tried.Add(server) {
		s.refuse(err)
		return
	}
	s.acquire()
}

// await waits until the pool has a server, up to a limit.
func (s *session) await(why error) {
	w := &pool.Waiter{Tried: &s.tried}
	w.Granted = func(lease pool.Lease, err error) {
		if !s.worker.loop.Post(func() { s.granted(w, lease, err) }) {
			lease.Release(pool.Served)
		}
	}
	s.waiter, s.why = w, why
	if err := s.worker.options.Pool.Await(w); err != nil {
		s.waiter = nil
		s.refuse(err)
		return
	}
	s.client.SetTimer(s.worker.options.CheckWait)
}

// granted goes on with the server that was waited for; a session that has given
// up meanwhile gives it back.
func (s *session) granted(w *pool.Waiter, lease pool.Lease, err error) {
	if s.waiter != w {
		lease.Release(pool.Served)
		return
	}
	s.waiter = nil
	s.client.StopTimer()
	if err != nil {
		s.refuse(err)
		return
	}
	s.lease = lease
	s.connect()
}

// Expired: the connect timeout, or the wait for a server, is over.
func (s *session) Expired(c *loop.Conn) {
	if c == s.client {
		s.refuse(s.why)
		return
	}
	s.upstream.Close()
	s.connectFailed(unix.ETIMEDOUT)
}

// refuse closes a client that no server could be found for.
func (s *session) refuse(err error) {
	s.worker.refused.Add(1)
	s.client.Close()
	s.end("refused: " + err.Error())
}

// close ends the session at whatever point it is.
func (s *session) close() {
	s.client.Close()
	if s.upstream != nil {
		s.upstream.Close()
	}
	s.end("closed")
}

// end is the one exit of a session.
func (s *session) end(how string) {
	if s.over {
		return
	}
	s.over = true
	if s.waiter != nil {
		s.worker.options.Pool.Cancel(s.waiter)
		s.waiter = nil
	}
	if log := s.debugLog(); log != nil {
		log.Debug("connection ended", "how", how)
	}
	s.lease.Release(pool.Served)
	s.worker.remove(s)
}

// Failed comes only after a panic here: until the relay begins nothing is read.
func (s *session) Failed(*loop.Conn, error) { s.close() }

// These never come: before the relay nothing is read or sent.
func (s *session) Data(*loop.Conn, []byte) {}
func (s *session) Spliced(*loop.Conn, int) {}
func (s *session) Ended(*loop.Conn)        {}
func (s *session) Sent(*loop.Conn)         {}

// debugLog returns where to log about this connection, or nil when nobody
// listens: what is to be logged is not even put together then.
func (s *session) debugLog() *slog.Logger {
	if !s.worker.debugs() {
		return nil
	}
	return s.worker.options.Logger.With("listener", s.worker.options.Name, "client", s.from)
}
