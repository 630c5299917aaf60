package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"testing"
	"time"
)

// echoed is the size of a body that is echoed: many times what may be held of it.
const echoed = 256 << 20

// TestBulkBothWaysAtOnceOverHTTP: a large body comes back while it is being sent,
// with Content-Length or in chunks.
func TestBulkBothWaysAtOnceOverHTTP(t *testing.T) {
	overEachIO(t, 80*time.Second, func(w *world, io_ string) {
		config := httpOnly(w.httpServer(func(rw http.ResponseWriter, r *http.Request) {
			http.NewResponseController(rw).EnableFullDuplex()
			if r.ContentLength > 0 {
				rw.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
			}
			io.CopyBuffer(struct{ io.Writer }{rw}, struct{ io.Reader }{r.Body}, make([]byte, 256<<10))
		}))
		config["io"] = io_
		poolOf(config)["health"] = false
		b := w.balancePlain(config)
		want := patternDigest(echoed)
		for framing, length := range map[string]int64{fmt.Sprintf("Content-Length: %d", echoed): echoed, "Transfer-Encoding: chunked": -1} {
			conn := w.dial(b.listeners["web"])
			in := bufio.NewReaderSize(conn, 256<<10)
			w.must(ignore(fmt.Fprintf(conn, "PUT / HTTP/1.1\r\nHost: e2e\r\n%s\r\n\r\n", framing)))
			sent := make(chan error, 1)
			wantBounded(b, func() {
				go func() { sent <- sendPattern(conn, length < 0) }()
				response, err := http.ReadResponse(in, nil)
				w.must(err)
				if got := digestOf(w, response.Body, echoed); got != want || response.ContentLength != length {
					w.Errorf("%s: %s comes back, with length %d, want %s", framing, got, response.ContentLength, want)
				}
				w.must(receive(w, "all is sent", sent))
			})
		}
		b.wantIdle()
	})
}

func sendPattern(to io.Writer, chunked bool) error {
	body := struct{ io.Writer }{to}
	if !chunked {
		_, err := io.Copy(body, newPattern(echoed))
		return err
	}
	chunks := httputil.NewChunkedWriter(body)
	_, err := io.Copy(chunks, newPattern(echoed))
	if err = errors.Join(err, chunks.Close()); err == nil {
		_, err = io.WriteString(to, "\r\n")
	}
	return err
}
