package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestBounds goes to both sides of every bound of every number.
func TestBounds(t *testing.T) {
	durations := [2][]string{
		{`"1ms"`, `0.001`, `"720h"`, `2592000`, `2.592e6`, `"1h30m"`},
		{`"999us"`, `0.0009`, `"720h1ns"`, `2592000.001`, `0`, `-1`, `"-1s"`, `1e-400`, `1e400`, `-1e400`, `"9999999999h"`, `""`, `"5"`},
	}
	streak := [2][]string{{`1`, `100`}, {`0`, `101`, `-1`, `1.0`}}
	keepalives := [2][]string{{`"1s"`, `1`, `"9h"`, `90`}, {`"999ms"`, `0`, `"9h0m1s"`, `32401`, `1.5`, `"1500ms"`, `-1`}}
	userTimeouts := [2][]string{{`"1ms"`, `0.001`, `"596h"`, `30`}, {`"999us"`, `0`, `"1500us"`, `"596h0m0.001s"`, `-1`}}
	tcp := func(m string) string { return fillTCP(m, "", "", "") }
	http := func(m string) string { return fill(m, "", "", "") }
	pool := func(m string) string { return fill("", m, "", "") }
	for _, test := range []struct {
		key    string
		within func(member string) string
		values [2][]string // allowed, refused
	}{
		{"shutdown_timeout", func(m string) string { return fill("", "", "", m) }, durations},
		{"idle_timeout", func(m string) string { return fill(m, "", "", "") }, durations},
		{"header_timeout", func(m string) string { return fill(m, "", "", "") }, durations},
		{"connect_timeout", func(m string) string { return fill("", m, "", "") }, durations},
		{"response_timeout", func(m string) string { return fill("", m, "", "") }, durations},
		{"drain_timeout", func(m string) string { return fill("", m, "", "") }, durations},
		{"interval", inHealth, durations},
		{"timeout", func(m string) string { return inHealth(`, "interval": "720h"` + m) }, durations},
		{"rise", inHealth, streak},
		{"fall", inHealth, streak},
		{"weight", func(m string) string { return fill("", "", m, "") }, [2][]string{{`1`, `256`}, {`0`, `257`}}},
		{"max_connections", func(m string) string { return fill("", "", m, "") },
			[2][]string{{`0`, `1`, `1000000`}, {`-1`, `1000001`}}},
		{"max_connections", tcp, [2][]string{{`0`, `1`, `1000000`}, {`-1`, `1000001`}}},
		{"max_connections_per_client", tcp, [2][]string{{`0`, `1`, `1000000`}, {`-1`, `1000001`}}},
		{"half_closed_timeout", tcp, durations},
		{"tcp_keepalive", tcp, keepalives},
		{"tcp_user_timeout", tcp, userTimeouts},
		{"timeout", func(m string) string { return tcp(`, "accept_proxy": {"from": ["::1"]` + m + `}`) }, durations},
		{"hello_timeout", func(m string) string { return tcp(`, "routes": [{"sni": "a", "pool": "p"}]` + m) }, durations},
		{"tcp_keepalive", pool, keepalives},
		{"tcp_user_timeout", pool, userTimeouts},
		{"resolve_interval", pool, durations},
		{"min_body_rate", http, [2][]string{{`0`, `1`, `1000000000`}, {`-1`, `1000000001`, `0.5`}}},
		{"max_header_bytes", http, [2][]string{{`1024`, `262144`}, {`0`, `1023`, `262145`}}},
		{"max_headers", http, [2][]string{{`1`, `1000`}, {`0`, `1001`, `-1`}}},
		{"max_body_bytes", http, [2][]string{{`0`, `1`, `1125899906842624`}, {`-1`, `1125899906842625`, `9223372036854775808`}}},
		{"max_connections", http, [2][]string{{`0`, `1`, `1000000`}, {`-1`, `1000001`}}},
		{"tcp_keepalive", http, keepalives},
		{"status", inRedirect, [2][]string{{`301`, `302`, `303`, `307`, `308`}, {`0`, `300`, `304`, `305`, `306`, `309`, `-301`, `301.0`}}},
		{"attempts", inRetries, [2][]string{{`0`, `7`}, {`-1`, `8`}}},
		{"percent", inRetries, [2][]string{{`0`, `100`}, {`-1`, `101`}}},
		{"idle_timeout", inReuse, durations},
		{"max_age", inReuse, durations},
		{"max_idle", inReuse, [2][]string{{`1`, `10000`}, {`0`, `10001`, `-1`}}},
		{"length", inQueue, [2][]string{{`1`, `100000`}, {`0`, `100001`, `-1`}}},
		{"timeout", inQueue, durations},
	} {
		for _, value := range test.values[0] {
			mustParse(t, test.within(fmt.Sprintf(`, %q: %s`, test.key, value)))
		}
		for _, value := range test.values[1] {
			_, err := Parse([]byte(test.within(fmt.Sprintf(`, %q: %s`, test.key, value))))
			if err == nil || !strings.Contains(err.Error(), "."+test.key+": "+value+" is not") &&
				!strings.Contains(err.Error(), " "+test.key+": "+value+" is not") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %s: error is %v", test.key, value, err)
			}
			if written := value[0] == '"' || strings.HasSuffix(value, ".0"); !written && bySchema(t, test.within(fmt.Sprintf(`, %q: %s`, test.key, value))) == nil {
				t.Errorf("%s: %s is refused, but not by the schema", test.key, value)
			}
		}
	}
}

