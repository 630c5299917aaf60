package l4

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fulcrum/accesslog"
	"fulcrum/pool"
	"fulcrum/proxyproto"
)

// logged has a listener write an access log; records reads it, after the
// listener was stopped.
func (w *world) logged() (records func() []map[string]any) {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "access.log")
	log, err := accesslog.Open(path, accesslog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(log.Close)
	w.options.AccessLog = log
	return func() (all []map[string]any) {
		w.t.Helper()
		w.stop(soon)
		log.Close()
		b, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var r map[string]any
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				w.t.Fatalf("%q: %v", line, err)
			}
			all = append(all, r)
		}
		return all
	}
}

// wantRecord compares a record. Of the times, which differ, it wants only that
// they are there.
func wantRecord(t *testing.T, got, want map[string]any) {
	t.Helper()
	at, err := time.Parse(time.RFC3339, got["time"].(string))
	if age := time.Since(at); err != nil || age < 0 || age > patience {
		t.Errorf("the time is %v, error %v", got["time"], err)
	}
	got = maps.Clone(got)
	delete(got, "time")
	for name, value := range got {
		if ms, ok := value.(float64); ok && strings.HasSuffix(name, "_ms") && ms >= 0 && ms < float64(patience.Milliseconds()) {
			got[name] = "some"
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("record\n%v, want\n%v", got, want)
	}
}

func TestAConnectionIsLogged(t *testing.T) {
	w := prepare(t, pool.RoundRobin)
	records := w.logged()
	w.refusing()
	server := w.echo(pool.ServerSpec{})
	w.start()
	c := w.dial()
	c.wantEcho()
	c.Write([]byte("x"))
	c.wantRead("x")
	c.Close()
	w.wantEnds(ends{ClientClosed: 1})
	got := records()
	if len(got) != 1 {
		t.Fatalf("%d records", len(got))
	}
	want := map[string]any{
		"listener": "db", "client": c.LocalAddr().String(), "server": server.Address(), "pool": "db", "tried": 2.,
		"to_upstream": 6., "to_client": 6., "connect_ms": "some", "first_byte_ms": "some", "duration_ms": "some",
		"ended": "client_closed",
	}
	if got[0]["tried"] == 1. {
		want["tried"] = 1.
	}
	wantRecord(t, got[0], want)
}

// What is not known is left out.
func TestRefusalsAreLogged(t *testing.T) {
	w := routed(t, "example.com")
	records := w.logged()
	w.acceptFrom("127.0.0.0/8")
	w.pool, _ = pool.New("empty", pool.Options{})
	w.options.Routes = append(w.options.Routes, Route{"none.example.com", &Upstream{Pool: w.pool}})
	w.start()
	header := proxyproto.Append(nil, proxyproto.V1, someClient, someAddress)
	var peers []string
	for _, said := range [][]byte{
		[]byte("no header"),
		append(slices.Clone(header), hello(t, "elsewhere.com")...),
		append(slices.Clone(header), hello(t, "none.example.com")...),
	} {
		c := w.dial()
		peers = append(peers, c.LocalAddr().String())
		c.Write(said)
		c.wantClosed()
	}
	got := records()
	if len(got) != 3 {
		t.Fatalf("%d records", len(got))
	}
	slices.SortFunc(got, func(a, b map[string]any) int { return strings.Compare(a["ended"].(string), b["ended"].(string)) })
	wantRecord(t, got[0], map[string]any{"listener": "db", "client": peers[0], "duration_ms": "some", "ended": "bad_proxy_header"})
	wantRecord(t, got[1], map[string]any{"listener": "db", "client": someClient.String(), "pool": "empty", "sni": "none.example.com",
		"duration_ms": "some", "ended": "no_server_ready"})
	wantRecord(t, got[2], map[string]any{"listener": "db", "client": someClient.String(), "sni": "elsewhere.com",
		"duration_ms": "some", "ended": "unknown_name"})
}

func TestAClientOfAUnixSocketHasNoAddress(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	records := w.logged()
	w.options.MaxPerClient = 1
	w.options.Address = &net.UnixAddr{Name: t.TempDir() + "/listener", Net: "unix"}
	server := w.echo(pool.ServerSpec{})
	w.start()
	for range 2 { // are not counted as the same client
		c, err := net.Dial("unix", w.Address().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		c.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	w.stop(0)
	for _, r := range records() {
		wantRecord(t, r, map[string]any{"listener": "db", "server": server.Address(), "pool": "db", "tried": 1., "to_upstream": 1.,
			"to_client": 1., "connect_ms": "some", "first_byte_ms": "some", "duration_ms": "some", "ended": "drained"})
	}
}

func TestARecordCostsNoMemory(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.logged()
	server := w.echo(pool.ServerSpec{})
	w.start()
	worker := w.workers[0]
	s := &session{worker: worker, plan: worker.plan, to: w.to, counts: &serverCounts{},
		details: &details{client: netip.MustParseAddrPort("[2001:db8::1]:80"), name: "www.example.com"}}
	s.lease, _ = w.pool.Acquire(nil)
	defer s.lease.Release(pool.Served)
	if s.lease.Server() != server {
		t.Fatal("another server")
	}
	allocations := make(chan float64)
	worker.loop.Post(func() {
		s.record(ClientClosed)
		allocations <- testing.AllocsPerRun(1000, func() { s.record(ClientClosed) })
	})
	if n := <-allocations; n != 0 {
		t.Errorf("%v allocations for each record", n)
	}
}
