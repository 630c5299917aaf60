package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestHTTPListenerLimitIsExact: of clients as many are served as the listener may
// have, be they asking or idle; with each that leaves one more is served.
func TestHTTPListenerLimitIsExact(t *testing.T) {
	const limit, clients = 4, 20
	overEachIO(t, 20*time.Second, func(w *world, io_ string) {
		var now, most atomic.Int64
		arrived, leave := make(chan struct{}, clients), make(chan struct{}, clients)
		config := httpOnly(w.httpServer(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/held" {
				return
			}
			n := now.Add(1)
			defer now.Add(-1)
			for before := most.Load(); n > before && !most.CompareAndSwap(before, n); before = most.Load() {
			}
			arrived <- struct{}{}
			w.awaitOrEnd(leave)
		}))
		config["io"] = io_
		listenerOf(config)["max_connections"] = limit
		b := w.balance(config)
		idle := w.keeps(w.dial(b.listeners["web"]))
		idle.wantAnswer("/", "")
		var answers []<-chan answer
		for range clients {
			answers = append(answers, w.getLater(b.listeners["web"], "/held"))
		}
		for range limit - 1 {
			receive(w, "a request arrives", arrived)
		}
		wantAccepted := func(n int64) {
			// The number of those accepted, once too high, would stay so.
			w.eventually(fmt.Sprint(n, " were accepted, and as many are open as may be"), func() bool {
				got, _ := b.httpTraffic()
				return got.Connections.Accepted == n && got.Connections.Open == limit
			})
		}
		wantAccepted(limit)
		w.must(idle.Close())
		for left := range clients - limit + 1 {
			if left > 0 {
				leave <- struct{}{}
			}
			receive(w, "one more arrives in place of the one that has left", arrived)
			wantAccepted(int64(limit + left + 1))
		}
		close(leave)
		for _, later := range answers {
			if a := receive(w, "the answer comes", later); a.err != nil || a.status != 200 {
				w.Errorf("a client who waited got %+v", a)
			}
		}
		if n := most.Load(); n != limit {
			w.Errorf("the server had up to %d requests at a time, want %d", n, limit)
		}
		b.wantIdle()
	})
}

// TestHTTPClientLimit: one client may have so many connections; what is more is
// answered 429, until one of them is closed. Others are not concerned.
func TestHTTPClientLimit(t *testing.T) {
	const limit = 2
	overEachIO(t, 20*time.Second, func(w *world, io string) {
		config := httpOnly(w.nginx("one").address)
		config["io"] = io
		listenerOf(config)["max_connections_per_client"] = limit
		b := w.balance(config)
		web := b.listeners["web"]
		status := func(client string) string {
			return w.curl(nil, "--interface", client, "-o", "/dev/null", "-w", "%{http_code}", "http://"+web)
		}
		var all []*keeper
		for range limit {
			all = append(all, w.keeps(w.dialFrom("127.0.0.2", web)))
			all[len(all)-1].wantAnswer("/", "one")
		}
		for client, want := range map[string]string{"127.0.0.2": "429", "127.0.0.3": "200"} {
			if got := status(client); got != want {
				w.Errorf("curl from %s: status %s, want %s", client, got, want)
			}
		}
		w.must(all[0].Close())
		w.eventually("there is room for the client again", func() bool { return status("127.0.0.2") == "200" })
		all[1].wantAnswer("/", "one")
	})
}

// TestHeadLimits: a head of as many bytes and fields as there may be is served, and
// none beyond.
func TestHeadLimits(t *testing.T) {
	const mostBytes, mostFields = 1024, 12
	w := newWorld(t, 20*time.Second)
	config := httpOnly(w.nginx("one").address)
	listenerOf(config)["max_header_bytes"], listenerOf(config)["max_headers"] = mostBytes, mostFields
	b := w.balance(config)
	const start, end = "GET / HTTP/1.1\r\nHost: e2e\r\n", "X-Last: 1\r\n\r\n"
	long := func(size int) string {
		return start + "X-Long: " + strings.Repeat("a", size-len(start+"X-Long: \r\n"+end)) + "\r\n" + end
	}
	many := func(n int) string { return start + strings.Repeat("X-One: 1\r\n", n-2) + end }
	target := func(size int) string {
		return "GET /" + strings.Repeat("a", size-len(strings.TrimPrefix(start, "GET /")+end)-len("GET /")) + strings.TrimPrefix(start, "GET /") + end
	}
	for _, test := range []struct {
		name, head string
		want       int
	}{
		{"the longest", long(mostBytes), 200},
		{"a longer one", long(mostBytes + 1), 431},
		{"a much longer one", long(100 * mostBytes), 431},
		{"the most fields", many(mostFields), 200},
		{"one more field", many(mostFields + 1), 431},
		{"the longest target", target(mostBytes), 200},
		{"a longer target", target(mostBytes + mostBytes/2), 414},
	} {
		k := w.keeps(w.dial(b.listeners["web"]))
		if got := k.send(test.head); got.StatusCode != test.want {
			w.Errorf("%s, of %d bytes: status %d, want %d", test.name, len(test.head), got.StatusCode, test.want)
		}
	}
	for _, test := range []struct{ url, field, want string }{
		{"/", "X-Long: " + strings.Repeat("a", 2*mostBytes), "431"},
		{"/" + strings.Repeat("a", 2*mostBytes), "X-Long: a", "414"},
	} {
		if got := w.curl(nil, "-o", "/dev/null", "-w", "%{http_code}", "-H", test.field, "http://"+b.listeners["web"]+test.url); got != test.want {
			w.Errorf("curl is answered %s, want %s", got, test.want)
		}
	}
}

