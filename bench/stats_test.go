package main

import (
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 100}, 3}} {
		if got := median(test.values); got != test.want {
			t.Errorf("median of %v is %g, want %g", test.values, got, test.want)
		}
	}
}

// measured is one sample of two seconds.
func measured(contender string, round int, rate float64, cpu, p99 time.Duration) sample {
	units := rate * 2
	return sample{Scenario: "tcp-echo-64", Contender: contender, Round: round, Units: units, Rate: rate, Window: 2 * time.Second,
		P50: p99 / 4, P99: p99, P999: p99 * 2, ProxyCPU: time.Duration(float64(cpu) * units), ClientCPU: time.Second, OriginCPU: time.Second / 2, Memory: 9 << 20}
}

func rounds() []sample {
	return []sample{
		measured(direct, 1, 90_000, 0, 900*time.Microsecond),
		measured(haproxy, 1, 40_000, 12*time.Microsecond, 4*time.Millisecond),
		measured(nginx, 1, 50_000, 15*time.Microsecond, 2*time.Millisecond),
		measured(fulcrum, 1, 60_000, 9*time.Microsecond, 1*time.Millisecond),
		measured(haproxy, 2, 42_000, 10*time.Microsecond, 5*time.Millisecond),
		measured(nginx, 2, 10_000, 50*time.Microsecond, 9*time.Millisecond),
		{Scenario: "tcp-echo-64", Contender: fulcrum, Round: 2, Errors: 1, Error: "it\nended | early"},
		measured(haproxy, 3, 41_000, 11*time.Microsecond, 6*time.Millisecond),
		measured(nginx, 3, 51_000, 16*time.Microsecond, 1500*time.Microsecond),
	}
}

func TestRowsAreMediansAndRatiosAreToTheBetterPeer(t *testing.T) {
	rows := summarize(rounds())
	if len(rows) != 4 || rows[1].Contender != haproxy || rows[3].Contender != fulcrum {
		t.Fatalf("rows %+v, want direct, haproxy, nginx, fulcrum", rows)
	}
	h, n, f := rows[1], rows[2], rows[3]
	if h.Rate != 41_000 || h.P99 != 5*time.Millisecond || h.CPUPerUnit != 11_000 || h.CPULow != 10_000 || h.CPUHigh != 12_000 || h.Rounds != 3 {
		t.Errorf("haproxy %+v", h)
	}
	// haproxy needs less CPU, nginx is faster.
	if h.CPURatio != 1 || n.RateRatio != 1 || n.P99Ratio != 1 || h.RateRatio >= 1 || n.CPURatio <= 1 {
		t.Errorf("ratios of the peers: haproxy %+v, nginx %+v", h, n)
	}
	if f.CPURatio != 9.0/11 || f.RateRatio != 1.2 || f.P99Ratio != 0.5 {
		t.Errorf("ratios of fulcrum: %+v", f)
	}
	if f.Rounds != 1 || f.Errors != 1 || !strings.Contains(f.Error, "early") {
		t.Errorf("the failed round: %+v", f)
	}
	if h.ProxyCPUs != 0.451 || h.ClientCPUs != 0.5 || h.OriginCPUs != 0.25 {
		t.Errorf("CPUs kept busy: %g, %g, %g", h.ProxyCPUs, h.ClientCPUs, h.OriginCPUs)
	}
}

func TestWithoutPeersThereAreNoRatios(t *testing.T) {
	rows := summarize([]sample{measured(fulcrum, 1, 60_000, 9*time.Microsecond, time.Millisecond)})
	if r := rows[0]; r.CPURatio != 0 || r.RateRatio != 0 || r.P99Ratio != 0 || r.MemoryRatio != 0 {
		t.Errorf("got %+v", r)
	}
}

func TestTheOpenLoopIsHalfTheSlowestPeer(t *testing.T) {
	r := runner{rate: 1234}
	if got := r.openRate(); got != 1234 {
		t.Errorf("with nothing measured: %g, want that of the flag", got)
	}
	for _, s := range rounds() {
		s.Scenario = rateFrom
		r.samples = append(r.samples, s)
	}
	if got := r.openRate(); got != 20_500 {
		t.Errorf("got %g, want half of haproxy's 41,000", got)
	}
}
