package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fulcrum/admin"
	"fulcrum/porttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a Controller with one pool that keeps what it was asked last.
type fake struct {
	watched
	mu     sync.Mutex
	change admin.ServerChange
	drain  admin.DrainRequest
	dryRun bool
	err    error
}

var pools = []admin.Pool{{Name: "web", Algorithm: "round_robin", Servers: []admin.Server{{
	Address: "127.0.0.1:9001", Weight: 2, MaxConnections: 500, Healthy: true, Ready: true, Active: 3, Total: 9, Failures: 1,
	LastCheck: &admin.Check{Passed: true, Reason: "status 200", At: time.Unix(1, 5).UTC(), TookMS: 0.25},
}}}}

var listeners = []admin.ListenerInfo{{
	Name: "db", Protocol: "tcp", Address: "127.0.0.1:5432", Pool: "db", IO: "epoll", Routes: []admin.Route{{SNI: "a.example", Pool: "db"}},
	TCP: &admin.Traffic{Accepted: 2, ToClient: 1 << 50, Ends: map[string]int64{"idle": 2}, Connect: admin.Durations{Count: 2, P50MS: 0.5, P99MS: 1}},
}, {
	Name: "web", Protocol: "http", Address: "127.0.0.1:80", IO: "epoll",
	Routes: []admin.Route{{Host: "a.example", Path: "/", Redirect: &admin.Redirect{Scheme: "https", Status: 308}}},
	HTTP: &admin.HTTPTraffic{Connections: &admin.Connections{Accepted: 1, Open: 1}, Requests: 3, Sent: 1 << 50,
		Endings: map[string]int64{"answered": 3}, Statuses: map[string]int64{"2xx": 3}, FirstByte: admin.Durations{Count: 3, P50MS: 0.5, P99MS: 1}},
}}

func (f *fake) Pools() []admin.Pool             { return pools }
func (f *fake) Listeners() []admin.ListenerInfo { return listeners }
func (f *fake) Ready() (bool, string)           { return true, "" }

func (f *fake) Watch(context.Context, func([]byte) error) error { return nil }

func (f *fake) Pool(name string) (admin.Pool, error) {
	if name != "web" {
		return admin.Pool{}, admin.NotFound("pool %q does not exist", name)
	}
	return pools[0], nil
}

func (f *fake) Server(pool, server string) (admin.Server, error) {
	if server != pools[0].Servers[0].Address {
		return admin.Server{}, admin.NotFound("server %q is not in pool %q", server, pool)
	}
	return pools[0].Servers[0], nil
}

func (f *fake) Config() (json.RawMessage, string) {
	text := json.RawMessage(`{"io":"auto"}`)
	return text, admin.ETagOf(text)
}

func (f *fake) Status() admin.Status {
	return admin.Status{Version: "v1", PID: 7, Ready: true, DrainState: draining.DrainState}
}

func (f *fake) Change(_ context.Context, c admin.ServerChange) (admin.Changed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change = c
	return admin.Changed{Pool: c.Pool, Server: c.Server, Created: c.Action == admin.Upload, Changes: []string{"weight"}, ETag: `"2"`}, f.err
}

func (f *fake) ReloadIf(_ context.Context, _ admin.Condition, dryRun bool) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dryRun = dryRun
	return []string{"admin changed"}, f.err
}

var draining = admin.DrainAnswer{DrainState: admin.DrainState{
	Draining: true, Deadline: new(time.Unix(1, 0).UTC()), Remaining: &admin.Remaining{Connections: 2, Requests: 1, OldestSeconds: 0.5},
}}

func (f *fake) Drain(_ context.Context, r admin.DrainRequest) (admin.DrainAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drain = r
	return draining, f.err
}

func (f *fake) Upgrade(context.Context) (int, error) { return 4711, nil }

func (f *fake) Undrain(_ context.Context, dryRun bool) (admin.DrainAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dryRun = dryRun
	return admin.DrainAnswer{DryRun: dryRun}, f.err
}

