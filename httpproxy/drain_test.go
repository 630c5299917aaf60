package httpproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// After the end of a drain connections are kept again.
func TestDrainCanEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, origin(t, func(http.ResponseWriter, *http.Request) {}))
	ask := func(r *wire) (closes bool) {
		t.Helper()
		r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, _, _ := r.response("GET")
		return resp.Close
	}
	w.proxy.Drain(true)
	during := w.dial()
	if !ask(during) {
		t.Error("kept while draining")
	}
	during.wantsEnd()
	w.proxy.Drain(false)
	after := w.dial()
	for range 2 {
		if ask(after) {
			t.Error("closed after the drain")
		}
	}
}

// What the proxy answers itself is the last answer too.
func TestDrainWithoutAServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.proxy.Drain(true)
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if resp, _, _ := r.response("GET"); resp.StatusCode != 503 || !resp.Close {
		t.Errorf("%d, close %v", resp.StatusCode, resp.Close)
	}
	r.wantsEnd()
}

// Stop drains whatever Drain is told meanwhile.
func TestDrainDoesNotEndAStop(t *testing.T) {
	t.Parallel()
	addr, open := gated(t)
	w := newWorld(t, nil, addr)
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	r.head()
	w.proxy.Drain(true)
	stopped := make(chan error, 1)
	go func() { stopped <- w.proxy.Stop(within(t, 5*time.Second)) }()
	w.eventually("it stops", func() bool {
		retiring := true
		w.each(func(k *worker) { retiring = retiring && k.retiring })
		return retiring
	})
	w.proxy.Drain(false)
	open()
	r.ends()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Clients that heed Connection: close lose nothing while drains come and go.
func TestDrainUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	var all sync.WaitGroup
	var answered, last atomic.Int64
	over := make(chan struct{})
	for range 8 {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{}} // one connection each
			defer client.CloseIdleConnections()
			for {
				select {
				case <-over:
					return
				default:
				}
				resp, err := client.Post("http://"+w.addr, "", strings.NewReader("not to be sent twice"))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(body) != "ok" || err != nil {
					t.Errorf("got %d %q, %v", resp.StatusCode, body, err)
				}
				answered.Add(1)
				if resp.Close {
					last.Add(1)
				}
			}
		})
	}
	for i := range 6 {
		w.proxy.Drain(i%2 == 0)
		until := answered.Load() + 100
		w.eventually("answers go on", func() bool { return answered.Load() >= until })
	}
	close(over)
	all.Wait()
	if n := last.Load(); n < 100 || n > answered.Load()-100 {
		t.Errorf("%d of %d answers were the last of their connection", n, answered.Load())
	}
}

// CloseAll ends idle connections and requests in flight, and new ones are served.
func TestCloseAll(t *testing.T) {
	t.Parallel()
	addr, _ := gated(t)
	w := newWorld(t, nil, addr)
	idle, busy, beginning := w.dial(), w.dial(), w.dial()
	idle.send("GET /quick HTTP/1.1\r\nHost: h\r\n\r\n")
	idle.response("GET")
	busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	busy.head()
	beginning.send("GET / HT")
	w.eventually("three clients", func() bool { return w.proxy.Stats().Open == 3 })
	w.proxy.CloseAll()
	idle.wantsEnd()
	beginning.ends()
	if rest := busy.ends(); strings.HasSuffix(rest, "0\r\n\r\n") {
		t.Errorf("a clean end: %q", rest)
	}
	w.left()
	if _, _, _, err := w.proxy.Remaining(within(t, 5*time.Second)); err != nil { // the other loop has closed, too
		t.Error(err)
	}
	if resp, _ := w.get("/quick"); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d", resp.StatusCode)
	}
}

// An answer that only the end of the connection ends does not look whole when it is
// cut.
func TestCutAnswerWithoutALength(t *testing.T) {
	t.Parallel()
	addr, _ := gated(t)
	w := newWorld(t, nil, addr)
	r := w.dial()
	r.send("GET / HTTP/1.0\r\nHost: h\r\n\r\n")
	r.head()
	r.wants("begun ")
	w.proxy.CloseAll()
	if _, err := io.ReadAll(r.br); err == nil {
		t.Error("a clean end")
	}
	w.left()
}

func TestRemaining(t *testing.T) {
	t.Parallel()
	addr, open := gated(t)
	w := newWorld(t, nil, addr)
	remains := func() (connections, requests int64, oldest time.Duration) {
		t.Helper()
		connections, requests, oldest, err := w.proxy.Remaining(within(t, 5*time.Second))
		if err != nil {
			t.Error(err)
		}
		return connections, requests, oldest
	}
	if c, r, oldest := remains(); c != 0 || r != 0 || oldest != 0 {
		t.Errorf("%d, %d, %v of nothing", c, r, oldest)
	}
	idle, busy := w.dial(), w.dial()
	idle.send("GET /quick HTTP/1.1\r\nHost: h\r\n\r\n")
	idle.response("GET")
	busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	busy.head()
	w.eventually("the request is some milliseconds old", func() bool {
		c, r, oldest := remains()
		return c == 2 && r == 1 && oldest > 5*time.Millisecond && oldest < time.Minute
	})
	idle.Close()
	open()
	busy.ends()
	w.eventually("nothing remains", func() bool { c, r, oldest := remains(); return c == 0 && r == 0 && oldest == 0 })
}

func TestRemainingCountsTunnels(t *testing.T) {
	t.Parallel()
	w, client, _ := openRaw(t, "", "")
	w.eventually("it is some milliseconds old", func() bool {
		c, r, oldest, err := w.proxy.Remaining(within(t, 5*time.Second))
		return c == 1 && r == 1 && oldest > 5*time.Millisecond && err == nil
	})
	client.Close()
}

// A loop that hangs is not waited for, and said to be missing.
func TestRemainingOfALoopThatHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	hangs, goOn := make(chan struct{}), make(chan struct{})
	w.proxy.workers[1].loop.Post(func() { close(hangs); <-goOn })
	<-hangs
	if _, _, _, err := w.proxy.Remaining(within(t, 20*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	close(goOn)
	if _, _, _, err := w.proxy.Remaining(within(t, 5*time.Second)); err != nil {
		t.Error(err)
	}
}
