package httpproxy

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestHeadsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.MaxHeaderBytes, o.MaxHeaders = 2000, 5 }, canned(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	for _, c := range []struct {
		about, head string
		code        int
	}{
		{"as many fields as there may be", "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("a: b\r\n", 4), 200},
		{"one more", "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("a: b\r\n", 5), 431},
		{"as long as it may be", "GET / HTTP/1.1\r\nHost: h\r\nA: " + strings.Repeat("a", 2000-32) + "\r\n", 200},
		{"one byte longer", "GET / HTTP/1.1\r\nHost: h\r\nA: " + strings.Repeat("a", 2000-31) + "\r\n", 431},
		{"a target that is too long", "GET /" + strings.Repeat("a", 2000), 414},
	} {
		r := w.dial()
		r.send("%s\r\n", c.head)
		if resp, _, err := r.response("GET"); err != nil || resp.StatusCode != c.code {
			t.Errorf("%s: got %v %v, want %d", c.about, resp, err, c.code)
		}
	}
}

func TestHeadsOfAnswersAreBounded(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]int{2000: 200, answerBytes - 100: 200, answerBytes: 502} {
		w := newWorld(t, func(o *Options) { o.MaxHeaderBytes = 1500 },
			canned(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: "+strings.Repeat("a", size)+"\r\n\r\n"))
		if resp, _ := w.get("/"); resp.StatusCode != want {
			t.Errorf("%d bytes: got %d, want %d", size, resp.StatusCode, want)
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	var bodies atomic.Int32
	w := newWorld(t, func(o *Options) { o.MaxBodyBytes = 10 }, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err == nil {
			bodies.Add(1)
		}
	}))
	for _, c := range []struct {
		about, request string
		code           int
	}{
		{"as long as it may be", "Content-Length: 10\r\n\r\n0123456789", 200},
		{"announced to be longer", "Content-Length: 11\r\n\r\n", 413},
		{"as long in chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n", 200},
		{"longer in chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n6\r\n56789x\r\n0\r\n\r\n", 413},
	} {
		r := w.dial()
		r.send("POST / HTTP/1.1\r\nHost: h\r\n%s", c.request)
		if resp, _, err := r.response("POST"); err != nil || resp.StatusCode != c.code {
			t.Errorf("%s: got %v %v, want %d", c.about, resp, err, c.code)
		}
	}
	if n := bodies.Load(); n != 2 {
		t.Errorf("the server got %d whole bodies", n)
	}
	w.idle()
}

func TestBodiesHaveToComeFastEnough(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.MinBodyRate, o.IdleTimeout = 1000, time.Minute }, origin(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
	}))
	trickle := func(r *wire, piece string, pause time.Duration) (code int, took time.Duration) {
		began := time.Now()
		r.SetDeadline(began.Add(20 * time.Second))
		r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\n")
		over := make(chan struct{})
		go func() {
			defer close(over)
			for sent := 0; sent < 9000; sent += len(piece) {
				if _, err := io.WriteString(r, piece); err != nil {
					return
				}
				time.Sleep(pause)
			}
		}()
		resp, _, err := r.response("POST")
		r.Close()
		<-over
		if err != nil {
			t.Error(err)
			return 0, 0
		}
		return resp.StatusCode, time.Since(began)
	}
	// 9 kB in 6 s, well above the rate, of which nothing is missed in the first ones.
	fast := make(chan int, 1)
	go func() {
		code, _ := trickle(w.dial(), strings.Repeat("x", 150), 100*time.Millisecond)
		fast <- code
	}()
	if code, took := trickle(w.dial(), "x", 100*time.Millisecond); code != 408 || took < bodyGrace {
		t.Errorf("10 bytes a second: got %d after %s", code, took)
	}
	if code := <-fast; code != 200 {
		t.Errorf("fast enough: got %d", code)
	}
}

func TestConnectionsToServersGetOld(t *testing.T) {
	t.Parallel()
	var opened atomic.Int32
	addr := rawOrigin(t, func(_ int, r *wire) {
		opened.Add(1)
		for {
			if _, ok := r.tryHead(); !ok {
				return
			}
			io.WriteString(r, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	w := newWorld(t, func(o *Options) { o.Loops, o.Default.MaxAge = o.Loops[:1], 300*time.Millisecond }, addr)
	for began := time.Now(); time.Since(began) < time.Second; time.Sleep(10 * time.Millisecond) {
		w.get("/")
	}
	if n := opened.Load(); n < 3 || n > 20 {
		t.Errorf("%d connections in a second", n)
	}
	kept := newWorld(t, func(o *Options) { o.Loops, o.Default.KeepNone = o.Loops[:1], true }, addr)
	opened.Store(0)
	for range 5 {
		kept.get("/")
	}
	if n := opened.Load(); n != 5 {
		t.Errorf("%d connections for 5 requests though none is kept", n)
	}
}
