package e2e_test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestHTTPMistakes: check says of each setting of an http listener what is wrong,
// where, and what is allowed, all at once.
func TestHTTPMistakes(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	bad := w.configFile(object{
		"listeners": []object{
			{
				"name": "web", "protocol": "http", "address": "127.0.0.1:0",
				"forwarded": "apend", "max_header_bytes": 512, "max_headers": 0, "max_body_bytes": "1M", "min_body_rate": -1,
				"access_log_format": "combined", "half_closed_timeout": "1s",
				"routes": []object{
					{"host": "www.example.test:80", "pool": "web"},
					{"path": "/a/../b", "pool": "web"},
					{"path": "/api", "pool": "api"},
					{"path": "/api", "redirect": object{}},
					{"path": "/x", "redirect": object{"status": 200, "path": "/y"}, "pool": "web"},
					{"path": "/y", "pool": "web", "request_headers": object{"set": object{"Host": "a"}, "remove": []string{"Content-Length"}}},
					{"path": "/z", "pool": "web", "response_headers": object{"add": object{"X-A": "a\r\nX-B: b"}}},
					{"strip_prefix": true, "pool": "web"},
					{"sni": "www.example.test", "host": "a", "pool": "web"},
				},
			},
			{"name": "off", "protocol": "http", "address": "127.0.0.1:0", "pool": "web", "forwarded": "off", "trusted": []string{"10.0.0.0/8"}},
			{"name": "db", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "web", "max_headers": 5},
		},
		"pools": []object{{"name": "web", "retries": object{"attempts": 8}, "reuse": true, "rewrite_host": "http://a"}},
	})
	p := w.run(raceBinary, "check", "--config", bad)
	if p.code() != 2 {
		t.Errorf("exit code %d, want 2", p.code())
	}
	const route = "listeners[0].routes"
	said := p.stderr.String()
	lines := strings.Split(said, "\n")
	for _, want := range [][]string{
		{"listeners[0].forwarded: ", `"apend"`, `"append"`, `"replace"`},
		{"listeners[0].max_header_bytes: 512", "1024 to 262144"},
		{"listeners[0].max_headers: 0", "1 to 1000"},
		{"listeners[0].max_body_bytes: ", `"1M"`, "0 to 1125899906842624"},
		{"listeners[0].min_body_rate: -1", "0 to 1000000000"},
		{"listeners[0].access_log_format: ", "add access_log"},
		{"listeners[0].half_closed_timeout: ", "only a tcp listener"},
		{route + `[0].host: "www.example.test:80"`, "without a port"},
		{route + `[1].path: "/a/../b"`, "a path such as"},
		{route + `[2].pool: there is no pool "api"`, `"web"`},
		{route + `[3]: is for "/api", as ` + route + "[2] is", "keep one"},
		{route + "[3].redirect: ", "at least one of scheme, host and path"},
		{route + "[4].redirect.status: 200", "301, 302, 303, 307, 308"},
		{route + "[4].pool: ", "goes to no server"},
		{route + `[5].request_headers.set["Host"]: `, "rewrite_host"},
		{route + "[5].request_headers.remove[0]: ", `"Content-Length"`, "where a message ends"},
		{route + `[6].response_headers.add["X-A"]: `, `"a\r\nX-B: b"`},
		{route + "[7].strip_prefix: ", "add a path"},
		{route + "[8].sni: ", "only a route of a tcp listener"},
		{"listeners[1].trusted: ", `"off"`, "leave it out"},
		{"listeners[2].max_headers: ", "only an http listener"},
		{"pools[0].retries.attempts: 8", "0 to 7"},
		{"pools[0].reuse: found true", "false"},
		{`pools[0].rewrite_host: "http://a"`, `"server"`},
	} {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, bad+":") && hasAll(line, want) }) {
			t.Errorf("no line says %q:\n%s", want, said)
		}
	}
	if !strings.Contains(said, "24 problems") {
		t.Errorf("the number of problems is not said: %s", said)
	}
}

// hasAll reports whether each of the words is in a line.
func hasAll(line string, words []string) bool {
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) })
}
