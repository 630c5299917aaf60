// Package stats counts durations in histograms that cost some nanoseconds to
// write and no lock to read.
//
// A Histogram belongs to one loop, which alone observes; nobody else touches its
// cache lines but a reader now and then. A reader adds the histograms of all
// loops into a Summary, a plain copy, and asks that for counts, the sum,
// quantiles and the cumulative counts that Prometheus wants:
//
//	var all stats.Summary
//	for _, w := range workers {
//		all.Add(&w.connectTime)
//	}
//	p99 := all.Quantile(0.99)
//
// Each power of two, from 1 µs to 2^32 µs (71 minutes), has four buckets of
// equal width; what is shorter or longer has one of its own. Nothing is to be
// released, and nothing can be reset: what is derived from counts of earlier
// and later scrapes never goes down.
package stats

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	perOctave = 4
	octaves   = 32
	buckets   = 1 + octaves*perOctave + 1 // the first to 1 µs, the last without an end
	// unit is the width of the narrowest buckets, of which all others' bounds
	// are multiples.
	unit = time.Microsecond / perOctave
)

// bucketOf returns the bucket of a duration. A bucket has its upper bound, but
// not its lower one, among its durations, as Prometheus's "le" wants it.
func bucketOf(d time.Duration) int {
	units := uint64(max(d, 1)-1) / uint64(unit)
	if units < perOctave {
		return 0
	}
	octave := bits.Len64(units) - bits.Len64(perOctave)
	inOctave := int(units>>octave) - perOctave
	return min(1+octave*perOctave+inOctave, buckets-1)
}

// upperBound returns the longest duration of a bucket.
func upperBound(bucket int) time.Duration {
	switch bucket {
	case 0:
		return time.Microsecond
	case buckets - 1:
		return math.MaxInt64
	}
	octave, inOctave := (bucket-1)/perOctave, (bucket-1)%perOctave
	return time.Duration(perOctave+inOctave+1) << octave * unit
}

// lowerBound returns what the durations of a bucket are longer than.
func lowerBound(bucket int) time.Duration {
	if bucket == 0 {
		return 0
	}
	return upperBound(bucket - 1)
}

// A Histogram counts durations. The zero value is empty and ready; it must not
// be copied. Observe may be called from any goroutine, but is cheap only as long
// as one goroutine calls it.
type Histogram struct {
	counts [buckets]atomic.Int64
	micros atomic.Int64 // a sum of nanoseconds would overflow within weeks of 10,000 open connections
}

// Observe counts one duration; a negative one counts as 0. To the sum it adds
// whole microseconds, rounded to the nearest.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(d)].Add(1)
	h.micros.Add(int64((uint64(d) + uint64(time.Microsecond/2)) / uint64(time.Microsecond)))
}

// A Summary is the sum of histograms, as they were when they were added. The
// zero value is empty and ready. It is not for concurrent use.
type Summary struct {
	counts [buckets]int64
	count  int64
	micros int64
}

// Add adds what a histogram holds now. What is observed meanwhile may be in the
// counts and not yet in the sum, or the other way round.
func (s *Summary) Add(h *Histogram) {
	for i := range h.counts {
		n := h.counts[i].Load()
		s.counts[i] += n
		s.count += n
	}
	s.micros += h.micros.Load()
}

// AddSince adds what was observed between two readings of the same histograms. What
// only the earlier one has, as when histograms were dropped in between, is left out.
func (s *Summary) AddSince(earlier, later *Summary) {
	for i := range later.counts {
		n := max(later.counts[i]-earlier.counts[i], 0)
		s.counts[i] += n
		s.count += n
	}
	s.micros += max(later.micros-earlier.micros, 0)
}

// Count returns how many durations were observed.
func (s *Summary) Count() int64 { return s.count }

// Sum returns the sum of all durations, or the longest time.Duration, 292 years,
// when they come to more. Ten thousand connections live through that in eleven
// days: what has to go on growing is to use Seconds.
func (s *Summary) Sum() time.Duration {
	if s.micros > math.MaxInt64/int64(time.Microsecond) {
		return math.MaxInt64
	}
	return time.Duration(s.micros) * time.Microsecond
}

// Seconds returns the sum of all durations in seconds, without a bound.
func (s *Summary) Seconds() float64 { return float64(s.micros) / 1e6 }

// Quantile returns the duration that the share q of all durations, from 0 to 1,
// did not exceed, at most a quarter off from 1 µs on; 0 when nothing was
// observed. A q out of its range counts as the nearer end of the range, and what
// took longer than 2^32 µs as 2^32 µs.
func (s *Summary) Quantile(q float64) time.Duration {
	if s.count == 0 {
		return 0
	}
	if !(q > 0) { // not a number, too
		q = 0
	}
	rank := max(int64(math.Ceil(min(q, 1)*float64(s.count))), 1)
	before, bucket := int64(0), 0
	for before+s.counts[bucket] < rank {
		before += s.counts[bucket]
		bucket++
	}
	lower := lowerBound(bucket)
	if bucket == buckets-1 {
		return lower
	}
	// The durations of a bucket are taken as spread evenly over it.
	share := (float64(rank-before) - 0.5) / float64(s.counts[bucket])
	return lower + time.Duration(share*float64(upperBound(bucket)-lower))
}

// Below returns how many durations were d or less, Prometheus's bucket with
// le=d. It is exact where d is a bucket's bound: 1, 1.25, 1.5 or 1.75 times a
// power of two of microseconds, up to 2^32. For another d it is that of the
// nearest bound below. Without a bound it is Count.
func (s *Summary) Below(d time.Duration) (n int64) {
	for i := 0; i < buckets && upperBound(i) <= d; i++ {
		n += s.counts[i]
	}
	return n
}
