package httpproxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"fulcrum/pool"
)

func TestRequestsAreSpreadAndCountsReturnToZero(t *testing.T) {
	t.Parallel()
	name := func(n string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, n) }
	}
	w := newWorld(t, nil, origin(t, name("a")), origin(t, name("b")))
	var seen strings.Builder
	for range 4 {
		_, body := w.get("/")
		seen.WriteString(body)
	}
	if got := seen.String(); got != "abab" && got != "baba" {
		t.Fatalf("served by %s", got)
	}
	w.idle()
	if w.failures(0) != 0 || w.failures(1) != 0 {
		t.Error("what was served counts as a failure")
	}
}

// The head that arrives at the server, byte for byte.
func TestRequestHeadArrivesAsItWasSent(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	addr := rawOrigin(t, func(_ int, r *wire) {
		for {
			h, ok := r.tryHead()
			if !ok {
				return
			}
			heads <- h
			io.WriteString(r, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	w := newWorld(t, nil, addr)
	for name, c := range map[string]struct{ sent, want string }{
		"case, order and repetition": {
			"GET /a//b/../c%2F?x=%20&&y HTTP/1.1\r\nx-first: 1\r\nhost: Example.COM:80\r\nCookie: a=1\r\nACCEPT: x\r\nAccept: y\r\nCookie: b=2;c\r\nUser-Agent:\r\n\r\n",
			"GET /a//b/../c%2F?x=%20&&y HTTP/1.1\r\nx-first: 1\r\nhost: Example.COM:80\r\nCookie: a=1\r\nACCEPT: x\r\nAccept: y\r\nCookie: b=2;c\r\nUser-Agent: \r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: Example.COM:80\r\nX-Forwarded-Proto: http\r\n\r\n",
		},
		"hop-by-hop and claims": {
			"GET / HTTP/1.1\r\nHost: h\r\nConnection: x-mine, Host\r\nX-Mine: 1\r\nKeep-Alive: 1\r\nproxy-connection: k\r\nTE: gzip, Trailers\r\nTrailer: q\r\nUpgrade: foo\r\n" +
				"X-Forwarded-For: 6.6.6.6\r\nx_forwarded_host: evil\r\nX-Forwarded-Port: 1\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nA: b\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
		},
		"HTTP/1.0 without Host": {
			"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: " + addr + "\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\r\n",
		},
		"absolute-form, after an empty line": {
			"\r\nGET http://h/p?q HTTP/1.1\r\nHost: h\r\n\r\n",
			"GET /p?q HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\n\r\n",
		},
		"an empty body": {
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 00\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\nContent-Length: 0\r\n\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.dial()
			r.send("%s", c.sent)
			if got := <-heads; got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			r.head()
		})
	}
}

// The head and body that arrive at the client, byte for byte.
func TestAnswerArrivesAsItWasSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ request, answer, want string }{
		"end-to-end fields": {
			"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
			"HTTP/1.1 299 Very fine\r\nx-a: 1\r\nSet-Cookie: a=1\r\nServer: s\r\nset-cookie: b=2\r\nSet-Cookie: a=1\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nhi",
			"HTTP/1.1 299 Very fine\r\nx-a: 1\r\nSet-Cookie: a=1\r\nServer: s\r\nset-cookie: b=2\r\nSet-Cookie: a=1\r\nContent-Length: 2\r\n\r\nhi",
		},
		"HEAD":           {"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"},
		"204":            {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"},
		"304":            {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 7\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 7\r\n\r\n"},
		"interim":        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n"},
		"chunked":        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\nTr: a\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
		"1.0 keep":       {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"},
		"1.0 and chunks": {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, canned(t, c.answer))
			r := w.dial()
			r.send("%s", c.request)
			got := make([]byte, len(c.want))
			n, _ := io.ReadFull(r.br, got)
			if string(got[:n]) != c.want {
				t.Fatalf("got  %q\nwant %q", got[:n], c.want)
			}
			w.idle()
			if strings.Contains(c.want, "Connection: close") {
				if rest := r.ends(); rest != "" {
					t.Errorf("and then %q", rest)
				}
				return
			}
			r.send("%s", c.request) // the connection lives, on both sides
			if n, _ := io.ReadFull(r.br, got); string(got[:n]) != c.want {
				t.Errorf("the second time %q", got[:n])
			}
		})
	}
}

func TestAnswerThatEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	addr := rawOrigin(t, func(_ int, r *wire) {
		r.tryHead()
		io.WriteString(r, "HTTP/1.0 200 OK\r\n\r\nall of it")
	})
	w := newWorld(t, nil, addr)
	if resp, body := w.get("/"); body != "all of it" || len(resp.TransferEncoding) == 0 {
		t.Errorf("got %q, %v", body, resp.TransferEncoding)
	}
}

func TestServerGrantsExpectContinue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(417)
			return
		}
		io.Copy(w, r.Body)
	}))
	r := w.dial()
	r.send("POST /yes HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	if h := r.head(); !strings.HasPrefix(h, "HTTP/1.1 100 ") {
		t.Fatalf("got %q", h)
	}
	r.send("hi")
	if _, body, _ := r.response("POST"); body != "hi" {
		t.Errorf("got %q", body)
	}
	r.send("POST /no HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	if resp, _, _ := r.response("POST"); resp.StatusCode != 417 || !resp.Close {
		t.Errorf("got %d, close %v", resp.StatusCode, resp.Close)
	}
	w.idle()
}

