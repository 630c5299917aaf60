package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The whole program, with all its processes, measures without an error.
func TestTheProgramMeasures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bench.json")
	table, err := bench(t, "--only", "^(tcp-echo-64|tcp-up-16|http-close|http-open)$", "--contenders", "direct,reverseproxy",
		"--rounds", "1", "--seconds", "0.2", "--warm-up", "50ms", "--rate", "500", "--json", file)
	if err != nil {
		t.Fatalf("%v\n%s", err, table)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Samples) != 6 {
		t.Errorf("%d samples, want 4 of direct and 2 of reverseproxy", len(got.Samples))
	}
	for _, s := range got.Samples {
		proxied := s.Contender == reverseProxy
		if s.Errors != 0 || s.Units <= 0 || s.Rate <= 0 || s.ClientCPU <= 0 || s.OriginCPU <= 0 || (s.P99 <= 0) || s.P99 < s.P50 {
			t.Errorf("sample %+v", s)
		}
		if (s.ProxyCPU > 0) != proxied || (s.Memory > 1<<20) != proxied {
			t.Errorf("%s used %v of CPU and %d bytes", s.Contender, s.ProxyCPU, s.Memory)
		}
		if !strings.Contains(table, "| "+s.Contender+" |") || !strings.Contains(table, "### "+s.Scenario) {
			t.Errorf("%s of %s is not in the table:\n%s", s.Contender, s.Scenario, table)
		}
	}
}

// Idle connections are counted by what the proxy's descriptors and memory grow.
func TestIdleConnectionsAreCounted(t *testing.T) {
	sc := named(t, "http-128B-64")
	sc.Load, sc.Connections = idleLoad, 40
	s, err := measure(t.Context(), task{Scenario: sc, Contender: contender{Name: reverseProxy}, Window: 50 * time.Millisecond}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if s.Errors != 0 || s.ConnectionDescriptors < 0.9 || s.ConnectionDescriptors > 2.5 || s.ConnectionMemory <= 0 {
		t.Errorf("sample %+v, want 1 to 2 descriptors for a connection", s)
	}
}

func TestAProxyThatCannotStartIsAnErrorInTheTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(file, []byte("#!/bin/sh\necho no luck today >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	table, err := bench(t, "--fulcrum", file, "--contenders", "fulcrum,direct", "--only", "tcp-echo-1",
		"--rounds", "1", "--seconds", "0.1", "--warm-up", "0s")
	if err == nil || !strings.Contains(err.Error(), "errors: 1") {
		t.Errorf("the program returned %v, want one error", err)
	}
	if !strings.Contains(table, "no luck today") || !strings.Contains(table, "| direct | ") {
		t.Errorf("the table lacks the reason or the other contender:\n%s", table)
	}
}

func TestWrongFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"--rounds", "0"}, {"--seconds", "-1"}, {"--idle", "0"}, {"--rate", "0"}, {"--only", "("}, {"--contenders", "traefik"},
		{"--fulcrum", "/does/not/exist"}, {"surplus"},
	} {
		if _, err := bench(t, args...); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

// Also while a client waits for a proxy that answers nothing.
func TestTheEndOfTheContextEndsAMeasurement(t *testing.T) {
	me, err := self()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []contender{{Name: direct}, {Name: "hanging", Binary: me}} {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(400*time.Millisecond, cancel)
			begin := time.Now()
			_, err := measure(ctx, task{Scenario: named(t, "tcp-echo-64"), Contender: c, Window: time.Minute}, t.TempDir())
			if took := time.Since(begin); !errors.Is(err, context.Canceled) || took > startTimeout/2 {
				t.Errorf("after %v: %v", took, err)
			}
		})
	}
}

// idleProcess is a process that does nothing and can be read as an origin.
func idleProcess() *exec.Cmd { return exec.Command("sleep", "60") }

