package demo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// ask sends one request on a connection of its own.
func ask(t *testing.T, method, url, body string) (status int, servedBy, answer string) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	a, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, a.Header.Get("X-Served-By"), string(b)
}

// sayHello sends a request on an open connection and returns the answer's status.
func sayHello(t *testing.T, conn net.Conn) int {
	t.Helper()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
	a, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, a.Body)
	return a.StatusCode
}

// wantEnded reads until the other side ends the connection, in whatever way.
func wantEnded(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("connection to %s still open after %s", conn.RemoteAddr(), patience)
	}
}

func TestEachHTTPServerSaysWhoItIsAfterItsDelay(t *testing.T) {
	s, _ := start(t)
	for i, address := range s.HTTPAddresses() {
		began := time.Now()
		status, by, answer := ask(t, "GET", "http://"+address+"/", "")
		took := time.Since(began)
		want := fmt.Sprintf("hello from %s (%s)\n", Names()[i], address)
		if status != 200 || by != Names()[i] || answer != want {
			t.Errorf("got %d by %q: %q; want 200 by %q: %q", status, by, answer, Names()[i], want)
		}
		if took < kinds[i].delay {
			t.Errorf("%s answered after %s, want at least %s", by, took, kinds[i].delay)
		}
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	s, _ := start(t)
	base := "http://" + s.HTTPAddresses()[0]
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", HealthPath, 200},
		{"HEAD", "/", 200},
		{"POST", "/", 405},
		{"GET", "/quit", 405},
		{"GET", "/nothing", 404},
	} {
		if got, by, _ := ask(t, c.method, base+c.path, ""); got != c.want || by != "fast" {
			t.Errorf("%s %s: %d by %q, want %d by fast", c.method, c.path, got, by, c.want)
		}
	}
}

func TestQuitGoesAwayAndComesBackOnTheSamePort(t *testing.T) {
	t.Parallel()
	s, log := start(t)
	address := s.HTTPAddresses()[0]
	kept, halfAsked := dial(t, address), dial(t, address)
	sayHello(t, kept)
	io.WriteString(halfAsked, "GET / HTTP/1.1\r\n")

	status, _, answer := ask(t, "POST", "http://"+address+"/quit?seconds=1", "why not")
	if want := fmt.Sprintf("fast (%s) goes away for 1s\n", address); status != 200 || answer != want {
		t.Fatalf("got %d %q, want 200 %q", status, answer, want)
	}
	wantEnded(t, kept)
	wantEnded(t, halfAsked)
	log.want(t, "demo server went away")
	wantRefused(t, address)
	if got, _, _ := ask(t, "GET", "http://"+s.HTTPAddresses()[1]+"/", ""); got != 200 {
		t.Errorf("the other servers: status %d, want 200", got)
	}

	log.want(t, "demo server is back")
	if got, by, _ := ask(t, "GET", "http://"+address+"/", ""); got != 200 || by != "fast" {
		t.Errorf("back again: %d by %q, want 200 by fast", got, by)
	}
}

func TestComesBackWhenThePortIsFreeAgain(t *testing.T) {
	t.Parallel()
	s, log := start(t)
	address := s.HTTPAddresses()[2]
	ask(t, "POST", "http://"+address+"/quit?seconds=1", "")
	log.want(t, "demo server went away")
	squatter := listen(t, address)
	log.want(t, "demo server cannot come back yet")
	squatter.Close()
	log.want(t, "demo server is back")
	ask(t, "GET", "http://"+address+"/", "")
}

func TestComesBackAfterAcceptFailed(t *testing.T) {
	s, log := start(t)
	stopping := make(chan struct{})
	l := listen(t, "127.0.0.1:0")
	h := startHTTP(kinds[0], l, stopping, s.http[0].logger)
	l.Close()
	log.want(t, "demo server cannot accept")
	log.want(t, "demo server is back")
	ask(t, "GET", "http://"+h.address+"/", "")
	close(stopping)
	if err := h.wait(); err != nil {
		t.Error(err)
	}
}

func TestQuitRefusesWhatItDoesNotUnderstand(t *testing.T) {
	s, _ := start(t)
	quit := "http://" + s.HTTPAddresses()[0] + "/quit"
	for query, want := range map[string]string{
		"?seconds=0":    `seconds "0": a whole number from 1 to 300 is allowed`,
		"?seconds=301":  `seconds "301": a whole number from 1 to 300 is allowed`,
		"?seconds=-1":   `seconds "-1": a whole number from 1 to 300 is allowed`,
		"?seconds=1.5":  `seconds "1.5": a whole number from 1 to 300 is allowed`,
		"?seconds=":     `seconds "": a whole number from 1 to 300 is allowed`,
		"?seconds=%zz":  `query "seconds=%zz": invalid URL escape "%zz"`,
		"?seconds=9e99": `seconds "9e99": a whole number from 1 to 300 is allowed`,
	} {
		status, _, answer := ask(t, "POST", quit+query, "")
		if status != 400 || answer != want+"\n" {
			t.Errorf("%s: %d %q, want 400 %q", query, status, answer, want)
		}
	}
	if status, _, _ := ask(t, "POST", quit, strings.Repeat("x", quitBodyBytes+1)); status != 400 {
		t.Errorf("a large body: %d, want 400", status)
	}
	ask(t, "GET", "http://"+s.HTTPAddresses()[0]+"/", "") // still here
}

