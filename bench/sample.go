package main

import (
	"errors"
	"sync"
	"time"
)

// A sample is the result of one measurement.
type sample struct {
	Scenario  string `json:"scenario"`
	Contender string `json:"contender"`
	Round     int    `json:"round"`

	Units     float64       `json:"units"`           // done and verified in the window
	Window    time.Duration `json:"window_ns"`       // as it came out
	Rate      float64       `json:"rate"`            // units per second
	Asked     float64       `json:"asked,omitempty"` // open loop: the constant rate
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	P999      time.Duration `json:"p999_ns"`
	ProxyCPU  time.Duration `json:"proxy_cpu_ns"` // in the window, as are the next two
	ClientCPU time.Duration `json:"client_cpu_ns"`
	OriginCPU time.Duration `json:"origin_cpu_ns"`
	Memory    int64         `json:"memory_bytes"` // PSS of the proxy, at the window's end

	// Of idle connections, each with both its ends: the proxy's growth.
	ConnectionMemory      float64 `json:"connection_memory_bytes,omitempty"`
	ConnectionDescriptors float64 `json:"connection_descriptors,omitempty"`

	Errors int    `json:"errors"`
	Error  string `json:"error,omitempty"` // the first of them
}

// cpuPerUnit is the proxy's own CPU time for a unit of work, in nanoseconds.
func (s sample) cpuPerUnit() float64 {
	if s.Units == 0 {
		return 0
	}
	return float64(s.ProxyCPU) / s.Units
}

// A tally collects errors from any goroutine.
type tally struct {
	mu    sync.Mutex
	count int   // guarded by mu
	first error // guarded by mu
}

func (t *tally) add(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	if t.first == nil {
		t.first = err
	}
}

// into writes what was collected to a sample.
func (t *tally) into(s *sample) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.Errors = t.count
	if t.first != nil {
		s.Error = t.first.Error()
	}
}

// A reading is what has been counted by a point in time.
type reading struct {
	at            time.Time
	proxy, origin cpuReading
	client        time.Duration
}

func (st *stage) read() (r reading, err error) {
	var failed [3]error
	if st.proxy != nil {
		r.proxy, failed[0] = readProcess(st.proxy)
	}
	r.origin, failed[1] = readProcess(st.origin)
	r.client, failed[2] = ownCPU()
	r.at = time.Now()
	return r, errors.Join(failed[:]...)
}

func readProcess(p *process) (cpuReading, error) {
	pids, err := p.pids()
	if err != nil {
		return cpuReading{}, err
	}
	return readCPU(pids)
}

// sample returns what follows from the readings at both ends of the window.
func (st *stage) sample(begin, end reading) sample {
	return sample{
		Scenario:  st.task.Scenario.Name,
		Contender: st.task.Contender.Name,
		Round:     st.task.Round,
		Window:    end.at.Sub(begin.at),
		ProxyCPU:  end.proxy.since(begin.proxy),
		OriginCPU: end.origin.since(begin.origin),
		ClientCPU: end.client - begin.client,
	}
}

// count adds the units done and their latencies to a sample.
func (s *sample) count(units float64, latency *histogram) {
	s.Units = units
	s.Rate = units / s.Window.Seconds()
	s.P50 = latency.quantile(0.50)
	s.P99 = latency.quantile(0.99)
	s.P999 = latency.quantile(0.999)
}

// proxyMemory returns the proxy's memory and how many descriptors it has open.
func (st *stage) proxyMemory() (memory int64, descriptors int, err error) {
	if st.proxy == nil {
		return 0, 0, nil
	}
	pids, err := st.proxy.pids()
	if err != nil {
		return 0, 0, err
	}
	memory, failed := readMemory(pids)
	descriptors, err = countDescriptors(pids)
	return memory, descriptors, errors.Join(failed, err)
}
