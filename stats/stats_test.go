package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// observed returns the summary of one histogram that saw these durations.
func observed(durations ...time.Duration) *Summary {
	var h Histogram
	for _, d := range durations {
		h.Observe(d)
	}
	s := new(Summary)
	s.Add(&h)
	return s
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestNothingObserved(t *testing.T) {
	s := observed()
	want(t, "count", s.Count(), 0)
	want(t, "sum", s.Sum(), 0)
	want(t, "quantile", s.Quantile(0.5), 0)
	want(t, "below", s.Below(math.MaxInt64), 0)
}

// Every bound is the last of its bucket, the next nanosecond the first of the
// next, and each octave from 1 µs to 2^32 µs has four.
func TestBucketsMeet(t *testing.T) {
	for i := range buckets - 1 {
		bound := upperBound(i)
		want(t, bound.String(), bucketOf(bound), i)
		want(t, "after "+bound.String(), bucketOf(bound+1), i+1)
		want(t, "bound below", lowerBound(i+1), bound)
	}
	for octave := range octaves + 1 {
		want(t, "a power of two", upperBound(octave*perOctave), time.Microsecond<<octave)
	}
	want(t, "bucket of 0", bucketOf(0), 0)
	want(t, "bucket of all time", bucketOf(math.MaxInt64), buckets-1)
	want(t, "1.25 µs", upperBound(1), 1250*time.Nanosecond)
	want(t, "7 µs", upperBound(11), 7*time.Microsecond)
}

func TestBelowIsExactAtEveryBound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	durations := make([]time.Duration, 5000)
	for i := range durations {
		durations[i] = time.Duration(random.Int64() >> random.IntN(63))
	}
	for i := range buckets { // the bounds and their neighbours, where it is easiest to be wrong
		durations = append(durations, upperBound(i), upperBound(i)-1, lowerBound(i)+1)
	}
	s := observed(durations...)
	for i := range buckets {
		n := int64(0)
		for _, d := range durations {
			if d <= upperBound(i) {
				n++
			}
		}
		want(t, upperBound(i).String(), s.Below(upperBound(i)), n)
	}
	want(t, "below without a bound", s.Below(math.MaxInt64), s.Count())
	want(t, "count", s.Count(), int64(len(durations)))
}

func TestBelowBetweenBoundsIsThatOfTheBoundBelow(t *testing.T) {
	s := observed(896*time.Microsecond, 900*time.Microsecond)
	want(t, "1 ms", s.Below(time.Millisecond), 1)
	want(t, "1024 µs", s.Below(1024*time.Microsecond), 2)
	want(t, "nothing", s.Below(time.Microsecond-1), 0)
	want(t, "less than nothing", s.Below(-1), 0)
}

func TestQuantilesAreNearTheTruth(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 2, 10, 999, 20000} {
		durations := make([]time.Duration, n)
		for i := range durations {
			durations[i] = time.Microsecond + time.Duration(float64(time.Millisecond)*random.ExpFloat64())
		}
		s := observed(durations...)
		slices.Sort(durations)
		last := time.Duration(0)
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
			truth := durations[max(int(math.Ceil(q*float64(n))), 1)-1]
			got := s.Quantile(q)
			if off := float64(got-truth) / float64(truth); math.Abs(off) > 0.25 || n == 1 && math.Abs(off) > 0.125 {
				t.Errorf("quantile %v of %d is %v, in truth %v", q, n, got, truth)
			}
			if got < last {
				t.Errorf("quantile %v of %d is %v, less than a smaller one's", q, n, got)
			}
			last = got
		}
	}
}

func TestQuantilesAtTheEdges(t *testing.T) {
	s := observed(3*time.Microsecond, 100*time.Microsecond, 100*time.Microsecond)
	want(t, "less than 0", s.Quantile(-1), s.Quantile(0))
	want(t, "not a number", s.Quantile(math.NaN()), s.Quantile(0))
	want(t, "more than 1", s.Quantile(2), s.Quantile(1))
	want(t, "the smallest", s.Quantile(0), (2500+250)*time.Nanosecond)
	want(t, "nothing at all", observed(0).Quantile(1), time.Microsecond/2)
	want(t, "longer than an hour", observed(100*time.Hour).Quantile(0.5), time.Microsecond<<octaves)
}

