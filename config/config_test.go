package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fill returns a config file with one http listener, one pool and one server,
// each with more members of its own, given as they stand in the JSON.
func fill(listener, pool, server, top string) string {
	return fmt.Sprintf(`{
		"listeners": [{"name": "l", "protocol": "http", "address": ":0", "pool": "p"%s}],
		"pools": [{"name": "p", "servers": [{"address": "a:80"%s}]%s}]%s}`, listener, server, pool, top)
}

// fillTCP is fill with a tcp listener.
func fillTCP(listener, pool, server, top string) string {
	return strings.Replace(fill(listener, pool, server, top), `"http"`, `"tcp"`, 1)
}

// mustParse expects that a text is accepted, and by the schema too.
func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\nin %s", err, text)
	}
	if err := bySchema(t, text); err != nil {
		t.Errorf("accepted, but by the schema %v\nin %s", err, text)
	}
	return c
}

// checkError holds the error against its whole text; "" wants none.
func checkError(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("error is\n%s\nwant\n%s", got, want)
	}
}

var (
	standardHealth = Health{Interval: 5 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3}
	standardReuse  = Reuse{IdleTimeout: 30 * time.Second, MaxAge: time.Hour, MaxIdle: 256}
)

func TestWhatIsLeftOutGetsItsDefault(t *testing.T) {
	got := mustParse(t, `{
		"listeners": [
			{"name": "web", "protocol": "http", "address": ":8080", "pool": "one"},
			{"name": "db", "protocol": "tcp", "address": "LOCALHOST:05432", "pool": "one"}
		],
		"pools": [{"name": "one", "servers": ["HTTP://Example.COM", {"address": "[::0:1]:80"}]}, {"name": "unused"}],
		"admin": {}}`)
	health := standardHealth
	pool := Pool{
		Name: "one", Algorithm: "least_connections", Health: &health,
		Servers:        []Server{{Address: "example.com:80", Weight: 1}, {Address: "[::1]:80", Weight: 1}},
		ConnectTimeout: 5 * time.Second, ResponseTimeout: time.Minute, DrainTimeout: 30 * time.Second,
		OnUnhealthy: "keep", ResolveInterval: 30 * time.Second,
		Retries: &Retries{7, 20}, Reuse: &standardReuse,
	}
	unused := pool
	unused.Name, unused.Servers = "unused", nil
	want := &Config{
		Listeners: []Listener{
			{Name: "web", Protocol: "http", Address: ":8080", Pool: "one", IdleTimeout: time.Minute, HeaderTimeout: 30 * time.Second,
				Forwarded: "replace", MaxHeaderBytes: 16384, MaxHeaders: 256},
			{Name: "db", Protocol: "tcp", Address: "localhost:5432", Pool: "one", IdleTimeout: time.Hour, HalfClosedTimeout: time.Hour},
		},
		Pools:           []Pool{pool, unused},
		Admin:           &Admin{Address: "127.0.0.1:9900"},
		ShutdownTimeout: 30 * time.Second,
		IO:              "auto",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestWithoutAdminThereIsNone(t *testing.T) {
	if c := mustParse(t, fill("", "", "", "")); c.Admin != nil {
		t.Errorf("admin is %+v", c.Admin)
	}
}

func TestHealth(t *testing.T) {
	second := time.Second
	for text, want := range map[string]Health{
		`false`:             {Off: true},
		`{}`:                standardHealth,
		`{"interval": 1.5}`: {Interval: 1500 * time.Millisecond, Timeout: 1500 * time.Millisecond, Rise: 2, Fall: 3},
		`{"interval": "1m", "rise": 1, "fall": 1}`:   {Interval: time.Minute, Timeout: 2 * second, Rise: 1, Fall: 1},
		`{"interval": 1, "timeout": "1s"}`:           {Interval: second, Timeout: second, Rise: 2, Fall: 3},
		`{"path": "/up?deep=1"}`:                     {false, 5 * second, 2 * second, 2, 3, "/up?deep=1", []StatusRange{{200, 399}}},
		`{"path": "/", "status": "200-299 , 301"}`:   {false, 5 * second, 2 * second, 2, 3, "/", []StatusRange{{200, 299}, {301, 301}}},
		`{"path": "/", "status": "100,599,200-200"}`: {false, 5 * second, 2 * second, 2, 3, "/", []StatusRange{{100, 100}, {599, 599}, {200, 200}}},
	} {
		c := mustParse(t, fill("", `, "health": `+text, "", ""))
		if got := *c.Pools[0].Health; !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, want %+v", text, got, want)
		}
	}
}

func TestSecondsAreExact(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`1.001`:       1001 * time.Millisecond,
		`4.35`:        4350 * time.Millisecond,
		`0.057`:       57 * time.Millisecond,
		`1.1`:         1100 * time.Millisecond,
		`2.675`:       2675 * time.Millisecond,
		`1.000000001`: time.Second + 1,
	} {
		if got := mustParse(t, fill("", "", "", `, "shutdown_timeout": `+text)).ShutdownTimeout; got != want {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
}

// TestCompleteFromFlags builds a Config by hand, with no file to point into.
func TestCompleteFromFlags(t *testing.T) {
	c := &Config{
		Listeners: []Listener{{Name: "tcp", Protocol: ProtocolTCP, Address: ":5432", Pool: "tcp"}},
		Pools:     []Pool{{Name: "tcp", Servers: []Server{{Address: "http://10.0.0.1:5432"}, {Address: "10.0.0.2:5432"}}}},
	}
	checkError(t, c.Complete(), "")
	if got := c.Pools[0].Servers[0]; !reflect.DeepEqual(got, Server{Address: "10.0.0.1:5432", Weight: 1}) || c.Listeners[0].IdleTimeout != time.Hour {
		t.Errorf("completed to %+v", c)
	}

	c.Pools[0].Algorithm = "random"
	c.Pools[0].Servers[1] = Server{Address: "10.0.0.1:5432", Weight: 300}
	c.Pools[0].Health = &Health{Interval: time.Second, Timeout: time.Minute, Status: []StatusRange{{0, 1}, {7, 7}}}
	c.Listeners[0].HeaderTimeout = time.Second
	c.ShutdownTimeout = -time.Second
	checkError(t, c.Complete(), `8 problems
  listeners[0].header_timeout: only an http listener has it; leave it out
  pools[0].algorithm: "random" is not known; use one of "least_connections", "round_robin"
  pools[0].servers[1].weight: 300 is not allowed; use a whole number from 1 to 256
  pools[0].servers[1].address: "10.0.0.1:5432" is already the address of pools[0].servers[0]; keep one of them
  pools[0].health.timeout: 1m0s is not allowed; use at most the interval, which is 1s
  pools[0].health.status: needs a path, for a check without one is a TCP connect; add a path or leave it out
  pools[0].health.status: [0-1 7] is not allowed; use a string such as "200-399" or "200,301", up to 32 codes or ranges from 100 to 599
  shutdown_timeout: -1s is not allowed; use `+durations.form)

	checkError(t, (&Config{}).Complete(), "listeners: there are none, so there is nothing to do; add at least one")
}

func TestParseHasNoFileToName(t *testing.T) {
	_, err := Parse([]byte("{\n  \"listeners\": 5}"))
	checkError(t, err, `2:16: listeners: found the number 5; use an array`)
}

func TestTooManyProblemsAreCounted(t *testing.T) {
	text := "{" + join(maxProblems+5, func(i int) string { return fmt.Sprintf(`"k%d": 0`, i) }) + "}"
	_, err := Parse([]byte(text))
	lines := strings.Split(err.Error(), "\n")
	if got, want := len(lines), maxProblems+2; got != want {
		t.Errorf("%d lines, want %d", got, want)
	}
	// The listeners that are missing are one more.
	if lines[0] != "1006 problems" || lines[len(lines)-1] != "  and 6 more" {
		t.Errorf("begins with %q and ends with %q", lines[0], lines[len(lines)-1])
	}
}

func TestLoadSaysWhyAFileCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.json")
	_, err := Load(missing)
	checkError(t, err, missing+": cannot open the file: no such file or directory")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
	_, err = Load(dir)
	checkError(t, err, dir+": cannot read the file: is a directory")

	large := filepath.Join(dir, "large.json")
	text := fill("", "", "", "")
	for n, want := range map[int]string{
		maxFile:     "",
		maxFile + 1: ": larger than the 8388608 bytes that are allowed",
	} {
		data := []byte(text + strings.Repeat(" ", n-len(text)))
		if err := os.WriteFile(large, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = Load(large)
		if want == "" {
			checkError(t, err, "")
			continue
		}
		checkError(t, err, large+want)
		_, err = Parse(data)
		checkError(t, err, want[2:])
	}
}

// TestExample holds the config.json of the repository against what it shows.
func TestExample(t *testing.T) {
	c, err := Load("../config.json")
	if err != nil {
		t.Fatal(err)
	}
	want := []Server{{Address: "127.0.0.1:9001", Weight: 1}, {Address: "127.0.0.1:9002", Weight: 2, MaxConnections: 500}}
	if len(c.Listeners) != 2 || len(c.Pools) != 2 || !reflect.DeepEqual(c.Pools[0].Servers, want) || c.Admin.Address != "127.0.0.1:9900" {
		t.Errorf("loaded %+v", c)
	}
}

// TestReadme holds the configs that the README and docs show against what is allowed.
func TestReadme(t *testing.T) {
	var text []byte
	for _, name := range []string{"../README.md", "../docs/admin.md"} {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, page...)
	}
	blocks := strings.Split(string(text), "```json\n")[1:]
	if len(blocks) < 2 {
		t.Fatalf("found %d configs", len(blocks))
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		mustParse(t, block)
	}
}