// stallingServer answers requests, but none for a while after the first few.
func stallingServer(t *testing.T, after int64, stall time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var count atomic.Int64
	resume := make(chan struct{})
	serve := func(conn net.Conn) {
		defer conn.Close()
		for r := bufio.NewReader(conn); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line != "\r\n" {
				continue
			}
			switch n := count.Add(1); {
			case n == after:
				time.AfterFunc(stall, func() { close(resume) })
				<-resume
			case n > after:
				<-resume
			}
			if _, err := conn.Write(answers["/128"][0]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return l.Addr().String()
}

// slowServer answers a request on each connection at every tick.
func slowServer(t *testing.T, tick time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	serve := func(conn net.Conn) {
		defer conn.Close()
		next := time.NewTicker(tick)
		defer next.Stop()
		for buf := make([]byte, maxHead); ; <-next.C {
			if _, _, err := readHead(conn, buf, 0); err != nil {
				return
			}
			if _, err := conn.Write(answers["/128"][0]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return l.Addr().String()
}

// driveOpen makes an open loop without errors that has a latency for each of the
// requests due while it is measured, however slow this machine is.
func driveOpen(t *testing.T, st *stage, due uint64) sample {
	t.Helper()
	load, err := st.openLoad()
	if err != nil {
		t.Fatal(err)
	}
	s, err := st.drive(t.Context(), load)
	if err != nil {
		t.Fatal(err)
	}
	_, latency := load.counted()
	if s.Errors != 0 || latency.total != due {
		t.Errorf("%d latencies, %d errors (%s); want %d and none", latency.total, s.Errors, s.Error, due)
	}
	return s
}

// A server that stalls for 300 ms of 1,000 requests a second delays 300
// requests, though only as many as there are connections wait at the server.
func TestTheOpenLoopCountsRequestsThatCouldNotBeSent(t *testing.T) {
	sc := named(t, "http-open")
	sc.Connections = 4
	origin, err := start(idleProcess())
	if err != nil {
		t.Fatal(err)
	}
	defer origin.stop()
	st := &stage{
		task:    task{Scenario: sc, Contender: contender{Name: direct}, Rate: 1000, WarmUp: 100 * time.Millisecond, Window: time.Second},
		origin:  origin,
		targets: []string{stallingServer(t, 200, 300*time.Millisecond)},
	}
	s := driveOpen(t, st, 1000)
	if s.Units == 0 {
		t.Error("no answer was counted")
	}
	// The slowest 30 % waited up to 300 ms, evenly.
	if s.P99 < 250*time.Millisecond {
		t.Errorf("p99 is %v, want almost the whole stall", s.P99)
	}
}

// A server that is too slow shows in the rate, and every request that was due within
// the window waits the longer the later it was due: answered after the window or,
// 1.6 s after the beginning, given up unsent.
func TestTheOpenLoopOfAServerThatIsTooSlow(t *testing.T) {
	const asked = 1000
	sc := named(t, "http-open")
	sc.Connections = 1
	for _, test := range []struct {
		answered int // a second
		p50, p99 time.Duration
	}{
		{400, 450 * time.Millisecond, 800 * time.Millisecond},
		{100, 1100 * time.Millisecond, 1400 * time.Millisecond},
	} {
		t.Run(fmt.Sprint(test.answered), func(t *testing.T) {
			origin, err := start(idleProcess())
			if err != nil {
				t.Fatal(err)
			}
			defer origin.stop()
			st := &stage{
				task:    task{Scenario: sc, Contender: contender{Name: direct}, Rate: asked, WarmUp: 100 * time.Millisecond, Window: 500 * time.Millisecond},
				origin:  origin,
				targets: []string{slowServer(t, time.Second/time.Duration(test.answered))},
			}
			s := driveOpen(t, st, 500)
			if s.Units == 0 || s.Rate > 0.75*asked || s.Asked != asked || !makeRow([]sample{s}).overloaded() {
				t.Errorf("%g/s of %g/s, want some %d/s of %d/s", s.Rate, s.Asked, test.answered, asked)
			}
			if s.P50 < test.p50 || s.P99 < test.p99 {
				t.Errorf("p50 %v and p99 %v, want more than %v and %v", s.P50, s.P99, test.p50, test.p99)
			}
		})
	}
}

// A proxy that breaks a connection costs one error, not the measurement.
func TestTheOpenLoopGoesOnWithoutABrokenConnection(t *testing.T) {
	sc := named(t, "http-open")
	sc.Connections = 4
	o := startOrigin(t, modeHTTP)
	origin, err := start(idleProcess())
	if err != nil {
		t.Fatal(err)
	}
	defer origin.stop()
	var broken atomic.Bool
	once := func(r io.Reader) io.Reader {
		if broken.CompareAndSwap(false, true) {
			return io.LimitReader(r, 1000)
		}
		return r
	}
	st := &stage{
		task:    task{Scenario: sc, Contender: contender{Name: direct}, Rate: 1000, Window: 200 * time.Millisecond},
		origin:  origin,
		targets: []string{startProxy(t, o.addresses()[0], once, nil)},
	}
	s, err := st.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Errors != 1 || s.Units < 10 {
		t.Errorf("%g requests, %d errors (%s); want nearly 200 on an idle machine and one", s.Units, s.Errors, s.Error)
	}
}
