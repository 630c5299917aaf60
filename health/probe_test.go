package health

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"fulcrum/pool"
	"fulcrum/porttest"
)

// maxShown is how long a reason may be: it goes into logs, tables and JSON.
const maxShown = 300

// probed checks a server once, and that the reason is fit to be shown.
func probed(t *testing.T, o Options, address string) (reason string, passed bool) {
	t.Helper()
	p, err := pool.New("web", pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := upload(p, address)
	ctx, cancel := context.WithTimeout(t.Context(), o.Timeout)
	defer cancel()
	found := newProbe(o)(ctx, s)
	reason, passed = found.reason, found.passed
	if reason == "" || len(reason) > maxShown || strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("reason of %d bytes is not fit to be shown: %.400q", len(reason), reason)
	}
	return reason, passed
}

func want(t *testing.T, reason string, passed bool, wantReason string, wantPassed bool) {
	t.Helper()
	if passed != wantPassed || reason != wantReason {
		t.Errorf("passed %t: %q, want %t: %q", passed, reason, wantPassed, wantReason)
	}
}

var anyStatus = []StatusRange{{200, 399}}

func TestTCP(t *testing.T) {
	o := Options{Timeout: patience}
	reason, passed := probed(t, o, script(t, func(net.Conn) {}))
	want(t, reason, passed, "connected", true)
	reason, passed = probed(t, o, porttest.Closed(t))
	want(t, reason, passed, "connection refused", false)
}

// A server whose queue is full does not even complete the handshake.
func TestTCPHangs(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
	for i := 0; ; i++ {
		conn, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			break
		}
		defer conn.Close()
		if i == 100 {
			t.Fatal("the queue does not fill up")
		}
	}
	for _, path := range []string{"", "/health"} {
		reason, passed := probed(t, Options{Timeout: 100 * time.Millisecond, Path: path, Status: anyStatus}, address)
		want(t, reason, passed, "no answer within 100ms", false)
	}
}

func TestHTTPStatus(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		ranges []StatusRange
		reason string
		passed bool
	}{
		"ok":             {200, anyStatus, "status 200", true},
		"first allowed":  {200, []StatusRange{{200, 204}}, "status 200", true},
		"last allowed":   {204, []StatusRange{{200, 204}}, "status 204", true},
		"beyond":         {205, []StatusRange{{200, 204}}, "status 205, expected 200-204", false},
		"not found":      {404, anyStatus, "status 404, expected 200-399", false},
		"404 wanted":     {404, []StatusRange{{200, 299}, {404, 404}}, "status 404", true},
		"between ranges": {302, []StatusRange{{200, 299}, {404, 404}}, "status 302, expected 200-299,404", false},
		"server error":   {503, anyStatus, "status 503, expected 200-399", false},
		"upgrade":        {101, anyStatus, "status 101, expected 200-399", false},
	} {
		t.Run(name, func(t *testing.T) {
			address := script(t, answer(fmt.Sprintf("HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n", c.status)))
			reason, passed := probed(t, Options{Timeout: patience, Path: "/", Status: c.ranges}, address)
			want(t, reason, passed, c.reason, c.passed)
		})
	}
}

func TestRequestIsWhatTheServerExpects(t *testing.T) {
	heads := make(chan string, 1)
	ended := make(chan error, 1)
	address := script(t, func(conn net.Conn) {
		heads <- readHead(conn)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	})
	reason, passed := probed(t, Options{Timeout: patience, Path: "/health?deep=1&x=%20", Status: anyStatus}, address)
	want(t, reason, passed, "status 200", true)
	head := <-heads
	for _, line := range []string{"GET /health?deep=1&x=%20 HTTP/1.1\r\n", "\r\nHost: " + address + "\r\n", "\r\nUser-Agent: fulcrum-health-check\r\n", "\r\nConnection: close\r\n"} {
		if !strings.Contains(head, line) {
			t.Errorf("no %q in %q", line, head)
		}
	}
	if strings.Contains(head, "Accept-Encoding") {
		t.Errorf("asks for compression: %q", head)
	}
	if err := <-ended; err == nil {
		t.Error("more came after the request")
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var visits atomic.Int64
	elsewhere := script(t, func(conn net.Conn) {
		visits.Add(1)
		answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")(conn)
	})
	address := script(t, answer("HTTP/1.1 302 Found\r\nLocation: http://"+elsewhere+"/\r\nContent-Length: 0\r\n\r\n"))
	reason, passed := probed(t, Options{Timeout: patience, Path: "/", Status: []StatusRange{{200, 299}}}, address)
	want(t, reason, passed, "status 302, expected 200-299", false)
	reason, passed = probed(t, Options{Timeout: patience, Path: "/", Status: anyStatus}, address)
	want(t, reason, passed, "status 302", true)
	if n := visits.Load(); n != 0 {
		t.Errorf("the redirect was followed %d times", n)
	}
}

// The body is not waited for, however long it is.
func TestBodyIsNotRead(t *testing.T) {
	left := make(chan struct{})
	address := script(t, func(conn net.Conn) {
		readHead(conn)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			if _, err := io.WriteString(conn, "5\r\nhello\r\n"); err != nil {
				close(left)
				return
			}
		}
	})
	reason, passed := probed(t, Options{Timeout: patience, Path: "/", Status: anyStatus}, address)
	want(t, reason, passed, "status 200", true)
	select {
	case <-left:
	case <-time.After(patience):
		t.Error("the connection stays open")
	}
}

