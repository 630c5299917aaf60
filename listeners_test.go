package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
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
	fulcrum(t, "listeners", "--admin", at).ok("HTTP LISTENER", "REQUESTS", "web", "TCP LISTENER", "TO UPSTREAM", "db", s.Listeners()[1].Address)
	fulcrum(t, "servers", "list", "--admin", at).ok("POOL", "(no servers)")

	list := fulcrum(t, "listeners", "--admin", at, "--json")
	list.ok()
	var listeners []admin.ListenerInfo
	if err := json.Unmarshal([]byte(list.stdout), &listeners); err != nil || len(listeners) != 2 ||
		listeners[0].TCP != nil || listeners[0].HTTP == nil || listeners[1].TCP == nil || listeners[1].HTTP != nil ||
		listeners[1].Pool != "db" || listeners[0].IO != "epoll" || listeners[1].IO != "epoll" {
		t.Errorf("printed %s, error %v", list.stdout, err)
	}
}

func TestListenersWithoutABalancer(t *testing.T) {
	at := "unix:" + filepath.Join(t.TempDir(), "none.sock")
	fulcrum(t, "listeners", "--admin", at).refused(exitFailed, "no admin listener answers at "+at)
}

// Each protocol has a table of its own, in which http routes are below their listener.
func TestListenersTable(t *testing.T) {
	tls := []admin.Route{{SNI: "a.example", Pool: "a"}, {SNI: "*.example", Pool: "b"}}
	web := []admin.Route{
		{Host: "www.example.com", Path: "/api/", Pool: "api", HTTP: &admin.HTTPTraffic{
			Requests: 40, Active: 2, Statuses: map[string]int64{"2xx": 30, "5xx": 8}, Retries: 1, Received: 2_000_000, Sent: 70,
			FirstByte: admin.Durations{Count: 38, P50MS: 0.5, P99MS: 2}, Duration: admin.Durations{Count: 38, P50MS: 1, P99MS: 20}}},
		{Host: "*.example.com", Redirect: &admin.Redirect{Scheme: "https", Status: 301}, HTTP: &admin.HTTPTraffic{}},
		{Path: "/old", Redirect: &admin.Redirect{Path: "/new?x", Status: 308}, HTTP: &admin.HTTPTraffic{}},
		{Redirect: &admin.Redirect{Host: "example.org:8080", Path: "/", Status: 302}, HTTP: &admin.HTTPTraffic{}},
	}
	listeners := []admin.ListenerInfo{
		{Name: "web", Protocol: "http", Address: "127.0.0.1:80", Pool: "web", Routes: web, HTTP: &admin.HTTPTraffic{
			Connections: &admin.Connections{Accepted: 12345, Open: 99}, Requests: 123456, Active: 7, Retries: 3,
			Statuses: map[string]int64{"2xx": 123000, "4xx": 321, "5xx": 12}, Received: 9_999_999_999, Sent: 10,
			FirstByte: admin.Durations{Count: 9, P50MS: 0.04, P99MS: 12.4}, Duration: admin.Durations{Count: 9, P50MS: 999.4, P99MS: 59_000}}},
		{Name: "db", Protocol: "tcp", Address: "[::]:5432", Pool: "db", TCP: &admin.Traffic{
			Accepted: 12345, Active: 7, ToUpstream: 1000, ToClient: 9_999_999_999,
			Connect: admin.Durations{Count: 9, P50MS: 0.04, P99MS: 12.4}, FirstByte: admin.Durations{Count: 9, P50MS: 999.4, P99MS: 59_000},
			Duration: admin.Durations{Count: 1, P50MS: 60_000, P99MS: 3_600_000}}},
		{Name: "tls", Protocol: "tcp", Address: "unix:/run/tls.sock", Routes: tls, TCP: &admin.Traffic{}},
		{Name: "both", Protocol: "tcp", Address: ":443", Pool: "a", Routes: tls[:1], TCP: &admin.Traffic{}},
		{Name: "strict", Protocol: "http", Address: ":81", Routes: web[1:2], HTTP: &admin.HTTPTraffic{}},
	}
	const tcpTable = `
TCP LISTENER  ADDRESS             POOL           ACCEPTED  ACTIVE  TO UPSTREAM  TO CLIENT  CONNECT      FIRST BYTE     DURATION
db            [::]:5432           db             12345     7       1.0 KB       10 GB      40 µs/12 ms  999 ms/59.0 s  1 min/60 min
tls           unix:/run/tls.sock  2 routes       0         0       0 B          0 B        -            -              -
both          :443                a and 1 route  0         0       0 B          0 B        -            -              -
`
	const httpTable = `
HTTP LISTENER           ADDRESS       POOL                       OPEN  REQUESTS  ACTIVE  4XX  5XX  RETRIES  RECEIVED  SENT  FIRST BYTE     DURATION
web                     127.0.0.1:80  web                        99    123456    7       321  12   3        10 GB     10 B  40 µs/12 ms    999 ms/59.0 s
  www.example.com/api/                api                              40        2       0    8    1        2.0 MB    70 B  500 µs/2.0 ms  1.0 ms/20 ms
  *.example.com                       301 https://*                    0         0       0    0    0        0 B       0 B   -              -
  */old                               308 /new?x                       0         0       0    0    0        0 B       0 B   -              -
  *                                   302 *://example.org:8080/        0         0       0    0    0        0 B       0 B   -              -
strict                  :81           -                          -     0         0       0    0    0        0 B       0 B   -              -
  *.example.com                       301 https://*                    0         0       0    0    0        0 B       0 B   -              -
`
	for want, listed := range map[string][]admin.ListenerInfo{
		tcpTable + httpTable: listeners,
		tcpTable:             listeners[1:4],
		httpTable:            {listeners[0], listeners[4]},
	} {
		var out bytes.Buffer
		if err := printListeners(&out, listed); err != nil {
			t.Fatal(err)
		}
		if got := "\n" + out.String(); got != want {
			t.Errorf("printed:%s\nwant:%s", got, want)
		}
	}
}
