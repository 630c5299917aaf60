package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// writeTable returns the report in Markdown: what was measured on, and
// a table for each scenario.
func writeTable(r report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d CPUs, Linux %s, loopback; medians of %d rounds of %v each. Ratios are to the better of %s.\n\n",
		r.Machine.CPUs, r.Machine.Kernel, r.Rounds, r.Window, strings.Join(peers, " and "))
	for _, c := range r.Contenders {
		fmt.Fprintf(&b, "- %s: %s\n", c.Name, c.Version)
	}
	for _, sc := range r.Scenarios {
		var rows []row
		for _, row := range r.Rows {
			if row.Scenario == sc.Name {
				rows = append(rows, row)
			}
		}
		if len(rows) == 0 {
			continue // the run was ended before
		}
		fmt.Fprintf(&b, "\n### %s: %s\n\n", sc.Name, sc.Title)
		if sc.Load == idleLoad {
			writeIdle(&b, rows)
		} else {
			writeLoad(&b, sc, rows)
		}
		for _, row := range rows {
			writeNotes(&b, sc, row)
		}
	}
	return b.String()
}

// writeNotes says below a table what its figures do not.
func writeNotes(b *strings.Builder, sc scenario, r row) {
	if r.overloaded() {
		fmt.Fprintf(b, "\n%s answered less than the %s that were asked for: its latencies depend on how long it is measured.\n", r.Contender, rate(r.Asked, sc))
	}
	if r.Error != "" {
		const most = 400
		text := strings.Join(strings.Fields(r.Error), " ")
		fmt.Fprintf(b, "\n%s, first error: %s\n", r.Contender, text[:min(len(text), most)])
	}
}

func writeLoad(b *strings.Builder, sc scenario, rows []row) {
	fmt.Fprintf(b, "| contender | rate | ratio | p50 | p99 | p99.9 | ratio of p99 | CPU per %s | lowest – highest | ratio of CPU | memory | CPUs busy: proxy + client + origin | errors |\n", sc.Unit)
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range rows {
		latency := []time.Duration{r.P50, r.P99, r.P999}
		p99Ratio := r.P99Ratio
		if sc.bulk() {
			latency, p99Ratio = make([]time.Duration, 3), 0 // of a read or write, which says nothing
		}
		writeRow(b, r.Contender, rate(r.Rate, sc), factor(r.RateRatio),
			span(float64(latency[0])), span(float64(latency[1])), span(float64(latency[2])), factor(p99Ratio),
			span(r.CPUPerUnit), spread(r), factor(r.CPURatio), size(r.Memory),
			fmt.Sprintf("%.2f + %.2f + %.2f", r.ProxyCPUs, r.ClientCPUs, r.OriginCPUs), grouped(float64(r.Errors)))
	}
}

func writeIdle(b *strings.Builder, rows []row) {
	b.WriteString("| contender | memory per connection | ratio | descriptors per connection | memory in all | CPU while idle | errors |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range rows {
		descriptors := "–"
		if r.ConnectionDescriptors > 0 {
			descriptors = fmt.Sprintf("%.2f", r.ConnectionDescriptors)
		}
		writeRow(b, r.Contender, size(r.ConnectionMemory), factor(r.MemoryRatio), descriptors,
			size(r.Memory), fmt.Sprintf("%.1f ms/s", r.ProxyCPUs*1000), grouped(float64(r.Errors)))
	}
}

func writeRow(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// rate formats units per second.
func rate(perSecond float64, sc scenario) string {
	switch {
	case perSecond == 0:
		return "–"
	case sc.bulk():
		return fmt.Sprintf("%.2f GB/s", perSecond)
	}
	return grouped(perSecond) + "/s"
}

// grouped formats a whole number with its digits in threes.
func grouped(n float64) string {
	digits := strconv.FormatFloat(math.Round(n), 'f', 0, 64)
	var b strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// span formats nanoseconds.
func span(ns float64) string {
	switch {
	case ns <= 0:
		return "–"
	case ns < 1e6:
		return significant(ns/1e3) + " µs"
	case ns < 1e9:
		return significant(ns/1e6) + " ms"
	}
	return significant(ns/1e9) + " s"
}

// spread formats the lowest and highest CPU time of the rounds.
func spread(r row) string {
	if r.CPUHigh == 0 {
		return "–"
	}
	return span(r.CPULow) + " – " + span(r.CPUHigh)
}

// size formats bytes.
func size(bytes float64) string {
	switch {
	case bytes == 0:
		return "–"
	case bytes < 1<<20:
		return significant(bytes/(1<<10)) + " KiB"
	}
	return significant(bytes/(1<<20)) + " MiB"
}

func factor(ratio float64) string {
	if ratio == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", ratio)
}

// significant formats with three digits, or more in front of the point.
func significant(v float64) string {
	decimals := 2
	for limit := 10.0; limit <= 100 && math.Abs(v) >= limit; limit *= 10 {
		decimals--
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}
