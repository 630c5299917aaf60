package main

import (
	"slices"
	"time"
)

// A row is what the rounds of one contender in one scenario come to: medians.
type row struct {
	Scenario  string `json:"scenario"`
	Contender string `json:"contender"`
	Rounds    int    `json:"rounds"` // that gave a result

	Rate       float64       `json:"rate"`
	Asked      float64       `json:"asked,omitempty"` // open loop: the constant rate
	P50        time.Duration `json:"p50_ns"`
	P99        time.Duration `json:"p99_ns"`
	P999       time.Duration `json:"p999_ns"`
	CPUPerUnit float64       `json:"cpu_per_unit_ns"`
	CPULow     float64       `json:"cpu_per_unit_low_ns"` // of the rounds
	CPUHigh    float64       `json:"cpu_per_unit_high_ns"`
	Memory     float64       `json:"memory_bytes"`

	ConnectionMemory      float64 `json:"connection_memory_bytes,omitempty"`
	ConnectionDescriptors float64 `json:"connection_descriptors,omitempty"`

	// CPUs that each kept busy in the window.
	ProxyCPUs  float64 `json:"proxy_cpus"`
	ClientCPUs float64 `json:"client_cpus"`
	OriginCPUs float64 `json:"origin_cpus"`

	// Relative to the better of the peers in this scenario; 0 where there is none.
	CPURatio    float64 `json:"cpu_ratio,omitempty"`
	RateRatio   float64 `json:"rate_ratio,omitempty"`
	P99Ratio    float64 `json:"p99_ratio,omitempty"`
	MemoryRatio float64 `json:"connection_memory_ratio,omitempty"`

	Errors int    `json:"errors"` // of all rounds, those that gave no result included
	Error  string `json:"error,omitempty"`
}

// summarize makes a row of each contender in each scenario, in the order in
// which they first come up in samples.
func summarize(samples []sample) []row {
	type key struct{ scenario, contender string }
	groups := map[key][]sample{}
	var order []key
	for _, s := range samples {
		k := key{s.Scenario, s.Contender}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], s)
	}
	var rows []row
	for _, k := range order {
		rows = append(rows, makeRow(groups[k]))
	}
	compare(rows)
	return rows
}

// makeRow joins the rounds of one contender in one scenario.
func makeRow(samples []sample) row {
	r := row{Scenario: samples[0].Scenario, Contender: samples[0].Contender}
	var good []sample
	for _, s := range samples {
		r.Errors += s.Errors
		if r.Error == "" {
			r.Error = s.Error
		}
		if s.Units > 0 {
			good = append(good, s)
		}
	}
	r.Rounds = len(good)
	of := func(value func(sample) float64) float64 { return median(collect(good, value)) }
	duration := func(value func(sample) time.Duration) time.Duration {
		return time.Duration(of(func(s sample) float64 { return float64(value(s)) }))
	}
	busy := func(value func(sample) time.Duration) float64 {
		return of(func(s sample) float64 { return value(s).Seconds() / s.Window.Seconds() })
	}
	r.Rate = of(func(s sample) float64 { return s.Rate })
	r.Asked = of(func(s sample) float64 { return s.Asked })
	r.P50 = duration(func(s sample) time.Duration { return s.P50 })
	r.P99 = duration(func(s sample) time.Duration { return s.P99 })
	r.P999 = duration(func(s sample) time.Duration { return s.P999 })
	r.CPUPerUnit = of(sample.cpuPerUnit)
	if cpu := collect(good, sample.cpuPerUnit); len(cpu) > 0 {
		r.CPULow, r.CPUHigh = slices.Min(cpu), slices.Max(cpu)
	}
	r.Memory = of(func(s sample) float64 { return float64(s.Memory) })
	r.ConnectionMemory = of(func(s sample) float64 { return s.ConnectionMemory })
	r.ConnectionDescriptors = of(func(s sample) float64 { return s.ConnectionDescriptors })
	r.ProxyCPUs = busy(func(s sample) time.Duration { return s.ProxyCPU })
	r.ClientCPUs = busy(func(s sample) time.Duration { return s.ClientCPU })
	r.OriginCPUs = busy(func(s sample) time.Duration { return s.OriginCPU })
	return r
}

// overloaded reports whether an open loop asked for more than could be done.
func (r row) overloaded() bool { return r.Rounds > 0 && r.Rate < keptUp*r.Asked }

// keptUp is the share of the rate that was asked for from which on a contender has
// reached it: what is in flight at the ends of the window varies.
const keptUp = 0.95

// compare sets the ratios to the better peer.
func compare(rows []row) {
	cpu := func(r row) float64 { return r.CPUPerUnit }
	p99 := func(r row) float64 { return float64(r.P99) }
	memory := func(r row) float64 { return r.ConnectionMemory }
	rate := func(r row) float64 { return r.Rate }
	for i := range rows {
		r := &rows[i]
		r.CPURatio = ratio(cpu(*r), peerValues(rows, r.Scenario, cpu), slices.Min)
		r.P99Ratio = ratio(p99(*r), peerValues(rows, r.Scenario, p99), slices.Min)
		r.MemoryRatio = ratio(memory(*r), peerValues(rows, r.Scenario, memory), slices.Min)
		r.RateRatio = ratio(rate(*r), peerValues(rows, r.Scenario, rate), slices.Max)
	}
}

// peerValues returns a figure of each peer in a scenario, of those that have it.
func peerValues(rows []row, scenario string, value func(row) float64) []float64 {
	var values []float64
	for _, r := range rows {
		if r.Scenario == scenario && slices.Contains(peers, r.Contender) && value(r) > 0 {
			values = append(values, value(r))
		}
	}
	return values
}

func ratio(value float64, among []float64, best func([]float64) float64) float64 {
	if len(among) == 0 {
		return 0
	}
	return value / best(among)
}

func collect(samples []sample, value func(sample) float64) []float64 {
	var values []float64
	for _, s := range samples {
		values = append(values, value(s))
	}
	return values
}

// median returns the middle of values, between the two middle ones if their
// number is even, and 0 for none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
