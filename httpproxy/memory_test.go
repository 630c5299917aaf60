package httpproxy

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
	"unsafe"

	"fulcrum/loop"
	"fulcrum/proxyproto"
)

// quickOrigin answers every request without a body with the same bytes, and makes
// no garbage.
func quickOrigin(t testing.TB, answer string) string {
	return rawOrigin(t, func(_ int, r *wire) {
		r.SetDeadline(time.Time{})
		b, have, out := make([]byte, 4<<10), 0, []byte(answer)
		for {
			n, err := r.Read(b[have:])
			if err != nil {
				return
			}
			if have += n; bytes.HasSuffix(b[:have], []byte("\r\n\r\n")) {
				have = 0
				r.Write(out)
			}
		}
	})
}

// asking returns what sends a request and reads the answer, which is as long as
// the first one.
func (w *world) asking(request string) (ask func()) {
	w.t.Helper()
	r := w.dial()
	r.SetDeadline(time.Time{})
	r.send("%s", request)
	h := r.head()
	var length int
	fmt.Sscanf(h[strings.Index(h, "Content-Length: ")+16:], "%d", &length)
	if _, err := io.CopyN(io.Discard, r.br, int64(length)); err != nil {
		w.t.Fatal(err)
	}
	sent, got := []byte(request), make([]byte, len(h)+length)
	return func() {
		if _, err := r.Write(sent); err != nil {
			w.t.Fatal(err)
		}
		if _, err := io.ReadFull(r.TCPConn, got); err != nil {
			w.t.Fatal(err)
		}
	}
}

const usualRequest = "GET /some/path?with=query HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n" +
	"Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nCookie: a=1; b=2\r\n\r\n"

func usualAnswer(size int) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 22 Nov 2026 14:00:00 GMT\r\nContent-Type: text/plain\r\n"+
		"Content-Length: %d\r\nConnection: keep-alive\r\nETag: \"abc\"\r\n\r\n", size) + strings.Repeat("x", size)
}

func TestRequestsCostNoMemory(t *testing.T) {
	const requests = 1000
	recorded, _ := logged(t)
	for about, c := range map[string]struct {
		size   int
		change func(*Options)
	}{
		"small": {128, nil},
		"large": {300_000, nil},
		"routed, edited and recorded": {128, func(o *Options) {
			recorded(o)
			o.Routes = []Route{
				{Host: "www.example.com", Path: "/some/other", Redirect: &Redirect{Scheme: "https", Status: 301}},
				{Host: "*.example.com", Path: "/some", Upstream: o.Default, StripPrefix: true,
					Request: &Edits{Set: []Field{{"X-Route", "a"}}, Remove: []string{"Cookie"}}, Answer: &Edits{Add: []Field{{"Via", "1.1 x"}}}},
			}
		}},
		"recorded in the combined format": {128, func(o *Options) { recorded(o); o.Combined = true }},
		"announced":                       {128, func(o *Options) { o.Default.SendProxy = proxyproto.V2 }},
	} {
		w := newWorld(t, c.change, quickOrigin(t, usualAnswer(c.size)))
		ask := w.asking(usualRequest)
		for range 200 {
			ask()
		}
		gc := debug.SetGCPercent(-1)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range requests {
			ask()
		}
		runtime.ReadMemStats(&after)
		debug.SetGCPercent(gc)
		if n := after.Mallocs - before.Mallocs; n > requests/20 {
			t.Errorf("%s: %d allocations for %d requests", about, n, requests)
		}
	}
}

func TestAnIdleClientIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(client{}) + unsafe.Sizeof(loop.Conn{}); n > 1024 {
		t.Errorf("an idle client costs %d bytes", n)
	}
}

func benchmarkKept(b *testing.B, size int) {
	w := newWorld(b, func(o *Options) {
		o.Logger = slog.New(slog.DiscardHandler)
	}, quickOrigin(b, usualAnswer(size)))
	ask := w.asking(usualRequest)
	for range 100 {
		ask()
	}
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		ask()
	}
}

func BenchmarkSmallAnswer(b *testing.B)  { benchmarkKept(b, 128) }
func BenchmarkMediumAnswer(b *testing.B) { benchmarkKept(b, 16<<10) }
func BenchmarkLargeAnswer(b *testing.B)  { benchmarkKept(b, 1<<20) }

// What a request and its answer cost but for the sockets.
func benchmarkHeads(b *testing.B, o *onward, e *edits) {
	var r request
	var a answer
	p, out := newParser(16<<10, 256), []byte(nil)
	request, answer := []byte(usualRequest), []byte(usualAnswer(0))
	o.client, o.serverHost = anyPort.AddrPort(), "server"
	b.ReportAllocs()
	for b.Loop() {
		n, err := headEnd(request, 0, 16<<10)
		if err != nil || r.parse(p, request[:n]) != nil {
			b.Fatal(err)
		}
		out = r.append(out[:0], o)
		n, err = headEnd(answer, 0, 16<<10)
		if err != nil || a.parse(p, answer[:n]) != nil {
			b.Fatal(err)
		}
		out = a.appendFinal(out[:0], "", a.length, false, e)
	}
}

func BenchmarkHeads(b *testing.B) { benchmarkHeads(b, &onward{}, nil) }

func BenchmarkEditedHeads(b *testing.B) {
	e := (&Edits{Set: []Field{{"X-Request-Class", "a"}}, Add: []Field{{"Via", "1.1 x"}}, Remove: []string{"Cookie", "Server"}}).compile()
	benchmarkHeads(b, &onward{claims: true, host: "other", covered: len("/some"), edits: e}, e)
}
