package route

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// newTable makes a table of rules written as "host/path", and what tells which of
// them a request is for: "-" none, "?" ErrAmbiguous.
func newTable(t testing.TB, rules ...string) func(host, target string) (rule string, covered int) {
	t.Helper()
	var made []Rule
	for _, r := range rules {
		host, path := r, ""
		if i := strings.IndexByte(r, '/'); i >= 0 {
			host, path = r[:i], r[i:]
		}
		made = append(made, Rule{host, path})
	}
	table, err := New(made)
	if err != nil {
		t.Fatal(err)
	}
	return func(host, target string) (string, int) {
		rule, covered, err := table.Find([]byte(host), []byte(target))
		switch {
		case errors.Is(err, ErrAmbiguous) && rule == none && covered == 0:
			return "?", 0
		case err != nil || rule == none && covered != 0:
			t.Fatalf("%q %q: %d, %d, %v", host, target, rule, covered, err)
		case rule == none:
			return "-", 0
		}
		return rules[rule], covered
	}
}

func TestTheMostExactHostComesFirst(t *testing.T) {
	find := newTable(t, "example.com", "*.example.com", "*.deep.example.com", "a.b.example.com",
		"127.0.0.1", "::1", "2001:db8::7")
	long := strings.Repeat("a.", 122) + "example.com"
	for host, want := range map[string]string{
		"example.com":             "example.com",
		"example.com.":            "example.com",
		"example.com..":           "-",
		"EXAMPLE.com:8080":        "example.com",
		"example.com.:8080":       "example.com",
		"example.com:":            "example.com",
		"www.Example.Com":         "*.example.com",
		"x.y.example.com":         "*.example.com",
		"deep.example.com":        "*.example.com",
		"x.deep.example.com":      "*.deep.example.com",
		"x.y.deep.example.com:80": "*.deep.example.com",
		"a.b.example.com":         "a.b.example.com",
		"c.a.b.example.com":       "*.example.com",
		"anotherexample.com":      "-",
		"example.com.org":         "-",
		"com":                     "-",
		".":                       "-",
		"":                        "-",
		"127.0.0.1:80":            "127.0.0.1",
		"[::1]":                   "::1",
		"[::1]:80":                "::1",
		"[2001:DB8::7]:80":        "2001:db8::7",
		"[::1":                    "::1",
		"[]":                      "-",
		"[":                       "-",
		":80":                     "-",
		long:                      "*.example.com",
		"a" + long:                "-",
		"a" + long + ":80":        "-",
	} {
		if got, _ := find(host, "/"); got != want {
			t.Errorf("%q leads to %q, not to %q", host, got, want)
		}
	}
}

func TestTheLongestPathWins(t *testing.T) {
	find := newTable(t, "/", "/api", "/api/", "/api/v2/x", "/only/", "/a.b-c_~!$&'()*+,=:@", "/API")
	for target, want := range map[string]struct {
		rule    string
		covered int
	}{
		"/":                                {"/", 0},
		"/x/api":                           {"/", 0},
		"/apix":                            {"/", 0},
		"/ap":                              {"/", 0},
		"/.api":                            {"/", 0},
		"/api":                             {"/api", 4},
		"/api?x":                           {"/api", 4},
		"/api?/api/x":                      {"/api", 4},
		"/api/":                            {"/api/", 4},
		"/api/?x":                          {"/api/", 4},
		"/api/x/y":                         {"/api/", 4},
		"/api/v2/":                         {"/api/", 4},
		"/api/v2/xy":                       {"/api/", 4},
		"/api/v2/x":                        {"/api/v2/x", 9},
		"/api/v2/x/?":                      {"/api/v2/x", 9},
		"/api/v2/x//y":                     {"/api/v2/x", 9},
		"/%61%70i/%562/x":                  {"/api/", 8},
		"/%61p%69/v2/%78?%61":              {"/api/v2/x", 15},
		"/API":                             {"/API", 4},
		"/Api":                             {"/", 0},
		"/only":                            {"/", 0},
		"/only/":                           {"/only/", 5},
		"/only/x":                          {"/only/", 5},
		"/a.b-c_~!$&'()*+,=:@":             {"/a.b-c_~!$&'()*+,=:@", 20},
		"/%61%2Eb%2d%63_%7E!$&'()*+,=:@/x": {"/a.b-c_~!$&'()*+,=:@", 30},
		"/" + strings.Repeat("x", 300):     {"/", 0},
		"*":                                {"-", 0},
	} {
		if got, covered := find("any", target); got != want.rule || covered != want.covered {
			t.Errorf("%q leads to %q (%d bytes), not to %q (%d)", target, got, covered, want.rule, want.covered)
		}
	}
}

