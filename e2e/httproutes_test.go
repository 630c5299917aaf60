package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// pooled are nginxes, each in a pool of its name, that answer with that and with
// what they were asked for.
func (w *world) pooled(names ...string) (pools []object) {
	w.Helper()
	for _, name := range names {
		server := w.nginx(name + " $request_method $http_host $request_uri")
		pools = append(pools, object{"name": name, "servers": []string{server.address}})
	}
	return pools
}

// curlAs asks a listener for a URL, whatever host and port that names.
func (w *world) curlAs(address, url string, more ...string) string {
	w.Helper()
	return w.curl(nil, append(more, "--path-as-is", "--connect-to", "::"+address, url)...)
}

// TestHTTPRoutes: each request reaches the pool of the closest route, with what
// strip_prefix leaves of its target, and what no route is for the default pool, or
// nobody.
func TestHTTPRoutes(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	routes := []object{
		{"host": "www.example.test", "pool": "www"},
		{"host": "www.example.test", "path": "/api", "pool": "api", "strip_prefix": true},
		{"host": "www.example.test", "path": "/api/v2/", "pool": "below"},
		{"host": "*.example.test", "path": "/shop/", "pool": "below", "strip_prefix": true},
		{"host": "*.b.example.test", "pool": "www"},
		{"host": "127.0.0.1", "pool": "api"},
		{"path": "/api", "pool": "any"},
	}
	b := w.balance(object{
		"listeners": []object{
			{"name": "routed", "protocol": "http", "address": "127.0.0.1:0", "routes": routes, "pool": "rest"},
			{"name": "strict", "protocol": "http", "address": "127.0.0.1:0", "routes": routes},
		},
		"pools": w.pooled("www", "api", "below", "any", "rest"),
	})
	const nobody = "no route is for this host and path\n404"
	for _, test := range []struct{ host, target, want string }{
		{"www.example.test", "/", "www /"},
		{"WWW.Example.Test", "/a?b", "www /a?b"},
		{"www.example.test:8080", "/", "www /"},
		{"www.example.test.", "/", "www /"},
		{"www.example.test", "/apix", "www /apix"},
		{"www.example.test", "/API/a", "www /API/a"},
		{"www.example.test", "/api", "api /"},
		{"www.example.test", "/api?a=/api/v2/", "api /?a=/api/v2/"},
		{"www.example.test", "/api/", "api /"},
		{"www.example.test", "/api/a/api?b", "api /a/api?b"},
		{"www.example.test", "/%61pi/%41?%61", "api /%41?%61"},
		{"www.example.test", "/api/v2", "api /v2"},
		{"www.example.test", "/api/v2/", "below /api/v2/"},
		{"a.example.test", "/shop/cart", "below /cart"},
		{"a.c.example.test", "/shop/", "below /"},
		{"a.example.test", "/api/a", "any /api/a"},
		{"a.b.example.test", "/shop/cart", "www /shop/cart"},
		{"127.0.0.1:99", "/shop/", "api /shop/"},
		{"other.test", "/api", "any /api"},
		{"example.test", "/shop/", "rest /shop/"},
		{"b.example.test", "/shop", "rest /shop"},
		{"xwww.example.test", "/", "rest /"},
		{"other.test", "/", "rest /"},
	} {
		pool, uri, _ := strings.Cut(test.want, " ")
		routed := fmt.Sprintf("%s GET %s %s200", pool, test.host, uri)
		strict := routed
		if pool == "rest" {
			strict = nobody
		}
		for listener, want := range map[string]string{"routed": routed, "strict": strict} {
			if got := w.curlAs(b.listeners[listener], "http://e2e"+test.target, "-H", "Host: "+test.host, "-w", "%{http_code}"); got != want {
				w.Errorf("http://%s%s on listener %s: got %q, want %q", test.host, test.target, listener, got, want)
			}
		}
	}
	for _, target := range []string{"/api/../", "/x/%2e%2E/api", "/api%2Fv2", "//api", "/api;a", `/x\..\api`, "/%2561pi"} {
		got := w.curlAs(b.listeners["routed"], "http://www.example.test"+target, "-w", "%{http_code}", "-o", "/dev/null")
		if got != "400" {
			w.Errorf("%s, which a server could take for another route: status %s, want 400", target, got)
		}
	}
}

// repeater is an http server that answers each request with its head as it came.
func (w *world) repeater() string {
	w.Helper()
	return w.tcpServer(func(conn *net.TCPConn) {
		for r := newStrictReader(conn); ; {
			m, err := r.request()
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nServer: repeater\r\nSet-Cookie: a=1\r\nX-Old: 1\r\nx-old: 2\r\nContent-Length: %d\r\n\r\n%s", len(m.raw), m.raw)
		}
	})
}