// TestBodyLimit: curl may upload as much as there may be, and is told 413 for
// more, be it announced or not. No server takes what is too large for the whole.
func TestBodyLimit(t *testing.T) {
	const most = 300_000
	overEachIO(t, 20*time.Second, func(w *world, io_ string) {
		var whole, broken atomic.Int64
		config := httpOnly(w.httpServer(func(rw http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			switch {
			case err != nil:
				broken.Add(1)
			case n > 0:
				whole.Add(1)
			}
			fmt.Fprint(rw, n)
		}))
		config["io"] = io_
		listenerOf(config)["max_body_bytes"] = most
		b := w.balance(config)
		file := filepath.Join(w.TempDir(), "body")
		const told, code = "the body of the request is too large\n", " %{http_code}"
		for _, test := range []struct {
			size int
			args []string
			want string
		}{
			{most, []string{"-T", file}, fmt.Sprint(most, " 200")},
			{most + 1, []string{"-T", file}, told + " 413"},
			{most, []string{"-T", "-"}, fmt.Sprint(most, " 200")},
			{most + 1, []string{"-T", "-"}, told + " 413"},
			{50 * most, []string{"-T", "-", "-H", "Expect:"}, told + " 413"},
			{50 * most, []string{"-T", file, "-H", "Expect:"}, told + " 413"},
			{50 * most, []string{"-T", file, "-H", "Expect: 100-continue", "--expect100-timeout", "30", "-w", "%{size_upload}" + code}, told + "0 413"},
		} {
			body := bytes.Repeat([]byte("."), test.size)
			w.must(os.WriteFile(file, body, 0o600))
			args := append([]string{"-w", code, "http://" + b.listeners["web"] + "/"}, test.args...)
			if got := w.curl(body, args...); got != test.want {
				w.Errorf("curl %v of %d bytes: got %q, want %q", test.args, test.size, got, test.want)
			}
		}
		b.wantIdle()
		w.eventually("the server has been given up with two bodies that were too large", func() bool { return broken.Load() == 2 })
		if n := whole.Load(); n != 2 {
			w.Errorf("the server got %d bodies to their end, want 2", n)
		}
	})
}

// TestSlowClients: who sends its head, or a body, too slowly is told 408; who
// sends nothing is closed.
func TestSlowClients(t *testing.T) {
	const headTime, rate = 400 * time.Millisecond, 20_000
	overEachIO(t, 40*time.Second, func(w *world, io_ string) {
		config := httpOnly(w.httpServer(func(rw http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(rw, n, " ", err)
		}))
		config["io"] = io_
		listenerOf(config)["header_timeout"], listenerOf(config)["min_body_rate"] = headTime.String(), rate
		b := w.balance(config)
		web := b.listeners["web"]
		file := filepath.Join(w.TempDir(), "body")
		w.must(os.WriteFile(file, bytes.Repeat([]byte("."), 600_000), 0o600))
		upload := []string{"-sS", "-H", "Expect:", "-w", " %{http_code}", "http://" + web, "-T"}
		steady := w.start(w.command("curl", append(upload, file, "--limit-rate", "100k")...))
		cmd := w.command("curl", append(upload, ".")...) // which sends what it reads when it reads it
		trickle, err := cmd.StdinPipe()
		w.must(err)
		slow := w.start(cmd)
		trickled := make(chan error, 1)
		go func() { trickled <- ticks(trickle, 400, 50*time.Millisecond) }()

		kept := w.keeps(w.dial(web))
		kept.wantAnswer("/", "0 <nil>")
		w.wantClosed(w.dial(web))
		began := time.Now()
		got := w.keeps(w.dial(web)).send("GET / HTTP/1.1\r\nHost: e2e\r\n")
		if took := time.Since(began); got.StatusCode != 408 || !got.Close || took < headTime {
			w.Errorf("a late head is answered %d after %s, want 408 after %s, and a close", got.StatusCode, took, headTime)
		}
		kept.wantAnswer("/", "0 <nil>") // its head has not begun before
		if got := kept.send("GET / HTTP/1.1\r\n"); got.StatusCode != 408 {
			w.Errorf("a late head behind others is answered %d, want 408", got.StatusCode)
		}

		w.await("the slow upload has ended", slow.ended)
		if got := slow.stdout.String(); got != "the body of the request did not come in time\n 408" {
			w.Errorf("a slow upload ended with %q", got)
		}
		if receive(w, "the slow upload is over", trickled) == nil {
			w.Error("all of the slow upload was taken")
		}
		w.await("the steady upload has ended", steady.ended)
		if got := steady.stdout.String(); got != "600000 <nil> 200" {
			w.Errorf("an upload that is fast enough ended with %q", got)
		}
	})
}
