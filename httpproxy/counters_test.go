package httpproxy

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"fulcrum/accesslog"
	"fulcrum/stats"
)

// text says what was counted, but for connections of clients and for what is zero.
func (s Stats) text() string {
	var b strings.Builder
	say := func(name string, n int64) {
		if n != 0 {
			fmt.Fprintf(&b, "%s %d, ", name, n)
		}
	}
	say("requests", s.Requests)
	say("active", s.Active)
	for i, n := range s.Endings {
		say(Ending(i).String(), n)
	}
	for i, n := range s.Statuses {
		say(fmt.Sprint(i, "xx"), n)
	}
	say("received", s.Received)
	say("sent", s.Sent)
	say("retries", s.Retries)
	say("connects", s.Connects)
	say("reuses", s.Reuses)
	return strings.TrimSuffix(b.String(), ", ")
}

// logged opens an access log for a listener; records reads it, after which nothing
// more is written.
func logged(t testing.TB) (change func(*Options), records func() []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.log")
	log, err := accesslog.Open(path, accesslog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	return func(o *Options) { o.AccessLog = log }, func() (all []string) {
		log.Close()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			all = append(all, line)
		}
		return all
	}
}

// A record is what the access log says of a request.
type record struct {
	Time     time.Time `json:"time"`
	Listener string    `json:"listener"`
	Client   string    `json:"client"`
	Method   string    `json:"method"`
	Host     string    `json:"host"`
	Target   string    `json:"target"`
	Protocol string    `json:"protocol"`
	Referer  string    `json:"referer"`
	Agent    string    `json:"user_agent"`
	Received *int64    `json:"received"`
	Status   *int      `json:"status"`
	Sent     *int64    `json:"sent"`
	Route    string    `json:"route"`
	Pool     string    `json:"pool"`
	Server   string    `json:"server"`
	Tried    int       `json:"tried"`
	Reused   *bool     `json:"reused"`
	Ended    string    `json:"ended"`

	Queue     *float64 `json:"queue_ms"`
	Connect   *float64 `json:"connect_ms"`
	FirstByte *float64 `json:"first_byte_ms"`
	Duration  *float64 `json:"duration_ms"`
}

// parsed reads a record with no member that is not known, and checks its times.
func parsed(t testing.TB, line string) (r record) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if age := time.Since(r.Time); age < 0 || age > time.Minute {
		t.Errorf("%s: the time is %s", line, r.Time)
	}
	for _, phase := range []*float64{r.Queue, r.Connect, r.FirstByte} {
		if phase != nil && (*phase < 0 || r.Duration == nil || *phase > *r.Duration) {
			t.Errorf("a phase is longer than all: %s", line)
		}
	}
	return r
}

// text says what is in a record, but for listener, method, host, protocol and
// times, of which it only says that they are there.
func (r record) text() string {
	var b strings.Builder
	say := func(format string, value any, there bool) {
		if there {
			fmt.Fprintf(&b, format+" ", value)
		}
	}
	say("%s", r.Target, r.Target != "")
	if r.Received != nil {
		say("received %d", *r.Received, true)
	}
	if r.Status != nil {
		say("status %d", *r.Status, true)
		say("sent %d", *r.Sent, true)
	}
	say("route %s", r.Route, r.Route != "")
	say("pool %s", r.Pool, r.Pool != "")
	say("at %s", r.Server, r.Server != "")
	say("tried %d", r.Tried, r.Tried > 0)
	if r.Reused != nil {
		say("reused %v", *r.Reused, *r.Reused)
	}
	say("%s", "queue", r.Queue != nil)
	say("%s", "connect", r.Connect != nil)
	say("%s", "first_byte", r.FirstByte != nil)
	say("%s", "duration", r.Duration != nil)
	return b.String() + r.Ended
}

// Whoever has read an answer finds it counted and recorded: by the listener, its
// route and its server.
func TestAnAnswerIsCountedBeforeItsClientHasIt(t *testing.T) {
	t.Parallel()
	change, records := logged(t)
	var to *Upstream
	w := newWorld(t, func(o *Options) {
		change(o)
		oneLoop(o)
		to = upstreamTo(t, "api", origin(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Write(body)
		}))
		o.Routes = append(o.Routes, Route{Host: "*.example.com", Path: "/api", Upstream: to})
	})
	s := to.Pool.Servers()[0]
	r := w.dial()
	for i := range 20 {
		n := int64(i + 1)
		r.send("PUT /api/x?y HTTP/1.1\r\nHost: A.example.com:80\r\nReferer: r%d\r\nuser-agent: \"a\"\r\nContent-Length: 3\r\n\r\nabc", i)
		if _, body, _ := r.response("PUT"); body != "abc" {
			t.Fatalf("got %q", body)
		}
		all := w.proxy.Stats()
		if all.Requests != n || all.Active != 0 || all.Endings[Answered] != n || all.Received != 3*n || all.Sent != 3*n || all.Duration.Count() != n ||
			all.Connects+all.Reuses != n || all.ConnectTime.Count() != all.Connects || all.FirstByte.Count() != n {
			t.Fatalf("after request %d: %s", n, all.text())
		}
		route, server := w.proxy.RouteStats("*.example.com/api"), Stats{}
		w.proxy.AddServerStats(s, &server)
		if all.Accepted, all.Open, all.Added = 0, 0, (stats.Summary{}); route != all || server != all {
			t.Fatalf("after request %d: the route counts %s, the server %s; want %s", n, route.text(), server.text(), all.text())
		}
		if s.Active() != 0 {
			t.Fatalf("after request %d: %d are active", n, s.Active())
		}
	}
	lines := records()
	if len(lines) != 20 {
		t.Fatalf("%d records", len(lines))
	}
	for i, line := range lines {
		got := parsed(t, line)
		if got.Listener != "web" || got.Client != r.LocalAddr().String() || got.Method != "PUT" || got.Host != "A.example.com:80" ||
			got.Protocol != "HTTP/1.1" || got.Referer != fmt.Sprint("r", i) || got.Agent != `"a"` {
			t.Errorf("got %s", line)
		}
		want := "/api/x?y received 3 status 200 sent 3 route *.example.com/api pool api at " + s.Address() + " tried 1 "
		first, again := want+"queue connect first_byte duration answered", want+"reused true queue first_byte duration answered"
		if text := got.text(); text != first && (i == 0 || text != again) {
			t.Errorf("record %d is %s", i, text)
		}
	}
}

