package supervisor

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"fulcrum/admin"
	"fulcrum/httpproxy"
)

// replies is a server that takes a request whole and answers it with the status
// that its path ends in, and ten bytes.
func replies(t *testing.T) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		status, err := strconv.Atoi(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
		if err != nil {
			status = http.StatusOK
		}
		w.WriteHeader(status)
		io.WriteString(w, "0123456789")
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// ask sends a request on a kept connection and takes its answer. One with a body
// goes only on a connection to a server that is new or was used very lately, one
// without on any.
func (c *talk) ask(host, path, body string) (status int) {
	c.t.Helper()
	fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", path, host, len(body), body)
	answer, err := http.ReadResponse(c.lines, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		c.t.Fatal(err)
	}
	return answer.StatusCode
}

// counted returns the counts alone, and checks that there are as many durations
// as are wanted.
func counted(t *testing.T, what string, got *admin.HTTPTraffic, connects, firstBytes, durations int64) admin.HTTPTraffic {
	t.Helper()
	if got == nil {
		t.Fatalf("%s: nothing is seen", what)
	}
	counts := *got
	if counts.Connect.Count != connects || counts.FirstByte.Count != firstBytes || counts.Duration.Count != durations {
		t.Errorf("%s: connected %+v, first byte %+v, duration %+v; want counts of %d, %d and %d",
			what, counts.Connect, counts.FirstByte, counts.Duration, connects, firstBytes, durations)
	}
	if d := counts.FirstByte; d.P99MS < d.P50MS || firstBytes > 0 && d.P99MS <= 0 {
		t.Errorf("%s: first byte %+v", what, d)
	}
	counts.Connect, counts.FirstByte, counts.Duration = admin.Durations{}, admin.Durations{}, admin.Durations{}
	return counts
}

func wantCounts(t *testing.T, what string, got, want admin.HTTPTraffic) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

type counts = map[string]int64

// One client's requests are counted on the listener, on the route that each was
// for and on the server that answered it.
func TestWhatWentThroughAnHTTPListener(t *testing.T) {
	site, api := replies(t), replies(t)
	w := start(t, `{
	  "listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "site", "routes": [
	    {"host": "WWW.example.com", "path": "/api/", "pool": "api"},
	    {"host": "*.example.com", "redirect": {"scheme": "https", "host": "example.com", "status": 301}},
	    {"path": "/unused", "pool": "api"}]}],
	  "pools": [
	    {"name": "site", "servers": [%q], "health": false},
	    {"name": "api", "servers": [%q], "health": false},
	    {"name": "spare", "servers": ["127.0.0.1:1"]}]}`, site, api)
	c := dial(t, w.address("web"))
	for _, r := range []struct {
		host, path, body string
		status           int
	}{
		{"a.test", "/404", "abc", 404},
		{"a.test", "/", "", 200},
		{"a.test", "/500", "", 500},
		{"www.example.com", "/api/503", "hello", 503},
		{"www.example.com", "/api/", "", 200},
		{"www.example.com", "/", "", 301},
	} {
		if got := c.ask(r.host, r.path, r.body); got != r.status {
			t.Errorf("%s%s: status %d, want %d", r.host, r.path, got, r.status)
		}
	}
	bad := dial(t, w.address("web"))
	fmt.Fprint(bad, "GET / HTTP/1.1\r\n\r\n") // without Host
	if answer, err := http.ReadResponse(bad.lines, nil); err != nil || answer.StatusCode != 400 {
		t.Errorf("got %+v, error %v", answer, err)
	}
	bad.Close()
	eventually(t, "one is closed", func() bool { return w.info("web").HTTP.Connections.Open == 1 })

	info := w.info("web")
	wantCounts(t, "listener", counted(t, "listener", info.HTTP, 2, 5, 7), admin.HTTPTraffic{
		Connections: &admin.Connections{Accepted: 2, Open: 1},
		Requests:    6,
		Endings:     counts{"answered": 5, "redirected": 1, "refused_head": 1},
		Statuses:    counts{"2xx": 2, "3xx": 1, "4xx": 2, "5xx": 2},
		Received:    8, Sent: 50 + 16 + 22, Connects: 2, Reuses: 3,
	})
	if len(info.Routes) != 3 {
		t.Fatalf("%d routes: %+v", len(info.Routes), info.Routes)
	}
	for i, want := range []admin.Route{
		{Host: "www.example.com", Path: "/api/", Pool: "api"},
		{Host: "*.example.com", Redirect: &admin.Redirect{Scheme: "https", Host: "example.com", Status: 301}},
		{Path: "/unused", Pool: "api"},
	} {
		route := info.Routes[i]
		if route.HTTP = nil; !reflect.DeepEqual(route, want) {
			t.Errorf("route %d is %+v, want %+v", i, route, want)
		}
	}
	ofAPI := admin.HTTPTraffic{
		Requests: 2, Endings: counts{"answered": 2}, Statuses: counts{"2xx": 1, "5xx": 1}, Received: 5, Sent: 20, Connects: 1, Reuses: 1}
	wantCounts(t, "first route", counted(t, "first route", info.Routes[0].HTTP, 1, 2, 2), ofAPI)
	wantCounts(t, "redirect", counted(t, "redirect", info.Routes[1].HTTP, 0, 0, 1),
		admin.HTTPTraffic{Requests: 1, Endings: counts{"redirected": 1}, Statuses: counts{"3xx": 1}, Sent: 16})
	wantCounts(t, "unused route", counted(t, "unused route", info.Routes[2].HTTP, 0, 0, 0),
		admin.HTTPTraffic{Endings: counts{}, Statuses: counts{}})

	wantCounts(t, "server of api", counted(t, "server of api", w.server(api).HTTP, 1, 2, 2), ofAPI)
	wantCounts(t, "server of site", counted(t, "server of site", w.server(site).HTTP, 1, 3, 3), admin.HTTPTraffic{
		Requests: 3, Endings: counts{"answered": 3}, Statuses: counts{"2xx": 1, "4xx": 1, "5xx": 1}, Received: 3, Sent: 30, Connects: 1, Reuses: 2})
	if s := w.server(site); s.TCP != nil {
		t.Errorf("no tcp listener feeds the pool, and %+v is seen", s.TCP)
	}
	if s := w.server("127.0.0.1:1"); s.TCP != nil || s.HTTP != nil {
		t.Errorf("no listener feeds the pool, and %+v, %+v are seen", s.TCP, s.HTTP)
	}
}

// A server that several listeners feed, by either protocol, is seen by all of
// them: http beside tcp, and each protocol's sum.
func TestAServerOfSeveralListeners(t *testing.T) {
	a := replies(t)
	w := start(t, `{
	  "listeners": [
	    {"name": "one", "protocol": "http", "address": "127.0.0.1:0", "pool": "all"},
	    {"name": "two", "protocol": "http", "address": "127.0.0.1:0", "routes": [{"host": "a.test", "pool": "all"}, {"path": "/x", "pool": "all"}]},
	    {"name": "raw", "protocol": "tcp",  "address": "127.0.0.1:0", "pool": "all"}],
	  "pools": [{"name": "all", "servers": [%q], "health": false}]}`, a)
	for _, listener := range []string{"one", "two", "raw"} {
		c := dial(t, w.address(listener))
		c.ask("a.test", "/", "")
		c.ask("b.test", "/x", "12")
	}
	if status := dial(t, w.address("two")).ask("b.test", "/", ""); status != 404 {
		t.Errorf("status %d of what no route is for", status)
	}
	s := w.server(a)
	if s.TCP.Accepted != 1 || s.HTTP.Requests != 4 || s.HTTP.Received != 4 || s.HTTP.Sent != 40 || s.HTTP.Duration.Count != 4 {
		t.Errorf("over tcp: %+v\nover http: %+v", s.TCP, s.HTTP)
	}
	if one := w.info("one").HTTP; one.Requests != 2 || one.Received != 2 {
		t.Errorf("one: %+v", one)
	}
	two := w.info("two")
	if h := two.HTTP; two.Pool != "" || h.Requests != 3 || !maps.Equal(h.Endings, counts{"answered": 2, "no_route": 1}) ||
		two.Routes[0].HTTP.Requests != 1 || two.Routes[1].HTTP.Received != 2 {
		t.Errorf("two: %+v, http %+v", two, h)
	}
}

// What is tried again is seen where it failed, where it went then, and once on
// its listener. What is under way is active.
func TestRetriesAndRequestsUnderWayAreSeen(t *testing.T) {
	const dead = "127.0.0.1:1" // which no test can be given
	live := startWeb(t, "live")
	w := start(t, `{
	  "listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "all"}],
	  "pools": [{"name": "all", "algorithm": "round_robin", "servers": [%q, %q], "health": false}]}`, dead, live.address)
	for range 4 {
		if status, _, err := get(t, w.address("web"), "/"); status != 200 || err != nil {
			t.Fatalf("status %d, error %v", status, err)
		}
	}
	listener, failed, served := w.info("web").HTTP, w.server(dead).HTTP, w.server(live.address).HTTP
	n := failed.Requests
	if n < 1 || !maps.Equal(failed.Endings, counts{"connect_failed": n}) || failed.Connects+failed.Sent+failed.Retries != 0 {
		t.Errorf("the dead one: %+v", failed)
	}
	if served.Requests != 4 || served.Retries != n || !maps.Equal(served.Endings, counts{"answered": 4}) {
		t.Errorf("the live one: %+v, want %d retries", served, n)
	}
	if listener.Requests != 4 || listener.Retries != n || !maps.Equal(listener.Endings, counts{"answered": 4}) {
		t.Errorf("the listener: %+v, want %d retries", listener, n)
	}

	held := w.held(live)
	listener, served = w.info("web").HTTP, w.server(live.address).HTTP
	if listener.Active != 1 || served.Active != 1 || served.Requests != 5 || served.Endings["answered"] != 4 || served.Statuses["2xx"] != 5 {
		t.Errorf("with one under way: listener %+v, server %+v", listener, served)
	}
	close(live.release)
	if _, err := bufio.NewReader(held.Body).ReadString(0); err != io.EOF {
		t.Errorf("its end: %v", err)
	}
	if served = w.server(live.address).HTTP; served.Active != 0 || served.Endings["answered"] != 5 {
		t.Errorf("then: %+v", served)
	}
}

// What was seen of a server that is gone stays with the listener and its routes.
func TestAServerOfAnHTTPListenerIsForgotten(t *testing.T) {
	a := replies(t)
	w := start(t, `{
	  "listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "routes": [{"path": "/", "pool": "all"}]}],
	  "pools": [{"name": "all", "servers": [%q], "health": false}]}`, a)
	dial(t, w.address("web")).ask("a.test", "/", "")
	if seen := w.server(a).HTTP; seen.Sent != 10 {
		t.Errorf("before: %+v", seen)
	}
	gone := w.current.Load().pools[0].Find(a)
	w.delete(a, false)
	w.gone(a)
	eventually(t, "forgotten", func() bool { return seenBy([]*httpproxy.Proxy{w.current.Load().listeners[0].http}, gone).Requests == 0 })
	if _, err := w.upload("", a); err != nil {
		t.Fatal(err)
	}
	if seen := w.server(a).HTTP; seen.Requests != 0 || seen.Sent != 0 {
		t.Errorf("came back with %+v", seen)
	}
	if info := w.info("web"); info.HTTP.Sent != 10 || info.Routes[0].HTTP.Sent != 10 {
		t.Errorf("the listener has %+v, its route %+v", info.HTTP, info.Routes[0].HTTP)
	}
}
