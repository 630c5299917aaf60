package httpproxy

import (
	"bufio"
	"bytes"
	"net/http"
	"net/netip"
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
		"GET /a/b HTTP/1.1\r\nHost: h\r\nx-forwarded-for: a\r\nForwarded: for=\"a\r\nX_user: you\r\nX-User: you\r\nConnection: x-user\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	edits := (&Edits{Set: []Field{{"X-User", "me"}}, Remove: []string{"X-User", "X-Forwarded-Host"}}).compile()
	f.Fuzz(func(t *testing.T, sent []byte) {
		p := newParser(16<<10, 256)
		var r request
		sent = bytes.TrimPrefix(sent, []byte("\r\n"))
		n, err := headEnd(sent, 0, 16<<10)
		if n == 0 || err != nil || r.parse(p, sent[:n]) != nil {
			return
		}
		head := sent[:n]
		if i := bytes.Index(head, []byte("\r\n\r\n")); i != len(head)-4 {
			t.Fatalf("took %q for one head", head)
		}
		if r.parsed.IsConnect() {
			return
		}
		if other, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head))); err == nil {
			if other.Method != string(r.parsed.Method()) || other.RequestURI != string(r.parsed.RequestURI()) || !strings.EqualFold(other.Host, string(r.host)) {
				t.Fatalf("%q is %s %q for %q to another parser", head, other.Method, other.RequestURI, other.Host)
			}
			if want := lengthElsewhere(&r.head, 0); other.ContentLength != want {
				t.Fatalf("%q is %d long to another parser, not %d", head, other.ContentLength, want)
			}
		}
		for _, o := range []onward{{}, {claims: true, host: "other", covered: 3, edits: edits}, {off: true, edits: edits}} {
			o.client, o.serverHost = netip.MustParseAddrPort("192.0.2.1:1"), "server:1"
			readsTheSame(t, &r, &o)
		}
	})
}

// readsTheSame checks what a request became against what another parser makes of it.
func readsTheSame(t *testing.T, r *request, o *onward) {
	var again request
	out := r.append(nil, o)
	if err := again.parse(newParser(32<<10, 300), out); err != nil || again.length != r.length {
		t.Fatalf("%q became %q: %v", r.raw, out, err)
	}
	if o.host != "" && string(again.host) != o.host {
		t.Fatalf("%q is for %q, not %q", out, again.host, o.host)
	}
	other, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(out)))
	if err != nil {
		return // stricter about targets and hosts
	}
	if want := lengthElsewhere(&r.head, 0); other.ContentLength != want {
		t.Fatalf("%q is %d long to another parser, not %d", out, other.ContentLength, want)
	}
	got := strings.Join(other.Header.Values("X-Forwarded-For"), ",")
	if !o.off && got != "192.0.2.1" && !(o.claims && strings.HasSuffix(got, ", 192.0.2.1")) {
		t.Fatalf("%q claims to come from %q", out, got)
	}
	if user := other.Header.Values("X-User"); o.edits != nil && (len(user) != 1 || user[0] != "me") {
		t.Fatalf("%q claims to be by %q", out, user)
	}
}

// lengthElsewhere is what net/http calls the length of a body.
func lengthElsewhere(h *head, none int64) int64 {
	switch h.length {
	case lengthNone:
		return none
	case lengthChunked:
		return -1
	}
	return h.length
}

func FuzzAnswerHead(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("HTTP/1.0 101 \r\nUpgrade: x\r\nConnection: a, upgrade\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		var a, again answer
		p := newParser(16<<10, 256)
		n, err := headEnd(sent, 0, 16<<10)
		if n == 0 || err != nil || a.parse(p, sent[:n]) != nil {
			return
		}
		code := a.parsed.StatusCode()
		hasBody := code >= 200 && code != 204 && code != 304
		if other, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(sent[:n])), nil); err != nil || other.StatusCode != code {
			t.Fatalf("%q is %v to another parser: %v", sent, other, err)
		} else if want := lengthElsewhere(&a.head, -1); hasBody && other.ContentLength != want {
			t.Fatalf("%q is %d long to another parser, not %d", sent, other.ContentLength, want)
		}
		out := a.appendFinal(nil, "close", a.length, false, nil)
		if len(out) > 16<<10 {
			return
		}
		if err := again.parse(p, out); err != nil || again.length != a.length {
			t.Fatalf("%q became %q: %v", sent, out, err)
		}
		other, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), nil)
		if err != nil || other.StatusCode != code {
			t.Fatalf("%q is %v to another parser: %v", out, other, err)
		}
		if want := lengthElsewhere(&a.head, -1); hasBody && (other.ContentLength != want || (len(other.TransferEncoding) > 0) != (a.length == lengthChunked)) {
			t.Fatalf("%q is %d long to another parser, not %d", out, other.ContentLength, want)
		}
		if again.parsed.StatusCode() != a.parsed.StatusCode() || !again.closes {
			t.Fatalf("%q became %q", sent, out)
		}
	})
}