func inHealth(members string) string {
	return fill("", `, "health": {`+strings.TrimPrefix(members, ", ")+`}`, "", "")
}

func inQueue(members string) string {
	return fill("", `, "queue": {`+strings.TrimPrefix(members, ", ")+`}`, "", "")
}

func inRetries(members string) string {
	return fill("", `, "retries": {`+strings.TrimPrefix(members, ", ")+`}`, "", "")
}

func inReuse(members string) string {
	return fill("", `, "reuse": {`+strings.TrimPrefix(members, ", ")+`}`, "", "")
}

func inRedirect(members string) string {
	return fill(`, "routes": [{"redirect": {"scheme": "https"`+members+`}}]`, "", "", "")
}

// inRoute returns a file with one route of an http listener to a pool.
func inRoute(members string) string {
	return fill(`, "routes": [{"pool": "p", `+members+`}]`, "", "", "")
}

// TestLengths goes to both sides of every bound of every text and list.
func TestLengths(t *testing.T) {
	repeat := strings.Repeat
	pool := func(member string) string { return fill("", member, "", "") }
	for name, test := range map[string]struct {
		most int
		make func(n int) string
		want string
	}{
		"name": {64, func(n int) string {
			return strings.ReplaceAll(fill("", "", "", ""), `"p"`, `"`+repeat("x", n)+`"`)
		}, "pools[0].name: "},
		"path":   {2048, func(n int) string { return inHealth(`"path": "/` + repeat("x", n-1) + `"`) }, "health.path: "},
		"status": {32, func(n int) string { return inHealth(`"path": "/", "status": "200` + repeat(",200", n-1) + `"`) }, "health.status: "},
		"servers": {10000, func(n int) string {
			return strings.Replace(pool(""), `{"address": "a:80"}`, join(n, func(i int) string { return fmt.Sprintf(`"s%d:80"`, i) }), 1)
		}, "pools[0].servers: 10001 of them are too many; use at most 10000"},
		"listeners": {1000, func(n int) string {
			return `{"pools": [{"name": "p"}], "listeners": [` + join(n, func(i int) string {
				return fmt.Sprintf(`{"name": "l%d", "protocol": "tcp", "address": ":%d", "pool": "p"}`, i, i+1)
			}) + `]}`
		}, "listeners: 1001 of them are too many; use at most 1000"},
		"pools": {1000, func(n int) string {
			return `{"listeners": [{"name": "l", "protocol": "tcp", "address": ":1", "pool": "p` + fmt.Sprint(n-1) + `"}], "pools": [` +
				join(n, func(i int) string { return fmt.Sprintf(`{"name": "p%d"}`, i) }) + `]}`
		}, "pools: 1001 of them are too many; use at most 1000"},
		"networks": {1000, func(n int) string {
			return fillTCP(`, "accept_proxy": {"from": [`+join(n, func(i int) string { return fmt.Sprintf(`"10.0.%d.%d"`, i/256, i%256) })+`]}`, "", "", "")
		}, "listeners[0].accept_proxy.from: 1001 of them are too many; use at most 1000"},
		"routes": {1000, func(n int) string {
			return fillTCP(`, "routes": [`+join(n, func(i int) string { return fmt.Sprintf(`{"sni": "n%d", "pool": "p"}`, i) })+`]`, "", "", "")
		}, "listeners[0].routes: 1001 of them are too many; use at most 1000"},
		"http routes": {1000, func(n int) string {
			return fill(`, "routes": [`+join(n, func(i int) string { return fmt.Sprintf(`{"path": "/%d", "pool": "p"}`, i) })+`]`, "", "", "")
		}, "listeners[0].routes: 1001 of them are too many; use at most 1000"},
		"trusted": {1000, func(n int) string {
			return fill(`, "trusted": [`+join(n, func(i int) string { return fmt.Sprintf(`"10.0.%d.%d"`, i/256, i%256) })+`]`, "", "", "")
		}, "listeners[0].trusted: 1001 of them are too many; use at most 1000"},
		"prefix": {2048, func(n int) string { return inRoute(`"path": "/` + repeat("/x", n/2)[1:] + repeat("x", n%2) + `"`) }, "listeners[0].routes[0].path: "},
		"redirect": {2048, func(n int) string {
			return fill(`, "routes": [{"redirect": {"path": "/`+repeat("x", n-1)+`"}}]`, "", "", "")
		}, "listeners[0].routes[0].redirect.path: "},
		"fields": {64, func(n int) string {
			field := func(i int) string { return fmt.Sprintf(`"x%d": ""`, i) }
			return inRoute(`"request_headers": {"set": {` + join(20, field) + `}, "add": {` + join(20, field) + `}, "remove": [` +
				join(n-40, func(i int) string { return fmt.Sprintf(`"y%d"`, i) }) + `]}`)
		}, "listeners[0].routes[0].request_headers: 65 of them are too many; use at most 64"},
		"fields at once": {64, func(n int) string {
			return inRoute(`"response_headers": {"add": {` + join(n, func(i int) string { return fmt.Sprintf(`"x%d": ""`, i) }) + `}}`)
		}, "listeners[0].routes[0].response_headers.add: 65 of them are too many; use at most 64"},
		"field": {256, func(n int) string { return inRoute(`"request_headers": {"remove": ["` + repeat("x", n) + `"]}`) }, "request_headers.remove[0]: "},
		"value": {4096, func(n int) string { return inRoute(`"request_headers": {"set": {"x": "` + repeat("x", n) + `"}}`) }, `request_headers.set.x: `},
		"sources": {64, func(n int) string {
			return pool(`, "source": [` + join(n, func(i int) string { return fmt.Sprintf(`"10.0.0.%d"`, i) }) + `]`)
		}, "pools[0].source: 65 of them are too many; use at most 64"},
		"access_log": {4095, func(n int) string { return fillTCP(`, "access_log": "/`+repeat("x", n-1)+`"`, "", "", "") }, "listeners[0].access_log: "},
		"unix":       {107, func(n int) string { return strings.Replace(fill("", "", "", ""), "a:80", "unix:/"+repeat("x", n-1), 1) }, "has a path of 108 bytes; use at most 107"},
		"values": {maxValues, func(n int) string {
			return `{"x": [0` + repeat(",0", n-4) + `], "listeners": []}`
		}, "more than the 262144 values that are allowed"},
		"depth": {15, func(n int) string { return `{"x": ` + repeat("[", n) + repeat("]", n) + `}` }, "nested deeper than the 16 levels"},
	} {
		for _, n := range []int{test.most, test.most + 1} {
			_, err := Parse([]byte(test.make(n)))
			if refused := err != nil && strings.Contains(err.Error(), test.want); refused != (n > test.most) || refused && strings.Contains(err.Error(), "\n") {
				t.Errorf("%d of %s: error is %v", n, name, err)
			}
			if err == nil {
				mustParse(t, test.make(n))
			}
		}
	}
}

func join(n int, element func(int) string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = element(i)
	}
	return strings.Join(all, ", ")
}
