package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logged is a log that may be read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) lines(containing string) (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, containing) {
			lines = append(lines, line)
		}
	}
	return lines
}

// mark is in every secret of these tests, and nowhere in what is logged or answered.
const mark = "s3cr3t"

// wantNoSecret looks for one in what others can read.
func wantNoSecret(t *testing.T, where, text string) {
	t.Helper()
	if strings.Contains(text, mark) {
		t.Errorf("%s has a secret: %s", where, text)
	}
}

// world is an admin listener on loopback with everything around it.
type world struct {
	*testing.T
	*Listener
	fake *fake
	log  *logged
	http *http.Client
	base string // of URLs
}

// start runs an admin listener until the test ends. prepare may change the
// listener before it serves.
func start(t *testing.T, prepare ...func(*Listener)) *world {
	t.Helper()
	return startWith(t, nil, prepare...)
}

// startWith runs one that not everybody may use.
func startWith(t *testing.T, a *Access, prepare ...func(*Listener)) *world {
	t.Helper()
	w := &world{T: t, log: &logged{}, fake: &fake{pool: Pool{Name: "web", Algorithm: "least_connections"}}}
	w.Listener = bound(t, Options{Controller: w.fake, Metrics: http.HandlerFunc(measure), Access: a, Logger: slog.New(slog.NewTextHandler(w.log, nil))})
	for _, p := range prepare {
		p(w.Listener)
	}
	w.Start()
	transport := &http.Transport{}
	w.http = &http.Client{Transport: transport, Timeout: 5 * time.Second}
	w.base = "http://" + w.Addr().String()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		w.Listener.Stop(soon(t))
		wantNoSecret(t, "the log", strings.Join(w.log.lines(""), ""))
	})
	return w
}

