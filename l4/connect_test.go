package l4

import (
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"fulcrum/pool"
)

func TestARefusedConnectGoesToTheNextServer(t *testing.T) {
	w := prepare(t, pool.RoundRobin)
	dead, alsoDead := w.refusing(), w.refusing()
	w.echo(pool.ServerSpec{})
	w.start()
	for range 20 {
		c := w.dial()
		c.wantEcho()
		c.Close()
	}
	w.wantActive(0, 0, 0)
	w.wantStats(counts{Accepted: 20, ToUpstream: 100, ToClient: 100})
	for _, s := range []*pool.Server{dead, alsoDead} {
		select {
		case <-s.Suspect():
		default:
			t.Error("a server that refused is not suspect")
		}
	}
	status := w.pool.Status()
	if status[0].Failures == 0 || status[0].Failures != status[0].Total || status[2].Total != 20 || status[2].Failures != 0 {
		t.Errorf("counts: %+v", status)
	}
}

func TestWhenAllRefuseTheClientIsClosed(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.refusing()
	w.refusing()
	w.start()
	for range manyClients {
		w.dial().wantClosed()
	}
	w.wantActive(0, 0)
	w.wantStats(counts{Accepted: manyClients, Refused: manyClients})
	for _, s := range w.pool.Status() {
		if s.Total != manyClients || s.Failures != manyClients {
			t.Errorf("chosen %d times and failed %d times, want %d", s.Total, s.Failures, manyClients)
		}
	}
}

func TestMoreDeadServersThanTriesStillEnds(t *testing.T) {
	w := prepare(t, pool.RoundRobin)
	for range pool.MaxTries + 3 {
		w.refusing()
	}
	w.start()
	w.dial().wantClosed()
	w.wantStats(counts{Accepted: 1, Refused: 1})
	w.wantActive(make([]int64, pool.MaxTries+3)...)
}

func TestAServerThatDoesNotAnswerGivesWayToTheNext(t *testing.T) {
	w := prepare(t, pool.RoundRobin)
	w.to.ConnectTimeout = 100 * time.Millisecond
	w.silent()
	w.echo(pool.ServerSpec{})
	w.start()
	for range 4 {
		w.dial().wantEcho()
	}
	if s := w.pool.Status()[0]; s.Failures == 0 || s.Failures != s.Total {
		t.Errorf("chosen %d times and failed %d times", s.Total, s.Failures)
	}
	w.wantActive(0, 4)
}

func TestWhenNoServerAnswersTheClientIsClosed(t *testing.T) {
	w := prepare(t, pool.RoundRobin)
	w.to.ConnectTimeout = 100 * time.Millisecond
	w.silent()
	w.start()
	check := leftovers(t)
	begin := time.Now()
	c := w.dial()
	c.wantClosed()
	if took := time.Since(begin); took < w.to.ConnectTimeout {
		t.Errorf("given up after %v", took)
	}
	w.wantStats(counts{Accepted: 1, Refused: 1})
	c.Close()
	check()
}

func TestWithoutAReadyServerTheClientIsClosed(t *testing.T) {
	w := prepare(t, pool.LeastConnections).start()
	w.dial().wantClosed()
	ill := w.echo(pool.ServerSpec{})
	w.pool.SetHealth(ill, pool.Health{At: time.Now()})
	c := w.dial()
	c.Write([]byte("x"))
	c.wantClosed()
	w.pool.SetHealth(ill, pool.Health{Healthy: true, At: time.Now()})
	w.dial().wantEcho()
	w.pool.Drain(ill)
	w.dial().wantClosed()
	w.wantActive(1)
	w.wantStats(counts{Accepted: 4, Active: 1, Refused: 3, ToUpstream: 5, ToClient: 5})
}

// unchecked adds a server that has no check result yet, as the only one.
func (w *world) unchecked() (passes func()) { return w.notChecked(w.echo(pool.ServerSpec{})) }

// notChecked adds a server anew, so that it has no check result.
func (w *world) notChecked(s *pool.Server) (passes func()) {
	at := s.Resolved()
	w.pool.Drain(s)
	w.pool.RemoveDrained(s)
	s, _ = w.pool.Upload(pool.ServerSpec{Address: "new", Resolved: at})
	return func() { w.pool.SetHealth(s, pool.Health{Healthy: true, At: time.Now()}) }
}

