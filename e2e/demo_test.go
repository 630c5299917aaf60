package e2e_test

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDemo does what a newcomer does: starts the demo, pastes each line that it
// prints, and ends it by Ctrl-C.
func TestDemo(t *testing.T) {
	w := newWorld(t, 60*time.Second)
	demo := w.start(w.command(raceBinary, "demo", "--load"))
	says := func(text string) {
		t.Helper()
		w.eventually("the demo prints "+text, func() bool { return strings.Contains(demo.stdout.String(), text) })
	}
	says("Ctrl-C ends it")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the demo's output:\n%s", demo.stdout.tail())
		}
	})
	lines := demoCommands(demo.stdout.String())
	want := [][]string{ // what each command has to say
		{"hello from"},
		{"hello from", "hello\n"},
		{`"pools"`, `"web"`, `"ready"`},
		{"goes away for 10s"},
		{`"draining"`},
		{`"created": true`},
	}
	if len(lines) != len(want) {
		t.Fatalf("the demo suggests %d commands, want %d: %q", len(lines), len(want), lines)
	}
	for i, line := range lines {
		p := w.start(w.command("sh", "-c", line))
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: does not end by itself", line)
			p.kill()
		}
		if p.code() != 0 {
			t.Errorf("%s: exit code %d: %s", line, p.code(), p.stderr.String())
		}
		for _, word := range want[i] {
			if text := p.stdout.String(); !strings.Contains(spaced(text), word) {
				t.Errorf("%s prints %q, want it to say %s", line, text, word)
			}
		}
	}
	says("server is not healthy")
	demo.signal(syscall.SIGINT)
	w.await("the demo has ended", demo.ended)
	if demo.code() != 0 {
		t.Errorf("exit code %d after SIGINT, want 0", demo.code())
	}
	_, counts, _ := strings.Cut(demo.stdout.String(), "\nload: ")
	counts, _, _ = strings.Cut(counts, "\n")
	t.Log(counts)
	if strings.Count(counts, ", 0 failed") != 2 || strings.HasPrefix(counts, "0 ") {
		t.Errorf("the load's summary is %q, want many answered and 0 failed of both kinds", counts)
	}
	if strings.Contains(demo.stderr.String(), "DATA RACE") {
		t.Error("the race detector has found something")
	}
}

// demoCommands returns the lines that the demo suggests to paste into a shell.
func demoCommands(output string) (lines []string) {
	_, output, _ = strings.Cut(output, "Try, in another terminal:")
	output, _, _ = strings.Cut(output, "Ctrl-C ends it")
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// spaced puts a space behind the colons of JSON, whether or not it has them.
func spaced(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, `": `, `":`), `":`, `": `)
}
