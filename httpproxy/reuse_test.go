package httpproxy

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// How long an idle connection is kept is no limit for the request that it is used for.
func TestSlowBodyOnAKeptConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Loops, o.Default.KeepFor = o.Loops[:1], 300*time.Millisecond }, origin(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}))
	r := w.dial()
	r.send(get)
	r.response("GET")
	w.each(func(*worker) {}) // the connection is another turn's now
	r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
	for _, c := range "drops" {
		time.Sleep(100 * time.Millisecond) // the client's pace
		r.send("%c", c)
	}
	if resp, body, err := r.response("POST"); err != nil || resp.StatusCode != 200 || body != "drops" {
		t.Errorf("got %v %q %v", resp, body, err)
	}
	if s := w.proxy.Stats(); s.Reuses != 1 {
		t.Errorf("%d requests went on a kept connection", s.Reuses)
	}
}

// Whatever the size of an answer, what comes with its end is for nobody.
func TestBytesBehindAnAnswerAreForNobody(t *testing.T) {
	t.Parallel()
	const other = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign"
	for _, size := range []int{30 << 10, 256 << 10, 300 << 10} {
		big := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", size, strings.Repeat("x", size), other)
		w := newWorld(t, func(o *Options) { o.Loops = o.Loops[:1] }, rawOrigin(t, func(_ int, r *wire) {
			for {
				head, ok := r.tryHead()
				if !ok {
					return
				}
				if strings.HasPrefix(head, "GET /big") {
					io.WriteString(r, big)
				} else {
					io.WriteString(r, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			}
		}))
		var foreign atomic.Int32
		var clients sync.WaitGroup
		end := time.Now().Add(300 * time.Millisecond)
		ask := func(path string) {
			for time.Now().Before(end) {
				if _, body := w.get(path); body == "foreign" {
					foreign.Add(1)
				}
			}
		}
		for range 4 {
			clients.Go(func() { ask("/small") })
			clients.Go(func() { ask("/big") })
		}
		clients.Wait()
		if n := foreign.Load(); n > 0 {
			t.Errorf("behind %d bytes: %d requests got an answer that was nobody's", size, n)
		}
	}
}

// A request whose kept connection has gone, and whose server cannot be connected to
// any more, goes on by a kept connection of another server, though its body has not
// come.
func TestFromOneKeptConnectionToAnother(t *testing.T) {
	t.Parallel()
	l, path := listenUnix(t)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		b := make([]byte, 4096)
		c.Read(b)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngone")
		c.Read(b)
		os.Remove(path)
		c.Close()
	}()
	stays := rawOrigin(t, func(_ int, r *wire) {
		for {
			head, ok := r.tryHead()
			if !ok {
				return
			}
			if strings.HasPrefix(head, "PUT") {
				io.WriteString(r, "HTTP/1.1 100 Continue\r\n\r\n")
				io.ReadFull(r.br, make([]byte, 5))
			}
			io.WriteString(r, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")
		}
	})
	w := newWorld(t, func(o *Options) { o.Loops = o.Loops[:1] }, stays)
	w.addSpec(overUnix(path))
	r := w.dial()
	for _, want := range []string{"here", "gone", "here"} {
		r.send(get)
		if _, body, err := r.response("GET"); body != want {
			t.Fatalf("got %q %v, want %q", body, err, want)
		}
		w.each(func(*worker) {})
	}
	r.send("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	if head := r.head(); !strings.HasPrefix(head, "HTTP/1.1 100 ") {
		t.Fatalf("got %q", head)
	}
	r.send("hello")
	if _, body, err := r.response("PUT"); body != "here" {
		t.Errorf("got %q %v", body, err)
	}
	w.idle()
}

// Who waits for 100 (Continue) is not the one who is late.
func TestWhoWaitsFor100IsNotLate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		takes time.Duration
		code  string
	}{{500 * time.Millisecond, "100"}, {time.Hour, "504"}} {
		over := make(chan struct{})
		defer close(over)
		w := newWorld(t, func(o *Options) { o.IdleTimeout, o.Default.ResponseTimeout = 200*time.Millisecond, time.Second }, rawOrigin(t, func(_ int, r *wire) {
			r.tryHead()
			select {
			case <-time.After(c.takes):
				io.WriteString(r, "HTTP/1.1 100 Continue\r\n\r\n")
			case <-over:
			}
		}))
		r := w.dial()
		r.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		if head := r.head(); !strings.HasPrefix(head, "HTTP/1.1 "+c.code) {
			t.Errorf("the server takes %s: got %q, want %s", c.takes, head, c.code)
		}
		r.Close()
		w.idle()
	}
}

// Who leaves the queue gives up its place.
func TestWhoLeavesTheQueueIsNotServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, queueOf(1, time.Minute), canned(t, ok2))
	done := occupy(w)
	r := w.dial()
	r.send(get)
	w.eventually("somebody waits", func() bool { return w.pool.Queued() == 1 })
	r.Close()
	w.eventually("nobody waits", func() bool { return w.pool.Queued() == 0 })
	done()
	if n := w.server(0).Active(); n != 0 {
		t.Errorf("%d are active", n)
	}
	if s := w.proxy.Stats(); s.Endings[ClientClosed] != 1 {
		t.Errorf("got %v, want one that has left", s.Endings)
	}
}