func TestTheSumIsRoundedToMicroseconds(t *testing.T) {
	s := observed(-time.Hour, 499, 500, 1499, time.Second)
	want(t, "sum", s.Sum(), time.Second+2*time.Microsecond)
	want(t, "seconds", s.Seconds(), 1.000002)
	want(t, "count", s.Count(), 5)
}

// Twenty thousand connections that were open for a month each.
func TestTheSumGoesOnBeyondADuration(t *testing.T) {
	const month = 30 * 24 * time.Hour
	s := observed(slices.Repeat([]time.Duration{month}, 20000)...)
	want(t, "sum", s.Sum(), math.MaxInt64)
	want(t, "seconds", s.Seconds(), 20000*month.Seconds())
	all := observed(math.MaxInt64, math.MaxInt64)
	want(t, "seconds of the longest", math.Round(all.Seconds()), math.Round(2*time.Duration(math.MaxInt64).Seconds()))
}

// Each loop observes on its own while someone scrapes: what a scrape says only
// grows, and in the end nothing is missing.
func TestSummedOverLoopsWhileTheyObserve(t *testing.T) {
	const loops, each = 4, 20000
	histograms := make([]Histogram, loops)
	scrape := func() (s Summary) {
		for i := range histograms {
			s.Add(&histograms[i])
		}
		return s
	}
	var running sync.WaitGroup
	for i := range histograms {
		running.Go(func() {
			for n := range each {
				histograms[i].Observe(time.Duration(n%1000) * time.Microsecond)
			}
		})
	}
	var last Summary
	for last.Count() < loops*each {
		s := scrape()
		for i := range s.counts {
			if s.counts[i] < last.counts[i] {
				t.Fatalf("bucket %d went from %d to %d", i, last.counts[i], s.counts[i])
			}
		}
		if s.micros < last.micros || s.Below(math.MaxInt64) != s.Count() {
			t.Fatalf("sum %d after %d; %d of %d", s.micros, last.micros, s.Below(math.MaxInt64), s.Count())
		}
		last = s
	}
	running.Wait()
	last = scrape()
	want(t, "count", last.Count(), loops*each)
	want(t, "sum", last.Sum(), loops*each/1000*999*1000/2*time.Microsecond)
	want(t, "half", last.Below(512*time.Microsecond), loops*each/1000*513)
}

func TestWhatWasObservedBetweenTwoReadings(t *testing.T) {
	var h, other Histogram
	var before, after, between Summary
	h.Observe(time.Hour)
	before.Add(&h)
	h.Observe(3 * time.Millisecond)
	h.Observe(5 * time.Millisecond)
	after.Add(&h)
	between.AddSince(&before, &after)
	want(t, "count", between.Count(), 2)
	want(t, "sum", between.Sum(), 8*time.Millisecond)
	want(t, "below 4 ms", between.Below(4096*time.Microsecond), 1)

	between.AddSince(&Summary{}, &before)
	want(t, "count of both times", between.Count(), 3)

	other.Observe(time.Second)
	var others, gone Summary
	others.Add(&other)
	gone.AddSince(&after, &others)
	want(t, "count of what is only in the later", gone.Count(), 1)
	want(t, "sum of what went down", gone.Sum(), 0)
}

func TestAHistogramIsSmallAndObserveAllocatesNothing(t *testing.T) {
	if size := unsafe.Sizeof(Histogram{}); size > 1100 {
		t.Errorf("a histogram takes %d bytes", size)
	}
	var h Histogram
	if n := testing.AllocsPerRun(1000, func() { h.Observe(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations to observe", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	b.ReportAllocs()
	var h Histogram
	d := time.Duration(0)
	for b.Loop() {
		h.Observe(d)
		d = (d + 7919) & (1<<24 - 1)
	}
}

// BenchmarkScrape sums eight loops.
func BenchmarkScrape(b *testing.B) {
	b.ReportAllocs()
	histograms := make([]Histogram, 8)
	for b.Loop() {
		var s Summary
		for i := range histograms {
			s.Add(&histograms[i])
		}
	}
}
