package httpproxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fulcrum/pool"
	"fulcrum/porttest"
)

// retrying has the pool retry so often.
func retrying(attempts, percent int) func(*Options) {
	return func(o *Options) {
		o.Default.Pool, _ = pool.New("web", pool.Options{Algorithm: pool.RoundRobin, Retries: &pool.Retries{Attempts: attempts, Percent: percent}})
	}
}

// So many servers are tried after the first, whatever the method.
func TestAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	var dead []string
	for range pool.MaxTries {
		dead = append(dead, porttest.Closed(t))
	}
	for attempts := range pool.MaxTries {
		change, records := logged(t)
		w := newWorld(t, func(o *Options) { retrying(attempts, 0)(o); change(o) }, dead...)
		says(502, "%s", post(4, "body"))(w, w.dial())
		var tried, ended int64
		for _, s := range w.servers() {
			var got Stats
			w.proxy.AddServerStats(s, &got)
			tried, ended = tried+got.Requests, ended+got.Endings[ConnectFailed]
		}
		if want := int64(attempts + 1); tried != want || ended != want {
			t.Errorf("%d attempts: %d servers were tried and %d failed", attempts, tried, ended)
		}
		if got := w.proxy.Stats(); got.Retries != int64(attempts) || got.Requests != 1 || got.Endings[ConnectFailed] != 1 || got.Active != 0 {
			t.Errorf("%d attempts: counted %s", attempts, got.text())
		}
		if lines := records(); len(lines) != 1 || parsed(t, lines[0]).Tried != attempts+1 {
			t.Errorf("%d attempts: recorded %q", attempts, lines)
		}
		w.idle()
	}
}

// What a refused connection costs is not worth counting.
func TestRefusedConnectionsAreTriedAgainForFree(t *testing.T) {
	t.Parallel()
	const requests = 100
	w := newWorld(t, retrying(1, 0), porttest.Closed(t), canned(t, ok2))
	for range requests {
		if resp, body := w.get("/"); resp.StatusCode != 200 || body != "ok" {
			t.Fatalf("got %d %q", resp.StatusCode, body)
		}
	}
	if s := w.proxy.Stats(); s.Retries != w.failures(0) || s.Retries < requests/2-1 || s.Endings[Answered] != requests {
		t.Errorf("counted %s", s.text())
	}
}

// Connections that are not made in time are: with no percent, 30 requests go to
// another server, and the others are told that there is none.
func TestRequestsThatWaitedAreTriedAgainUpToABudget(t *testing.T) {
	t.Parallel()
	const requests, budget = 100, 30
	w := newWorld(t, func(o *Options) {
		retrying(7, 0)(o)
		o.Default.ConnectTimeout = 300 * time.Millisecond
	}, unreachable(t), canned(t, ok2))
	var answered, failed atomic.Int64
	var all sync.WaitGroup
	for range requests {
		all.Go(func() {
			resp, err := w.http.Get("http://" + w.addr)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			switch resp.StatusCode {
			case 200:
				answered.Add(1)
			case 504:
				failed.Add(1)
			default:
				t.Errorf("got %d", resp.StatusCode)
			}
		})
	}
	all.Wait()
	var unreached Stats
	w.proxy.AddServerStats(w.server(0), &unreached)
	if n := unreached.Requests; n <= budget || failed.Load() != n-budget || answered.Load() != requests-failed.Load() {
		t.Errorf("of %d requests %d were not taken; %d were answered, %d not", requests, n, answered.Load(), failed.Load())
	}
	if s := w.proxy.Stats(); s.Retries != budget {
		t.Errorf("counted %s", s.text())
	}
	w.idle()
}

// So it is with kept connections that turn out to be closed.
func TestRequestsOnStaleConnectionsAreSentAgainUpToABudget(t *testing.T) {
	t.Parallel()
	const budget = 30
	w := newWorld(t, func(o *Options) { retrying(7, 0)(o); oneLoop(o) }, rawOrigin(t, func(_ int, r *wire) {
		r.tryHead()
		io.WriteString(r, ok2)
		r.tryHead()
	}))
	r := w.dial()
	says(200, get)(w, r)
	for range budget {
		says(200, get)(w, r)
	}
	says(502, get)(w, r)
	says(200, get)(w, r) // for a new connection nothing has to be tried again
	if s := w.proxy.Stats(); s.Retries != budget || s.Endings[NoAnswer] != 1 || s.Endings[Answered] != budget+2 {
		t.Errorf("counted %s", s.text())
	}
	w.idle()
}

// dying answers the requests of its first connection, but not the one for /last,
// and takes no other.
func dying(t *testing.T) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		c, err := l.Accept()
		l.Close()
		if err != nil {
			return
		}
		defer c.Close()
		r := &wire{t, c.(*net.TCPConn), nil}
		serve(r, func(req *http.Request) bool { return req.URL.Path != "/last" })
	}()
	t.Cleanup(func() { l.Close(); <-over })
	return l.Addr().String()
}

