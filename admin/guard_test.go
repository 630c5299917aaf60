package admin

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const upload = `{"server":"a:1"}`

func bearerOf(secret string) []string { return []string{"Authorization", "Bearer " + secret} }

// wantStatus sends a request and returns its answer.
func (w *world) wantStatus(status int, method, target string, header ...string) *http.Response {
	w.Helper()
	body := ""
	if !reads(method) {
		body = upload
	}
	response, text := w.do(method, target, strings.NewReader(body), header...)
	if response.StatusCode != status {
		w.Errorf("%s %s: status %d, want %d: %s", method, target, response.StatusCode, status, text)
	}
	return response
}

// wantChanges holds what reached the controller against what should have.
func (w *world) wantChanges(n int) {
	w.Helper()
	if got := w.fake.asked(); len(got) != n {
		w.Errorf("the controller was asked %d times, want %d: %v", len(got), n, got)
	}
}

// Only who has a token gets in, and only who may write changes anything.
func TestTokensLetIn(t *testing.T) {
	w := startWith(t, newAccess(t, tokens(t)))
	everything := []struct{ method, target string }{
		{"GET", "/"}, {"GET", "/servers"}, {"GET", "/listeners"}, {"GET", "/metrics"}, {"HEAD", "/servers"}, {"GET", "/none"},
		{"POST", "/upload_server"}, {"DELETE", "/delete_server"}, {"POST", "/healthz"}, {"OPTIONS", "/servers"},
	}
	for _, c := range everything {
		if c.target != healthzPath {
			challenge := w.wantStatus(401, c.method, c.target).Header.Get("WWW-Authenticate")
			if challenge != `Bearer realm="fulcrum"` {
				t.Errorf("%s %s: challenge %q", c.method, c.target, challenge)
			}
		}
		if !reads(c.method) {
			response, text := w.do(c.method, c.target, strings.NewReader(upload), bearerOf(metricsSecret)...)
			wantRefused(t, response, text, 403, `token "metrics" may only read; use one that has write access`)
		}
	}
	w.wantChanges(0)
	for _, path := range []string{"/", "/servers", "/listeners", "/metrics", "/healthz"} {
		w.wantStatus(200, "GET", path, bearerOf(metricsSecret)...)
		w.wantStatus(200, "GET", path, bearerOf(opsSecret)...)
	}
	w.wantStatus(404, "GET", "/none", bearerOf(metricsSecret)...)
	w.wantStatus(201, "POST", "/upload_server", "Authorization", "bEARER   "+opsSecret)
	w.wantStatus(200, "DELETE", "/delete_server", bearerOf(opsSecret)...)
	w.wantStatus(400, "POST", "/upload_server?x", bearerOf(opsSecret)...)
	w.wantChanges(2)
	for what, times := range map[string]int{
		`msg="server uploaded" who=ops remote=127.0.0.1:`:                                       1,
		`msg="server deleted" who=ops remote=127.0.0.1:`:                                        1,
		`msg="change refused" who=ops remote=127.0.0.1:`:                                        1,
		`method=POST path=/upload_server status=400 reason="query parameter \"x\" is not known`: 1,
		`msg="change refused" who=metrics remote=127.0.0.1:`:                                    4,
		`method=DELETE path=/delete_server status=403 reason="token \"metrics\" may only read`:  1,
		"": 7,
	} {
		if got := w.log.lines(what); len(got) != times {
			t.Errorf("%q was logged %d times, want %d: %q", what, len(got), times, got)
		}
	}
}

// Balancers in front of this one need no token, and learn no more than they need.
func TestHealthzIsOpen(t *testing.T) {
	w := startWith(t, newAccess(t, tokens(t)))
	w.want("GET", "/healthz", "", 200, `{"status":"ok"}`)
	w.fake.notReady = "stopping"
	w.want("GET", "/healthz", "", 503, `{"status":"unavailable"}`)
	response, text := w.do("GET", "/healthz", nil, bearerOf(metricsSecret)...)
	if response.StatusCode != 503 || !strings.Contains(text, `"reason":"stopping"`) {
		t.Errorf("got %d %s", response.StatusCode, text)
	}
	w.wantStatus(401, "GET", "/healthz", bearerOf("wrong")...)
	w.wantStatus(401, "POST", "/healthz", bearerOf("wrong")...)
	w.wantStatus(405, "POST", "/healthz")
	w.wantStatus(401, "GET", "/healthz/")
	w.wantStatus(401, "GET", "//healthz")
}

