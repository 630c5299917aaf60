package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// A report is all that a run found out; as JSON it is what --json writes.
type report struct {
	Machine    machine       `json:"machine"`
	Rounds     int           `json:"rounds"`
	Window     time.Duration `json:"window_ns"`
	Contenders []about       `json:"contenders"`
	Scenarios  []scenario    `json:"scenarios"`
	Rows       []row         `json:"rows"`
	Samples    []sample      `json:"samples"`
}

// machine is what the run took place on.
type machine struct {
	CPUs     int    `json:"cpus"`
	Kernel   string `json:"kernel"`
	Isolated bool   `json:"isolated"` // each measurement in a network namespace of its own
}

// about says what a contender was.
type about struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

func thisMachine(isolated bool) (machine, error) {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return machine{}, fmt.Errorf("kernel version: %w", err)
	}
	return machine{CPUs: runtime.NumCPU(), Kernel: strings.TrimSpace(string(kernel)), Isolated: isolated}, nil
}

// failures returns the number of errors of all contenders.
func (r report) failures() int {
	sum := 0
	for _, row := range r.Rows {
		sum += row.Errors
	}
	return sum
}

// write writes the files that were asked for; an empty path means none.
func (r report) write(jsonFile, svgFile string) error {
	if jsonFile != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("--json: %w", err)
		}
		if err := os.WriteFile(jsonFile, append(text, '\n'), 0o644); err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	if svgFile != "" {
		chart, err := writeChart(r)
		if err != nil {
			return fmt.Errorf("--svg: %w", err)
		}
		if err := os.WriteFile(svgFile, chart, 0o644); err != nil {
			return fmt.Errorf("--svg: %w", err)
		}
	}
	return nil
}