func TestAHostWithoutThePathLeavesItToLessExactOnes(t *testing.T) {
	find := newTable(t, "a.example.com/api", "*.example.com/static/", "*.com/api", "*.com/static", "/api/v2", "")
	for request, want := range map[string]string{
		"a.example.com/api/v2":   "a.example.com/api",
		"a.example.com/static/x": "*.example.com/static/",
		"a.example.com/static":   "*.com/static",
		"b.example.com/api/v2":   "*.com/api",
		"example.org/api/v2":     "/api/v2",
		"example.org/api":        "",
		"a.example.com/":         "",
		"a.example.com*":         "",
		"*":                      "",
		"/api/v2":                "/api/v2",
	} {
		i := strings.IndexAny(request, "/*")
		if got, _ := find(request[:i], request[i:]); got != want {
			t.Errorf("%q leads to %q, not to %q", request, got, want)
		}
	}
}

// What no ordinary client sends is refused wherever it is in the path.
func TestPathsThatLeadAnywhereAreRefused(t *testing.T) {
	find := newTable(t, "/api", "")
	all := newTable(t, "/", "example.com")
	for _, name := range []string{
		".", "..", "...", "%2e", "%2E.", ".%2e", "%2e%2e", ".%20", "..%20", "%20.",
		"%252e%252e", ".%252E", "%25%32%65.", "..;", "..;x=1", ".;x", "%2e%2e;x", "..%3Bx", "..%253B",
		`..\x`, `x\..`, `\..`, `x%5C..`, "x%5c%2e", "..%2Fx", "x%2f..", "x%252f..", "..%3F", "..%23", "..#",
		"%00", "x%00", "%00x", "x%2500", "%0a", "%0D", "%09", "%7f", "\t", " ", "a b", "\x00", "\x7f",
		"%", "100%", "%2", "%zz", "%u0061", "%%61", "%2%65", "%252525", "%2525",
	} {
		for _, target := range []string{"/" + name, "/" + name + "/x", "/x/" + name, "/api/" + name + "?x", "/x/y/" + name + "/"} {
			if got, _ := find("", target); got != "?" {
				t.Errorf("%q leads to %q", target, got)
			}
			if got, _ := all("", target); got != "/" {
				t.Errorf("%q leads to %q, where all paths lead to one rule", target, got)
			}
			if got, _ := all("example.com", target); got != "example.com" {
				t.Errorf("%q leads to %q, where all paths lead to one rule", target, got)
			}
		}
	}
}