// A refusal arrives whole, although the body that it refuses is not read.
func TestARefusalArrives(t *testing.T) {
	w := startWith(t, newAccess(t, tokens(t)))
	conn := w.dial("POST /upload_server HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 16<<10))
	text, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(text), "401 Unauthorized") {
		t.Errorf("error %v: %s", err, text)
	}
}

// Whoever sends wrong tokens waits in the end, with a right one too.
func TestWrongTokens(t *testing.T) {
	w := startWith(t, newAccess(t, tokens(t)))
	w.wantStatus(401, "GET", "/servers") // none is not a wrong one
	wrong := [][]string{
		bearerOf(opsSecret + "x"), bearerOf(opsSecret[1:]), bearerOf(""), bearerOf(strings.Repeat("x", 8000)),
		{"Authorization", opsSecret}, {"Authorization", "Basic " + opsSecret}, {"Authorization", ""},
		append(bearerOf(opsSecret), bearerOf(opsSecret)...), {"Authorization", "Bearer\t" + opsSecret}, bearerOf(opsSecret + "," + opsSecret),
	}
	if len(wrong) != maxFailures {
		t.Fatalf("%d wrong tokens", len(wrong))
	}
	for range 2 * maxFailures { // a program that goes on with an old one
		w.wantStatus(401, "GET", "/servers", wrong[0]...)
	}
	for _, header := range wrong {
		w.wantStatus(200, "GET", "/servers", bearerOf(opsSecret)...)
		challenge := w.wantStatus(401, "POST", "/upload_server", header...).Header.Get("WWW-Authenticate")
		if challenge != `Bearer realm="fulcrum", error="invalid_token"` {
			t.Errorf("%q: challenge %q", header, challenge)
		}
	}
	for _, secret := range []string{opsSecret, "wrong"} {
		response := w.wantStatus(429, "GET", "/servers", bearerOf(secret)...)
		if after, err := strconv.Atoi(response.Header.Get("Retry-After")); err != nil || after < 1 || after > 60 {
			t.Errorf("Retry-After is %q", response.Header.Get("Retry-After"))
		}
	}
	w.wantStatus(200, "GET", "/healthz")
	w.wantChanges(0)
	if got := w.log.lines(""); len(got) != 2 || !strings.Contains(got[0], `msg="admin login failed" remote=127.0.0.1:`) || !strings.Contains(got[1], "failed=10 allowed=10 within=1m0s") {
		t.Errorf("logged %q", got)
	}
}

// Not even those who try at once get more tries.
func TestWrongTokensAtOnce(t *testing.T) {
	w := startWith(t, newAccess(t, tokens(t)))
	statuses := make(chan int, 64)
	var all sync.WaitGroup
	for i := range cap(statuses) {
		all.Go(func() {
			response, _ := w.do("GET", "/servers", nil, bearerOf(fmt.Sprint("wrong ", i))...)
			statuses <- response.StatusCode
		})
	}
	all.Wait()
	close(statuses)
	count := make(map[int]int)
	for status := range statuses {
		count[status]++
	}
	if count[401] != maxFailures || count[429] != cap(statuses)-maxFailures {
		t.Errorf("statuses %v", count)
	}
}

func TestFailures(t *testing.T) {
	var f failures
	start := time.Unix(1000, 0)
	wrong, right := func() bool { return false }, func() bool { return true }
	n := 0
	try := func(peer string, after time.Duration, given func() bool, wantOK bool, wantWait time.Duration) {
		t.Helper()
		n++
		if ok, _, wait := f.try(peer, start.Add(after), fmt.Sprint(n), given); ok != wantOK || wait != wantWait {
			t.Errorf("%s after %v: %t, waits %v, want %t and %v", peer, after, ok, wait, wantOK, wantWait)
		}
	}
	for range maxFailures {
		try("a", 0, wrong, false, 0)
	}
	try("a", 20*time.Second, right, false, 40*time.Second)
	try("b", 20*time.Second, right, true, 0)
	try("a", 61*time.Second, right, true, 0)

	// Those who are too many to be told apart are one.
	for i := range maxFailing {
		try(fmt.Sprint(i), 62*time.Second, wrong, false, 0)
	}
	for i := range maxFailures {
		try(fmt.Sprint("more ", i), 63*time.Second, wrong, false, 0)
	}
	try("c", 64*time.Second, right, false, 57*time.Second)
	try("7", 64*time.Second, right, true, 0)
	if len(f.wrong) > maxFailing+1 {
		t.Errorf("%d peers are remembered", len(f.wrong))
	}
	try("c", 122*time.Second, right, true, 0)
}

