package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// everythingHTTP says everything that can be said of an http listener and its
// pools, each value other than its default.
const everythingHTTP = `{
	"listeners": [
		{
			"name": "web", "protocol": "http", "address": ":80", "idle_timeout": "30s", "header_timeout": "10s",
			"max_connections": 5000, "max_connections_per_client": 20, "tcp_keepalive": "90s", "tcp_user_timeout": 1.5,
			"accept_proxy": {"from": ["10.0.0.0/8"], "timeout": "1s"},
			"trusted": ["::ffff:192.0.2.1", "2001:DB8::/32"],
			"min_body_rate": 240, "max_header_bytes": 65536, "max_headers": 100, "max_body_bytes": 1073741824,
			"access_log": "stderr", "access_log_format": "combined",
			"routes": [
				{
					"host": "*.Example.com", "path": "/api/", "pool": "a", "strip_prefix": true,
					"request_headers": {"set": {"X-Zone": "b", "X-Area": "ä\t\"1\""}, "add": {"Via": "1.1 a"}, "remove": ["Cookie", "X-Real-IP"]},
					"response_headers": {"set": {"Cache-Control": ""}, "add": {"Set-Cookie": "a=1", "set-cookie": "b=2"}, "remove": ["Server"]}
				},
				{"host": "2001:DB8:0::1", "redirect": {"scheme": "https", "host": "WWW.Example.com:0443", "path": "/new?a=b", "status": 302}},
				{"path": "/old", "redirect": {"host": "[2001:DB8::1]"}, "response_headers": {}},
				{"pool": "b", "strip_prefix": false}
			]
		},
		{"name": "inside", "protocol": "http", "address": "unix:/run/web.sock", "pool": "b", "forwarded": "append", "access_log": "a.log"},
		{"name": "plain", "protocol": "http", "address": ":81", "pool": "b", "forwarded": "off"}
	],
	"pools": [
		{
			"name": "a", "send_proxy": "v2",
			"retries": {"attempts": 3, "percent": 0}, "reuse": {"idle_timeout": "1m", "max_age": "1h30m", "max_idle": 8}, "rewrite_host": "API.example.com:8080"
		},
		{"name": "b", "retries": {"attempts": 0}, "reuse": false, "rewrite_host": "server"}
	]
}`

