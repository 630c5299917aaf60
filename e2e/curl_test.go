package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// curlOrigin is an http server with something for each of curl's abilities.
func (w *world) curlOrigin() string {
	return w.httpServer(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/taken": // and Expect granted, by reading
			d := newDigest()
			_, err := io.Copy(d, r.Body)
			fmt.Fprintf(rw, "%s %d %q %v %v", d, r.ContentLength, r.Header.Get("Expect"), r.TransferEncoding, err)
		case "/refused":
			http.Error(rw, "no", http.StatusRequestEntityTooLarge)
		case "/chunks":
			rw.Header().Set("Trailer", "X-Sum")
			for _, piece := range []string{"one ", "two ", "three"} {
				io.WriteString(rw, piece)
				http.NewResponseController(rw).Flush()
			}
			rw.Header().Set("X-Sum", "13")
		default:
			rw.Header().Set("Content-Length", "5")
			io.WriteString(rw, "five.")
		}
	})
}

// taken is what /taken answers.
func taken(body []byte, length int, expect, coding string) string {
	d := newDigest()
	d.Write(body)
	return fmt.Sprintf("%s %d %q [%s] <nil>", d, length, expect, coding)
}

// TestCurl: what curl can do with an http server it can do through an http
// listener.
func TestCurl(t *testing.T) {
	overEachIO(t, 40*time.Second, func(w *world, io_ string) {
		config := httpOnly(w.curlOrigin())
		config["io"] = io_
		b := w.balance(config)
		url := "http://" + b.listeners["web"]
		body := []byte(longText)
		const connects = "%{num_connects}\n"
		for _, test := range []struct {
			name string
			args []string
			body []byte
			want string
		}{
			{"keep-alive", []string{url, url, url + "/chunks", "-w", " " + connects}, nil, "five. 1\nfive. 0\none two three 0\n"},
			{"HTTP/1.0", []string{"--http1.0", url + "/chunks", "-w", " %{http_version}"}, nil, "one two three 1.1"},
			{"HTTP/1.0 keep-alive", []string{"--http1.0", "-H", "Connection: keep-alive", url, url, "-w", " " + connects}, nil, "five. 1\nfive. 0\n"},
			{"HEAD", []string{"-I", url, "-w", "%{http_code} %header{content-length} %{size_download} " + connects, "-o", "/dev/null", "--next", "-sS", url}, nil, "200 5 0 1\nfive."},
			{"raw", []string{"--raw", url + "/chunks"}, nil, "4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n"},
			{"raw with trailers", []string{"--raw", "-H", "TE: trailers", "-H", "Connection: TE", url + "/chunks"}, nil,
				"4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\nX-Sum: 13\r\n\r\n"},
			{"trailers", []string{"-H", "TE: trailers", "-H", "Connection: TE", "-D", "-", "-o", "/dev/null", url + "/chunks"}, nil, "X-Sum: 13\r\n"},
			{"upload", []string{"--data-binary", "@-", "-H", "Expect:", url + "/taken"}, body, taken(body, len(body), "", "")},
			{"upload that is expected", []string{"--data-binary", "@-", "-H", "Expect: 100-continue", "--expect100-timeout", "30", url + "/taken"}, body,
				taken(body, len(body), "100-continue", "")},
			{"upload that is not expected", []string{"--data-binary", "@-", "-H", "Expect: 100-continue", "--expect100-timeout", "30",
				"-w", "%{http_code} %{size_upload}", url + "/refused"}, body, "no\n413 0"},
			{"upload in chunks", []string{"-T", "-", "-H", "Expect:", url + "/taken"}, body, taken(body, -1, "", "chunked")},
			{"upload in chunks that is expected", []string{"-T", "-", "-H", "Expect: 100-continue", "--expect100-timeout", "30", url + "/taken"}, body,
				taken(body, -1, "100-continue", "chunked")},
			{"upload of nothing", []string{"-T", "-", "-H", "Expect:", url + "/taken"}, nil, taken(nil, -1, "", "chunked")},
		} {
			got := w.curl(test.body, test.args...)
			if test.name == "trailers" {
				_, got, _ = strings.Cut(got, "\r\n\r\n")
			}
			if got != test.want {
				w.Errorf("curl, %s: got %q, want %q", test.name, got, test.want)
			}
		}
		b.wantIdle()
	})
}

