package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestABucketHoldsItsValuesWithinTwoPercent(t *testing.T) {
	last := -1
	for _, v := range []time.Duration{0, 1, 63, 64, 127, 128, 255, 256, 1000, 12345, time.Millisecond, 999 * time.Millisecond, time.Minute, time.Hour} {
		bucket := bucketOf(v)
		upper := upperBound(bucket)
		if upper < v || float64(upper) > float64(v)*1.016+1 {
			t.Errorf("%d is in a bucket up to %d", v, upper)
		}
		if bucketOf(upper) != bucket || bucketOf(upper+1) != bucket+1 {
			t.Errorf("the bucket of %d does not end at its upper bound %d", v, upper)
		}
		if bucket <= last {
			t.Errorf("the bucket of %d is %d, not above the one before", v, bucket)
		}
		last = bucket
	}
}

func TestWhatIsTooLongOrNegativeHasABucket(t *testing.T) {
	var h histogram
	h.record(-time.Second)
	h.record(1<<63 - 1)
	if h.total != 2 || h.counts[0] != 1 || h.counts[buckets-1] != 1 {
		t.Errorf("%d counted, %d as 0, %d as longest; want 2, 1, 1", h.total, h.counts[0], h.counts[buckets-1])
	}
}

func TestQuantilesAreThoseOfTheSortedValues(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	parts := make([]histogram, 3)
	var values []time.Duration
	for i := range 10_000 {
		v := time.Duration(random.ExpFloat64() * float64(time.Millisecond))
		values = append(values, v)
		parts[i%3].record(v)
	}
	var all histogram
	for i := range parts {
		all.merge(&parts[i])
	}
	slices.Sort(values)
	for _, q := range []float64{0, 0.5, 0.99, 0.999, 1} {
		want := values[max(int(q*10_000)-1, 0)]
		if got := all.quantile(q); got < want || float64(got) > float64(want)*1.016+1 {
			t.Errorf("quantile %g is %v, want %v or up to 1.6 %% more", q, got, want)
		}
	}
}

func TestNothingRecordedHasNoQuantile(t *testing.T) {
	var h histogram
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("got %v, want 0", got)
	}
}
