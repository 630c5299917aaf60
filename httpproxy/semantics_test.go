package httpproxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fulcrum/pool"
)

func oneLoop(o *Options) { o.Loops = o.Loops[:1] }

// Requests that are sent without waiting are answered in their order, however they
// are cut, and also when the client ends its direction behind them.
func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, r.Method, r.URL.Path, string(body))
	}))
	var all, want strings.Builder
	for i := range 40 {
		switch i % 4 {
		case 0:
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i)
			fmt.Fprintf(&want, "GET/%d ", i)
		case 1:
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /", i)
			fmt.Fprintf(&want, "POST/%dGET / ", i)
		case 2:
			fmt.Fprintf(&all, "PUT /%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n2\r\nde\r\n0\r\nT: t\r\n\r\n", i)
			fmt.Fprintf(&want, "PUT/%dabcde ", i)
		case 3:
			fmt.Fprintf(&all, "\r\nGET /%d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", i)
			fmt.Fprintf(&want, "GET/%d ", i)
		}
	}
	for _, size := range []int{1 << 20, 700, 7} {
		r := w.dial()
		go func() {
			for rest := []byte(all.String()); len(rest) > 0; {
				n := min(size, len(rest))
				r.Write(rest[:n])
				rest = rest[n:]
			}
			r.CloseWrite()
		}()
		var got strings.Builder
		for range 40 {
			_, body, _ := r.response("GET")
			got.WriteString(body + " ")
		}
		if got.String() != want.String() {
			t.Errorf("by %d: got %s, want %s", size, got.String(), want.String())
		}
		if rest := r.ends(); rest != "" {
			t.Errorf("by %d: and then %q", size, rest)
		}
	}
	w.idle()
}

// A client that asks and asks and takes no answers is not listened to for ever, nor
// one whose answer does not come.
func TestPipeliningIsBounded(t *testing.T) {
	t.Parallel()
	const most = 16 << 20 // what the kernel's buffers hold is less
	var served atomic.Int64
	w := newWorld(t, func(o *Options) { o.Default.ResponseTimeout = 2 * time.Second }, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/later" {
			<-r.Context().Done()
			return
		}
		served.Add(1)
		w.Write(make([]byte, 10<<10))
	}))
	for _, path := range []string{"/", "/later"} {
		r := w.dial()
		r.SetReadBuffer(4 << 10)
		r.SetDeadline(time.Now().Add(time.Second))
		many := bytes.Repeat([]byte("GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n"), 1000)
		sent := 0
		for sent < most {
			n, err := r.Write(many)
			if sent += n; err != nil {
				break
			}
		}
		if sent >= most {
			t.Errorf("%s: %d bytes were taken", path, sent)
		}
		r.SetLinger(0)
		r.Close()
	}
	if n := served.Load(); n > 2000 {
		t.Errorf("%d requests were served, and none of the answers read", n)
	}
	w.idle()
}

func TestTrailersAreCarriedForThoseWhoAsk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, canned(t, "HTTP/1.1 200 OK\r\nTrailer: Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nSum: 1\r\nContent-Length: 9\r\n\r\n"))
	for te, want := range map[string]string{
		"TE: trailers\r\n":       "HTTP/1.1 200 OK\r\nTrailer: Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nSum: 1\r\n\r\n",
		"TE: gzip, Trailers\r\n": "HTTP/1.1 200 OK\r\nTrailer: Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nSum: 1\r\n\r\n",
		"":                       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
	} {
		r := w.dial()
		r.send("GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", te)
		got := make([]byte, len(want))
		if n, _ := io.ReadFull(r.br, got); string(got[:n]) != want {
			t.Errorf("%q: got %q, want %q", te, got[:n], want)
		}
	}
	w.idle()
}

// What a server sends behind its answer goes to nobody.
func TestSurplusBytesGoToNobody(t *testing.T) {
	t.Parallel()
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	const good = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
	for name, later := range map[string]bool{"at once": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var connections atomic.Int64
			more := make(chan struct{}, 9)
			w := newWorld(t, oneLoop, rawOrigin(t, func(_ int, r *wire) {
				connections.Add(1)
				for {
					if _, ok := r.tryHead(); !ok {
						return
					}
					if later {
						io.WriteString(r, good)
						<-more
						io.WriteString(r, evil)
					} else {
						io.WriteString(r, good+evil)
					}
				}
			}))
			r := w.dial()
			for i := range 3 {
				r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				if _, body, _ := r.response("GET"); body != "good" {
					t.Errorf("got %q", body)
				}
				if later {
					more <- struct{}{}
					w.eventually("the connection is dropped", func() bool { return w.open() == 0 })
				}
				if n := connections.Load(); n != int64(i+1) {
					t.Errorf("%d connections after %d requests", n, i+1)
				}
			}
			w.idle()
		})
	}
}

