package admin

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"fulcrum/certtest"
)

// live begins to read GET /live, up to the first message.
func (w *world) live(header ...string) *reading {
	w.Helper()
	r, err := http.NewRequestWithContext(soon(w.T), "GET", w.base+"/live", nil)
	if err != nil {
		w.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := w.http.Transport.RoundTrip(r)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { response.Body.Close() })
	wantHeaders(w.T, response, eventStream)
	if access := response.Header.Get(accessHeader); access != map[bool]string{false: "write", true: "read"}[strings.Contains(strings.Join(header, ""), metricsSecret)] {
		w.Errorf("access is %q", access)
	}
	s := &reading{world: w, body: response.Body, lines: bufio.NewScanner(response.Body)}
	s.next() // when to come back
	s.says("first")
	return s
}

// says expects a message.
func (r *reading) says(text string) {
	r.Helper()
	if block, ok := r.next(); !ok || block != "data: "+text+"\n" {
		r.Errorf("the message is %q, want %q", block, text)
	}
}

func watchedLive(t *testing.T, a *Access) *world {
	w := startWith(t, a)
	w.fake.messages = make(chan string)
	return w
}

func TestLive(t *testing.T) {
	w := watchedLive(t, nil)
	s := w.live()
	for _, text := range []string{`{"at":1}`, `{"at":2}`} {
		w.fake.messages <- text
		s.says(text)
	}
	if response, text := w.do("HEAD", "/live", nil); response.StatusCode != 200 || text != "" {
		t.Errorf("HEAD: status %d, %q", response.StatusCode, text)
	}
	if err := w.Stop(soon(t)); err != nil {
		t.Error(err)
	}
	s.ended()
}

// A token that is taken away is of no use to a stream that was opened with it.
func TestLiveEndsWhenAccessChanges(t *testing.T) {
	w := watchedLive(t, newAccess(t, tokens(t)))
	s := w.live(bearerOf(metricsSecret)...)
	o := tokens(t)
	o.Tokens = o.Tokens[:1]
	w.Update(newAccess(t, o))
	w.fake.messages <- "not for them"
	s.ended()
	w.wantStatus(401, "GET", "/live", bearerOf(metricsSecret)...)
	w.live(bearerOf(opsSecret)...)
}

func TestThePageIsServedToBrowsers(t *testing.T) {
	const asBrowser = "text/html,application/xhtml+xml,*/*;q=0.8"
	w := startWith(t, newAccess(t, tokens(t)))
	response, text := w.do("GET", "/", nil, "Accept", asBrowser)
	if response.StatusCode != 200 || !strings.HasPrefix(text, "<!doctype html>") {
		t.Fatalf("status %d: %.40q", response.StatusCode, text)
	}
	wantHeaders(t, response, "text/html; charset=utf-8")
	for name, part := range map[string]string{"Content-Security-Policy": "default-src 'none'; script-src 'self'", "Vary": "Accept"} {
		if got := response.Header.Get(name); !strings.Contains(got, part) {
			t.Errorf("%s is %q", name, got)
		}
	}
	for _, part := range strings.Split(text, `"`) {
		if strings.HasPrefix(part, "/dashboard/") {
			w.wantStatus(200, "GET", part)
			w.wantStatus(421, "GET", part, "Host", "evil.example")
			w.wantStatus(403, "GET", part, "Sec-Fetch-Site", "cross-site")
			w.wantStatus(401, "POST", part)
		}
	}
	w.wantStatus(401, "GET", "/")
	w.wantStatus(401, "POST", "/", "Accept", asBrowser)
	w.wantStatus(401, "GET", "/servers", "Accept", asBrowser)
	w.wantStatus(401, "GET", "/dashboard/", "Accept", asBrowser)
	w.wantStatus(401, "GET", "/dashboard/../servers")
	w.wantStatus(401, "GET", "/live")
	response, text = w.do("GET", "/", nil, bearerOf(opsSecret)...)
	if response.StatusCode != 200 || !strings.HasPrefix(text, "fulcrum admin listener\n") || strings.Contains(text, "/dashboard/") {
		t.Errorf("status %d: %s", response.StatusCode, text)
	}
}

// A link to the page may stand anywhere. What other pages fetch, frame or send stays
// refused.
func TestALinkLeadsToThePage(t *testing.T) {
	w := start(t)
	link := func(accept, mode, dest string) []string {
		return []string{"Sec-Fetch-Site", "cross-site", "Accept", accept, "Sec-Fetch-Mode", mode, "Sec-Fetch-Dest", dest}
	}
	followed := link("text/html", "navigate", "document")
	w.wantStatus(200, "GET", "/", followed...)
	w.wantStatus(200, "HEAD", "/", followed...)
	w.wantStatus(403, "GET", "/", link("text/html", "navigate", "iframe")...)
	w.wantStatus(403, "GET", "/", link("text/html", "no-cors", "document")...)
	w.wantStatus(403, "GET", "/", link("application/json", "navigate", "document")...)
	for _, c := range [][2]string{{"POST", "/"}, {"GET", "/servers"}, {"GET", "/events"}, {"POST", "/reload"}} {
		w.wantStatus(403, c[0], c[1], followed...)
	}
}

// A certificate that everybody needs is needed for the page too.
func TestThePageNeedsTheCertificateThatAllNeed(t *testing.T) {
	certs := certtest.NewAuthority(t)
	certificate, key := certs.Issue("admin")
	w := startWith(t, newAccess(t, AccessOptions{Certificate: certificate, Key: key, ClientCA: certs.File}))
	conn, err := net.Dial("tcp", w.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n"))
	if status := answered(t, conn); status != 400 {
		t.Errorf("status %d", status)
	}
}

// Who asks only for the head of a stream gets it, and the connection is free for more.
func TestTheHeadOfAStream(t *testing.T) {
	w := watchedLive(t, nil)
	for _, path := range []string{"/live", "/events"} {
		head := "HEAD " + path + " HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
		conn := w.dial(head + head)
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		lines := bufio.NewReader(conn)
		for range 2 {
			response, err := http.ReadResponse(lines, &http.Request{Method: http.MethodHead})
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			wantHeaders(t, response, eventStream)
		}
	}
}