// serve answers requests with their bodies as long as it is to go on.
func serve(r *wire, goOn func(*http.Request) bool) {
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil || !goOn(req) {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprintf(w, "%s %v %d %s", req.Method, req.TransferEncoding, req.ContentLength, body)
	})}
	over := make(chan struct{})
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(over)
		}
	}
	s.Serve(&single{conn: r})
	<-over
}

// single is a listener with one connection.
type single struct{ conn net.Conn }

func (s *single) Accept() (c net.Conn, err error) {
	if c, s.conn = s.conn, nil; c == nil {
		return nil, io.EOF
	}
	return c, nil
}
func (*single) Close() error   { return nil }
func (*single) Addr() net.Addr { return anyPort }

// A short body that came with its head goes to another server when its own has
// closed the connection and takes no new one.
func TestAShortBodyIsSentAgainElsewhere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ about, framed, want string }{
		{"known length", "Content-Length: 6\r\n\r\nabcdef", "PUT [] 6 abcdef"},
		{"chunks", "Transfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n3\r\ndef\r\n0\r\nT: t\r\n\r\n", "PUT [chunked] -1 abcdef"},
		{"nothing in chunks", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "PUT [chunked] -1 "},
		{"nothing", "Content-Length: 0\r\n\r\n", "PUT [] 0 "},
		{"as much as may be", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", maxReplay, strings.Repeat("x", maxReplay)),
			fmt.Sprintf("PUT [] %d %s", maxReplay, strings.Repeat("x", maxReplay))},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			change, records := logged(t)
			other := rawOrigin(t, func(_ int, r *wire) { serve(r, func(*http.Request) bool { return true }) })
			w := newWorld(t, func(o *Options) { change(o); oneLoop(o) }, dying(t))
			r := w.dial()
			says(200, get)(w, r)
			w.add(other)
			for w.proxy.Stats().Retries == 0 { // until it is the dying one's turn
				if got := r.ask("PUT /last HTTP/1.1\r\nHost: h\r\n" + c.framed); got != c.want {
					t.Fatalf("got %.100q, want %.100q", got, c.want)
				}
			}
			if s := w.proxy.Stats(); s.Retries != 2 || s.Endings[Answered] != s.Requests {
				t.Errorf("counted %s", s.text())
			}
			w.idle()
			lines := records()
			if got := parsed(t, lines[len(lines)-1]); got.Tried != 3 || got.Server != other {
				t.Errorf("recorded %s", lines[len(lines)-1])
			}
		})
	}
}

// What comes after the head is not kept, so it is not sent again; what has not come
// yet is sent where it belongs.
func TestABodyThatComesLater(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		about, head, body string
		early             bool // the connection is closed before the body comes
		code              int
	}{
		{"known length", "Content-Length: 4\r\n\r\n", "body", false, 502},
		{"chunks", "Transfer-Encoding: chunked\r\n\r\n", "4\r\nbody\r\n0\r\n\r\n", false, 502},
		{"known length, closed before", "Content-Length: 4\r\n\r\n", "body", true, 200},
		{"chunks, closed before", "Transfer-Encoding: chunked\r\n\r\n", "4\r\nbody\r\n0\r\n\r\n", true, 200},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			heads := make(chan int, 9)
			w := newWorld(t, oneLoop, rawOrigin(t, func(n int, r *wire) {
				for i := 0; ; i++ {
					head, ok := r.tryHead()
					if !ok {
						return
					}
					heads <- n
					if body := make([]byte, len(c.body)); strings.HasPrefix(head, "PUT ") && !(c.early && i > 0) {
						if _, err := io.ReadFull(r.br, body); string(body) != c.body {
							t.Errorf("connection %d got the body %q, %v", n, body, err)
						}
					}
					if i == 1 {
						return
					}
					io.WriteString(r, ok2)
				}
			}))
			r := w.dial()
			says(200, get)(w, r)
			<-heads
			r.send("PUT / HTTP/1.1\r\nHost: h\r\n%s", c.head)
			if n := <-heads; n != 0 {
				t.Errorf("the head came on connection %d", n)
			}
			if c.early {
				if n := <-heads; n != 1 {
					t.Errorf("the head came again on connection %d", n)
				}
			}
			r.send("%s", c.body)
			if resp, _, _ := r.response("PUT"); resp.StatusCode != c.code {
				t.Errorf("got %d, want %d", resp.StatusCode, c.code)
			}
			if len(heads) > 0 {
				t.Errorf("the request came again on connection %d", <-heads)
			}
			w.idle()
		})
	}
}
