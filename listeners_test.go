package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"fulcrum/admin"
	"fulcrum/config"
	"fulcrum/supervisor"
)

func TestListeners(t *testing.T) {
	at := "unix:" + filepath.Join(t.TempDir(), "admin.sock")
	c, err := config.Parse([]byte(`{
	  "listeners": [
	    {"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "web"},
	    {"name": "db", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "db"}],
	  "pools": [{"name": "web"}, {"name": "db"}], "io": "epoll", "admin": {"address": "` + at + `"}}`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := supervisor.Start(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	fulcrum(t, "listeners", "--admin", at).ok("LISTENER", "TO UPSTREAM", "web", "db", "epoll", s.Listeners()[1].Address)
	fulcrum(t, "servers", "list", "--admin", at).ok("POOL", "(no servers)")

	list := fulcrum(t, "listeners", "--admin", at, "--json")
	list.ok()
	var listeners []admin.ListenerInfo
	if err := json.Unmarshal([]byte(list.stdout), &listeners); err != nil || len(listeners) != 2 ||
		listeners[0].TCP != nil || listeners[1].TCP == nil || listeners[1].Pool != "db" {
		t.Errorf("printed %s, error %v", list.stdout, err)
	}
}

func TestListenersWithoutABalancer(t *testing.T) {
	at := "unix:" + filepath.Join(t.TempDir(), "none.sock")
	fulcrum(t, "listeners", "--admin", at).refused(exitFailed, "no admin listener answers at "+at)
}

func TestListenersTable(t *testing.T) {
	tls := []admin.Route{{SNI: "a.example", Pool: "a"}, {SNI: "*.example", Pool: "b"}}
	var out bytes.Buffer
	err := printListeners(&out, []admin.ListenerInfo{
		{Name: "web", Protocol: "http", Address: "127.0.0.1:80", Pool: "web"},
		{Name: "db", Protocol: "tcp", Address: "[::]:5432", Pool: "db", IO: "io_uring", TCP: &admin.Traffic{
			Accepted: 12345, Active: 7, ToUpstream: 1000, ToClient: 9_999_999_999,
			Connect: admin.Durations{Count: 9, P50MS: 0.04, P99MS: 12.4}, FirstByte: admin.Durations{Count: 9, P50MS: 999.4, P99MS: 59_000},
			Duration: admin.Durations{Count: 1, P50MS: 60_000, P99MS: 3_600_000}}},
		{Name: "tls", Protocol: "tcp", Address: "unix:/run/tls.sock", IO: "epoll", Routes: tls, TCP: &admin.Traffic{}},
		{Name: "both", Protocol: "tcp", Address: ":443", Pool: "a", IO: "epoll", Routes: tls[:1], TCP: &admin.Traffic{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `
LISTENER  PROTOCOL  ADDRESS             POOL           IO        ACCEPTED  ACTIVE  TO UPSTREAM  TO CLIENT  CONNECT      FIRST BYTE     DURATION
web       http      127.0.0.1:80        web            -         -         -       -            -          -            -              -
db        tcp       [::]:5432           db             io_uring  12345     7       1.0 KB       10 GB      40 µs/12 ms  999 ms/59.0 s  1 min/60 min
tls       tcp       unix:/run/tls.sock  2 routes       epoll     0         0       0 B          0 B        -            -              -
both      tcp       :443                a and 1 route  epoll     0         0       0 B          0 B        -            -              -
`
	if got := "\n" + out.String(); strings.ReplaceAll(got, " \n", "\n") != want {
		t.Errorf("printed:%s\nwant:%s", got, want)
	}
}
