package admin

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"fulcrum/certtest"
	"fulcrum/events"
)

// watched is what a fake has to be looked at.
type watched struct {
	once sync.Once
	keep int // how many events; 0: 10
	ring *events.Ring
	loud
}

// Events returns the ring.
func (f *watched) Events() *events.Ring {
	f.once.Do(func() { f.ring = events.New(cmp.Or(f.keep, 10)) })
	return f.ring
}

// happen adds one event for each of the servers named, one per letter; capitals are
// of another pool.
func (w *world) happen(servers string) {
	for _, name := range strings.Split(servers, "") {
		pool := "web"
		if name < "a" {
			pool = "api"
		}
		w.fake.Events().Add(events.Event{At: time.Unix(0, 0).UTC(), Kind: events.ServerReady, Pool: pool, Server: name, Reason: "connected"})
	}
}

// first returns the ID of the first event.
func (w *world) first() int64 {
	all, _, _ := w.fake.Events().After(0)
	return all[0].ID
}

func TestEvents(t *testing.T) {
	w := start(t)
	w.want("GET", "/events", "", 200, `{"events":[],"missed":0}`)
	w.happen("abCd")
	first := w.first()
	text := func(i int64, pool, server string) string {
		return fmt.Sprintf(`{"id":%d,"at":"1970-01-01T00:00:00Z","kind":"server_ready","pool":%q,"server":%q,"reason":"connected","count":1}`, first+i, pool, server)
	}
	a, b, c, d := text(0, "web", "a"), text(1, "web", "b"), text(2, "api", "C"), text(3, "web", "d")
	for query, want := range map[string][]string{
		"":                                     {a, b, c, d},
		"?limit=2":                             {c, d},
		"?limit=200":                           {a, b, c, d},
		"?pool=web":                            {a, b, d},
		"?pool=web&limit=2":                    {b, d},
		"?pool=spare":                          {},
		fmt.Sprint("?after=", first):           {b, c, d},
		fmt.Sprint("?after=", first+3):         {},
		fmt.Sprint("?limit=1&after=", first):   {d},
		"?after=7":                             {a, b, c, d}, // of a process before
		fmt.Sprint("?after=", first+1_000_000): {a, b, c, d},
	} {
		w.want("GET", "/events"+query, "", 200, `{"events":[`+strings.Join(want, ",")+`],"missed":0}`)
	}
	w.happen("efghijklm") // three more than it can keep
	_, got := w.do("GET", fmt.Sprint("/events?limit=1&after=", first), nil)
	if !strings.HasSuffix(got, `"missed":2}`+"\n") {
		t.Errorf("after three were forgotten, of which one was read: %s", got)
	}
	for query, part := range map[string]string{
		"?after=-1": "after is", "?after=x": "after is", "?limit=0": "limit is", "?limit=1e3": "limit is", "?limit=": "limit is",
		"?pool=": "1 to 512 bytes", "?kind=x": "the parameters are after, limit, pool", "?pool=a&pool=b": "given 2 times",
	} {
		response, text := w.do("GET", "/events"+query, nil)
		wantRefused(t, response, text, 400, part)
	}
	response, refused := w.do("GET", "/events", nil, lastEventID, "one")
	wantRefused(t, response, refused, 400, `Last-Event-ID is "one"`)
}

// a reading is a client of a stream.
type reading struct {
	*world
	body   io.ReadCloser
	lines  *bufio.Scanner
	lastID string
}

// stream begins to read one; the header holds names and values in turn.
func (w *world) stream(query string, header ...string) *reading {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	w.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", w.base+"/events"+query, nil)
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Accept", eventStream)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := w.http.Transport.RoundTrip(r) // whose client has no time limit
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != 200 {
		w.Fatalf("status %d", response.StatusCode)
	}
	wantHeaders(w.T, response, eventStream)
	return &reading{world: w, body: response.Body, lines: bufio.NewScanner(response.Body)}
}

