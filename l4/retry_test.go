package l4

import (
	"testing"
	"time"

	"fulcrum/pool"
)

// manyClients are more than may be tried again when that costs the servers something.
const manyClients = 40

func (w *world) dialMany() (all []*client) {
	w.t.Helper()
	for range manyClients {
		all = append(all, w.dial())
	}
	return all
}

func TestWithoutAttemptsNoOtherServerIsTried(t *testing.T) {
	w := prepareWith(t, pool.Options{Algorithm: pool.RoundRobin, Retries: &pool.Retries{Attempts: 0, Percent: 100}})
	w.refusing()
	w.echo(pool.ServerSpec{})
	w.start()
	for range 10 {
		c := w.dial()
		c.Write([]byte("x"))
		c.Read(make([]byte, 1)) // what comes first tells that it was tried
		c.Close()
	}
	w.wantEnds(ends{ClientClosed: 5, ConnectFailed: 5})
}

// Servers that do not answer in time are not made to bear every client twice.
func TestWhenTooManyWereTriedAgainTheRestIsClosed(t *testing.T) {
	w := prepareWith(t, pool.Options{Retries: &pool.Retries{Attempts: 1, Percent: 0}})
	w.to.ConnectTimeout = 100 * time.Millisecond
	w.silent()
	w.silent()
	w.start()
	for _, c := range w.dialMany() {
		c.wantClosed()
	}
	w.wantEnds(ends{ConnectFailed: manyClients})
	w.wantActive(0, 0)
	status := w.pool.Status()
	if n := status[0].Total + status[1].Total; n != manyClients+30 {
		t.Errorf("servers were tried %d times, want %d", n, manyClients+30)
	}
}

func TestConnectsThatAreClosedByOrderGoToAnotherServer(t *testing.T) {
	w := prepareWith(t, pool.Options{Retries: &pool.Retries{Attempts: 1, Percent: 0}})
	goes := w.silent()
	w.start()
	all := w.dialMany()
	w.wantActive(manyClients)
	w.echo(pool.ServerSpec{})
	w.pool.Drain(goes)
	w.CloseServer(goes)
	for _, c := range all {
		c.wantEcho()
	}
	w.wantActive(0, manyClients)
}