// A connection is given up before its server would close it.
func TestServersSayHowLongTheyKeepConnections(t *testing.T) {
	t.Parallel()
	for said, kept := range map[string]bool{"timeout=1": false, "max=5, timeout=0": false, "timeout=60": true, "": true, "timeout=x": true} {
		w := newWorld(t, nil, canned(t, "HTTP/1.1 200 OK\r\nKeep-Alive: "+said+"\r\nContent-Length: 0\r\n\r\n"))
		w.get("/")
		w.idle()
		if n := w.open(); n == 1 != kept {
			t.Errorf("%q: %d connections are kept", said, n)
		}
	}
}

// A client may send its body, end its direction and wait, while no server has been
// connected to yet.
func TestHalfClosedClientIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	addr := origin(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	s, _ := w.pool.Upload(pool.ServerSpec{Address: addr, Resolved: mustAddr(addr)})
	r := w.dial()
	r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
	r.CloseWrite()
	w.eventually("it waits", func() bool { return w.pool.Queued() == 1 })
	w.pool.SetHealth(s, pool.Health{Healthy: true, At: time.Now()})
	if _, body, err := r.response("POST"); body != "hello" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
	r.ends()
	w.idle()
}

// A client that is gone gives its place in the queue back.
func TestClientThatLeavesTheQueue(t *testing.T) {
	t.Parallel()
	w, answer := newQueue(t, time.Minute)
	two := w.dial()
	two.send("GET /two HTTP/1.1\r\nHost: h\r\n\r\n")
	w.eventually("the second waits", func() bool { return w.pool.Queued() == 1 })
	two.SetLinger(0)
	two.Close()
	w.eventually("nobody waits", func() bool { return w.pool.Queued() == 0 })
	answer()
	w.idle()
}

// Neither side is read faster than the other takes it.
func TestSlowSidesHoldTheOtherBack(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	read := make(chan struct{})
	w := newWorld(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			<-read
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n)
			return
		}
		for range 1 << 10 {
			n, err := w.Write(make([]byte, 64<<10))
			if written.Add(int64(n)); err != nil {
				return
			}
		}
	}))
	still := func(n *atomic.Int64) int64 {
		before := n.Load()
		for quiet := 0; quiet < 20; quiet++ {
			time.Sleep(10 * time.Millisecond)
			if now := n.Load(); now != before {
				before, quiet = now, 0
			}
		}
		return before
	}
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	w.eventually("it writes", func() bool { return written.Load() > 0 })
	if n := still(&written); n >= 64<<20 {
		t.Errorf("all %d bytes were taken from the server", n)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(r.br, 64<<20)); n != 64<<20 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	const size = 64 << 20
	var sent atomic.Int64
	p := w.dial()
	p.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", size)
	go func() {
		for piece := make([]byte, 64<<10); sent.Load() < size; {
			n, err := p.Write(piece)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}()
	if n := still(&sent); n >= size {
		t.Errorf("all %d bytes were taken from the client", n)
	}
	close(read)
	if _, body, _ := p.response("POST"); body != fmt.Sprint(size) {
		t.Errorf("the server got %s", body)
	}
	w.idle()
}

// A server that fails while the body is on its way is blamed, and the client told.
func TestServerThatDiesInTheBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, rawOrigin(t, func(_ int, r *wire) {
		r.tryHead()
		io.ReadFull(r.br, make([]byte, 3))
		r.SetLinger(0)
	}))
	r := w.dial()
	r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nfive.")
	if resp, _, _ := r.response("POST"); resp.StatusCode != 502 || !resp.Close {
		t.Errorf("got %d", resp.StatusCode)
	}
	w.idle()
	if n := w.failures(0); n != 1 {
		t.Errorf("failures: %d", n)
	}
}

