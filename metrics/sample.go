package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"fulcrum/stats"
)

// The buckets' upper bounds: some of those that stats.Summary counts exactly, which
// are powers of two of a microsecond.
var (
	phases = bounds(128*time.Microsecond, 2, 14, 4, 2) // to 1 s, and 4 and 17 s
	// lifetimes, to 72 minutes, where stats.Summary ends.
	lifetimes = bounds(1024*time.Microsecond, 4, 12, 0, 0)
	// additions, to 262 ms.
	additions = bounds(8*time.Microsecond, 2, 12, 4, 2)
)

// bounds returns some that grow by a factor, and some further ones by another.
func bounds(first time.Duration, factor time.Duration, n int, further time.Duration, m int) []time.Duration {
	all := []time.Duration{first}
	for len(all) < n {
		all = append(all, all[len(all)-1]*factor)
	}
	for len(all) < n+m {
		all = append(all, all[len(all)-1]*further)
	}
	return all
}

// timing is a histogram of durations.
type timing struct {
	desc   *prometheus.Desc
	bounds []time.Duration
}

// labels are those of a sample. Samples share them.
type labels []*dto.LabelPair

// of returns labels with these values.
func of(names []string, values ...string) labels {
	l := make(labels, len(names))
	for i := range names {
		l[i] = label(names[i], values[i])
	}
	return l
}

func label(name, value string) *dto.LabelPair {
	value = strings.ToValidUTF8(value, "\uFFFD") // a path need not be
	return &dto.LabelPair{Name: &name, Value: &value}
}

// and returns the labels with one more.
func (l labels) and(name, value string) labels { return append(l[:len(l):len(l)], label(name, value)) }

// out is where the samples of a scrape go.
type out chan<- prometheus.Metric

func (o out) count(d *prometheus.Desc, n int64, l labels)     { o.counter(d, float64(n), l) }
func (o out) counter(d *prometheus.Desc, v float64, l labels) { o <- &counter{sample{d, l}, v} }
func (o out) gauge(d *prometheus.Desc, v float64, l labels)   { o <- &gauge{sample{d, l}, v} }
func (o out) timestamp(d *prometheus.Desc, t time.Time, l labels) {
	o.gauge(d, float64(t.UnixMicro())/1e6, l)
}

func (o out) flag(d *prometheus.Desc, is bool, l labels) {
	v := 0.0
	if is {
		v = 1
	}
	o.gauge(d, v, l)
}

func (o out) histogram(t *timing, s *stats.Summary, l labels) {
	h := &histogram{sample{t.desc, l}, t.bounds, make([]uint64, len(t.bounds)), uint64(s.Count()), s.Seconds()}
	for i, bound := range t.bounds {
		h.below[i] = uint64(s.Below(bound))
	}
	o <- h
}

// sample is what all kinds of samples have in common.
type sample struct {
	desc   *prometheus.Desc
	labels labels
}

func (s *sample) Desc() *prometheus.Desc { return s.desc }

type counter struct {
	sample
	value float64
}

func (c *counter) Write(to *dto.Metric) error {
	to.Label, to.Counter = c.labels, &dto.Counter{Value: &c.value}
	return nil
}

type gauge struct {
	sample
	value float64
}

func (g *gauge) Write(to *dto.Metric) error {
	to.Label, to.Gauge = g.labels, &dto.Gauge{Value: &g.value}
	return nil
}

type histogram struct {
	sample
	bounds []time.Duration
	below  []uint64 // each bound, or at it
	count  uint64
	sum    float64 // in seconds
}

func (h *histogram) Write(to *dto.Metric) error {
	buckets := make([]dto.Bucket, len(h.bounds))
	all := make([]*dto.Bucket, len(h.bounds))
	for i, bound := range h.bounds {
		seconds := bound.Seconds()
		buckets[i].CumulativeCount, buckets[i].UpperBound = &h.below[i], &seconds
		all[i] = &buckets[i]
	}
	to.Label, to.Histogram = h.labels, &dto.Histogram{SampleCount: &h.count, SampleSum: &h.sum, Bucket: all}
	return nil
}