func TestQuitDuration(t *testing.T) {
	for query, want := range map[string]time.Duration{
		"":            10 * time.Second,
		"seconds=1":   time.Second,
		"seconds=300": 300 * time.Second,
	} {
		if got, err := quitDuration(query); got != want || err != nil {
			t.Errorf("%q: %s, %v; want %s", query, got, err, want)
		}
	}
}

func TestCloseDoesNotWaitForAServerThatIsAway(t *testing.T) {
	s, log := start(t)
	ask(t, "POST", "http://"+s.HTTPAddresses()[1]+"/quit?seconds=300", "")
	log.want(t, "demo server went away")
	within(t, func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// beginQuit sends a request whose body the server is waiting for when
// beginQuit returns.
func beginQuit(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn := dial(t, address)
	in := bufio.NewReader(conn)
	io.WriteString(conn, "POST /quit HTTP/1.1\r\nHost: demo\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
	wantLine(t, in, "HTTP/1.1 100 Continue\r\n")
	wantLine(t, in, "\r\n")
	return conn, in
}

func TestCloseLetsARequestInHandFinish(t *testing.T) {
	s, _ := start(t)
	address := s.HTTPAddresses()[0]
	conn, in := beginQuit(t, address)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	wantNoLongerAccepting(t, address)
	io.WriteString(conn, "x")
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(answer.Body); answer.StatusCode != 200 || err != nil {
		t.Errorf("got %d %q, %v; want 200 and a whole body", answer.StatusCode, body, err)
	}
	within(t, func() {
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func TestCloseDropsARequestThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	address := s.HTTPAddresses()[0]
	conn, _ := beginQuit(t, address)
	err := s.Close()
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("demo server %q on %s: connections dropped", "fast", address)) {
		t.Errorf("error %v, want one that names fast and its address", err)
	}
	wantEnded(t, conn)
	if again := s.Close(); again != err {
		t.Errorf("closed again: %v, want the same as before", again)
	}
}

// lingeringListener's connections take a while to see that they are closed,
// and count how many of them are being read.
type lingeringListener struct {
	net.Listener
	reading *atomic.Int64
}

type lingeringConn struct {
	net.Conn
	reading *atomic.Int64
}

func (l lingeringListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return lingeringConn{conn, l.reading}, nil
}

func (c lingeringConn) Read(b []byte) (int, error) {
	c.reading.Add(1)
	defer c.reading.Add(-1)
	n, err := c.Conn.Read(b)
	if errors.Is(err, net.ErrClosed) {
		time.Sleep(50 * time.Millisecond)
	}
	return n, err
}

func TestTheEndWaitsForEachConnection(t *testing.T) {
	s, _ := start(t)
	var reading atomic.Int64
	stopping := make(chan struct{})
	h := startHTTP(kinds[0], lingeringListener{listen(t, "127.0.0.1:0"), &reading}, stopping, s.http[0].logger)
	for range 3 {
		sayHello(t, dial(t, h.address))
	}
	close(stopping)
	within(t, func() {
		if err := h.wait(); err != nil {
			t.Error(err)
		}
	})
	if got := reading.Load(); got != 0 {
		t.Errorf("%d connections are still being read, want none", got)
	}
}

func TestQuitSendsItsAnswerBeforeTheServerGoes(t *testing.T) {
	quit := make(chan time.Duration, 1)
	w := httptest.NewRecorder()
	(&httpServer{kind: kinds[0]}).quit(w, httptest.NewRequest("POST", "/quit", nil), quit)
	if away := <-quit; away != quitDefault*time.Second || !w.Flushed {
		t.Errorf("away for %s, answer sent: %t; want %ds, true", away, w.Flushed, quitDefault)
	}
}

func TestTooManyHTTPConnectionsAreClosed(t *testing.T) {
	var limit connectionLimit
	limit.count.Store(httpConnections - 1)
	last, _ := net.Pipe()
	tooMany, other := net.Pipe()
	other.SetDeadline(time.Now().Add(patience))
	limit.track(last, http.StateNew)
	limit.track(tooMany, http.StateNew)
	if err := last.SetDeadline(time.Now()); err != nil {
		t.Errorf("the last that is allowed: %v", err)
	}
	wantEnded(t, other)
	limit.track(tooMany, http.StateClosed)
	limit.track(last, http.StateClosed)
	limit.open.Wait()
	if got := limit.count.Load(); got != httpConnections-1 {
		t.Errorf("count %d in the end, want %d", got, httpConnections-1)
	}
}