// Each side speaks before the other has finished, as with a bidirectional
// stream.
func TestBothBodiesFlowAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		rc.Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			w.Write(buf[:n])
			rc.Flush()
			if err != nil {
				return
			}
		}
	}))
	pr, pw := io.Pipe()
	resp, err := w.http.Post("http://"+w.addr, "x", pr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i := range 5 {
		word := fmt.Sprintf("word %d", i)
		io.WriteString(pw, word)
		got := make([]byte, len(word))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != word {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if w.server(0).Active() != 1 {
		t.Error("a streaming body does not count as active")
	}
	pw.Close()
	if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
		t.Errorf("ended with %q, %v", rest, err)
	}
	w.idle()
}

// A server that answers without reading a large body: the answer arrives all
// the same.
func TestEarlyAnswerToALargeBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(413)
		io.WriteString(w, "too much")
	}))
	resp, err := w.http.Post("http://"+w.addr, "x", io.LimitReader(zeros{}, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 413 || string(body) != "too much" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	w.idle()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// heapPeak samples the heap until stop is called.
func heapPeak() (stop func() (growth int64)) {
	use := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse)
	}
	runtime.GC()
	before, peak := use(), int64(0)
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			peak = max(peak, use())
			select {
			case <-quit:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return func() int64 { close(quit); done.Wait(); return peak - before }
}

func TestLargeBodiesNeedLittleMemory(t *testing.T) {
	const size = 256 << 20
	w := newWorld(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err, r.ContentLength)
			return
		}
		if r.URL.Path == "/fixed" {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		io.Copy(w, io.LimitReader(zeros{}, size))
	}))
	up := func(length int64) {
		req, _ := http.NewRequest("POST", "http://"+w.addr, io.LimitReader(zeros{}, size))
		req.ContentLength = length
		resp, err := w.http.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); string(body) != fmt.Sprint(size, nil, length) {
			t.Errorf("up: got %s", body)
		}
	}
	down := func(path string) {
		resp, err := w.http.Get("http://" + w.addr + path)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
			t.Errorf("down: %d, %v", n, err)
		}
	}
	stop := heapPeak()
	var all sync.WaitGroup
	all.Go(func() { up(size) })
	all.Go(func() { up(-1) })
	all.Go(func() { down("/fixed") })
	all.Go(func() { down("/chunked") })
	all.Wait()
	if growth := stop(); growth > 32<<20 {
		t.Errorf("the heap grew by %d MiB", growth>>20)
	}
}

func TestUncheckedPoolIsWaitedFor(t *testing.T) {
	t.Parallel()
	addr := origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "late") })
	w := newWorld(t, nil)
	spec := pool.ServerSpec{Address: addr}
	if _, body := w.get("/"); !strings.Contains(body, "no server is ready") {
		t.Errorf("an empty pool: %q", body)
	}
	spec.Resolved = mustAddr(addr)
	s, _ := w.pool.Upload(spec)
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	time.AfterFunc(50*time.Millisecond, func() { w.pool.SetHealth(s, pool.Health{Healthy: true, At: time.Now()}) })
	if _, body, _ := r.response("GET"); body != "late" {
		t.Errorf("got %q", body)
	}
}

func TestUncheckedPoolIsNotWaitedForForever(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Default.CheckWait = 20 * time.Millisecond })
	w.pool.Upload(pool.ServerSpec{Address: "127.0.0.1:1", Resolved: mustAddr("127.0.0.1:1")})
	if resp, _ := w.get("/"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	t.Parallel()
	echo := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	}
	w := newWorld(t, nil, origin(t, echo), origin(t, echo), origin(t, echo))
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for j := range 20 {
				want := strings.Repeat(fmt.Sprint(i, j), j*100)
				req, _ := http.NewRequestWithContext(context.Background(), "POST", "http://"+w.addr, strings.NewReader(want))
				resp, err := w.http.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(got) != want || err != nil {
					t.Errorf("got %d bytes, want %d, %v", len(got), len(want), err)
				}
			}
		})
	}
	all.Wait()
	w.idle()
}
