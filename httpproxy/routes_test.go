package httpproxy

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"fulcrum/pool"
	"fulcrum/porttest"
)

// upstreamTo returns a pool of healthy servers, and patience with them.
func upstreamTo(t testing.TB, name string, addresses ...string) *Upstream {
	t.Helper()
	p, err := pool.New(name, pool.Options{Algorithm: pool.RoundRobin})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, pool: p}
	for _, a := range addresses {
		w.add(a)
	}
	return &Upstream{Pool: p, ConnectTimeout: 2 * time.Second, ResponseTimeout: 5 * time.Second, CheckWait: 5 * time.Second}
}

// mirror answers every request without a body with its name, and behind that the
// head as it came.
func mirror(t testing.TB, name string) string {
	return rawOrigin(t, func(_ int, r *wire) {
		for {
			head, ok := r.tryHead()
			if !ok {
				return
			}
			body := ""
			if !strings.HasPrefix(head, "HEAD ") {
				body = name + ": " + head
			}
			fmt.Fprintf(r, "HTTP/1.1 200 OK\r\nServer: %s\r\nContent-Length: %d\r\n\r\n%s", name, len(body), body)
		}
	})
}

// routed returns options with the routes, each to a mirror that is named as it.
func routed(t testing.TB, routes ...Route) func(*Options) {
	return func(o *Options) {
		for _, r := range routes {
			if r.Redirect == nil {
				r.Upstream = upstreamTo(t, r.Name(), mirror(t, r.Name()))
			}
			o.Routes = append(o.Routes, r)
		}
	}
}

func TestRequestsGoWhereTheirRouteSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, routed(t, Route{Host: "shop.example.com", Path: "/api"}, Route{Host: "shop.example.com"},
		Route{Host: "*.example.com", Path: "/api/"}, Route{Path: "/static"}), mirror(t, "default"))
	r := w.dial() // for all of them, so that one does not shift the next
	for _, c := range []struct{ host, target, want string }{
		{"shop.example.com", "/api", "shop.example.com/api"},
		{"SHOP.example.com.:8080", "/%61pi/x?y=/static", "shop.example.com/api"},
		{"shop.example.com", "/apix", "shop.example.com"},
		{"shop.example.com", "/static", "shop.example.com"},
		{"shop.example.com", "*", "shop.example.com"},
		{"a.b.example.com", "/api/", "*.example.com/api/"},
		{"a.b.example.com", "/api", "default"},
		{"example.com", "/api/", "default"},
		{"example.com", "/static/x", "*/static"},
		{"a.example.com", "/static", "*/static"},
		{"[2001:db8::1]:80", "/", "default"},
		{"example.com", "*", "default"},
		{"example.com", "/static%2e", "default"},
		{"example.com", "http://example.com/static", "*/static"},
	} {
		method := "GET"
		if c.target == "*" {
			method = "OPTIONS"
		}
		r.send("%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, c.target, c.host)
		resp, body, _ := r.response(method)
		target := strings.TrimPrefix(c.target, "http://example.com")
		if want := c.want + ": " + method + " " + target + " HTTP/1.1\r\nHost: " + c.host + "\r\n"; resp.StatusCode != 200 || !strings.HasPrefix(body, want) {
			t.Errorf("%s%s: got %d %q, want %q", c.host, c.target, resp.StatusCode, body, want)
		}
	}
	r.send("GET /api HTTP/1.0\r\n\r\n")
	if _, body, _ := r.response("GET"); !strings.HasPrefix(body, "default: ") {
		t.Errorf("without a Host: got %q", body)
	}
	for i, want := range []int64{2, 3, 1, 3} {
		if s := w.proxy.RouteStats(w.routes[i].Name()); s.Requests != want || s.Endings[Answered] != want || s.Sent == 0 {
			t.Errorf("route %d counts %d requests, %d answered, %d bytes; want %d", i, s.Requests, s.Endings[Answered], s.Sent, want)
		}
	}
	w.idle()
}

