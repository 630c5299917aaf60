// Package series keeps the last minutes of what listeners, pools and servers do, a
// sample a second, in memory.
//
// What is sampled counts since it was made. A Meter remembers how far it had come
// and turns the next Reading into a Sample of the time between: rates, and the
// quantiles of what was observed in that time alone. A Total adds up the samples of
// several into that of all together. A Ring keeps the last samples:
//
//	sample, times := server.meter.Sample(&reading, elapsed)
//	server.ring.Add(sample, keep)
//	pool.Add(sample, &times)
//	…
//	ring.Add(pool.Sample(), keep)
//
// A Meter takes a kilobyte and each sample 28 bytes. Nothing here is for concurrent
// use, and nothing is to be released.
package series

import (
	"math"
	"time"

	"fulcrum/stats"
)

// A Reading is how far the counts of something have come.
type Reading struct {
	Begun    int64 // connections or requests
	Errors   int64
	Received int64 // bytes from clients
	Sent     int64 // bytes to clients
	Active   int64 // now
	Times    stats.Summary
}

// A Sample is what happened in some time, a second of it on average.
type Sample struct {
	Rate, Errors, Received, Sent float32 // a second
	Active                       float32 // at the end
	P50MS, P99MS                 float32 // of the durations observed, in milliseconds; 0: there were none
}

// A Meter makes samples of readings. The zero Meter has not read yet.
type Meter struct {
	before Reading
	read   bool
}

// Sample returns what has happened in the time elapsed since the reading before,
// and the durations of it. The first time nothing has. Counts that went down, as
// when a part of what was counted is gone, stand still.
func (m *Meter) Sample(now *Reading, elapsed time.Duration) (sample Sample, times stats.Summary) {
	sample.Active = float32(now.Active)
	if m.read && elapsed > 0 {
		rate := func(before, now int64) float32 { return tidy(float64(max(now-before, 0)) / elapsed.Seconds()) }
		sample.Rate = rate(m.before.Begun, now.Begun)
		sample.Errors = rate(m.before.Errors, now.Errors)
		sample.Received = rate(m.before.Received, now.Received)
		sample.Sent = rate(m.before.Sent, now.Sent)
		times.AddSince(&m.before.Times, &now.Times)
		sample.P50MS, sample.P99MS = quantiles(&times)
	}
	m.before, m.read = *now, true
	return sample, times
}

// Skip takes a reading, and what has happened since the one before for none of the next
// sample's.
func (m *Meter) Skip(now *Reading) { m.before, m.read = *now, true }

// A Total is the sum of samples of the same time. The zero Total is nothing.
type Total struct {
	sum   Sample
	times stats.Summary
}

// Add adds a sample and its durations.
func (t *Total) Add(s Sample, times *stats.Summary) {
	t.sum.Rate += s.Rate
	t.sum.Errors += s.Errors
	t.sum.Received += s.Received
	t.sum.Sent += s.Sent
	t.sum.Active += s.Active
	t.times.AddSince(&stats.Summary{}, times)
}

// Sample returns the sum. Its quantiles are those of all durations together.
func (t *Total) Sample() Sample {
	s := t.sum
	for _, rate := range []*float32{&s.Rate, &s.Errors, &s.Received, &s.Sent} {
		*rate = tidy(float64(*rate))
	}
	s.P50MS, s.P99MS = quantiles(&t.times)
	return s
}

func quantiles(times *stats.Summary) (p50, p99 float32) {
	if times.Count() == 0 {
		return 0, 0
	}
	ms := func(q float64) float32 { return tidy(float64(times.Quantile(q)) / float64(time.Millisecond)) }
	return ms(0.5), ms(0.99)
}

// tidy rounds to three digits: the rest is noise, and would be most of what is sent.
func tidy(x float64) float32 {
	if x == 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(x)))-2)
	if unit >= 1 {
		return float32(math.Round(x/unit) * unit)
	}
	return float32(math.Round(x/unit) / math.Round(1/unit))
}

// A Ring keeps the last samples. The zero Ring has none.
type Ring struct {
	samples []Sample
	oldest  int
}

// Add puts a sample behind the others and lets go of the oldest, so that there are
// keep of them at most. keep is positive, and may be another than the last time.
func (r *Ring) Add(s Sample, keep int) {
	if cap(r.samples) != keep {
		all := r.All()
		r.samples, r.oldest = append(make([]Sample, 0, keep), all[max(len(all)-keep, 0):]...), 0
	}
	if len(r.samples) < keep {
		r.samples = append(r.samples, s)
		return
	}
	r.samples[r.oldest] = s
	r.oldest = (r.oldest + 1) % keep
}

// All returns a copy of the samples, the oldest first.
func (r *Ring) All() []Sample {
	all := make([]Sample, 0, len(r.samples))
	return append(append(all, r.samples[r.oldest:]...), r.samples[:r.oldest]...)
}

// Last returns the newest sample, or that of nothing if there is none.
func (r *Ring) Last() Sample {
	if len(r.samples) == 0 {
		return Sample{}
	}
	return r.samples[(r.oldest+len(r.samples)-1)%len(r.samples)]
}
