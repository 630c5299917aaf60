package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// wantSame holds what Parse makes of a config's JSON against the config, but for what
// JSON hides.
func wantSame(t *testing.T, c *Config) {
	t.Helper()
	text := c.JSON()
	again, err := Parse(text)
	if err != nil {
		t.Fatalf("its JSON is refused: %v\n%s", err, text)
	}
	for i := range c.Listeners {
		for j := range c.Listeners[i].Routes {
			if r := &c.Listeners[i].Routes[j]; r.RequestHeaders != nil {
				hidden := r.RequestHeaders.withoutValues()
				r.RequestHeaders = &hidden
			}
		}
	}
	again.File = c.File
	if !reflect.DeepEqual(c, again) {
		t.Errorf("\nfirst %+v\nagain %+v\n%s", c, again, text)
	}
}

// What JSON says is a file of the same config, with every default written out.
func TestJSON(t *testing.T) {
	for name, text := range map[string]string{
		"tcp": everythingTCP, "http": everythingHTTP, "admin": fill("", "", "", everythingAdmin),
		"least": fill("", "", "", ""), "no checks, no reuse, no state": fill("", `, "health": false, "reuse": false`, "", `, "state": false`),
		"zeros": fill("", `, "retries": {"attempts": 0, "percent": 0}`, "", `, "state": "s.json"`),
	} {
		t.Run(name, func(t *testing.T) { wantSame(t, mustParse(t, text)) })
	}
	c, err := Load("../config.json")
	if err != nil {
		t.Fatal(err)
	}
	if c.File != "../config.json" {
		t.Errorf("it is from the file %q", c.File)
	}
	wantSame(t, c)
	text := string(c.JSON())
	for _, part := range []string{`"shutdown_timeout":"30s"`, `"connect_timeout":"5s"`, `"algorithm":"least_connections"`, `"weight":1`} {
		if !strings.Contains(text, part) {
			t.Errorf("no %s in %s", part, text)
		}
	}
	if strings.Contains(text, `"file"`) {
		t.Errorf("where it is from is no member: %s", text)
	}
}

// What is sent to servers in a header may be a secret.
func TestJSONHidesRequestHeaders(t *testing.T) {
	c := mustParse(t, fill(`, "routes": [{"pool": "p", "path": "/", "request_headers": {"set": {"Authorization": "s3cr3t"}, "add": {"X-A": "s3cr3t"}, "remove": ["Cookie"]},
		"response_headers": {"set": {"X-Frame-Options": "DENY"}}}]`, "", "", ""))
	text := string(c.JSON())
	want := `"request_headers":{"set":{"Authorization":"(hidden)"},"add":{"X-A":"(hidden)"},"remove":["Cookie"]},"response_headers":{"set":{"X-Frame-Options":"DENY"}}`
	if strings.Contains(text, "s3cr3t") || !strings.Contains(text, want) {
		t.Errorf("got %s, want %s in it", text, want)
	}
	if got := c.Listeners[0].Routes[0].RequestHeaders.Set[0].Value; got != "s3cr3t" {
		t.Errorf("the config itself was changed: %q", got)
	}
	if hidden := c.Hidden(); !slices.Equal(hidden, []string{"s3cr3t", "s3cr3t"}) {
		t.Errorf("said to be hidden: %q", hidden)
	}
}