// bound makes a listener on loopback, unless there is one.
func bound(t *testing.T, o Options) *Listener {
	t.Helper()
	if o.Listener == nil {
		var err error
		if o.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// soon ends a wait that would otherwise hang the test. It outlives the test's
// own context, which has ended when the clean-up runs.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// do sends a request; header holds names and values in turn.
func (w *world) do(method, target string, body io.Reader, header ...string) (*http.Response, string) {
	w.Helper()
	r, err := http.NewRequest(method, w.base+target, body)
	if err != nil {
		w.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	response, err := w.http.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.Fatal(err)
	}
	wantNoSecret(w.T, "the answer", string(text)+fmt.Sprint(response.Header))
	return response, string(text)
}

// want sends a request and checks the status and the whole body of the answer.
func (w *world) want(method, target, body string, status int, answer string) {
	w.Helper()
	response, text := w.do(method, target, strings.NewReader(body))
	if response.StatusCode != status || strings.TrimSuffix(text, "\n") != answer {
		w.Errorf("%s %s %s\n got %d %s\nwant %d %s", method, target, body, response.StatusCode, text, status, answer)
	}
	wantHeaders(w.T, response, "application/json")
}

func wantHeaders(t *testing.T, response *http.Response, contentType string) {
	t.Helper()
	for name, value := range map[string]string{
		"Content-Type":           contentType,
		"Cache-Control":          "no-store",
		"X-Content-Type-Options": "nosniff",
	} {
		if got := response.Header.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

// wantRefused checks that the answer is an error in JSON whose text contains
// each of the fragments.
func wantRefused(t *testing.T, response *http.Response, text string, status int, fragments ...string) {
	t.Helper()
	if response.StatusCode != status {
		t.Errorf("status %d, want %d: %s", response.StatusCode, status, text)
	}
	var body ErrorAnswer
	if err := json.Unmarshal([]byte(text), &body); err != nil || body.Error == "" {
		t.Errorf("not an error in JSON: %q", text)
	}
	for _, fragment := range fragments {
		if !strings.Contains(body.Error, fragment) {
			t.Errorf("error %q does not contain %q", body.Error, fragment)
		}
	}
	wantHeaders(t, response, "application/json")
}

func TestServersComeAndGo(t *testing.T) {
	w := start(t)
	w.want("GET", "/servers", "", 200, `{"pools":[`+
		`{"name":"web","algorithm":"least_connections","queued":0,"servers":[]},`+
		`{"name":"empty","algorithm":"round_robin","queued":0,"servers":[]}]}`)
	upload := ` { "server" : "127.0.0.1:9003", "weight" : 2, "max_connections":500, "pool":"web" } ` + "\r\n"
	w.want("POST", "/upload_server", upload, 201, `{"pool":"web","server":"127.0.0.1:9003","created":true}`)
	w.want("POST", "/upload_server", `{"server":"127.0.0.1:9003","max_connections":500}`, 200, `{"pool":"web","server":"127.0.0.1:9003","created":false}`)

	w.fake.mu.Lock()
	w.fake.pool.Servers[0].LastCheck = &Check{Passed: true, Reason: "status 200", At: time.Unix(0, 0).UTC(), TookMS: 1.5}
	w.fake.mu.Unlock()
	_, text := w.do("GET", "/servers", nil)
	if want := `{"address":"127.0.0.1:9003","source":"uploaded","weight":1,"max_connections":500,` +
		`"healthy":false,"draining":false,"deleting":false,"ready":false,"state":"","since":"0001-01-01T00:00:00Z","active":0,"total":0,"failures":0,` +
		`"last_check":{"passed":true,"reason":"status 200","at":"1970-01-01T00:00:00Z","took_ms":1.5}}`; !strings.Contains(text, want) {
		t.Errorf("GET /servers\n got %s\nwant %s", text, want)
	}

	w.want("DELETE", "/delete_server", upload, 200, `{"pool":"web","server":"127.0.0.1:9003","draining":true}`)
	w.want("DELETE", "/delete_server?pool=web&server=127.0.0.1:9003&force=true", "", 200, `{"pool":"web","server":"127.0.0.1:9003","draining":false}`)
	w.want("DELETE", "/delete_server?force=true", `{"server":"127.0.0.1:9003","force":true}`, 200, `{"pool":"web","server":"127.0.0.1:9003","draining":false}`)
	w.want("DELETE", "/delete_server?force=false", `{"server":"<é>"}`, 404, `{"error":"server \"<é>\" is not in pool \"web\""}`)

	want := []any{
		ServerChange{Action: Upload, Pool: "web", Server: "127.0.0.1:9003", Weight: new(2), MaxConnections: new(500)},
		ServerChange{Action: Upload, Server: "127.0.0.1:9003", MaxConnections: new(500)},
		ServerChange{Action: Delete, Pool: "web", Server: "127.0.0.1:9003"},
		ServerChange{Action: Delete, Pool: "web", Server: "127.0.0.1:9003", Force: true},
		ServerChange{Action: Delete, Server: "127.0.0.1:9003", Force: true},
		ServerChange{Action: Delete, Server: "<é>"},
	}
	if got := w.fake.asked(); !reflect.DeepEqual(got, want) {
		t.Errorf("the controller was asked\n got %v\nwant %v", got, want)
	}
	for what, times := range map[string]int{"server uploaded": 2, "server deleted": 3, "level=INFO": 6, "who=- remote=127.0.0.1:": 6, "change refused": 1, "level=ERROR": 0} {
		if got := w.log.lines(what); len(got) != times {
			t.Errorf("%q was logged %d times, want %d: %q", what, len(got), times, got)
		}
	}
}

func TestReload(t *testing.T) {
	w := start(t)
	w.want("POST", "/reload", "", 200, `{"changes":[],"dry_run":false}`)
	w.fake.changes = []string{`listener "web" added`, `pool "web": server "a:1" removed`}
	w.want("POST", "/reload?dry_run=true", " ", 200, `{"changes":["listener \"web\" added","pool \"web\": server \"a:1\" removed"],"dry_run":true}`)
	w.want("POST", "/reload?dry_run=false", "", 200, `{"changes":["listener \"web\" added","pool \"web\": server \"a:1\" removed"],"dry_run":false}`)
	w.fake.reload = Invalid("2 problems\nconfig.json:1: one\nconfig.json:2: two")
	w.want("POST", "/reload", "", 400, `{"error":"2 problems\nconfig.json:1: one\nconfig.json:2: two"}`)
	w.fake.reload = Conflict("address already in use")
	w.want("POST", "/reload", "", 409, `{"error":"address already in use"}`)
	if got, want := w.fake.asked(), []any{false, true, false, false, false}; !reflect.DeepEqual(got, want) {
		t.Errorf("the controller was asked to run dry %v, want %v", got, want)
	}
	lines := w.log.lines("config reloaded")
	if len(lines) != 2 {
		t.Fatalf("logged %q, want a line for each reload that was one", lines)
	}
	for i, changes := range []string{"changes=0", "changes=2"} {
		for _, part := range []string{"who=- ", "remote=127.0.0.1:", changes} {
			if !strings.Contains(lines[i], part) {
				t.Errorf("no %q in %q", part, lines[i])
			}
		}
	}
}

func TestListeners(t *testing.T) {
	w := start(t)
	w.want("GET", "/listeners", "", 200, `{"listeners":[]}`)
	w.fake.listeners = []ListenerInfo{
		{Name: "web", Protocol: "http", Address: "127.0.0.1:80", Pool: "web", IO: "epoll", HTTP: &HTTPTraffic{
			Connections: &Connections{5, 2}, Requests: 9, Active: 1, Endings: map[string]int64{"answered": 7, "redirected": 1},
			Statuses: map[string]int64{"2xx": 6, "5xx": 1}, Received: 1 << 40, Sent: 7, Retries: 1, Connects: 3, Reuses: 4,
			Connect: Durations{3, 0.25, 1.5}, FirstByte: Durations{7, 1, 2}, Duration: Durations{8, 1000, 1e7},
		}, Routes: []Route{
			{Host: "*.example.com", Path: "/api", Pool: "api", HTTP: &HTTPTraffic{Endings: map[string]int64{}, Statuses: map[string]int64{}}},
			{Redirect: &Redirect{Scheme: "https", Host: "example.com", Path: "/?", Status: 301}},
		}},
		{Name: "tls", Protocol: "tcp", Address: "unix:/run/tls.sock", IO: "io_uring", Routes: []Route{{SNI: "*.example.com", Pool: "web"}}, TCP: &Traffic{
			Accepted: 5, Active: 1, ToUpstream: 1 << 40, ToClient: 7, Ends: map[string]int64{"idle": 1, "client closed": 3},
			Connect: Durations{4, 0.25, 1.5}, FirstByte: Durations{3, 1, 2}, Duration: Durations{4, 1000, 1e7},
		}},
	}
	const none = `{"count":0,"p50_ms":0,"p99_ms":0}`
	w.want("GET", "/listeners", "", 200, `{"listeners":[`+
		`{"name":"web","protocol":"http","address":"127.0.0.1:80","pool":"web","routes":[`+
		`{"host":"*.example.com","path":"/api","pool":"api","http":{"requests":0,"active":0,"endings":{},"statuses":{},"bytes_received":0,"bytes_sent":0,`+
		`"retries":0,"connects":0,"reuses":0,"connect":`+none+`,"first_byte":`+none+`,"duration":`+none+`}},`+
		`{"redirect":{"scheme":"https","host":"example.com","path":"/?","status":301}}],"io":"epoll","http":{`+
		`"connections":{"accepted":5,"open":2},"requests":9,"active":1,"endings":{"answered":7,"redirected":1},"statuses":{"2xx":6,"5xx":1},`+
		`"bytes_received":1099511627776,"bytes_sent":7,"retries":1,"connects":3,"reuses":4,`+
		`"connect":{"count":3,"p50_ms":0.25,"p99_ms":1.5},"first_byte":{"count":7,"p50_ms":1,"p99_ms":2},"duration":{"count":8,"p50_ms":1000,"p99_ms":10000000}}},`+
		`{"name":"tls","protocol":"tcp","address":"unix:/run/tls.sock","pool":"","routes":[{"sni":"*.example.com","pool":"web"}],"io":"io_uring","tcp":{`+
		`"accepted":5,"active":1,"bytes_to_upstream":1099511627776,"bytes_to_client":7,"ends":{"client closed":3,"idle":1},`+
		`"connect":{"count":4,"p50_ms":0.25,"p99_ms":1.5},"first_byte":{"count":3,"p50_ms":1,"p99_ms":2},"duration":{"count":4,"p50_ms":1000,"p99_ms":10000000}}}]}`)
}

func TestReadingNeedsOnlyGetOrHead(t *testing.T) {
	w := start(t)
	w.want("GET", "/healthz", "", 200, `{"status":"ok"}`)
	for _, path := range []string{"/", "/servers", "/listeners", "/healthz"} {
		got, text := w.do("GET", path, nil)
		head, none := w.do("HEAD", path, nil)
		if head.StatusCode != 200 || none != "" || head.ContentLength != int64(len(text)) {
			t.Errorf("HEAD %s: %d with length %d and body %q, GET has length %d",
				path, head.StatusCode, head.ContentLength, none, len(text))
		}
		wantHeaders(t, head, got.Header.Get("Content-Type"))
	}
	_, index := w.do("GET", "/", nil)
	for _, path := range []string{"/servers", "/listeners", "/healthz", "/upload_server", "/delete_server", "/reload"} {
		if !strings.Contains(index, path) {
			t.Errorf("the index does not name %s:\n%s", path, index)
		}
	}
}

func TestHealthzSaysWhyNot(t *testing.T) {
	w := start(t)
	w.fake.notReady = "listener \"web\" is down"
	w.want("GET", "/healthz", "", 503, `{"status":"unavailable","reason":"listener \"web\" is down"}`)
}

func TestNewNeedsAListenerAndAController(t *testing.T) {
	if _, err := New(Options{Controller: &fake{}}); err == nil {
		t.Error("no error without a listener")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Listener: listener}); err == nil {
		t.Error("no error without a controller")
	}
	if err := listener.Close(); err != nil {
		t.Errorf("New took the listener although it failed: %v", err)
	}
}