// curl runs curl, which has to succeed, and returns what it writes.
func (w *world) curl(stdin []byte, args ...string) string {
	w.Helper()
	cmd := w.command("curl", append([]string{"-sS"}, args...)...)
	cmd.Stdin = strings.NewReader(string(stdin))
	p := w.start(cmd)
	w.await("curl has ended", p.ended)
	if code := p.code(); code != 0 {
		w.Errorf("curl %s: exit code %d: %s", strings.Join(args, " "), code, p.stderr.tail())
	}
	return p.stdout.String()
}

// TestExpectationThatIsIgnored: a server that says nothing to Expect gets the body
// when the client is tired of waiting.
func TestExpectationThatIsIgnored(t *testing.T) {
	overEachIO(t, 20*time.Second, func(w *world, io_ string) {
		config := httpOnly(w.tcpServer(func(conn *net.TCPConn) {
			in := bufio.NewReader(conn)
			request, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			text, err := io.ReadAll(request.Body)
			fmt.Fprintf(conn, okay+"Connection: close\r\n\r\n%s, %v", text, err)
		}))
		config["io"] = io_
		poolOf(config)["health"] = false
		b := w.balance(config)
		got := w.curl([]byte("at last"), "--data-binary", "@-", "-H", "Expect: 100-continue", "--expect100-timeout", "0.2", "http://"+b.listeners["web"])
		if want := "at last, <nil>"; got != want {
			w.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestEventsFlushAtOnce: each event of a stream arrives at curl before the next
// one is sent, and whoever polls hears of what happens when it does.
func TestEventsFlushAtOnce(t *testing.T) {
	const events, pollers = 50, 5
	overEachIO(t, 30*time.Second, func(w *world, io_ string) {
		next, polls, happened := make(chan struct{}, 1), make(chan struct{}, pollers), make(chan struct{})
		config := httpOnly(w.httpServer(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/poll" {
				polls <- struct{}{}
				w.awaitOrEnd(happened)
				io.WriteString(rw, "it happened")
				return
			}
			rw.Header().Set("Content-Type", "text/event-stream")
			for i := range events {
				fmt.Fprintf(rw, "data: %d\n\n", i)
				http.NewResponseController(rw).Flush()
				w.awaitOrEnd(next)
			}
		}))
		config["io"] = io_
		poolOf(config)["health"] = false
		b := w.balance(config)
		url := "http://" + b.listeners["web"]

		for name, more := range map[string][]string{"HTTP/1.1": nil, "HTTP/1.0": {"--http1.0"}} {
			stream, toStream := io.Pipe()
			cmd := w.command("curl", append([]string{"-sSN", url + "/events"}, more...)...)
			cmd.Stdout = toStream
			p := w.start(cmd)
			arrived := make(chan string, events)
			go func() {
				defer close(arrived)
				for lines := bufio.NewScanner(stream); lines.Scan(); {
					if text := lines.Text(); text != "" {
						arrived <- text
					}
				}
			}()
			for i := range events {
				if got, want := receive(w, "the event arrives", arrived), fmt.Sprintf("data: %d", i); got != want {
					w.Fatalf("%s: event %q, want %q", name, got, want)
				}
				next <- struct{}{}
			}
			w.await("curl has ended", p.ended)
			toStream.Close()
			if code := p.code(); code != 0 {
				w.Errorf("%s: curl ended with exit code %d", name, code)
			}
		}

		var polled []*process
		for range pollers {
			polled = append(polled, w.start(w.command("curl", "-sS", url+"/poll")))
			receive(w, "it is polled", polls)
		}
		close(happened)
		for _, p := range polled {
			w.await("curl has ended", p.ended)
			if got := p.stdout.String(); got != "it happened" {
				w.Errorf("the poll brought %q", got)
			}
		}
		b.wantIdle()
	})
}
