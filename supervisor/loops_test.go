package supervisor

import (
	"strings"
	"testing"

	"fulcrum/loop"
)

// The config says how event loops wait, and what came of it is told once.
func TestIO(t *testing.T) {
	const text = `{"io": %q, "listeners": [{"name": "db", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}], "pools": [{"name": "all", "servers": [%q]}]}`
	want := map[string]string{"epoll": "epoll", "auto": loop.Auto().String(), "io_uring": "io_uring"}
	if err := loop.ProbeIOUring(); err != nil {
		delete(want, "io_uring")
		_, failed := Start(parse(t, text, "io_uring", "127.0.0.1:1"), quiet)
		wantErr(t, failed, "io_uring cannot be used", err.Error())
	}
	for io, used := range want {
		w := start(t, text, io, echo(t, "a"))
		if got := w.info("db").IO; got != used {
			t.Errorf("%s: %s is used, want %s", io, got, used)
		}
		if name := dial(t, w.address("db")).say("hello"); name != "a" {
			t.Errorf("%s: %q answered", io, name)
		}
		if log := w.log.String(); strings.Count(log, `msg="event loops" io=`+used) != 1 {
			t.Errorf("%s: logged %s", io, log)
		}
	}
}

// What descriptors allow is said at start, and when the config asks for more.
func TestDescriptors(t *testing.T) {
	if n := connectionsWithin(1024); n != 462 {
		t.Errorf("1024 descriptors are for %d connections", n)
	}
	if n := connectionsWithin(50); n != 0 {
		t.Errorf("50 descriptors are for %d connections", n)
	}
	const text = `{
	  "listeners": [
	    {"name": "a", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all", "max_connections": %[1]d},
	    {"name": "b", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all", "max_connections": %[1]d}],
	  "pools": [{"name": "all"}]}`
	const warning = "max_connections are more than the file descriptors allow"
	if log := start(t, text, 1).log.String(); strings.Count(log, `msg="file descriptors" limit=`) != 1 || strings.Contains(log, warning) {
		t.Errorf("logged %s", log)
	}
	if log := start(t, text, 1_000_000).log.String(); !strings.Contains(log, warning) || !strings.Contains(log, "max_connections=2000000 needed=4000100 limit=") {
		t.Errorf("logged %s", log)
	}
}
