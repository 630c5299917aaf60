package httpproxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"fulcrum/pool"
)

// newQueue starts a proxy whose pool lets one request wait, for one server that
// takes one at a time and answers when told.
func newQueue(t *testing.T, timeout time.Duration) (w *world, answer func()) {
	t.Helper()
	answers := make(chan struct{}, 9)
	addr := origin(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-answers:
		case <-r.Context().Done():
		}
		io.WriteString(w, r.URL.Path)
	})
	p, err := pool.New("web", pool.Options{QueueLength: 1})
	if err != nil {
		t.Fatal(err)
	}
	w = newWorld(t, func(o *Options) { o.Default.Pool, o.Default.QueueTimeout = p, timeout })
	s := w.add(addr)
	w.pool.Upload(pool.ServerSpec{Address: addr, MaxConnections: 1})
	one := w.dial()
	one.send("GET /one HTTP/1.1\r\nHost: h\r\n\r\n")
	w.eventually("the first is served", func() bool { return s.Active() == 1 })
	return w, func() { answers <- struct{}{} }
}

func TestARequestWaitsInTheQueue(t *testing.T) {
	t.Parallel()
	w, answer := newQueue(t, time.Minute)
	two := w.dial()
	two.send("GET /two HTTP/1.1\r\nHost: h\r\n\r\n")
	w.eventually("the second waits", func() bool { return w.pool.Queued() == 1 })
	if resp, body := w.get("/three"); resp.StatusCode != 503 || !strings.Contains(body, "every server is busy") {
		t.Errorf("with a full queue: %d %q", resp.StatusCode, body)
	}
	answer()
	answer()
	if _, body, _ := two.response("GET"); body != "/two" {
		t.Errorf("got %q", body)
	}
	w.idle()
}

func TestARequestDoesNotWaitInTheQueueForever(t *testing.T) {
	t.Parallel()
	w, answer := newQueue(t, 20*time.Millisecond)
	if resp, body := w.get("/two"); resp.StatusCode != 503 || !strings.Contains(body, "every server is busy") {
		t.Errorf("after the timeout: %d %q", resp.StatusCode, body)
	}
	if n := w.pool.Queued(); n != 0 {
		t.Errorf("%d still wait", n)
	}
	answer()
	w.idle()
}

// A request that finds others waiting is not refused when there is a place that these
// have no use for, be it one that nobody may wait for.
func TestARequestTakesAPlaceThatIsLeft(t *testing.T) {
	t.Parallel()
	w, answer := newQueue(t, 0)
	busy := w.server(0)
	left := w.add(origin(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "left") }))
	waiter := &pool.Waiter{Tried: &pool.Tried{}, Granted: func(l pool.Lease, _ error) { l.Release(pool.Served) }}
	waiter.Tried.Add(left)
	if err := w.pool.Await(waiter); err != nil {
		t.Fatal(err)
	}
	if resp, body := w.get("/two"); resp.StatusCode != 200 || body != "left" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	if busy.Active() != 1 || !w.pool.Cancel(waiter) {
		t.Error("the one that waits was served")
	}
	answer()
	w.idle()
}

// A place that was given to a request in the moment in which its time is over is not
// given up.
func TestAPlaceInTheLastMoment(t *testing.T) {
	t.Parallel()
	p, err := pool.New("web", pool.Options{QueueLength: 1})
	if err != nil {
		t.Fatal(err)
	}
	address := canned(t, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
	w := newWorld(t, func(o *Options) { o.Default.Pool, o.Default.QueueTimeout = p, time.Minute })
	w.addSpec(pool.ServerSpec{Address: address, Resolved: mustAddr(address), MaxConnections: 1})
	lease, err := p.Acquire(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	w.eventually("it waits", func() bool { return p.Queued() == 1 })
	w.each(func(w *worker) {
		for c := w.clients; c != nil; c = c.next {
			lease.Release(pool.Served)
			c.x.giveUp()
		}
	})
	if resp, body, err := r.response("GET"); err != nil || resp.StatusCode != 200 || body != "a" {
		t.Errorf("got %v %q, error %v", resp, body, err)
	}
	w.idle()
}