// TestHeaderEdits: a route's edits are on what the server gets and on what the
// client gets, and on nobody else's.
func TestHeaderEdits(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	config := httpOnly(w.repeater())
	listenerOf(config)["routes"] = []object{
		{
			"path": "/edited", "pool": "web", "strip_prefix": true,
			"request_headers": object{
				"set":    json.RawMessage(`{"X-Zone": "b", "X-Forwarded-Proto": "https", "X-Empty": ""}`), // in this order
				"add":    object{"Cookie": "c=3", "Via": "1.1 e2e"},
				"remove": []string{"User-Agent", "X-Forwarded-Host", "x-old"},
			},
			"response_headers": object{
				"set":    object{"Cache-Control": "no-store", "X-Old": "none"},
				"add":    object{"Set-Cookie": "b=2"},
				"remove": []string{"Server"},
			},
		},
		{"path": "/elsewhere", "redirect": object{"path": "/edited"}, "response_headers": object{"set": object{"Cache-Control": "no-store"}}},
	}
	b := w.balance(config)
	ask := func(target string) string {
		return w.curlAs(b.listeners["web"], "http://e2e"+target, "-i", "-A", "curl", "-H", "Accept:", "-H", "Cookie: a=1",
			"-H", "x-zone: claimed", "-H", "X_Zone: hidden", "-H", "X-Old: 1", "-H", "X-New: 1")
	}
	inOrder := func(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }
	plain := inOrder("GET / HTTP/1.1", "Host: e2e", "User-Agent: curl", "Cookie: a=1", "x-zone: claimed", "X_Zone: hidden", "X-Old: 1", "X-New: 1",
		"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: e2e", "X-Forwarded-Proto: http")
	edited := inOrder("GET / HTTP/1.1", "Host: e2e", "Cookie: a=1", "X-New: 1",
		"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Prefix: /edited",
		"X-Zone: b", "X-Forwarded-Proto: https", "X-Empty: ", "Cookie: c=3", "Via: 1.1 e2e")
	for target, want := range map[string]string{
		"/": inOrder("HTTP/1.1 200 OK", "Server: repeater", "Set-Cookie: a=1", "X-Old: 1", "x-old: 2", fmt.Sprint("Content-Length: ", len(plain))) + plain,
		"/edited": inOrder("HTTP/1.1 200 OK", "Set-Cookie: a=1", "Cache-Control: no-store", "X-Old: none", "Set-Cookie: b=2",
			fmt.Sprint("Content-Length: ", len(edited))) + edited,
	} {
		if got := ask(target); got != want {
			w.Errorf("%s brings\n%s\nwant\n%s", target, got, want)
		}
	}
	if got := ask("/elsewhere"); !strings.HasPrefix(got, "HTTP/1.1 308 ") ||
		!strings.Contains(got, "\r\nLocation: http://e2e/edited\r\nCache-Control: no-store\r\n") {
		w.Errorf("/elsewhere brings %q", got)
	}
}

// TestRedirectsAreFollowed: curl finds its way by them to another listener, with
// the method and the body that each status stands for, and to TLS.
func TestRedirectsAreFollowed(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	a, address := w.authority(), w.freeAddress()
	pools := w.pooled("new")
	pools = append(pools, object{"name": "tls", "servers": []string{a.tlsServer("tls", "www.example.test").address}})
	routes := []object{
		{"host": "www.example.test", "redirect": object{"scheme": "https", "status": 301}},
		{"path": "/old", "redirect": object{"host": address, "path": "/new?from=old"}},
		{"path": "/twice", "redirect": object{"path": "/old"}},
		{"path": "/round", "redirect": object{"path": "/round"}},
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		routes = append(routes, object{"path": fmt.Sprint("/", status), "redirect": object{"host": address, "status": status}})
	}
	b := w.balance(object{
		"listeners": []object{
			{"name": "old", "protocol": "http", "address": "127.0.0.1:0", "routes": routes},
			{"name": "new", "protocol": "http", "address": address, "pool": "new"},
			{"name": "tls", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "tls"},
		},
		"pools": pools,
	})
	old := "http://" + b.listeners["old"]
	for _, test := range []struct {
		path, data, want string
	}{
		{"/old", "", "GET /new?from=old 1"},
		{"/old/a?b", "", "GET /new?from=old 1"},
		{"/twice", "", "GET /new?from=old 2"},
		{"/301/a%20b?c=/d%3F", "", "GET /301/a%20b?c=/d%3F 1"},
		{"/301", "sent", "GET /301 1"},
		{"/302", "sent", "GET /302 1"},
		{"/303", "sent", "GET /303 1"},
		{"/307?a", "sent", "POST /307?a 1"},
		{"/308", "sent", "POST /308 1"},
	} {
		args := []string{"-L", "--max-redirs", "5", "-w", " %{num_redirects}", old + test.path}
		if test.data != "" {
			args = append(args, "--data", test.data)
		}
		method, uri, _ := strings.Cut(test.want, " ")
		if got, want := w.curl(nil, args...), fmt.Sprintf("new %s %s %s", method, address, uri); got != want {
			w.Errorf("curl -L %s %q: got %q, want %q", test.path, test.data, got, want)
		}
	}
	if p := w.run("curl", "-sSL", "--max-redirs", "5", old+"/round"); p.code() != 47 {
		w.Errorf("round and round: curl's exit code %d, want 47, too many redirects", p.code())
	}
	got := w.mustRun("curl", "-sSL", "--fail", "--cacert", a.file, "-w", " %{url_effective}", "http://www.example.test:8080/name",
		"--connect-to", "www.example.test:8080:"+b.listeners["old"], "--connect-to", "www.example.test:443:"+b.listeners["tls"])
	if want := "tls https://www.example.test/name"; got != want {
		w.Errorf("from http to https: got %q, want %q", got, want)
	}
}
