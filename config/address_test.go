package config

import (
	"strings"
	"testing"
)

func TestParseServer(t *testing.T) {
	label := strings.Repeat("a", 63)
	long := label + "." + label + "." + label + "." + label[:61] // 253
	for in, want := range map[string]string{                     // "": refused
		"a:80":                 "a:80",
		"http://a:8080":        "a:8080",
		"http://a":             "a:80",
		"hTTp://[::1]":         "[::1]:80",
		"A.Example.:1":         "a.example.:1",
		"my_app-1:65535":       "my_app-1:65535",
		"10.0.0.1:0080":        "10.0.0.1:80",
		"[2001:DB8:0::1]:80":   "[2001:db8::1]:80",
		"[::ffff:10.0.0.1]:80": "10.0.0.1:80",
		"1a:80":                "1a:80",
		label + ":80":          label + ":80",
		long + ":80":           long + ":80",
		label + "a:80":         "",
		long + "a:80":          "",
		"":                     "",
		":80":                  "",
		"a":                    "",
		"a:":                   "",
		"a:0":                  "",
		"a:65536":              "",
		"a:+80":                "",
		"a:-1":                 "",
		"a: 80":                "",
		" a:80":                "",
		"a:80\n":               "",
		"http://":              "",
		"http:///x":            "",
		"http://a:80/":         "",
		"http://a?x":           "",
		"http://a#x":           "",
		"http://user@a":        "",
		"https://a":            "",
		"tcp://a:80":           "",
		"://a:80":              "",
		"//a:80":               "",
		"::1:80":               "",
		"[::1]":                "",
		"[::1]80":              "",
		"[::1":                 "",
		"[]:80":                "",
		"[10.0.0.1]:80":        "",
		"[::1%lo]:80":          "",
		"10.0.0.256:80":        "",
		"010.0.0.1:80":         "",
		"1.2.3:80":             "",
		"a.1.:80":              "",
		"a..b:80":              "",
		".:80":                 "",
		"-a:80":                "",
		"a-:80":                "",
		"ä:80":                 "",
		"a\x00:80":             "",
		"a]:80":                "",
		"unix:/run/a.sock":     "unix:/run/a.sock",
		"UNIX:/run/A b@1":      "unix:/run/A b@1",
		"unix:/" + long[:106]:  "unix:/" + long[:106],
		"unix:/" + long[:107]:  "",
		"unix:80":              "unix:80", // a host of that name
		"unix:0":               "",
		"unix:":                "",
		"unix:/":               "",
		"unix://":              "",
		"unix:a.sock":          "",
		"unix:./a.sock":        "",
		"unix:@a":              "",
		"unix:///run/a.sock":   "",
		"unix:/run/../a.sock":  "",
		"unix:/run/a.sock/":    "",
		"unix:/run/a\x00":      "",
		"unix:/run/a\xff":      "",
		"http://unix:/run/a":   "",
	} {
		got, err := ParseServer(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q (%v), want %q", in, got, err, want)
		}
	}
}

func TestParseServerSaysWhatIsAllowed(t *testing.T) {
	for in, want := range map[string]string{
		"https://a":      `"https://a": TLS to servers is not supported yet; use http://`,
		"a":              `"a" has no port; use "host:port", "http://host:port" or "unix:/absolute/path"`,
		"::1:80":         `"::1:80" has more than one colon; put an IPv6 address in brackets, "[address]:port"`,
		"unix:///run//a": `"unix:///run//a" is not the shortest form of its path; use "unix:/run/a"`,
		"unix:@a":        `"unix:@a" has no absolute path; use "unix:/absolute/path"`,
		"unix:/..":       `"unix:/.." names no file; use "unix:/absolute/path"`,
	} {
		_, err := ParseServer(in)
		checkError(t, err, want)
	}
	_, err := ParseServer("http://me:secret@a:80")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error is %v", err)
	}
	_, err = ParseServer(strings.Repeat("ä", 1<<16) + ":80")
	if err == nil || len(err.Error()) > 500 {
		t.Errorf("the error is %v", err)
	}
}

func TestListenAddressesOverlap(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{":80", ":80", true},
		{":80", ":81", false},
		{":0", ":0", false},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{":80", "0.0.0.0:80", true},
		{":80", "[::]:80", true},
		{"0.0.0.0:80", "[::]:80", true},
		{"0.0.0.0:80", "10.0.0.1:80", true},
		{"[::]:80", "10.0.0.1:80", true},
		{":80", "localhost:80", true},
		{"10.0.0.1:80", "10.0.0.1:80", true},
		{"10.0.0.1:80", "10.0.0.2:80", false},
		{"[::1]:80", "[0:0::1]:80", true},
		{"127.0.0.1:80", "[::1]:80", false},
		{"localhost:80", "127.0.0.1:80", true},
		{"localhost:80", "[::1]:80", true},
		{"localhost:80", "127.0.0.2:80", false},
		{"127.0.0.1:80", "[::ffff:127.0.0.1]:80", true},
		{"unix:/a", "UNIX:/a", true},
		{"unix:/a", "unix:/b", false},
		{"unix:/a", ":0", false},
		{"unix:/a", ":80", false},
	} {
		a, errA := parseListen(test.a)
		b, errB := parseListen(test.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.overlaps(b) != test.want || b.overlaps(a) != test.want {
			t.Errorf("%s and %s: overlap is %v, want %v", test.a, test.b, a.overlaps(b), test.want)
		}
	}
}
