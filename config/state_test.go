package config

import (
	"os"
	"path/filepath"
	"testing"
)

// The state file is beside the config unless that says where it is, or that there is
// none. What comes from no file has none.
func TestState(t *testing.T) {
	folder := t.TempDir()
	for member, want := range map[string]string{
		``:                                      filepath.Join(folder, "state.json"),
		`, "state": false`:                      "",
		`, "state": "/var/lib/fulcrum/db.json"`: "/var/lib/fulcrum/db.json",
	} {
		path := filepath.Join(folder, "config.json")
		if err := os.WriteFile(path, []byte(fill("", "", "", member)), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if c.State != want {
			t.Errorf("with %q the state file is %q, want %q", member, c.State, want)
		}
	}
	if c := mustParse(t, fill("", "", "", "")); c.State != "" {
		t.Errorf("a config from no file has the state file %q", c.State)
	}
}

func TestTheStateFileOfAServiceIsWhereItMayWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(`{"listeners": [{"name": "a", "protocol": "tcp", "address": ":1", "pool": "p"}], "pools": [{"name": "p"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STATE_DIRECTORY", "/var/lib/one:/var/lib/two")
	c, err := Load(file)
	if err != nil || c.State != "/var/lib/one/state.json" {
		t.Errorf("got %q %v", c.State, err)
	}
}

func TestAConfigFromAPipeHasNoStateFileBesideIt(t *testing.T) {
	if at := stateBeside("/dev/null"); at != "" {
		t.Errorf("got %q", at)
	}
}
