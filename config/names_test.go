package config

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// TestNames goes through texts of which each is or is not allowed.
func TestNames(t *testing.T) {
	label := strings.Repeat("a", 63)
	tcp := func(before, after string) func(string) string {
		return func(text string) string { return fillTCP(before+text+after, "", "", "") }
	}
	http := func(before, after string) func(string) string {
		return func(text string) string { return fill(before+text+after, "", "", "") }
	}
	pool := func(before, after string) func(string) string {
		return func(text string) string { return fill("", before+text+after, "", "") }
	}
	networks := [2][]string{
		{"10.0.0.1", "::1", "10.0.0.0/8", "10.0.0.1/32", "::/0", "fe80::/10", "::ffff:10.0.0.0/104", "::ffff:10.0.0.1"},
		{"", "10", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "::1/64", "fe80::1%lo", "fe80::%lo/10", "::ffff:10.0.0.0/90", "::ffff:10.0.0.1/104", "localhost"},
	}
	admin := func(before, after string) func(string) string {
		return func(text string) string { return fill("", "", "", `, "admin": {`+before+text+after+`}`) }
	}
	files := [2][]string{{"a", "a.pem", "/etc/a", "../a"}, {"", "/", "a/", "a\x00", "/" + strings.Repeat("a", 4095)}}
	authorities := [2][]string{
		{"a", "A.b", "a_b.c", "a.", "a:1", "a:65535", "a:080", "10.0.0.1", "10.0.0.1:8080", "[::1]", "[::1]:443", "[::ffff:10.0.0.1]"},
		{"", ":80", "a:", "a:0", "a:65536", "a:http", "a b", "-a", "*.a", "a/", "//a", "http://a", "u@a", "u:p@a:1", "::1", "[::1", "[::1]a", "[fe80::1%lo]", "[10.0.0.1]", "10.0.0.256", "ä.de", "a\r\nb", label + "a"},
	}
	for _, test := range []struct {
		where  string
		within func(text string) string
		values [2][]string // allowed, refused
	}{
		{"listeners[0].routes[0].sni", tcp(`, "routes": [{"pool": "p", "sni": `, `}]`), [2][]string{
			{"a", "a.b", "*.b", "*.a.b", "xn--4ca.de", "a_b", "A", label + "." + label},
			{"", "*", "*.", "*.*.b", "a.*", "*a.b", "**.b", ".b", "a.", "*.b.", "10.0.0.1", "::1", "ä.de", "a b", "-a", "a:443", label + "a"}}},
		{"listeners[0].accept_proxy.from[0]", tcp(`, "accept_proxy": {"from": [`, `]}`), networks},
		{"listeners[0].access_log", tcp(`, "access_log": `, ``), [2][]string{
			{"stdout", "stderr", "a", "access.log", "/var/log/a", "./stdot"},
			{"", "stdot", "Stderr", "/var/log/", "a\x00"}}},
		{"listeners[0].trusted[0]", http(`, "trusted": [`, `]`), networks},
		{"listeners[0].routes[0].host", http(`, "routes": [{"pool": "p", "host": `, `}]`), [2][]string{
			{"a", "a.b", "*.b", "*.a.b", "a_b", "A", "10.0.0.1", "::1", "2001:DB8::1", label + "." + label},
			{"", "*", "*.", "*.*.b", "a.*", "*a.b", ".b", "a.", "*.b.", "*.10.0.0.1", "10.0.0.256", "[::1]", "fe80::1%lo", "ä.de", "a b", "a:80", "a/", "http://a"}}},
		{"listeners[0].routes[0].path", http(`, "routes": [{"pool": "p", "path": `, `}]`), [2][]string{
			{"/", "/a", "/a/", "/A/b.c/~d_-", "/!$&'()*+,=:@", "/.a/..b/c.", "/" + strings.Repeat("x", 255)},
			{"", "a", "*", "//", "/a//b", "/a//", "/.", "/..", "/a/.", "/a/./b", "/a/../b", "/..;/a", "/a;v=1", "/...", "/a/....", "/" + strings.Repeat("x", 256), "/%61", "/a?b", "/a#b", "/a b", "/a\\b", "/ä", "/a\x00", "/a\n", "/a\"", "/<a>", "http://a/"}}},
		{"listeners[0].routes[0].redirect.host", http(`, "routes": [{"redirect": {"host": `, `}}]`), authorities},
		{"listeners[0].routes[0].redirect.path", http(`, "routes": [{"redirect": {"path": `, `}}]`), [2][]string{
			{"/", "/a?b=c", "/%61", "/a//b", "/?a//b"},
			{"", "a", "?a", "//", "//a/b", "/a#b", "/a b", "/ä", "/a\r\nb", "http://a/"}}},
		{`listeners[0].routes[0].request_headers.set["X-A"]`, http(`, "routes": [{"pool": "p", "request_headers": {"set": {"X-A": `, `}}}]`), [2][]string{
			{"", "a", "a b\tc", `"a"; b=c`, "ä", "\u0080"},
			{" ", "\t", " a", "a\t", "a\rb", "a\nb", "a\x00", "a\x1f", "a\x7f"}}},
		{"listeners[0].routes[0].request_headers.remove[0]", http(`, "routes": [{"pool": "p", "request_headers": {"remove": [`, `]}}]`), [2][]string{
			{"a", "X-A", "x_a", "!#$%&'*+-.^_`|~09", "Cookie", "Content-Type", "Forwarded", "Upgrade-Insecure-Requests"},
			{"", "a b", "a:", ":path", "a\r\nb", "ä", "(a)", "a\x00", "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "CONTENT-LENGTH", "upgrade", "Expect", "Host"}}},
		{"listeners[0].routes[0].response_headers.remove[0]", http(`, "routes": [{"pool": "p", "response_headers": {"remove": [`, `]}}]`), [2][]string{
			{"Server", "Host"},
			{"Connection", "Transfer-encoding", "content-length"}}},
		{"pools[0].rewrite_host", pool(`, "rewrite_host": `, ``), [2][]string{
			append(authorities[0], "server", "server:80", "servers"),
			append(authorities[1], "Server", "SERVER")}},
		{"admin.hosts[0]", admin(`"hosts": [`, `]`), [2][]string{
			{"a", "A.b", "a_b.c", "a.", "10.0.0.1", "::1"},
			{"", ".", "a:80", "*.a", "a b", "a/", "http://a", "u@a", "[::1]", "ä.de", "10.0.0.256", label + "a"}}},
		{"admin.tokens[0].file", admin(`"tokens": [{"name": "a", "file": `, `}]`), files},
		{"admin.tokens[0].env", admin(`"tokens": [{"name": "a", "env": `, `}]`), [2][]string{
			{"A", "a", "_", "A_1"},
			{"", "1A", "A-B", "A B", "A=B", "ä", "A\x00", strings.Repeat("A", 257)}}},
		{"admin.tls.certificate", admin(`"tls": {"key": "k", "certificate": `, `}`), files},
		{"admin.tls.client_ca", admin(`"tls": {"key": "k", "certificate": "c", "client_ca": `, `}`), files},
	} {
		for _, value := range slices.Concat(test.values[0], test.values[1]) {
			quoted, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse([]byte(test.within(string(quoted))))
			switch {
			case slices.Contains(test.values[0], value) && err != nil:
				t.Errorf("%s: %q: %v", test.where, value, err)
			case slices.Contains(test.values[0], value):
				if err := bySchema(t, test.within(string(quoted))); err != nil {
					t.Errorf("%s: %q is accepted, but by the schema %v", test.where, value, err)
				}
			case slices.Contains(test.values[1], value) && (err == nil || !strings.Contains(err.Error(), ": "+test.where+": ") || strings.Contains(err.Error(), "\n")):
				t.Errorf("%s: %q: error is %v", test.where, value, err)
			}
		}
	}
}
