package httpproxy

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"fulcrum/pool"
	"fulcrum/porttest"
)

// A scenario is a request that ends in some way, and what is known of it then. The
// server is at S, and counts what the listener does unless it is said what.
type scenario struct {
	change func(*Options)            // may be nil
	server func(t testing.TB) string // nil: there is none
	client func(w *world, r *wire)   // does not return before the request has ended
	counts string                    // of the listener
	route  string                    // of its only route, if there is one
	at     string                    // of the server; "-": nothing
	record string                    // in the access log
}

// answers returns a server that answers like that.
func answers(answer string) func(testing.TB) string {
	return func(t testing.TB) string { return canned(t, answer) }
}

// silent takes everything and says nothing, until the proxy leaves.
func silent(t testing.TB) string {
	return rawOrigin(t, func(_ int, r *wire) { io.Copy(io.Discard, r) })
}

// unreachable is a server that neither accepts nor refuses.
func unreachable(t testing.TB) string {
	address, done := fullListener(t)
	t.Cleanup(done)
	return address
}

// says has the client send something and be answered.
func says(code int, format string, args ...any) func(*world, *wire) {
	return func(w *world, r *wire) {
		r.send(format, args...)
		method, _, _ := strings.Cut(format, " ")
		if resp, _, _ := r.response(method); resp.StatusCode != code {
			r.t.Errorf("got %d, want %d", resp.StatusCode, code)
		}
	}
}

// leaves has the client send something, do something once a request is active, and
// not be interested in an answer.
func leaves(request string, how func(w *world, r *wire)) func(*world, *wire) {
	return func(w *world, r *wire) {
		r.send("%s", request)
		w.eventually("the request is active", func() bool { return w.proxy.Stats().Active == 1 })
		how(w, r)
		w.idle()
	}
}

func reset(_ *world, r *wire) { r.SetLinger(0); r.Close() }

// post is a request with a body of so many bytes, of which some come.
func post(length int, body string) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", length, body)
}