// repeat sends the same again and again until the other side has enough.
func repeat(first, again string, pause time.Duration) func(net.Conn) {
	return func(conn net.Conn) {
		readHead(conn)
		if _, err := io.WriteString(conn, first); err != nil {
			return
		}
		for {
			if _, err := io.WriteString(conn, again); err != nil {
				return
			}
			time.Sleep(pause)
		}
	}
}

func reset(after string) func(net.Conn) {
	return func(conn net.Conn) {
		readHead(conn)
		io.WriteString(conn, after)
		conn.(*net.TCPConn).SetLinger(0)
	}
}

// What servers do that mean no good, or that speak something else.
func TestHostileServers(t *testing.T) {
	var said bytes.Buffer
	defer log.SetOutput(log.Writer())
	log.SetOutput(&said)
	long := strings.Repeat("garbage", 4000)
	for name, c := range map[string]struct {
		handle  func(net.Conn)
		reason  string // part of it
		timeout time.Duration
	}{
		"silent":             {func(conn net.Conn) { io.Copy(io.Discard, conn) }, "no answer within 200ms", 200 * time.Millisecond},
		"drips":              {repeat("HTTP/1.1 200 OK\r\nX: ", "x", 5*time.Millisecond), "no answer within 200ms", 200 * time.Millisecond},
		"head without end":   {repeat("HTTP/1.1 200 OK\r\n", "X: "+long[:1000]+"\r\n", 0), "larger than 65536 bytes", patience},
		"line without end":   {repeat("HTTP/1.1 200 OK\r\nX: ", long, 0), "larger than 65536 bytes", patience},
		"1xx without end":    {repeat("", "HTTP/1.1 103 Early Hints\r\n\r\n", 0), "larger than 65536 bytes", patience},
		"closes":             {func(conn net.Conn) { readHead(conn) }, "closed", patience},
		"closes in the head": {answer("HTTP/1.1 200 OK\r\nX: "), "closed", patience},
		"resets":             {reset(""), "connection reset by peer", patience},
		"long garbage":       {answer(long + "\r\n\r\n"), "malformed", patience},
		"long line":          {answer("HTTP/1.1 200 OK\r\n" + long + "\r\n\r\n"), "malformed", patience},
		"long escapes":       {answer(strings.Repeat("\x1b\u20ac", 5000) + "\r\n\r\n"), "malformed", patience},
		"escapes":            {answer("HTTP/1.1 200 OK\r\n\x1b[31mred\a\t\r\n\r\n"), "malformed", patience},
		"escapes in a name":  {answer("HTTP/1.1 200 OK\r\n\x1b[31m\x9b: x\r\n\r\n"), "malformed", patience},
		"escapes in status":  {answer("HTTP/1.1 2\x1b[0\u202e OK\r\n\r\n"), "malformed", patience},
		"binary":             {answer("\x15\x03\x01\x00\x02\x02\x46\xff\xfe\x00"), "malformed", patience},
		"status of 4 digits": {answer("HTTP/1.1 2000 OK\r\n\r\n"), "malformed", patience},
		"negative length":    {answer("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "Content-Length", patience},
		"speaks first":       {func(conn net.Conn) { io.WriteString(conn, "220 mail.example ESMTP\r\n"); readHead(conn) }, "malformed", patience},
	} {
		t.Run(name, func(t *testing.T) {
			reason, passed := probed(t, Options{Timeout: c.timeout, Path: "/", Status: anyStatus}, script(t, c.handle))
			if passed || !strings.Contains(reason, c.reason) {
				t.Errorf("passed %t: %.200q, want %q in it", passed, reason, c.reason)
			}
		})
	}
	if said.Len() > 0 {
		t.Errorf("said past the logger: %q", said.String())
	}
}