func TestEverythingOfHTTP(t *testing.T) {
	got := mustParse(t, everythingHTTP)
	network := netip.MustParsePrefix
	health := standardHealth
	pool := func(name string) Pool {
		return Pool{
			Name: name, Algorithm: "least_connections", Health: &health,
			ConnectTimeout: 5 * time.Second, ResponseTimeout: time.Minute, DrainTimeout: 30 * time.Second,
			OnUnhealthy: "keep", ResolveInterval: 30 * time.Second,
		}
	}
	a, b := pool("a"), pool("b")
	a.SendProxy, a.RewriteHost = "v2", "api.example.com:8080"
	a.Retries, a.Reuse = &Retries{Attempts: 3}, &Reuse{IdleTimeout: time.Minute, MaxAge: 90 * time.Minute, MaxIdle: 8}
	b.Retries, b.Reuse, b.RewriteHost = &Retries{Percent: 20}, &Reuse{Off: true}, "server"
	want := &Config{
		IO:              "auto",
		ShutdownTimeout: 30 * time.Second,
		Listeners: []Listener{{
			Name: "web", Protocol: "http", Address: ":80", IdleTimeout: 30 * time.Second, HeaderTimeout: 10 * time.Second,
			MaxConnections: 5000, MaxConnectionsPerClient: 20, TCPKeepalive: 90 * time.Second, TCPUserTimeout: 1500 * time.Millisecond,
			AcceptProxy: &AcceptProxy{[]netip.Prefix{network("10.0.0.0/8")}, time.Second},
			Forwarded:   "replace", Trusted: []netip.Prefix{network("192.0.2.1/32"), network("2001:db8::/32")},
			MinBodyRate: 240, MaxHeaderBytes: 65536, MaxHeaders: 100, MaxBodyBytes: 1 << 30,
			AccessLog: "stderr", AccessLogFormat: "combined",
			Routes: []Route{{
				Host: "*.example.com", Path: "/api/", Pool: "a", StripPrefix: true,
				RequestHeaders:  &Headers{[]Header{{"X-Zone", "b"}, {"X-Area", "ä\t\"1\""}}, []Header{{"Via", "1.1 a"}}, []string{"Cookie", "X-Real-IP"}},
				ResponseHeaders: &Headers{[]Header{{"Cache-Control", ""}}, []Header{{"Set-Cookie", "a=1"}, {"set-cookie", "b=2"}}, []string{"Server"}},
			}, {
				Host: "2001:db8::1", Redirect: &Redirect{"https", "www.example.com:443", "/new?a=b", 302},
			}, {
				Path: "/old", Redirect: &Redirect{Host: "[2001:db8::1]", Status: 308}, ResponseHeaders: &Headers{},
			}, {
				Pool: "b",
			}},
		}, {
			Name: "inside", Protocol: "http", Address: "unix:/run/web.sock", Pool: "b", IdleTimeout: time.Minute, HeaderTimeout: 30 * time.Second,
			Forwarded: "append", MaxHeaderBytes: 16384, MaxHeaders: 256, AccessLog: "a.log", AccessLogFormat: "json",
		}, {
			Name: "plain", Protocol: "http", Address: ":81", Pool: "b", IdleTimeout: time.Minute, HeaderTimeout: 30 * time.Second,
			Forwarded: "off", MaxHeaderBytes: 16384, MaxHeaders: 256,
		}},
		Pools: []Pool{a, b},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestRedirectsNeedNoPool: what only sends clients elsewhere has no servers.
func TestRedirectsNeedNoPool(t *testing.T) {
	c := mustParse(t, `{"listeners": [{"name": "l", "protocol": "http", "address": ":80", "routes": [{"redirect": {"scheme": "https"}}]}]}`)
	if got := *c.Listeners[0].Routes[0].Redirect; got != (Redirect{Scheme: "https", Status: 308}) {
		t.Errorf("redirect is %+v", got)
	}
}

// TestZeroRetriesStay: in a file and from Go, for zero is not the default there.
func TestZeroRetriesStay(t *testing.T) {
	for text, want := range map[string]Retries{
		`{}`:                            {7, 20},
		`{"attempts": 0}`:               {0, 20},
		`{"percent": 0}`:                {7, 0},
		`{"attempts": 0, "percent": 0}`: {},
	} {
		if got := *mustParse(t, fill("", `, "retries": `+text, "", "")).Pools[0].Retries; got != want {
			t.Errorf("%s is %+v, want %+v", text, got, want)
		}
	}
	c := &Config{
		Listeners: []Listener{{Name: "l", Protocol: ProtocolTCP, Address: ":1", Pool: "p"}},
		Pools:     []Pool{{Name: "p", Retries: &Retries{}}},
	}
	checkError(t, c.Complete(), "")
	if got := *c.Pools[0].Retries; got != (Retries{}) {
		t.Errorf("completed to %+v", got)
	}
}

// TestHTTPFromGo builds what no file can say, with no file to point into.
func TestHTTPFromGo(t *testing.T) {
	c := &Config{
		Listeners: []Listener{{
			Name: "l", Protocol: ProtocolHTTP, Address: ":1",
			Trusted: make([]netip.Prefix, 1), MaxHeaders: -1, AccessLogFormat: AccessLogCombined,
			Routes: []Route{
				{Host: "A", Path: "/", Pool: "p", RequestHeaders: &Headers{
					Set:    []Header{{"", "a"}, {"X-\xff", "b"}, {strings.Repeat("X", 300), "c"}},
					Add:    []Header{{"X-A", "a"}, {"X-A", "\xff"}, {"X-A", "b\x00"}},
					Remove: make([]string, 1),
				}},
				{Host: "a", Path: "/", Redirect: &Redirect{}},
				{SNI: "a", StripPrefix: true},
			},
		}, {
			Name: "t", Protocol: ProtocolTCP, Address: ":2", Pool: "p", MaxBodyBytes: 1, Forwarded: ForwardedOff,
		}},
		Pools: []Pool{{Name: "p", Retries: &Retries{-1, 200}, Reuse: &Reuse{MaxIdle: -1}, RewriteHost: "a\xff"}},
	}
	long := strings.Repeat("X", 80) + "…"
	at := "\n  listeners[0].routes[0].request_headers."
	checkError(t, c.Complete(), `19 problems
  listeners[0].trusted[0]: invalid Prefix is not allowed; use `+networkForm+`
  listeners[0].max_headers: -1 is not allowed; use a whole number from 1 to 1000
  listeners[0].access_log_format: there is no access log; add access_log or leave it out`+
		at+`set[""]: the name "" is not allowed; use `+fieldForm+
		at+`set["X-\xff"]: the name "X-\xff" is not allowed; use `+fieldForm+
		at+`set["`+long+`"]: the name "`+long+`" is not allowed; use `+fieldForm+
		at+`add["X-A"]: the value "b\x00" is not allowed; use `+valueForm+
		at+`remove[0]: the name "" is not allowed; use `+fieldForm+`
  listeners[0].routes[1].redirect: leads nowhere; use at least one of scheme, host and path
  listeners[0].routes[1]: is for "a/", as listeners[0].routes[0] is; keep one of them
  listeners[0].routes[2].sni: only a route of a tcp listener has it; leave it out
  listeners[0].routes[2]: has neither a pool nor a redirect; use one of them
  listeners[0].routes[2].strip_prefix: there is no path to take off; add a path or leave it out
  listeners[1].forwarded: only an http listener has it; leave it out
  listeners[1].max_body_bytes: only an http listener has it; leave it out
  pools[0].retries.attempts: -1 is not allowed; use a whole number from 0 to 7
  pools[0].retries.percent: 200 is not allowed; use a whole number from 0 to 100
  pools[0].reuse.max_idle: -1 is not allowed; use a whole number from 1 to 10000
  pools[0].rewrite_host: "a\xff" is not allowed; use `+rewriteForm)
}
