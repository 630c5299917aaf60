package health

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"fulcrum/pool"
	"fulcrum/porttest"
)

// goOn stops the pool's checker and has another one take its place, as a reload does,
// and waits until that has checked a server.
func (w *world) goOn(o Options, s *pool.Server) {
	w.t.Helper()
	w.Checker.Stop()
	before := s.Health().At
	o.Logger = slog.New(w.log)
	w.Checker = New(w.Pool, o)
	w.t.Cleanup(w.Checker.Stop)
	w.Reconcile()
	eventually(w.t, "checked again", func() bool { return s.Health().At.After(before) })
}

// Another checker begins with what the one before knew: a server stays healthy, since
// when it has been, and it takes as many failures as ever until it is not.
func TestAnotherCheckerGoesOn(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, listener, func(net.Conn) {})
	w := newWorld(t, lazy(""))
	s := w.upload(listener.Addr().String())
	eventually(t, "healthy", func() bool { return s.Health().Healthy })
	since := s.Health().Since
	w.log.take()
	w.goOn(lazy(""), s)
	if h := s.Health(); !h.Healthy || h.Since != since || len(w.log.take()) > 0 {
		t.Errorf("after another pass: %+v, want it healthy since %v", h, since)
	}

	listener.Close()
	told := make(chan *pool.Server, 10)
	o := lazy("") // each of these checkers checks once; it takes three failures
	o.Fall, o.OnUnhealthy = 2, func(s *pool.Server) { told <- s }
	w.goOn(o, s)
	if h := s.Health(); !h.Healthy || h.Passed || h.Since != since {
		t.Errorf("after one failure: %+v", h)
	}
	o = eager("")
	o.OnUnhealthy = func(s *pool.Server) { told <- s }
	w.goOn(o, s)
	if got := <-told; got != s || s.Health().Healthy || !s.Health().Since.After(since) {
		t.Errorf("after three failures: %+v", s.Health())
	}
	since = s.Health().Since
	w.goOn(eager(""), s)
	if h := s.Health(); h.Healthy || h.Since != since || len(told) > 0 {
		t.Errorf("not healthy, and checked by another: %+v", h)
	}
}

// Checks that are switched off leave every server healthy at once; switched on again
// they find out what is true, and no connection waits for that.
func TestChecksAreSwitchedOffAndOn(t *testing.T) {
	w := newWorld(t, lazy(""))
	s := w.upload(porttest.Closed(t))
	eventually(t, "checked", func() bool { return s.Health().Checked() })
	if s.Health().Healthy {
		t.Fatal("healthy, though nobody listens")
	}
	w.goOn(Options{Off: true}, s)
	if h := s.Health(); !h.Healthy || h.Reason != "checks are off" || w.watched.Running() != 0 {
		t.Errorf("switched off: %+v, %d goroutines", h, w.watched.Running())
	}
	o := lazy("")
	o.Fall = 1
	w.goOn(o, s)
	eventually(t, "not healthy", func() bool { return !s.Health().Healthy })
	if _, err := w.Acquire(nil); err != pool.ErrNoneReady {
		t.Errorf("acquire: %v", err)
	}
}

// A check that is under way when its checker is stopped says nothing any more: what
// the next one finds stays.
func TestAStoppedCheckSaysNothing(t *testing.T) {
	asked := make(chan struct{}, 10)
	address := script(t, func(conn net.Conn) {
		readHead(conn)
		asked <- struct{}{}
		readHead(conn) // until the checker leaves
	})
	w := newWorld(t, lazy("/"))
	s := w.upload(address)
	<-asked
	stopped := time.Now()
	w.goOn(Options{Off: true}, s)
	if took := time.Since(stopped); took > patience/2 {
		t.Errorf("a check under way held the stop up for %v", took)
	}
	if h := s.Health(); !h.Healthy || h.Reason != "checks are off" {
		t.Errorf("%+v", h)
	}
}