// next returns the next block of lines; ok is false at the end of the stream.
func (r *reading) next() (block string, ok bool) {
	for r.lines.Scan() {
		line := r.lines.Text()
		if id, found := strings.CutPrefix(line, "id: "); found {
			r.lastID = id
		}
		if line == "" {
			return block, true
		}
		block += line + "\n"
	}
	return block, false
}

// wants reads the events of these servers, one per letter.
func (r *reading) wants(servers string) {
	r.Helper()
	for _, name := range strings.Split(servers, "") {
		block, ok := r.next()
		for ok && !strings.HasPrefix(block, "id: ") { // how long to wait before coming back, and comments
			block, ok = r.next()
		}
		if !ok || !strings.Contains(block, fmt.Sprintf("\ndata: {\"id\":%s,", r.lastID)) || !strings.Contains(block, `"server":"`+name+`"`) {
			r.Fatalf("got %q, want the event of %s", block, name)
		}
	}
}

// ended reads on to the end, which has to come and be a clean one.
func (r *reading) ended() {
	r.Helper()
	for ok := true; ok; {
		_, ok = r.next()
	}
	if err := r.lines.Err(); err != nil {
		r.Errorf("the stream broke off: %v", err)
	}
}

// A stream begins with the past and goes on as things happen; who comes back misses
// nothing that the ring still has, and is told how much it has not.
func TestStreamOfEvents(t *testing.T) {
	w := start(t)
	w.happen("abC")
	s, web, latest := w.stream(""), w.stream("?pool=web"), w.stream("?limit=1", "Accept", "text/html, text/event-stream;q=0.9")
	s.wants("abC")
	web.wants("ab")
	latest.wants("C")
	w.happen("dEf")
	s.wants("dEf")
	web.wants("df")
	latest.wants("dEf")
	s.body.Close()
	w.happen("gh")
	again := w.stream("?limit=1&after=5", lastEventID, s.lastID)
	again.wants("gh")
	again.body.Close()
	w.happen("ijklmnopqrst")
	late := w.stream("?pool=web", lastEventID, again.lastID)
	if first, _ := late.next(); !strings.HasPrefix(first, "retry: ") {
		t.Errorf("it begins with %q", first)
	}
	if told, _ := late.next(); !strings.HasPrefix(told, "data: {\"id\":0,") || !strings.HasSuffix(told, `"kind":"missed","count":2}`+"\n") {
		t.Errorf("told of those that were missed: %q", told)
	}
	late.wants("klmnopqrst")
}

// Streams outlast the limits of other answers, and say now and then that they live.
func TestStreamsAreKeptAlive(t *testing.T) {
	const limit = 200 * time.Millisecond
	w := start(t, func(l *Listener) {
		l.http.ReadTimeout, l.http.WriteTimeout, l.http.IdleTimeout = limit, limit, limit
		l.http.Handler.(*handler).silence = 10 * time.Millisecond
	})
	s := w.stream("")
	s.next()
	for begun, n := time.Now(), 0; n < 20 || time.Since(begun) < 3*limit; n++ {
		if block, ok := s.next(); !ok || block != ":\n" {
			t.Fatalf("after %v: %q, %t", time.Since(begun), block, ok)
		}
	}
	w.happen("a")
	s.wants("a")
}

// However many streams there are, others find the listener free.
func TestStreamsAreBounded(t *testing.T) {
	w := start(t)
	var open []*reading
	for range maxLasting {
		open = append(open, w.stream(""))
	}
	response, text := w.do("GET", "/events", nil, "Accept", eventStream)
	wantRefused(t, response, text, 503, "32 streams and profiles are under way")
	if after := response.Header.Get("Retry-After"); after != "10" {
		t.Errorf("Retry-After %q", after)
	}
	w.want("GET", "/healthz", "", 200, `{"status":"ok"}`)
	open[0].body.Close()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if response, _ := w.do("HEAD", "/events", nil, "Accept", eventStream); response.StatusCode == 200 {
			break
		} else if time.Now().After(end) {
			t.Fatal("a stream that was left still counts")
		}
	}
}

