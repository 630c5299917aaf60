package supervisor

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Listeners that name the same file share it, however they write its path; a
// rename and a reopen lose nothing.
func TestAccessLog(t *testing.T) {
	dir := t.TempDir()
	a := echo(t, "a")
	w := start(t, `{
	  "listeners": [
	    {"name": "one", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all", "access_log": "%[1]s/access.log"},
	    {"name": "two", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all", "access_log": "%[1]s/./access.log"}],
	  "pools": [{"name": "all", "servers": [%[2]q], "health": false}]}`, dir, a)
	if n := len(w.current.Load().logs); n != 1 {
		t.Errorf("%d logs", n)
	}
	visit := func(listener string) {
		c := dial(t, w.address(listener))
		c.say("hello")
		c.Close()
		eventually(t, "ended", func() bool { return w.info(listener).TCP.Active == 0 })
	}
	visit("one")
	if err := os.Rename(dir+"/access.log", dir+"/old.log"); err != nil {
		t.Fatal(err)
	}
	visit("two")
	if err := w.ReopenLogs(); err != nil {
		t.Fatal(err)
	}
	visit("one")
	w.stop(0)
	var listeners []string
	for _, name := range []string{"old.log", "access.log"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var record struct{ Listener, Server, Pool, Ended string }
			if err := json.Unmarshal([]byte(line), &record); err != nil || record.Server != a || record.Pool != "all" || record.Ended != "client_closed" {
				t.Errorf("%q: error %v", line, err)
			}
			listeners = append(listeners, record.Listener)
		}
	}
	if slices.Sort(listeners); !slices.Equal(listeners, []string{"one", "one", "two"}) {
		t.Errorf("records of %q", listeners)
	}
	if err := w.ReopenLogs(); err == nil {
		t.Error("a closed log was reopened")
	}
}
