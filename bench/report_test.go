package main

import (
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// exampleReport has a scenario of each kind of table.
func exampleReport(t *testing.T) report {
	t.Helper()
	samples := rounds()
	for i, c := range []string{haproxy, nginx, fulcrum} {
		samples = append(samples,
			sample{Scenario: "tcp-down-1", Contender: c, Units: 4, Rate: 2.0004 + float64(i), Window: 2 * time.Second, ProxyCPU: 1700 * time.Millisecond, P50: 1, P99: 1, P999: 1},
			sample{Scenario: "tcp-idle", Contender: c, Units: 5000, Rate: 2500, Window: 2 * time.Second, ProxyCPU: time.Millisecond, Memory: 30 << 20,
				ConnectionMemory: 3800 / float64(i+1), ConnectionDescriptors: 2})
	}
	for i, c := range []string{haproxy, caddy} {
		cpu := time.Duration(1+11*i) * 250 * time.Millisecond
		samples = append(samples, sample{Scenario: "http-open", Contender: c, Units: 20000 - 9000*float64(i), Rate: 10000 - 4500*float64(i), Asked: 10000,
			Window: 2 * time.Second, ProxyCPU: cpu, P50: time.Millisecond, P99: 2 * time.Millisecond, P999: 3 * time.Millisecond})
	}
	return report{
		Machine: machine{CPUs: 2, Kernel: "6.1.0"}, Rounds: 3, Window: 2 * time.Second,
		Contenders: []about{{direct, "no proxy"}, {haproxy, "HAProxy 2.6"}, {nginx, "nginx 1.22"}, {caddy, "2.6.2"}, {reverseProxy, "net/http/httputil"}, {fulcrum, "v1"}},
		Scenarios:  []scenario{named(t, "tcp-echo-64"), named(t, "tcp-down-1"), named(t, "tcp-idle"), named(t, "http-post"), named(t, "http-open")},
		Rows:       summarize(samples), Samples: samples,
	}
}

func TestTheTableIsTheGoldenOne(t *testing.T) {
	got := writeTable(exampleReport(t))
	golden := filepath.Join("testdata", "table.md")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the table is not that of %s (go test ./bench -update rewrites it):\n%s", golden, got)
	}
}

func TestNumbersAreFormattedForPeople(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{grouped(0), "0"}, {grouped(999), "999"}, {grouped(1000), "1,000"}, {grouped(1234567.6), "1,234,568"},
		{span(0), "–"}, {span(1234), "1.23 µs"}, {span(98_760), "98.8 µs"}, {span(437e6), "437 ms"}, {span(2.5e9), "2.50 s"},
		{size(0), "–"}, {size(3789), "3.70 KiB"}, {size(30 << 20), "30.0 MiB"}, {size(-2048), "-2.00 KiB"},
		{factor(0), "–"}, {factor(0.856), "0.86"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

func TestTheChartIsSVGWithAllNames(t *testing.T) {
	chart, err := writeChart(exampleReport(t))
	if err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(strings.NewReader(string(chart)))
	elements := map[string]int{}
	var words strings.Builder
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			elements[token.Name.Local]++
		case xml.CharData:
			words.Write(token)
		}
	}
	if elements["svg"] != 1 || elements["path"] < 11 {
		t.Errorf("elements %v, want one svg and a path for each of 11 bars", elements)
	}
	for _, want := range []string{haproxy, nginx, caddy, fulcrum, "tcp-echo-64", "tcp-down-1", "tcp-idle", "http-open", "0.82", "21.8"} {
		if !strings.Contains(words.String(), want) {
			t.Errorf("%q is not in the chart", want)
		}
	}
	for _, unwanted := range []string{direct, reverseProxy, "http-post"} {
		if strings.Contains(words.String(), unwanted) {
			t.Errorf("%q is in the chart, and has nothing to show", unwanted)
		}
	}
}

func TestAChartNeedsAPeer(t *testing.T) {
	r := exampleReport(t)
	r.Rows = summarize([]sample{measured(fulcrum, 1, 1, 1, 1)})
	if _, err := writeChart(r); err == nil || !strings.Contains(err.Error(), "haproxy, nginx") {
		t.Errorf("got %v, want the peers' names", err)
	}
}