// A request that is for nobody ends nothing but itself.
func TestWhatNoRouteIsForIsNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) {
		o.Default = nil
		routed(t, Route{Host: "here", Path: "/a"})(o)
	})
	for _, c := range []struct {
		about, method, request string
		lasts                  bool
	}{
		{"a path", "GET", "GET /b HTTP/1.1\r\nHost: here\r\n\r\n", true},
		{"a host", "HEAD", "HEAD /a HTTP/1.1\r\nHost: there\r\n\r\n", true},
		{"everything", "OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: here\r\n\r\n", true},
		{"no host", "GET", "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
		{"no body", "POST", "POST /b HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n", true},
		{"the last one", "GET", "GET /b HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n", false},
		{"no host, the last one", "GET", "GET /a HTTP/1.0\r\n\r\n", false},
		{"a body", "POST", "POST /b HTTP/1.1\r\nHost: here\r\nContent-Length: 40\r\n\r\n", false},
		{"a body in chunks", "POST", "POST /b HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n", false},
	} {
		r := w.dial()
		r.send("%sGET /a/smuggled HTTP/1.1\r\nHost: here\r\n\r\n", c.request)
		if resp, _, _ := r.response(c.method); resp.StatusCode != 404 || resp.Close == c.lasts {
			t.Errorf("%s: got %d, close %v", c.about, resp.StatusCode, resp.Close)
		}
		r.CloseWrite()
		if rest := r.ends(); strings.HasPrefix(rest, "HTTP/1.1 200 OK\r\n") != c.lasts {
			t.Errorf("%s: and then %q", c.about, rest)
		}
	}
	if s := w.proxy.Stats(); s.Endings[NoRoute] != 9 || s.Statuses[4] != 9 || s.Requests != 14 {
		t.Errorf("%d requests, %d for nobody, statuses %v", s.Requests, s.Endings[NoRoute], s.Statuses)
	}
	w.idle()
}

func TestPathsOfRoutesAreTakenOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, routed(t, Route{Path: "/api", StripPrefix: true}, Route{Path: "/app/", StripPrefix: true}, Route{Host: "all", StripPrefix: true}))
	r := w.dial()
	for _, c := range []struct{ host, target, want, prefix string }{
		{"h", "/api", "/", "/api"},
		{"h", "/api/", "/", "/api"},
		{"h", "/api?q=/api", "/?q=/api", "/api"},
		{"h", "/api/users/1?q", "/users/1?q", "/api"},
		{"h", "/%61p%69/%41", "/%41", "/%61p%69"},
		{"h", "/api//evil.example/", "/evil.example/", "/api"},
		{"h", "/app/x", "/x", "/app"},
		{"h", "/app/", "/", "/app"},
		{"all", "/api/x", "/api/x", ""},
		{"all", "*", "*", ""},
	} {
		method := "GET"
		if c.target == "*" {
			method = "OPTIONS"
		}
		r.send("%s %s HTTP/1.1\r\nHost: %s\r\nX-Forwarded-Prefix: /evil\r\n\r\n", method, c.target, c.host)
		_, body, _ := r.response(method)
		_, head, _ := strings.Cut(body, ": ")
		want := ""
		if c.prefix != "" {
			want = "X-Forwarded-Prefix: " + c.prefix + "\r\n"
		}
		if !strings.HasPrefix(head, method+" "+c.want+" HTTP/1.1\r\n") || !strings.HasSuffix(head, "X-Forwarded-Proto: http\r\n"+want+"\r\n") {
			t.Errorf("%s: the server got %q", c.target, head)
		}
	}
	w.idle()
}

// What a server could take for another route's path gets to none.
func TestPathsThatCouldBeAnotherRoutesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, routed(t, Route{Path: "/admin"}), mirror(t, "default"))
	for _, target := range []string{"/x/../admin", "/x/%2e%2e/admin", "/./admin", "/admin%2Fx", "/admin;x", "//admin", "/x\\..\\admin",
		"/%2561dmin", "/a%00", "/%", "http://h/x/../admin"} {
		r := w.dial()
		r.send("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target)
		if resp, body, _ := r.response("GET"); resp.StatusCode != 400 || strings.Contains(body, "GET ") {
			t.Errorf("%s: got %d %q", target, resp.StatusCode, body)
		}
	}
	if s := w.proxy.Stats(); s.Requests != 0 || s.Endings[RefusedHead] != 11 || s.Statuses[4] != 11 {
		t.Errorf("%d requests, %d refused, statuses %v", s.Requests, s.Endings[RefusedHead], s.Statuses)
	}
	free := newWorld(t, routed(t, Route{Host: "here"}), mirror(t, "default"))
	r := free.dial()
	r.send("GET /x/../admin HTTP/1.1\r\nHost: h\r\n\r\n")
	if resp, body, _ := r.response("GET"); resp.StatusCode != 200 || !strings.HasPrefix(body, "default: GET /x/../admin HTTP/1.1\r\n") {
		t.Errorf("without paths: got %d %q", resp.StatusCode, body)
	}
}