func TestPeers(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.1:5": "10.0.0.1", "[::ffff:10.0.0.1]:5": "10.0.0.1", "[2001:db8::1:2:3:4]:5": "2001:db8::/64",
		"[fe80::1%lo]:5": "fe80::/64", "uid=7": "uid=7",
	} {
		if got := peerOf(remote); got != want {
			t.Errorf("%s is %q, want %q", remote, got, want)
		}
	}
}

// A page whose own name leads here, by DNS rebinding, gets nothing.
func TestAForeignHostIsRefused(t *testing.T) {
	for _, w := range []*world{start(t), startWith(t, newAccess(t, tokens(t)))} {
		for _, c := range [][]string{{"GET", "/servers"}, {"GET", "/healthz"}, {"POST", "/upload_server"}, {"DELETE", "/delete_server"}} {
			for _, host := range []string{"evil.example", "evil.example:9900", w.Addr().String() + ".evil.example"} {
				header := append(bearerOf(opsSecret), "Host", host, "Origin", "http://"+host, "Sec-Fetch-Site", "same-origin")
				response, text := w.do(c[0], c[1], strings.NewReader(upload), header...)
				wantRefused(t, response, text, 421, "is not one of this listener's; use its IP address, or add the name to admin.hosts")
			}
		}
		w.wantChanges(0)
	}
	w := startWith(t, newAccess(t, AccessOptions{Hosts: []string{"lb.example"}}))
	w.wantStatus(200, "GET", "/servers", "Host", "LB.example:9900")
	w.wantStatus(421, "GET", "/servers", "Host", "www.lb.example")
	old := w.dial("GET /healthz HTTP/1.0\r\n\r\n") // as balancers ask
	if status := answered(t, old); status != 200 {
		t.Errorf("without a Host: status %d", status)
	}
}

// Who comes by a unix socket is told by the kernel, and is no browser.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	log := &logged{}
	l := bound(t, Options{Listener: listener, Controller: &fake{}, Access: newAccess(t, tokens(t)), Logger: slog.New(slog.NewTextHandler(log, nil))})
	l.Start()
	defer l.Stop(soon(t))
	ask := func(secret string) int {
		t.Helper()
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /upload_server HTTP/1.1\r\nHost: any.example\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", secret, len(upload), upload)
		return answered(t, conn)
	}
	if status := ask(opsSecret); status != 201 {
		t.Errorf("status %d", status)
	}
	for i := range maxFailures {
		if status := ask(fmt.Sprint("wrong ", i)); status != 401 {
			t.Errorf("status %d", status)
		}
	}
	if status := ask(opsSecret); status != 429 {
		t.Errorf("status %d", status)
	}
	if got := log.lines(fmt.Sprintf(`msg="server uploaded" who=ops remote="uid=%d"`, os.Getuid())); len(got) != 1 {
		t.Errorf("logged %q", log.lines(""))
	}
	wantNoSecret(t, "the log", strings.Join(log.lines(""), ""))
}

// A changed Access holds from one request to the next, for the connections that
// there are, too.
func TestUpdate(t *testing.T) {
	w := start(t)
	w.wantStatus(200, "GET", "/servers")
	w.Update(newAccess(t, tokens(t)))
	w.wantStatus(401, "GET", "/servers")
	w.wantStatus(200, "GET", "/servers", bearerOf(opsSecret)...)
	w.Update(newAccess(t, AccessOptions{Tokens: []TokenSource{{Name: "next", File: file(t, mark+"-of-the-next-day")}}}))
	w.wantStatus(401, "GET", "/servers", bearerOf(opsSecret)...)
	w.wantStatus(200, "GET", "/servers", bearerOf(mark+"-of-the-next-day")...)
}