// panicky panics when it is told that a server cannot be connected to.
type panicky struct{ slog.Handler }

func (panicky) Enabled(context.Context, slog.Level) bool { return true }
func (p panicky) WithAttrs([]slog.Attr) slog.Handler     { return p }
func (panicky) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "connect failed" {
		panic("on purpose")
	}
	return nil
}

// A panic when a client's turn has come, for which no handler was called, costs this
// client.
func TestPanicOfAClientThatWaited(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.options.Logger = slog.New(panicky{slog.DiscardHandler})
	path := filepath.Join(t.TempDir(), "nobody")
	s, _ := w.pool.Upload(pool.ServerSpec{Address: "unix:" + path, Resolved: &net.UnixAddr{Net: "unix", Name: path}})
	w.start()
	c := w.dial()
	eventually(t, "it waits", func() bool { return w.Stats().Accepted == 1 })
	w.pool.SetHealth(s, pool.Health{Healthy: true, At: time.Now()})
	c.wantClosed()
	w.wantEnds(ends{InternalError: 1})
	w.wantActive(0)
}

func TestClientsWaitForTheFirstCheck(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	passes := w.unchecked()
	w.start()
	var waiting []*client
	for range 50 {
		waiting = append(waiting, w.dial())
	}
	waiting[0].Write([]byte("first words are kept"))
	gone := w.dial()
	gone.SetLinger(0)
	gone.Close()
	eventually(t, "all wait", func() bool { return w.Stats().Active == 51 })
	w.wantActive(0)
	passes()
	if _, err := io.ReadFull(waiting[0], make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	for _, c := range waiting {
		c.wantEcho()
	}
	w.wantActive(50)
}

func TestWaitingForTheFirstCheckIsBounded(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.to.CheckWait = 100 * time.Millisecond
	passes := w.unchecked()
	w.start()
	begin := time.Now()
	w.dial().wantClosed()
	if took := time.Since(begin); took < w.to.CheckWait {
		t.Errorf("given up after %v", took)
	}
	w.wantStats(counts{Accepted: 1, Refused: 1})
	passes()
	w.dial().wantEcho()
	w.wantStats(counts{Accepted: 2, Active: 1, Refused: 1, ToUpstream: 5, ToClient: 5})
}

// The bound on waiting is not one on connecting.
func TestAWaitThatIsOverSetsNoLimit(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.to.CheckWait, w.to.ConnectTimeout = 100*time.Millisecond, 400*time.Millisecond
	passes := w.notChecked(w.silent())
	w.start()
	begin := time.Now()
	c := w.dial()
	eventually(t, "it waits", func() bool { return w.Stats().Accepted == 1 })
	passes()
	c.wantClosed()
	if took := time.Since(begin); w.pool.Status()[0].Total > 0 && took < w.to.ConnectTimeout {
		t.Errorf("given up after %v", took)
	}
}

func TestAWaitMayEndWhileTheResultComes(t *testing.T) {
	for range 10 {
		w := prepare(t, pool.LeastConnections)
		w.to.CheckWait = time.Millisecond
		passes := w.unchecked()
		w.start()
		var clients []*client
		for range 10 {
			clients = append(clients, w.dial())
		}
		passes()
		for _, c := range clients {
			c.Close()
		}
		eventually(t, "all have ended", func() bool { return w.Stats().Active == 0 })
		w.stop(soon)
	}
}

func TestMaxConnectionsIsKept(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{MaxConnections: 2})
	w.start()
	first := w.dial()
	first.wantEcho()
	w.dial().wantEcho()
	w.dial().wantClosed()
	w.wantActive(2)
	first.Close()
	w.wantActive(1)
	w.dial().wantEcho()
	w.wantStats(counts{Accepted: 4, Active: 2, Refused: 1, ToUpstream: 15, ToClient: 15})
}

// A client that goes away meanwhile takes nothing along.
func TestAClientMayGoAwayWhileConnecting(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.to.ConnectTimeout = 100 * time.Millisecond
	w.silent()
	w.start()
	for i := range 10 {
		c := w.dial()
		c.Write([]byte("x"))
		if i%2 == 0 {
			c.SetLinger(0)
		}
		c.Close()
	}
	eventually(t, "all were accepted", func() bool { return w.Stats().Accepted == 10 })
	w.wantActive(0)
	w.wantStats(counts{Accepted: 10, Refused: 10})
}