// What ordinary clients may send is refused only where a server could read the name
// of a rule in it.
func TestOddNamesAreRefusedWhereTheyMatter(t *testing.T) {
	find := newTable(t, "/", "/api", "/api/v2", "/@me", "/static/")
	for target, want := range map[string]string{
		"/api%2Fx": "?", "/api%2fv2": "?", `/api\x`: "?", "/api%5Cx": "?", "/api%252Fx": "?", "/api/v2%2Fx": "?",
		"/x%2Fapi": "/", `/x\api`: "/", "/job/feature%252Fx": "/", "/@scope%2Fname": "/", "/api/x%2Fv2": "/api",
		"/%2Fapi": "?", `/\api`: "?", "/%5capi": "?", "/api/%2Fv2": "?", "/%252Fapi": "?",
		"/static/%2Fapi": "/static/", `/static/\api\`: "/static/", "/static%2Fx": "?",

		"/api;v=1": "?", "/api;v=1/v2": "?", "/api%3Bx": "?", "/api/v2;": "?", "/;x/api": "?", "/;x%2Fapi": "?",
		"/shop;jsessionid=1": "/", "/;jsessionid=1": "/", "/api/;jsessionid=1": "/api", "/api/x;api/v2": "/api",
		"/apix;v=1": "/", "/static/v2;x": "/static/",

		"/api%3Fx": "?", "/api%23": "?", "/api#x": "?", "/api%253F": "?", "/%3F/api": "?",
		"/C%23": "/", "/What%3F": "/", "/What%3F...": "/", "/api/What%3F": "/api",

		"/%2561pi": "?", "/a%70%2569": "?", "/%25%36%31pi": "?", "/api/%2576%32": "?",
		"/100%25": "/", "/100%25-api": "/", "/50%25%20off": "/", "/100%25zz": "/", "/%2561pix": "/",

		"/%40me": "?", "/%40you": "/", "/caf%C3%A9": "/", "/caf\xc3\xa9": "/", "/api/%E2%82%AC/v2": "/api",
		"/a%20b": "/", "/%20/api": "/", "/[x]|{y}": "/", `/"x"`: "/",

		"//api": "?", "///api/x": "?", "//x/api": "?", `/\x/api`: "?", "/api//v2": "?", "/api//x/v2": "?",
		"//": "/", "//x": "/", "/x//api": "/", "/api//": "/api", "/api//x": "/api", "/static//api": "/static/",
		"/api///" + strings.Repeat("x", 300): "/api",
	} {
		if got, _ := find("", target); got != want {
			t.Errorf("%q leads to %q, not to %q", target, got, want)
		}
	}
}

func TestRulesThatCannotBeToldApartAreRefused(t *testing.T) {
	for _, rules := range [][]Rule{
		{{}, {Path: "/x"}, {}},
		{{Host: "h"}, {Host: "h"}},
		{{Host: "*.h", Path: "/x/"}, {Host: "h", Path: "/x/"}, {Host: "*.h", Path: "/x"}, {Host: "*.h", Path: "/x/"}},
	} {
		if _, err := New(rules[:len(rules)-1]); err != nil {
			t.Error(err)
		}
		last := rules[len(rules)-1]
		want := fmt.Sprintf("host %q and path %q have a rule already; keep one of them", last.Host, last.Path)
		if _, err := New(rules); err == nil || err.Error() != want {
			t.Errorf("%v: %v, not %q", rules, err, want)
		}
	}
	for _, path := range []string{
		"api", "*", "//", "/x//y", "/x//", "/..", "/./x", "/%2e", "/x;y", "/x?", "/x#", `/x\y`, "/%40", "/%zz", "/a b",
		"/x/" + strings.Repeat("x", maxName+1),
	} {
		if _, err := New([]Rule{{Path: path}}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("path %q is not", path)) {
			t.Errorf("%q: %v", path, err)
		}
	}
	name := "/" + strings.Repeat("x", maxName)
	find := newTable(t, name, "/")
	for target, want := range map[string]string{name: name, name + "/": name, name + "x": "/", name + "%2525": "?"} {
		if got, _ := find("", target); got != want {
			t.Errorf("%q leads to %q, not to %q", target, got, want)
		}
	}
}

func TestATableWithoutRulesFindsNone(t *testing.T) {
	find := newTable(t)
	for _, target := range []string{"/", "/..", "*", ""} {
		if got, _ := find("h", target); got != "-" {
			t.Errorf("%q leads to %q", target, got)
		}
	}
}

// big has 1000 rules, for hosts and paths and both.
func big(t testing.TB) *Table {
	rules := []Rule{{Path: "/"}, {Host: "*.example.com"}}
	for i := range 400 {
		rules = append(rules, Rule{"", fmt.Sprintf("/svc%d/v%d", i/4, i%4)})
	}
	for i := range 300 {
		rules = append(rules, Rule{fmt.Sprintf("*.host%d.example.com", i), "/api"}, Rule{"www.example.com", fmt.Sprintf("/app%d/", i)})
	}
	table, err := New(rules[:1000])
	if err != nil {
		t.Fatal(err)
	}
	return table
}

var requests = []struct{ name, host, target string }{
	{"exact", "www.example.com", "/app77/index.html?q=1"},
	{"wildcard", "WWW.host290.example.com:8080", "/api/v1/users/123456/orders"},
	{"any", "www.example.org", "/svc99/v2/users/123456"},
	{"escaped", "www.example.org", "/svc99/%762/caf%C3%A9/100%25/x%2Fy"},
	{"odd", "www.example.org", "//a/b/c/d/e/f/g;x=1"},
	{"long", "www.example.org", "/svc99/" + strings.Repeat("0123456789abcdef/", 60)},
	{"ambiguous", "www.example.org", "/svc99/../v2"},
}

func TestFindingAllocatesNothing(t *testing.T) {
	table := big(t)
	for _, r := range requests {
		host, target := []byte(r.host), []byte(r.target)
		if n := testing.AllocsPerRun(100, func() { table.Find(host, target) }); n != 0 {
			t.Errorf("%s: %v allocations", r.name, n)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	table := big(b)
	for _, r := range requests {
		b.Run(r.name, func(b *testing.B) {
			b.ReportAllocs()
			host, target := []byte(r.host), []byte(r.target)
			for b.Loop() {
				table.Find(host, target)
			}
		})
	}
}