func TestRoutesEditFields(t *testing.T) {
	t.Parallel()
	edited := Route{Host: "edited",
		Request: &Edits{Remove: []string{"Cookie"}, Set: []Field{{"X-Forwarded-Proto", "https"}}, Add: []Field{{"X-Route", "one"}}},
		Answer:  &Edits{Remove: []string{"Server"}, Set: []Field{{"Cache-Control", "no-store"}}, Add: []Field{{"Via", "1.1 x"}}}}
	broken := edited
	broken.Host = "broken"
	w := newWorld(t, func(o *Options) {
		routed(t, edited)(o)
		broken.Upstream = upstreamTo(t, "broken", porttest.Closed(t))
		o.Routes = append(o.Routes, broken)
	}, mirror(t, "default"))
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: edited\r\nCookie: a\r\nX_Forwarded_Proto: gopher\r\nX-Route: zero\r\n\r\n")
	resp, body, _ := r.response("GET")
	if want := "edited: GET / HTTP/1.1\r\nHost: edited\r\nX-Route: zero\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: edited\r\n" +
		"X-Forwarded-Proto: https\r\nX-Route: one\r\n\r\n"; body != want {
		t.Errorf("the server got %q, want %q", body, want)
	}
	if h := resp.Header; h.Get("Server") != "" || h.Get("Cache-Control") != "no-store" || h.Get("Via") != "1.1 x" {
		t.Errorf("the client got %v", h)
	}
	for host, want := range map[string]string{"h": "default", "broken": ""} {
		r.send("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host)
		if resp, _, _ := r.response("GET"); resp.Header.Get("Server") != want || resp.Header.Get("Via") != "" {
			t.Errorf("%s: the client got %d %v", host, resp.StatusCode, resp.Header)
		}
	}
	w.idle()
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	secure := &Redirect{Scheme: "https", Status: 308}
	w := newWorld(t, routed(t, Route{Path: "/secure", Redirect: secure}, Route{Path: "/moved", Redirect: &Redirect{Host: "new.example:8080", Status: 301}},
		Route{Path: "/old", Redirect: &Redirect{Path: "/new?from=old", Status: 302}}, Route{Path: "/see", Redirect: &Redirect{Scheme: "https", Host: "a", Path: "/b", Status: 303}},
		Route{Path: "/same", Redirect: &Redirect{Scheme: "http", Status: 307}}, Route{Host: "secure", Redirect: secure}))
	for _, c := range []struct {
		about, request, location string
		code                     int
		lasts                    bool
	}{
		{"to https", "GET /secure/a?b=c HTTP/1.1\r\nHost: h:8080\r\n\r\n", "https://h/secure/a?b=c", 308, true},
		{"to https by address", "GET /secure HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "https://[::1]/secure", 308, true},
		{"to https by address without a port", "GET /secure HTTP/1.1\r\nHost: [::1]\r\n\r\n", "https://[::1]/secure", 308, true},
		{"in absolute form", "GET http://h:80/secure?x HTTP/1.1\r\nHost: h:80\r\n\r\n", "https://h/secure?x", 308, true},
		{"everything", "OPTIONS * HTTP/1.1\r\nHost: secure\r\n\r\n", "https://secure/", 308, true},
		{"to another host", "HEAD /moved?q HTTP/1.1\r\nHost: h:80\r\n\r\n", "http://new.example:8080/moved?q", 301, true},
		{"to another path", "GET /old/x?y HTTP/1.1\r\nHost: h:80\r\n\r\n", "http://h:80/new?from=old", 302, true},
		{"somewhere else", "GET /see HTTP/1.1\r\nHost: h\r\n\r\n", "https://a/b", 303, true},
		{"to the same", "GET /same?%0d%0a HTTP/1.1\r\nHost: h:80\r\n\r\n", "http://h:80/same?%0d%0a", 307, true},
		{"with a body", "POST /secure HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "https://h/secure", 308, false},
		{"with chunks", "POST /secure HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "https://h/secure", 308, false},
		{"without a host", "GET /secure HTTP/1.0\r\n\r\n", "", 400, false},
		{"without a host to another", "GET /moved HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "http://new.example:8080/moved", 301, true},
	} {
		r := w.dial()
		r.send("%sGET /see HTTP/1.1\r\nHost: next\r\n\r\n", c.request)
		resp, _, _ := r.response(c.request[:strings.IndexByte(c.request, ' ')])
		if resp.StatusCode != c.code || resp.Header.Get("Location") != c.location || len(resp.Header["Location"]) > 1 || resp.Close == c.lasts {
			t.Errorf("%s: got %d %v, close %v", c.about, resp.StatusCode, resp.Header, resp.Close)
		}
		r.CloseWrite()
		if rest := r.ends(); strings.HasPrefix(rest, "HTTP/1.1 303 See Other\r\n") != c.lasts {
			t.Errorf("%s: and then %q", c.about, rest)
		}
	}
	if s := w.proxy.RouteStats("*/secure"); s.Requests != 7 || s.Endings[Redirected] != 6 || s.Statuses[3] != 6 || s.Statuses[4] != 1 || s.Connects != 0 {
		t.Errorf("got %+v", s)
	}
	w.idle()
}

// What the proxy writes into a redirect itself is edited too.
func TestRedirectsAreEdited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, routed(t, Route{Redirect: &Redirect{Scheme: "https", Status: 301},
		Answer: &Edits{Set: []Field{{"Strict-Transport-Security", "max-age=1"}, {"location", "https://elsewhere/"}}, Remove: []string{"Content-Type"}}}))
	r := w.dial()
	r.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	const want = "HTTP/1.1 301 Moved Permanently\r\nStrict-Transport-Security: max-age=1\r\nlocation: https://elsewhere/\r\nContent-Length: 16\r\n\r\n"
	if got := r.head(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Many requests for many routes at once stay apart.
func TestRoutesUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) {
		o.Logger = slog.New(telltale{slog.DiscardHandler, t})
		for i := range 3 {
			name := fmt.Sprint("/", i)
			o.Routes = append(o.Routes, Route{Path: name, StripPrefix: true, Upstream: upstreamTo(t, name, origin(t, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, name, r.URL.Path)
			}))})
		}
	})
	const clients, each = 8, 30
	failed := make(chan error, clients)
	for c := range clients {
		go func() {
			for i := range each {
				route := (c + i) % 3
				resp, err := w.http.Get(fmt.Sprintf("http://%s/%d/%d", w.addr, route, i))
				if err != nil {
					failed <- err
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if want := fmt.Sprintf("/%d/%d", route, i); string(body) != want || err != nil {
					failed <- fmt.Errorf("got %q, want %q, %v", body, want, err)
					return
				}
			}
			failed <- nil
		}()
	}
	for range clients {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	w.idle()
	sum := int64(0)
	for i := range 3 {
		sum += w.proxy.RouteStats(w.routes[i].Name()).Requests
	}
	if sum != clients*each || w.proxy.Stats().Endings[Answered] != sum {
		t.Errorf("%d requests are counted on routes, %d in all", sum, w.proxy.Stats().Endings[Answered])
	}
}

// Behind a proxy that ends TLS, a redirect that names no scheme stays with https.
func TestRedirectsKeepTheSchemeThatWasAsked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy Forwarded
		claim  string
		want   string
	}{
		{ForwardedAppend, "https", "https://h:81/new"},
		{ForwardedAppend, "http", "http://h:81/new"},
		{ForwardedAppend, "gopher", "http://h:81/new"},
		{ForwardedReplace, "https", "http://h:81/new"},
	} {
		w := newWorld(t, func(o *Options) {
			o.Forwarded = c.policy
			o.Routes = []Route{{Redirect: &Redirect{Path: "/new", Status: 308}}}
		})
		r := w.dial()
		r.send("GET /old HTTP/1.1\r\nHost: h:81\r\nX-Forwarded-Proto: %s\r\n\r\n", c.claim)
		resp, _, err := r.response("GET")
		if err != nil || resp.Header.Get("Location") != c.want {
			t.Errorf("%+v: got %v %v", c, resp, err)
		}
	}
}