// occupy has the server serve one at a time, and somebody else be served.
func occupy(w *world) (done func()) {
	address := w.server(0).Address()
	w.pool.Upload(pool.ServerSpec{Address: address, MaxConnections: 1})
	lease, err := w.pool.Acquire(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return func() { lease.Release(pool.Served) }
}

func queueOf(n int, timeout time.Duration) func(*Options) {
	return func(o *Options) {
		o.Default.Pool, _ = pool.New("web", pool.Options{QueueLength: n})
		o.Default.QueueTimeout = timeout
	}
}

const ok2 = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

var scenarios = map[string]scenario{
	"answered": {server: answers(ok2), client: says(200, get),
		counts: "requests 1, answered 1, 2xx 1, sent 2, connects 1",
		record: "/ received 0 status 200 sent 2 pool web at S tried 1 queue connect first_byte duration answered"},
	"answered, in chunks, behind a 103": {server: answers("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
		client: func(w *world, r *wire) { r.send(get); r.head(); says(404, "")(w, r) },
		counts: "requests 1, answered 1, 4xx 1, sent 3, connects 1",
		record: "/ received 0 status 404 sent 3 pool web at S tried 1 queue connect first_byte duration answered"},
	"answered to HEAD": {server: answers("HTTP/1.1 500 Bad\r\nContent-Length: 300\r\n\r\n"), client: says(500, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"),
		counts: "requests 1, answered 1, 5xx 1, connects 1",
		record: "/ received 0 status 500 sent 0 pool web at S tried 1 queue connect first_byte duration answered"},
	"answered with the end of the connection": {
		server: func(t testing.TB) string {
			return rawOrigin(t, func(_ int, r *wire) { r.tryHead(); io.WriteString(r, "HTTP/1.0 200 OK\r\n\r\nbody") })
		},
		client: says(200, "GET /x HTTP/1.0\r\n\r\n"),
		counts: "requests 1, answered 1, 2xx 1, sent 4, connects 1",
		record: "/x received 0 status 200 sent 4 pool web at S tried 1 queue connect first_byte duration answered"},
	"answered early": {server: answers(ok2), client: says(200, "%s", post(10, "abc")),
		counts: "requests 1, answered 1, 2xx 1, received 3, sent 2, connects 1",
		record: "/ received 3 status 200 sent 2 pool web at S tried 1 queue connect first_byte duration answered"},
	"spliced": {
		server: func(t testing.TB) string {
			return origin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
				b, _ := io.ReadAll(r.Body)
				w.Write(b)
			})
		},
		client: func(w *world, r *wire) {
			says(200, "%s", post(1<<20, strings.Repeat("x", 1<<20)))(w, r)
			w.idle()
		},
		counts: "requests 1, answered 1, 2xx 1, received 1048576, sent 1048576, connects 1",
		record: "/ received 1048576 status 200 sent 1048576 pool web at S tried 1 queue connect first_byte duration answered"},
	"redirected": {change: func(o *Options) {
		o.Routes = []Route{{Path: "/a", Redirect: &Redirect{Scheme: "https", Status: 301}}}
	}, client: says(301, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
		counts: "requests 1, redirected 1, 3xx 1, sent 16", route: "requests 1, redirected 1, 3xx 1, sent 16",
		record: "/a received 0 status 301 sent 16 route */a duration redirected"},
	"upgraded": {server: func(t testing.TB) string {
		return rawOrigin(t, func(_ int, r *wire) {
			r.tryHead()
			io.WriteString(r, "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		})
	}, client: func(w *world, r *wire) { r.send(upgrade); r.head(); r.CloseWrite(); r.ends(); w.idle() },
		counts: "requests 1, upgraded 1, 1xx 1, connects 1",
		record: "/ received 0 status 101 sent 0 pool web at S tried 1 queue connect first_byte duration upgraded"},
	"client ends within its body": {server: silent, client: leaves(post(10, "abc"), func(_ *world, r *wire) { r.CloseWrite() }),
		counts: "requests 1, client_closed 1, received 3, connects 1",
		record: "/ received 3 pool web at S tried 1 queue connect duration client_closed"},
	"client leaves": {server: silent, client: leaves(get, func(w *world, r *wire) {
		w.eventually("it is connected", func() bool { return w.proxy.Stats().Connects == 1 })
		reset(w, r)
	}),
		counts: "requests 1, client_reset 1, connects 1",
		record: "/ received 0 pool web at S tried 1 queue connect duration client_reset"},
	"client leaves the queue": {change: queueOf(1, time.Minute), server: answers(ok2), client: func(w *world, r *wire) {
		done := occupy(w)
		leaves(get, func(w *world, r *wire) {
			w.eventually("it waits", func() bool { return w.pool.Queued() == 1 })
			reset(w, r)
			w.eventually("nobody waits", func() bool { return w.pool.Queued() == 0 })
			done()
		})(w, r)
	}, at: "-",
		counts: "requests 1, client_reset 1",
		record: "/ received 0 pool web duration client_reset"},
	"tunnel of no use": {change: func(o *Options) { o.IdleTimeout = 50 * time.Millisecond }, server: func(t testing.TB) string {
		return rawOrigin(t, func(_ int, r *wire) {
			r.tryHead()
			io.WriteString(r, "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
			io.Copy(io.Discard, r.br)
		})
	}, client: func(w *world, r *wire) { r.send(upgrade + "abc"); r.ends(); w.idle() },
		counts: "requests 1, idle 1, 1xx 1, received 3, connects 1",
		record: "/ received 3 status 101 sent 0 pool web at S tried 1 queue connect first_byte duration idle"},
	"server is closed": {server: silent, client: func(w *world, r *wire) {
		r.send(get)
		w.eventually("it is connected", func() bool { return w.proxy.Stats().Connects == 1 })
		w.proxy.CloseServer(w.server(0))
		says(502, "")(w, r)
	},
		counts: "requests 1, drained 1, 5xx 1, sent 36, connects 1",
		record: "/ received 0 status 502 sent 36 pool web at S tried 1 queue connect duration drained"},
	"server is closed within the answer": {server: answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), client: func(w *world, r *wire) {
		r.send(get)
		r.head()
		w.proxy.CloseServer(w.server(0))
		r.ends()
	},
		counts: "requests 1, drained 1, 2xx 1, sent 3, connects 1",
		record: "/ received 0 status 200 sent 3 pool web at S tried 1 queue connect first_byte duration drained"},
	"listener is stopped": {server: silent, client: leaves(get, func(w *world, r *wire) {
		w.eventually("it is connected", func() bool { return w.proxy.Stats().Connects == 1 })
		w.proxy.Stop(within(w.t, 20*time.Millisecond))
	}),
		counts: "requests 1, drained 1, connects 1",
		record: "/ received 0 pool web at S tried 1 queue connect duration drained"},
	"panic": {change: func(o *Options) { o.Logger = slog.New(panicky{slog.DiscardHandler}) }, server: porttest.Closed,
		client: func(w *world, r *wire) { r.send(get); r.ends() },
		counts: "requests 1, internal_error 1",
		record: "/ received 0 pool web at S tried 1 queue duration internal_error"},
	"no PROXY header": {change: behindProxies("127.0.0.0/8"), client: func(w *world, r *wire) { r.send(get); r.ends() },
		counts: "bad_proxy_header 1",
		record: "bad_proxy_header"},
	"too many of a client": {change: func(o *Options) { o.MaxPerClient = 1 }, client: func(w *world, r *wire) {
		w.eventually("the first is there", func() bool { return w.proxy.Stats().Open == 1 })
		says(429, "")(w, w.dial())
	},
		counts: "client_limit 1, 4xx 1, sent 39",
		record: "status 429 sent 39 client_limit"},
	"half a head": {change: func(o *Options) { o.HeaderTimeout = 50 * time.Millisecond }, client: says(408, "GET / HTTP/1.1\r\n"),
		counts: "head_timeout 1, 4xx 1, sent 45",
		record: "status 408 sent 45 head_timeout"},
	"malformed head": {client: says(400, "GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n"),
		counts: "refused_head 1, 4xx 1, sent 22",
		record: "status 400 sent 22 duration refused_head"},
	"head without a Host": {client: says(400, "GET /secret HTTP/1.1\r\n\r\n"),
		counts: "refused_head 1, 4xx 1, sent 22",
		record: "status 400 sent 22 duration refused_head"},
	"head of another version": {client: says(505, "GET / HTTP/3.0\r\nHost: h\r\n\r\n"),
		counts: "refused_head 1, 5xx 1, sent 35",
		record: "status 505 sent 35 duration refused_head"},
	"head that is too large": {change: func(o *Options) { o.MaxHeaderBytes = 100 }, client: says(431, "GET / HTTP/1.1\r\nA: %0100d\r\n\r\n", 1),
		counts: "refused_head 1, 4xx 1, sent 22",
		record: "status 431 sent 22 refused_head"},
	"CONNECT": {client: says(501, "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n"),
		counts: "refused_head 1, 5xx 1, sent 25",
		record: "h:1 received 0 status 501 sent 25 duration refused_head"},
	"ambiguous path": {change: func(o *Options) { o.Routes = []Route{{Path: "/a", Upstream: o.Default}} }, client: says(400, "GET /x/../a HTTP/1.1\r\nHost: h\r\n\r\n"),
		counts: "refused_head 1, 4xx 1, sent 33",
		record: "/x/../a received 0 status 400 sent 33 duration refused_head"},
	"nowhere": {change: func(o *Options) { o.Default, o.Routes = nil, []Route{{Host: "elsewhere", Upstream: o.Default}} }, client: says(404, get),
		counts: "requests 1, no_route 1, 4xx 1, sent 35",
		record: "/ received 0 status 404 sent 35 duration no_route"},
	"bad chunk": {server: silent, client: func(w *world, r *wire) {
		r.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
		w.eventually("it is connected", func() bool { return w.proxy.Stats().Connects == 1 && w.open() == 1 })
		says(400, "x\r\n")(w, r)
	},
		counts: "requests 1, bad_body 1, 4xx 1, received 3, sent 37, connects 1",
		record: "/ received 3 status 400 sent 37 pool web at S tried 1 queue connect duration bad_body"},
	"large body": {change: func(o *Options) { o.MaxBodyBytes = 9 }, client: says(413, "%s", post(10, "")),
		counts: "body_too_large 1, 4xx 1, sent 37",
		record: "/ received 0 status 413 sent 37 duration body_too_large"},
	"body that becomes large": {change: func(o *Options) { o.MaxBodyBytes = 2 }, server: silent,
		client: says(413, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
		counts: "requests 1, body_too_large 1, 4xx 1, received 3, sent 37, connects 1",
		record: "/ received 3 status 413 sent 37 pool web at S tried 1 queue connect duration body_too_large"},
	"body that does not come": {change: func(o *Options) { o.IdleTimeout = 100 * time.Millisecond }, server: silent, client: says(408, "%s", post(10, "abc")),
		counts: "requests 1, body_timeout 1, 4xx 1, received 3, sent 45, connects 1",
		record: "/ received 3 status 408 sent 45 pool web at S tried 1 queue connect duration body_timeout"},
	"no server": {client: says(503, get),
		counts: "requests 1, no_server_ready 1, 5xx 1, sent 19",
		record: "/ received 0 status 503 sent 19 pool web duration no_server_ready"},
	"full": {server: answers(ok2), client: func(w *world, r *wire) { defer occupy(w)(); says(503, get)(w, r) },
		counts: "requests 1, all_full 1, 5xx 1, sent 21", at: "-",
		record: "/ received 0 status 503 sent 21 pool web duration all_full"},
	"full queue": {change: queueOf(1, time.Minute), server: answers(ok2), client: func(w *world, r *wire) {
		defer occupy(w)()
		waiter := &pool.Waiter{Granted: func(l pool.Lease, _ error) { l.Release(pool.Served) }}
		if err := w.pool.Await(waiter); err != nil {
			w.t.Error(err)
		}
		says(503, get)(w, r)
		w.pool.Cancel(waiter)
	},
		counts: "requests 1, queue_full 1, 5xx 1, sent 21", at: "-",
		record: "/ received 0 status 503 sent 21 pool web duration queue_full"},
	"long queue": {change: queueOf(1, 50*time.Millisecond), server: answers(ok2), client: func(w *world, r *wire) { defer occupy(w)(); says(503, get)(w, r) },
		counts: "requests 1, queue_timeout 1, 5xx 1, sent 21", at: "-",
		record: "/ received 0 status 503 sent 21 pool web duration queue_timeout"},
	"refused": {server: porttest.Closed, client: says(502, get),
		counts: "requests 1, connect_failed 1, 5xx 1, sent 32",
		record: "/ received 0 status 502 sent 32 pool web at S tried 1 queue duration connect_failed"},
	"connect that takes long": {change: func(o *Options) { o.Default.ConnectTimeout = 50 * time.Millisecond },
		server: unreachable, client: says(504, get),
		counts: "requests 1, connect_failed 1, 5xx 1, sent 40",
		record: "/ received 0 status 504 sent 40 pool web at S tried 1 queue duration connect_failed"},
	"no resources": {server: porttest.Closed, client: func(w *world, r *wire) {
		w.pool.Upload(pool.ServerSpec{Address: w.server(0).Address(), Sources: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
		says(503, get)(w, r)
	},
		counts: "requests 1, no_resources 1, 5xx 1, sent 34",
		record: "/ received 0 status 503 sent 34 pool web at S tried 1 queue duration no_resources"},
	"server is closed while it is connected to": {
		server: unreachable, client: func(w *world, r *wire) {
			r.send(get)
			w.eventually("it is being connected to", func() bool { return w.open() == 1 })
			w.proxy.CloseServer(w.server(0))
			says(502, "")(w, r)
		},
		counts: "requests 1, connect_failed 1, 5xx 1, sent 32", at: "requests 1, drained 1",
		record: "/ received 0 status 502 sent 32 pool web at S tried 1 queue duration connect_failed"},
	"no answer": {server: func(t testing.TB) string { return rawOrigin(t, func(_ int, r *wire) { r.tryHead() }) }, client: says(502, get),
		counts: "requests 1, no_answer 1, 5xx 1, sent 32, connects 1",
		record: "/ received 0 status 502 sent 32 pool web at S tried 1 queue connect duration no_answer"},
	"nonsense": {server: answers("HTTP/1.1 20 OK\r\n\r\n"), client: says(502, get),
		counts: "requests 1, bad_answer 1, 5xx 1, sent 32, connects 1",
		record: "/ received 0 status 502 sent 32 pool web at S tried 1 queue connect duration bad_answer"},
	"no answer in time": {change: func(o *Options) { o.Default.ResponseTimeout = 50 * time.Millisecond }, server: silent, client: says(504, get),
		counts: "requests 1, answer_timeout 1, 5xx 1, sent 34, connects 1",
		record: "/ received 0 status 504 sent 34 pool web at S tried 1 queue connect duration answer_timeout"},
	"cut short": {server: func(t testing.TB) string {
		return rawOrigin(t, func(_ int, r *wire) {
			r.tryHead()
			io.WriteString(r, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
		})
	}, client: func(w *world, r *wire) { r.send(get); r.ends() },
		counts: "requests 1, cut_short 1, 2xx 1, sent 3, connects 1",
		record: "/ received 0 status 200 sent 3 pool web at S tried 1 queue connect first_byte duration cut_short"},
	"bad chunk of an answer": {server: answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n-"), client: func(w *world, r *wire) { r.send(get); r.ends() },
		counts: "requests 1, cut_short 1, 2xx 1, sent 3, connects 1",
		record: "/ received 0 status 200 sent 3 pool web at S tried 1 queue connect first_byte duration cut_short"},
}

// However a request ends, it is counted once, everywhere, and recorded once; it is
// not active any more, and its server has it no more.
func TestHowRequestsEnd(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.play(t)
		})
	}
}

func (s *scenario) play(t *testing.T) {
	change, records := logged(t)
	var addresses []string
	if s.server != nil {
		addresses = append(addresses, s.server(t))
	}
	w := newWorld(t, func(o *Options) {
		change(o)
		if s.change != nil {
			s.change(o)
		}
	}, addresses...)
	s.client(w, w.dial())
	wants := func(what string, got Stats, want string) {
		t.Helper()
		if text := got.text(); text != want {
			t.Errorf("%s counts %q, want %q", what, text, want)
		}
	}
	wants("the listener", w.proxy.Stats(), s.counts)
	if len(w.routes) > 0 {
		wants("the route", w.proxy.RouteStats(w.routes[0].Name()), s.route)
	}
	record := s.record
	if len(addresses) > 0 {
		var got Stats
		w.proxy.AddServerStats(w.server(0), &got)
		if s.at == "" {
			s.at = s.counts
			if !strings.Contains(s.record, "first_byte") { // the answer was the proxy's own
				s.at = regexp.MustCompile(`, (.xx 1|sent \d+)`).ReplaceAllString(s.at, "")
			}
		}
		wants("the server", got, strings.TrimPrefix(s.at, "-"))
		record = strings.Replace(record, " at S ", " at "+addresses[0]+" ", 1)
		if n := w.server(0).Active(); n != 0 {
			t.Errorf("%d are active on the server", n)
		}
	}
	lines := records()
	if len(lines) != 1 {
		t.Fatalf("records %q, want one", lines)
	}
	if got := parsed(t, lines[0]).text(); got != record {
		t.Errorf("recorded %q, want %q", got, record)
	}
}

// A client that does not take its answer has it for as long as it may be idle.
func TestAnAnswerThatIsNotTaken(t *testing.T) {
	t.Parallel()
	change, records := logged(t)
	w := newWorld(t, func(o *Options) { change(o); o.IdleTimeout = 100 * time.Millisecond }, origin(t, func(w http.ResponseWriter, _ *http.Request) {
		io.Copy(w, zeros{})
	}))
	r := w.dial()
	r.SetReadBuffer(4 << 10)
	r.send(get)
	r.head()
	w.idle()
	s := w.proxy.Stats()
	if sent := s.Sent; sent == 0 || s.text() != fmt.Sprintf("requests 1, idle 1, 2xx 1, sent %d, connects 1", sent) {
		t.Errorf("got %s", s.text())
	}
	lines := records()
	if len(lines) != 1 {
		t.Fatalf("records %q, want one", lines)
	}
	if got := parsed(t, lines[0]); got.Ended != "idle" || *got.Sent != s.Sent {
		t.Errorf("recorded %s", lines[0])
	}
}
