package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fulcrum/admin"
)

// Where servers come from is told once some were uploaded.
func TestTableTellsSources(t *testing.T) {
	now := time.Now()
	servers := []admin.Server{{Address: "10.0.0.1:80", Source: "config", State: "unchecked", Since: now}, {Address: "10.0.0.2:80", Source: "uploaded", State: "unchecked", Since: now}}
	for shown, want := range map[int]string{
		1: "POOL SERVER STATE WEIGHT|web 10.0.0.1:80 unchecked 0s|",
		2: "POOL SERVER SOURCE STATE|web 10.0.0.1:80 config unchecked|web 10.0.0.2:80 uploaded unchecked|",
	} {
		var out bytes.Buffer
		if err := printServers(&out, []admin.Pool{{Name: "web", Servers: servers[:shown]}}, now); err != nil {
			t.Fatal(err)
		}
		got := ""
		for line := range strings.Lines(out.String()) {
			got += strings.Join(strings.Fields(line)[:4], " ") + "|"
		}
		if got != want {
			t.Errorf("printed %q, want %q", got, want)
		}
	}
}

// Where there is no state file is said: it may be somewhere else.
func TestStateDiffSaysWhereItLooks(t *testing.T) {
	path := written(t, fmt.Sprintf(valid, "127.0.0.1:0"))
	absent, file := filepath.Join(filepath.Dir(path), "state.json"), filepath.Join(t.TempDir(), "elsewhere.json")
	fulcrum(t, "state", "diff", "--config", path).ok("no differences: there is no " + absent)
	if err := os.WriteFile(file, []byte(`{"version": 1, "servers": [{"pool": "web", "server": "127.0.0.1:1", "source": "config", "deleted": true}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	fulcrum(t, "state", "diff", "--config", path, "--state", file).ok("pool web, server 127.0.0.1:1: deleted")
}