// An answer of 1.0's kind that is reset is not a whole one.
func TestResetIsNotTheEndOfABody(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.0", "1.1"} {
		w := newWorld(t, nil, rawOrigin(t, func(_ int, r *wire) {
			r.tryHead()
			io.WriteString(r, "HTTP/1.0 200 OK\r\n\r\nbegun")
			r.br.ReadByte() // until told by the client
			r.SetLinger(0)
		}))
		r := w.dial()
		r.send("GET / HTTP/%s\r\nHost: h\r\n\r\n", version)
		r.head()
		w.proxy.CloseServer(w.server(0))
		if rest, err := io.ReadAll(r.br); err == nil && !(version == "1.1" && !strings.HasSuffix(string(rest), "0\r\n\r\n")) || isTimeout(err) {
			t.Errorf("HTTP/%s: %q, %v", version, rest, err)
		}
		w.idle()
	}
}

// Heads may come byte by byte.
func TestHeadsMayComeInPieces(t *testing.T) {
	t.Parallel()
	answer := "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
	w := newWorld(t, nil, rawOrigin(t, func(_ int, r *wire) {
		for {
			if _, ok := r.tryHead(); !ok {
				return
			}
			for _, b := range []byte(answer) {
				r.Write([]byte{b})
			}
		}
	}))
	r := w.dial()
	for range 2 {
		for _, b := range []byte("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n") {
			r.Write([]byte{b})
		}
		got := make([]byte, len(answer))
		if n, _ := io.ReadFull(r.br, got); string(got[:n]) != answer {
			t.Errorf("got %q", got[:n])
		}
	}
	w.idle()
}

// A client that reads slowly gets its answer whole though it has ended its
// direction, before or after the answer began.
func TestHalfClosedClientThatReadsSlowly(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	var done atomic.Int64
	w := newWorld(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		io.Copy(w, io.LimitReader(zeros{}, size))
		done.Add(1)
	}))
	for i, early := range []bool{true, false} {
		r := w.dial()
		r.SetReadBuffer(64 << 10)
		r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if early {
			r.CloseWrite()
		}
		r.head()
		n, _ := io.CopyN(io.Discard, r.br, 5<<20)
		if !early {
			w.eventually("the server has sent all", func() bool {
				if done.Load() > int64(i) && w.server(0).Active() == 0 {
					return true
				}
				m, _ := io.CopyN(io.Discard, r.br, 16<<10)
				n += m
				return false
			})
			r.CloseWrite()
			time.Sleep(20 * time.Millisecond) // for the proxy to see the end; without it the test is only weaker
		}
		m, err := io.Copy(io.Discard, r.br)
		if n+m != size || err != nil {
			t.Errorf("early %v: read %d of %d, %v", early, n+m, size, err)
		}
	}
	w.idle()
}

// A body that does not come is not waited for once its client has ended, whether
// it was sent on or a server was waited for meanwhile.
func TestClientThatEndsWithinItsBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.IdleTimeout = time.Minute }, rawOrigin(t, func(_ int, r *wire) { io.Copy(io.Discard, r) }))
	r := w.dial()
	r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nfive.")
	w.eventually("the request is active", func() bool { return w.server(0).Active() == 1 })
	r.CloseWrite()
	if rest := r.ends(); rest != "" {
		t.Errorf("got %q", rest)
	}
	w.idle()

	w = newWorld(t, func(o *Options) { o.IdleTimeout = time.Minute })
	addr := rawOrigin(t, func(_ int, r *wire) { io.Copy(io.Discard, r) })
	s, _ := w.pool.Upload(pool.ServerSpec{Address: addr, Resolved: mustAddr(addr)})
	r = w.dial()
	r.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nfive.")
	r.CloseWrite()
	w.eventually("it waits", func() bool { return w.pool.Queued() == 1 })
	w.each(func(*worker) {}) // who have seen the end by now
	w.pool.SetHealth(s, pool.Health{Healthy: true, At: time.Now()})
	if rest := r.ends(); rest != "" {
		t.Errorf("after a wait: got %q", rest)
	}
	w.idle()
	if n := w.failures(0); n != 0 {
		t.Errorf("the server was blamed %d times", n)
	}
}

// What would hide requests from the proxy is not asked for, however it is written.
func TestOneProtocolThatIsNotHTTPMayBeUpgradedTo(t *testing.T) {
	for value, may := range map[string]bool{
		"websocket": true, "foo/2": true,
		"": false, "h2c": false, "H2C": false, "h2c/1": false, "h2c,": false, "websocket, h2c": false, "/1": false,
	} {
		if canPass([]byte(value)) != may {
			t.Errorf("Upgrade: %q is judged wrongly", value)
		}
	}
}
