package config

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// FuzzParse: nothing makes Parse panic. What it accepts is valid by the schema,
// and complete: completing it again succeeds and changes nothing, and so does reading
// what JSON says of it.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/invalid-*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "../config.json") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(fill(`, "idle_timeout": 1.5`, `, "health": false`, `, "weight": 3`, `, "admin": {}`)))
	f.Add([]byte(fill("", "", "", everythingAdmin)))
	f.Add([]byte(inHealth(`"path": "/", "status": "200,301-302"`)))
	f.Add([]byte(everythingTCP))
	f.Add([]byte(everythingHTTP))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			if c != nil || err.Error() == "" {
				t.Fatalf("refused with %q and %+v", err, c)
			}
			return
		}
		if err := bySchema(t, string(data)); err != nil {
			t.Fatalf("accepted, but by the schema %v", err)
		}
		again, err := Parse(data)
		if err != nil {
			t.Fatalf("accepted once, then refused: %v", err)
		}
		if err := again.Complete(); err != nil {
			t.Fatalf("completed twice: %v", err)
		}
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("first  %+v\nsecond %+v", c, again)
		}
		wantSame(t, c)
	})
}

// FuzzParseServer: what is accepted is host:port or a unix socket's absolute
// path, in a form that stays as it is.
func FuzzParseServer(f *testing.F) {
	for _, seed := range []string{"a:80", "http://a", "http://a:1/x", "https://a", "[::1]:80", "[::ffff:1.2.3.4]:8", "u:p@h:1", "1.2.3.4:5", "a.:65535", "unix:/a", "UNIX:/a/b", "unix:80", "unix:", "unix:/a/../b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		address, err := ParseServer(s)
		if err != nil {
			if address != "" {
				t.Fatalf("refused with %v and %q", err, address)
			}
			return
		}
		if path, ok := strings.CutPrefix(address, "unix:/"); ok {
			if again, err := ParseServer(address); err != nil || again != address || len(path) > 106 {
				t.Fatalf("%q became %q, then %q: %v", s, address, again, err)
			}
			return
		}
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			t.Fatalf("%q became %q: %v", s, address, err)
		}
		for _, form := range []string{address, "http://" + address} {
			if again, err := ParseServer(form); err != nil || again != address {
				t.Fatalf("%q became %q, then %q: %v", s, address, again, err)
			}
		}
	})
}

// FuzzParseAuthority: what is accepted is what a URL may have as its host and
// port, in a form that stays as it is.
func FuzzParseAuthority(f *testing.F) {
	for _, seed := range []string{"a", "A.b:080", "a:0", "a:", ":1", "[::1]", "[::ffff:1.2.3.4]:8", "u@h", "1.2.3.4:5", "a.", "a/b", "[::1]]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		authority, ok := parseAuthority(s)
		if !ok {
			if authority != "" {
				t.Fatalf("%q is refused with %q", s, authority)
			}
			return
		}
		if again, ok := parseAuthority(authority); !ok || again != authority {
			t.Fatalf("%q became %q, then %q", s, authority, again)
		}
		if u, err := url.Parse("http://" + authority + "/"); err != nil || u.Host != authority || u.Hostname() == "" || u.Path != "/" {
			t.Fatalf("%q became %q, which is %+v in a URL: %v", s, authority, u, err)
		}
	})
}
