package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"fulcrum/admin"
)

// Without a terminal there is one screen, as wide as COLUMNS says.
func TestTopOnce(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	t.Setenv("TERM", "xterm")
	at := balancer(t, `{"name": "web", "health": false, "servers": ["127.0.0.1:1", "127.0.0.1:2"]}, {"name": "api"}`)
	for _, width := range []string{"120", "50", ""} {
		t.Setenv("COLUMNS", width)
		o := fulcrum(t, "top", "--once", "--admin", at)
		o.ok("fulcrum ● ready", " web ", "● 2/2 ready", "  127.0.0.1:1 ", "● ready", "✗ 0/0 ready", "EVENTS\n", "server ready  127.0.0.1:2 in web")
		widest := 0
		for line := range strings.Lines(o.stdout) {
			widest = max(widest, ansi.StringWidth(strings.TrimSuffix(line, "\n")))
		}
		if want := map[string]int{"120": 120, "50": 50, "": 80}[width]; widest != want || strings.Contains(o.stdout, "\x1b") {
			t.Errorf("with COLUMNS=%q %d columns are used:\n%s", width, widest, o.stdout)
		}
	}
	o := fulcrum(t, "top", "--once", "--json", "--admin", at)
	o.ok()
	var live admin.Live
	if err := json.Unmarshal([]byte(o.stdout), &live); err != nil || len(live.Pools) != 2 || len(live.Servers) != 2 || live.Servers[0].State != admin.StateReady {
		t.Errorf("printed %s, error %v", o.stdout, err)
	}
}

func TestTopMistakes(t *testing.T) {
	fulcrum(t, "top").refused(exitUsage, "top takes a terminal for its output; use --once without one")
	fulcrum(t, "top", "--json").refused(exitUsage, "--json goes with --once only")
	fulcrum(t, "top", "--once", "web").refused(exitUsage, `unexpected argument "web"`)
	fulcrum(t, "top", "--once", "--admin", listen(t).Addr().String()+"0").refused(exitUsage, "--admin")
	fulcrum(t, "top", "--once", "--admin", "unix:/nowhere/admin").refused(exitFailed, "no admin listener answers at unix:/nowhere/admin")
}