// What becomes of a request is seen in the combined format too.
func TestRecordsInTheCombinedFormat(t *testing.T) {
	t.Parallel()
	change, records := logged(t)
	w := newWorld(t, func(o *Options) { change(o); o.Combined = true }, canned(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	r := w.dialFrom("127.0.0.9")
	r.ask("GET /a HTTP/1.1\r\nHost: h\r\nReferer: from\r\nUser-Agent: \"me\"\r\n\r\n")
	r.send("nonsense\r\n\r\n")
	r.response("GET")
	want := []string{`127\.0\.0\.9 - - \[[^]]+\] "GET /a HTTP/1\.1" 200 2 "from" "\\x22me\\x22"` + "\n", `127\.0\.0\.9 - - \[[^]]+\] "-" 400 22 "-" "-"` + "\n"}
	got := records()
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		if !regexp.MustCompile("^" + want[i] + "$").MatchString(got[i]) {
			t.Errorf("got %s, want %s", got[i], want[i])
		}
	}
}

// A tunnel is counted and recorded at its end, with all that went through it.
func TestATunnelIsRecordedAtItsEnd(t *testing.T) {
	t.Parallel()
	change, records := logged(t)
	w := newWorld(t, change, switching(t))
	r := w.dial()
	r.send(upgrade + "early ")
	r.head()
	io.ReadFull(r.br, make([]byte, len("hello early ")))
	if got, want := w.proxy.Stats().text(), "requests 1, active 1, 1xx 1, connects 1"; got != want {
		t.Errorf("while it is open: %s, want %s", got, want)
	}
	r.send("late")
	r.CloseWrite()
	r.ends()
	w.idle()
	var server Stats
	w.proxy.AddServerStats(w.server(0), &server)
	for _, s := range []Stats{w.proxy.Stats(), server} {
		if got, want := s.text(), "requests 1, upgraded 1, 1xx 1, received 10, sent 20, connects 1"; got != want {
			t.Errorf("at its end: %s, want %s", got, want)
		}
	}
	lines := records()
	if len(lines) != 1 {
		t.Fatalf("got %q", lines)
	}
	want := "/ received 10 status 101 sent 20 pool web at " + w.server(0).Address() + " tried 1 queue connect first_byte duration upgraded"
	if got := parsed(t, lines[0]).text(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Of one in seventeen requests it is measured what the proxy added, which is not what
// servers take.
func TestWhatIsAdded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneLoop, origin(t, func(w http.ResponseWriter, r *http.Request) { time.Sleep(10 * time.Millisecond) }))
	r := w.dial()
	const sampled, requests = 3, 2*17 + 1
	for range requests {
		r.send(get)
		r.head()
	}
	w.each(func(*worker) {}) // the turn of the last answer is over
	s := w.proxy.Stats()
	if n := s.Added.Count(); n != sampled {
		t.Errorf("measured of %d, want %d", n, sampled)
	}
	if added, took := s.Added.Seconds(), s.FirstByte.Seconds(); added <= 0 || added > took/2 {
		t.Errorf("%v s are added to %v s", added, took)
	}
}

// What was counted of a server goes with it; the sums stay.
func TestWhatIsForgottenIsNotLost(t *testing.T) {
	t.Parallel()
	address, open := gated(t)
	w := newWorld(t, oneLoop, address)
	s := w.server(0)
	r := w.dial()
	r.send(get)
	r.head()
	for range 3 {
		w.get("/quick")
	}
	w.proxy.Forget(s)
	w.each(func(k *worker) {
		if len(k.counts) != 0 {
			t.Errorf("%d servers are remembered", len(k.counts))
		}
	})
	var server Stats
	if w.proxy.AddServerStats(s, &server); server != (Stats{}) {
		t.Errorf("of the server %s is left", server.text())
	}
	if got, want := w.proxy.Stats().text(), "requests 4, active 1, answered 3, 2xx 4, connects 2, reuses 2"; got != want {
		t.Errorf("of the listener %s is left, want %s", got, want)
	}
	open()
	w.idle()
	if got, want := w.proxy.Stats().text(), "requests 4, answered 4, 2xx 4, sent 11, connects 2, reuses 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	w.get("/quick")
	if w.proxy.AddServerStats(s, &server); server.text() != "requests 1, answered 1, 2xx 1, connects 1" {
		t.Errorf("a server that is used again counts %s", server.text())
	}
}