// serve runs an admin listener and returns its address.
func serve(t *testing.T, c admin.Controller) string {
	t.Helper()
	return serveOn(t, admin.Options{Controller: c}, "tcp", "127.0.0.1:0")
}

func serveOn(t *testing.T, o admin.Options, network, address string) string {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	o.Listener = listener
	l, err := admin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := l.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// answers runs an HTTP server that is no admin listener.
func answers(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s.URL
}

func client(t *testing.T, address string) *Client {
	t.Helper()
	c, err := New(Options{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLists(t *testing.T) {
	f := &fake{}
	address := serve(t, f)
	for _, written := range []string{address, "http://" + address, "http://" + address + "/"} {
		c := client(t, written)
		if got, err := c.List(t.Context()); err != nil || !reflect.DeepEqual(got, pools) {
			t.Errorf("List: %+v, %v", got, err)
		}
		if got, err := c.Listeners(t.Context()); err != nil || !reflect.DeepEqual(got, listeners) {
			t.Errorf("Listeners: %+v, %v", got, err)
		}
	}
}

// What the balancer is asked is what the caller asked for, whatever is in the names.
func TestChanges(t *testing.T) {
	f := &fake{}
	c := client(t, serve(t, f))
	const strange = "a&b=c d/%2F?e#f+é"
	for _, change := range []admin.ServerChange{
		{Action: admin.Upload, Pool: "web", Server: "http://127.0.0.1:9003", Weight: new(2), MaxConnections: new(0)},
		{Action: admin.Upload, Pool: "web", Server: "unix:/run/app.sock"},
		{Action: admin.Patch, Pool: strange, Server: strange, MaxConnections: new(7)},
		{Action: admin.Delete, Pool: "web", Server: "[::1]:9003", Force: true},
		{Action: admin.Delete, Pool: "..", Server: ".", DryRun: true},
		{Action: admin.Drain, Pool: "web", Server: "127.0.0.1:9003"},
		{Action: admin.Undrain, Pool: "web", Server: "127.0.0.1:9003", DryRun: true},
		{Action: admin.Drain, Pool: strange},
		{Action: admin.Undrain, Pool: "web"},
	} {
		want := admin.ChangeAnswer{Pool: change.Pool, Server: change.Server, Created: change.Action == admin.Upload, Changes: []string{"weight"}, DryRun: change.DryRun}
		if got, etag, err := c.Change(t.Context(), change, ""); err != nil || !reflect.DeepEqual(got, want) || etag != `"2"` {
			t.Errorf("%+v: got %+v, %s, %v", change, got, etag, err)
		}
		if !reflect.DeepEqual(f.change, change) {
			t.Errorf("asked %+v, want %+v", f.change, change)
		}
	}
	if _, _, err := c.Change(t.Context(), admin.ServerChange{Action: admin.Drain, Pool: "web"}, `"1"`); err != nil {
		t.Error(err)
	}
	if err := f.change.If.Holds(`"1"`); err != nil {
		t.Errorf("If-Match was not passed on: %v", err)
	}
	if err := f.change.If.Holds(`"2"`); err == nil {
		t.Error("If-Match was not passed on")
	}
}

func TestWithoutAPoolItIsTheOnlyOne(t *testing.T) {
	f := &fake{}
	c := client(t, serve(t, f))
	if _, _, err := c.Change(t.Context(), admin.ServerChange{Action: admin.Drain, Server: "a:1"}, ""); err != nil || f.change.Pool != "web" {
		t.Errorf("asked for pool %q, error %v", f.change.Pool, err)
	}
	for names, want := range map[string]string{`{"name": "web"}, {"name": "api"}`: "pool is missing; use one of: web, api (400 Bad Request)", "": "there is no pool (404 Not Found)"} {
		other := client(t, answers(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"pools": [`+names+`]}`) }))
		if _, _, err := other.Server(t.Context(), "", "a:1"); err == nil || err.Error() != want {
			t.Errorf("with the pools %s: %v, want %s", names, err, want)
		}
	}
}

func TestResources(t *testing.T) {
	c := client(t, serve(t, &fake{}))
	want := pools[0].Servers[0]
	if got, etag, err := c.Server(t.Context(), "web", want.Address); err != nil || !reflect.DeepEqual(got, want) || etag != want.ETag() {
		t.Errorf("Server: %+v, %s, %v", got, etag, err)
	}
	if got, err := c.Listener(t.Context(), "db"); err != nil || !reflect.DeepEqual(got, listeners[0]) {
		t.Errorf("Listener: %+v, %v", got, err)
	}
	if got, err := c.Config(t.Context()); err != nil || string(got) != `{"io":"auto"}` {
		t.Errorf("Config: %s, %v", got, err)
	}
	if got, err := c.Status(t.Context()); err != nil || got.Version != "v1" || got.PID != 7 || !got.Ready {
		t.Errorf("Status: %+v, %v", got, err)
	}
}

func TestReload(t *testing.T) {
	f := &fake{}
	c := client(t, serve(t, f))
	for _, dryRun := range []bool{true, false} {
		got, err := c.Reload(t.Context(), dryRun)
		if want := (admin.ReloadAnswer{Changes: []string{"admin changed"}, DryRun: dryRun}); err != nil || !reflect.DeepEqual(got, want) || f.dryRun != dryRun {
			t.Errorf("Reload: %+v, %v; asked to run dry: %t", got, err, f.dryRun)
		}
	}
	f.err = admin.Invalid("2 problems\none\ntwo")
	_, err := c.Reload(t.Context(), false)
	if e, ok := errors.AsType[*Error](err); !ok || e.Status != 400 || e.Message != "2 problems\none\ntwo" {
		t.Errorf("got %#v", err)
	}
}

func TestUpgrade(t *testing.T) {
	if got, err := client(t, serve(t, &fake{})).Upgrade(t.Context()); err != nil || got.PID != 4711 {
		t.Errorf("Upgrade: %+v, %v", got, err)
	}
}

func TestDrain(t *testing.T) {
	f := &fake{}
	c := client(t, serve(t, f))
	timeout := 90 * time.Second
	for _, request := range []admin.DrainRequest{{}, {Timeout: &timeout}, {Timeout: new(time.Duration(0)), DryRun: true}} {
		if got, err := c.Drain(t.Context(), request); err != nil || !reflect.DeepEqual(got, draining) || !reflect.DeepEqual(f.drain, request) {
			t.Errorf("Drain: %+v, %v; asked %+v", got, err, f.drain)
		}
	}
	for _, dryRun := range []bool{true, false} {
		if got, err := c.Undrain(t.Context(), dryRun); err != nil || got != (admin.DrainAnswer{DryRun: dryRun}) || f.dryRun != dryRun {
			t.Errorf("Undrain: %+v, %v", got, err)
		}
	}
	if got, err := c.Status(t.Context()); err != nil || !reflect.DeepEqual(got.DrainState, draining.DrainState) {
		t.Errorf("Status: %+v, %v", got, err)
	}
	f.err = admin.Conflict("the balancer is stopping")
	if _, err := c.Drain(t.Context(), admin.DrainRequest{}); err == nil {
		t.Error("no error")
	}
}

func TestRefusalsArePassedOn(t *testing.T) {
	f := &fake{err: admin.NotFound(`server "a:1" is not in pool "web"`)}
	c := client(t, serve(t, f))
	_, _, err := c.Change(t.Context(), admin.ServerChange{Action: admin.Delete, Server: "a:1"}, "")
	if e, ok := errors.AsType[*Error](err); !ok || e.Status != 404 || err.Error() != `server "a:1" is not in pool "web" (404 Not Found)` {
		t.Errorf("got %#v", err)
	}
	f.err = errors.New("disk full")
	_, _, err = c.Change(t.Context(), admin.ServerChange{Action: admin.Upload, Server: "a:1"}, "")
	if e, ok := errors.AsType[*Error](err); !ok || e.Status != 500 || e.Message != "internal error" {
		t.Errorf("got %#v", err)
	}
	_, _, err = c.Change(t.Context(), admin.ServerChange{Action: admin.Upload, Server: "a:1", Weight: new(-1)}, "")
	if e, ok := errors.AsType[*Error](err); !ok || e.Status != 400 || !strings.Contains(e.Message, `"weight" is -1`) {
		t.Errorf("got %#v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	address := porttest.Closed(t)
	_, err := client(t, address).List(t.Context())
	if _, ok := errors.AsType[*Error](err); ok || err == nil || !strings.HasPrefix(err.Error(), "no admin listener answers at "+address) {
		t.Errorf("got %v", err)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	c := client(t, "unix:"+path)
	if _, err := c.List(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "no admin listener answers at unix:"+path) {
		t.Errorf("nobody there: got %v", err)
	}
	serveOn(t, admin.Options{Controller: &fake{}}, "unix", path)
	if got, err := c.List(t.Context()); err != nil || !reflect.DeepEqual(got, pools) {
		t.Errorf("List: %+v, %v", got, err)
	}
	if got, _, err := c.Server(t.Context(), "web", "127.0.0.1:9001"); err != nil || got.Weight != 2 {
		t.Errorf("Server: %+v, %v", got, err)
	}
}

func TestSomeoneElseThere(t *testing.T) {
	huge := strings.Repeat(" ", 1<<20)
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		says   string
	}{
		"a page":     {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, "does not answer like an admin listener"},
		"not found":  {http.NotFound, "status 404"},
		"redirect":   {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, "status 302"},
		"cut off":    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "no answer from the admin listener"},
		"never ends": {func(w http.ResponseWriter, _ *http.Request) { spill(w, huge) }, fmt.Sprintf("larger than %d bytes", maxAnswer)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client(t, answers(t, c.handle)).List(t.Context())
			if _, ok := errors.AsType[*Error](err); ok || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// spill writes until the client has had enough.
func spill(w io.Writer, text string) {
	for {
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
	}
}

func TestNoConnectionIsKept(t *testing.T) {
	keeps := make(chan bool, 1)
	address := answers(t, func(w http.ResponseWriter, r *http.Request) {
		keeps <- !r.Close
		io.WriteString(w, "{}")
	})
	if _, err := client(t, address).List(t.Context()); err != nil {
		t.Error(err)
	}
	if <-keeps {
		t.Error("the client would keep its connection")
	}
}

func TestSilence(t *testing.T) {
	silent := answers(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := client(t, silent)
	if _, err := c.List(ctx); err == nil || !strings.Contains(err.Error(), "did not answer in time") {
		t.Errorf("got %v", err)
	}
	c.http.Timeout = 50 * time.Millisecond
	if _, err := c.List(t.Context()); err == nil || !strings.Contains(err.Error(), "did not answer in time") {
		t.Errorf("got %v", err)
	}
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	if _, err := c.List(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for written, want := range map[string]string{
		"127.0.0.1:9900":   "127.0.0.1:9900",
		":9900":            "127.0.0.1:9900",
		"http://[::1]:99/": "[::1]:99",
		"lb.example:80":    "lb.example:80",
	} {
		if c, err := New(Options{Address: written}); err != nil || c.base.Host != want || c.address != want || c.base.Scheme != "http" {
			t.Errorf("%q: %+v, %v", written, c, err)
		}
	}
	for written, says := range map[string]string{
		"":                      "host:port",
		"127.0.0.1":             "missing port",
		"ftp://127.0.0.1:1":     "is neither http nor https",
		"https://127.0.0.1":     "missing port",
		"https://a/:1":          "not a bare address",
		"127.0.0.1:http":        "1 to 65535",
		"127.0.0.1:0":           "1 to 65535",
		"http://a:1/path":       "1 to 65535",
		"http://user:x@a:1":     "too many colons",
		"http://user@a:1":       "not a bare address",
		"http://a/servers?b=:1": "not a bare address",
		"unix:run/a.sock":       "has no absolute path; use host:port, https://host:port or unix:/absolute/path",
		"unix:":                 "1 to 65535",
	} {
		if _, err := New(Options{Address: written}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", written, err, says)
		}
	}
}
