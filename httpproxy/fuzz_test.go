package httpproxy

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Whatever is accepted is one head, and what is made of it reads the same to
// this package and to another parser.
func FuzzRequestHead(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\nrest",
		"\r\nPOST http://h/a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
		"POST * HTTP/1.0\r\nConnection: keep-alive, x\r\nX: y\r\n\r\n",
		"PUT / HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\nTE: trailers\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Forwarded-For: 1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		br := bufio.NewReaderSize(bytes.NewReader(sent), maxHead)
		var r request
		if r.read(br) != nil {
			return
		}
		rest, _ := io.ReadAll(br)
		head := bytes.TrimPrefix(sent[:len(sent)-len(rest)], []byte("\r\n"))
		if i := bytes.Index(head, []byte("\r\n\r\n")); i != len(head)-4 {
			t.Fatalf("took %q for one head", head)
		}
		if r.parsed.IsConnect() {
			return
		}
		out := r.append(nil, "192.0.2.1", "server:1")
		var again request
		if err := again.read(bufio.NewReaderSize(bytes.NewReader(out), 2*maxHead)); err != nil || again.length != r.length {
			t.Fatalf("%q became %q: %v", head, out, err)
		}
		other, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(out)))
		if err != nil {
			return // stricter about targets and hosts
		}
		want := max(r.length, 0)
		if r.length == lengthChunked {
			want = -1
		}
		if other.ContentLength != want {
			t.Fatalf("%q is %d long to another parser, not %d", out, other.ContentLength, want)
		}
		if got := strings.Join(other.Header.Values("X-Forwarded-For"), ","); got != "192.0.2.1" {
			t.Fatalf("%q claims to come from %q", out, got)
		}
	})
}

func FuzzAnswerHead(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("HTTP/1.0 101 \r\nUpgrade: x\r\nConnection: a, upgrade\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		var a, again answer
		if a.read(bufio.NewReaderSize(bytes.NewReader(sent), maxHead)) != nil {
			return
		}
		out := a.appendFinal(nil, "close", a.length)
		if err := again.read(bufio.NewReaderSize(bytes.NewReader(out), 2*maxHead)); err != nil || again.length != a.length {
			t.Fatalf("%q became %q: %v", sent, out, err)
		}
		if again.parsed.StatusCode() != a.parsed.StatusCode() || !again.has("close") {
			t.Fatalf("%q became %q", sent, out)
		}
	})
}

// Any way of cutting a chunked body yields a body or an error, never a hang or
// a panic; what is passed on reads the same.
func FuzzChunkedBody(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"))
	f.Add([]byte("1;x=y\r\na\r\n00\r\nT: v\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		body, err := io.ReadAll(newBody(bufio.NewReader(bytes.NewReader(sent)), lengthChunked))
		var out bytes.Buffer
		dst := bufio.NewWriter(&out)
		srcErr, _ := copyBody(dst, bufio.NewReader(bytes.NewReader(sent)), lengthChunked, true, nil)
		if (err == nil) != (srcErr == nil) {
			t.Fatalf("%q: %v, then %v", sent, err, srcErr)
		}
		again, err := io.ReadAll(newBody(bufio.NewReader(&out), lengthChunked))
		if (err == nil) != (srcErr == nil) || !bytes.Equal(again, body) {
			t.Fatalf("%q became %q, %v", body, again, err)
		}
	})
}