// Stop ends streams at once and cleanly, those that nobody reads too.
func TestStopEndsStreams(t *testing.T) {
	w := start(t)
	w.fake.keep = 30_000
	for range w.fake.keep { // 15 MB to begin with, which no socket holds
		w.fake.Events().Add(events.Event{Kind: events.ServerReady, Details: []string{strings.Repeat("x", 500)}})
	}
	hanging := w.dial("GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
	if _, err := hanging.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s := w.stream("?limit=1")
	s.next()
	begun := time.Now()
	if err := w.Stop(soon(t)); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took < partingIn || took > writeTimeout/2 {
		t.Errorf("it took %v", took)
	}
	s.ended()
}

// Who may ask is asked again when that is read anew.
func TestStreamsEndWhenAccessChanges(t *testing.T) {
	w := startWith(t, newAccess(t, tokens(t)))
	s := w.stream("", bearerOf(metricsSecret)...)
	w.happen("a")
	s.wants("a")
	w.Update(newAccess(t, AccessOptions{Tokens: tokens(t).Tokens[:1]}))
	w.happen("b")
	s.ended()
	if s.lastID != fmt.Sprint(w.first()) {
		t.Errorf("the last one read is %s", s.lastID)
	}
}

// A reload that changes nothing of who may ask does not disturb who watches.
func TestStreamsOutlastAnAccessThatSaysTheSame(t *testing.T) {
	certs := certtest.NewAuthority(t)
	certificate, key := certs.Issue("admin")
	o := tokens(t)
	o.Certificate, o.Key, o.ClientCA, o.Hosts = certificate, key, certs.File, []string{"lb.example"}
	changes := map[string]func(o *AccessOptions){
		"tokens":      func(o *AccessOptions) { o.Tokens = o.Tokens[:1] },
		"read-only":   func(o *AccessOptions) { o.Tokens = slices.Clone(o.Tokens); o.Tokens[0].ReadOnly = true },
		"hosts":       func(o *AccessOptions) { o.Hosts = nil },
		"client_ca":   func(o *AccessOptions) { o.ClientCA = "" },
		"others' ca":  func(o *AccessOptions) { o.ClientCA = certtest.NewAuthority(t).File },
		"certificate": func(o *AccessOptions) { o.Certificate, o.Key = certs.Issue("admin") },
		"no tls":      func(o *AccessOptions) { o.Certificate, o.Key, o.ClientCA = "", "", "" },
	}
	before := newAccess(t, o)
	if !before.same(newAccess(t, o)) {
		t.Error("the same options make another access")
	}
	for what, change := range changes {
		now := o
		change(&now)
		if after := newAccess(t, now); after.same(before) || before.same(after) {
			t.Errorf("%s: another one makes no difference", what)
		}
	}

	w := startWith(t, newAccess(t, tokens(t)))
	s := w.stream("", bearerOf(metricsSecret)...)
	w.Update(newAccess(t, tokens(t)))
	w.happen("a")
	s.wants("a")
}

// A client that reads slowly is no burden to who makes the events, and reads those
// that are left.
func TestSlowReader(t *testing.T) {
	w := start(t)
	conn := w.dial("GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &reading{world: w, lines: bufio.NewScanner(response.Body)}
	full := strings.Repeat("x", 500)
	const many = 60_000
	for i := range many {
		w.fake.Events().Add(events.Event{Kind: events.ServerReady, Server: strconv.Itoa(i), Reason: full})
	}
	got, missed := int64(0), int64(0)
	for got+missed < many {
		block, ok := s.next()
		if !ok {
			t.Fatalf("ended after %d, missed %d", got, missed)
		}
		if strings.HasPrefix(block, "id: ") {
			got++
		} else if _, count, found := strings.Cut(block, `"kind":"missed","count":`); found {
			n, _ := strconv.ParseInt(strings.TrimSuffix(count, "}\n"), 10, 64)
			missed += n
		}
	}
	if got+missed != many {
		t.Errorf("got %d and missed %d of %d", got, missed, many)
	}
}
