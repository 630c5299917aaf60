package httpproxy

import (
	"io"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// limits are the one at which a place that nobody takes leaves everybody waiting,
// and one at which the loops take places at the same time.
var limits = []int64{1, 5}

// mustHavePlaces checks that no place is taken by nobody.
func (w *world) mustHavePlaces(n int64) {
	w.t.Helper()
	w.eventually("all are closed", func() bool { return w.proxy.Stats().Open == 0 })
	taken := 0
	w.each(func(k *worker) {
		for k == w.proxy.workers[0] && taken <= int(n) && w.proxy.gate.Enter(k) {
			taken++
		}
	})
	if taken != int(n) {
		w.t.Errorf("%d places are free, want %d", taken, n)
	}
	for range taken {
		w.proxy.gate.Leave()
	}
}

// So many are served, on both loops together, and who comes too many waits: not for
// answers, but until somebody leaves.
func TestMaxConnectionsIsExact(t *testing.T) {
	t.Parallel()
	const clients = 24
	for _, limit := range limits {
		var open, peak atomic.Int64
		gate := make(chan struct{})
		w := newWorld(t, func(o *Options) { o.MaxConnections = int(limit) }, origin(t, func(w http.ResponseWriter, r *http.Request) {
			n := open.Add(1)
			for h := peak.Load(); n > h && !peak.CompareAndSwap(h, n); h = peak.Load() {
			}
			<-gate
			open.Add(-1)
		}))
		var all []*wire
		for range clients {
			r := w.dial()
			r.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			all = append(all, r)
		}
		w.eventually("as many are served as may be", func() bool { return open.Load() == limit })
		if s := w.proxy.Stats(); s.Open != limit || s.Accepted != limit || s.Requests != limit {
			t.Errorf("%d of %d are open, %d requests; want %d", s.Open, s.Accepted, s.Requests, limit)
		}
		close(gate)
		for _, r := range all {
			if resp, _, err := r.response("GET"); resp.StatusCode != 200 || err != nil {
				t.Errorf("got %d, %v", resp.StatusCode, err)
			}
		}
		if n := peak.Load(); n != limit {
			t.Errorf("%d were served at a time, want %d", n, limit)
		}
		w.idle()
		if s := w.proxy.Stats(); s.Accepted != clients || s.Endings[Answered] != clients {
			t.Errorf("%d were accepted, %d answered", s.Accepted, s.Endings[Answered])
		}
		w.mustHavePlaces(limit)
	}
}

// A place is a connection's, between its requests too.
func TestAPlaceIsKeptBetweenRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.MaxConnections = 2 }, mirror(t, "m"))
	one, two := w.dial(), w.dial()
	for _, r := range []*wire{one, two, one, two} {
		r.ask(get)
	}
	waiting := []*wire{w.dial(), w.dial(), w.dial(), w.dial()}
	for _, r := range waiting {
		r.send(get)
	}
	one.ask(get)
	if s := w.proxy.Stats(); s.Accepted != 2 {
		t.Errorf("%d were accepted", s.Accepted)
	}
	one.SetLinger(0) // goes without a word
	one.Close()
	two.CloseWrite()
	two.ends()
	var all sync.WaitGroup
	for _, r := range waiting { // at once, for they are served in any order
		all.Go(func() {
			if resp, _, err := r.response("GET"); resp.StatusCode != 200 || err != nil {
				t.Errorf("got %d, %v", resp.StatusCode, err)
			}
			r.Close()
		})
	}
	all.Wait()
	w.mustHavePlaces(2)
}

// Whatever a client does to be closed, its place is free afterwards.
func TestEveryPlaceIsGivenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) {
		behindProxies("127.0.0.2/32")(o)
		o.MaxConnections, o.MaxPerClient = 1, 1
		o.HeaderTimeout, o.AcceptProxyTimeout = 50*time.Millisecond, 50*time.Millisecond
	}, switching(t))
	for range 2 {
		for _, said := range []string{"", "GET", "GET / HTTP/1.1\r\n\r\n", upgrade, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"} {
			for _, source := range []string{"127.0.0.1", "127.0.0.2"} {
				for _, how := range []func(r *wire){
					func(r *wire) { r.SetLinger(0); r.Close() },
					func(r *wire) { r.CloseWrite(); r.ends() },
					func(r *wire) { r.Close() },
				} {
					r := w.dialFrom(source)
					io.WriteString(r, said)
					how(r)
				}
			}
		}
	}
	r := w.dial()
	r.send(get)
	r.head()
	r.Close()
	w.idle()
	w.mustHavePlaces(1)
	if !w.proxy.perClient.Enter(netip.MustParseAddr("127.0.0.1")) {
		t.Error("a connection that is closed is counted among its client's")
	}
}

// Whoever has too many connections is told so, and may come again.
func TestMoreOfOneClientThanItMayHaveAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.MaxPerClient = 2 }, mirror(t, "m"))
	one, two, other := w.dial(), w.dial(), w.dialFrom("127.0.0.2")
	for _, r := range []*wire{one, two, other} {
		r.ask(get)
	}
	for _, said := range []string{"", get, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"} {
		three := w.dial()
		three.send("%s", said)
		if resp, body, err := three.response("GET"); resp.StatusCode != 429 || !resp.Close || body != "too many connections from this address\n" || err != nil {
			t.Errorf("after %q: got %d %q, close %v, %v", said, resp.StatusCode, body, resp.Close, err)
		}
		three.CloseWrite()
		if rest := three.ends(); rest != "" {
			t.Errorf("and then %q", rest)
		}
	}
	w.eventually("the three are gone", func() bool { return w.proxy.Stats().Open == 3 })
	one.ask(get)
	one.Close()
	w.eventually("one is gone", func() bool { return w.proxy.Stats().Open == 2 })
	if got := w.dial().ask(get); saidOf(got) != "127.0.0.1" {
		t.Errorf("got %q", got)
	}
	if s := w.proxy.Stats(); s.Endings[ClientLimit] != 3 || s.Statuses[4] != 3 || s.Requests != 5 || s.Active != 0 {
		t.Errorf("got %+v", s)
	}
}
