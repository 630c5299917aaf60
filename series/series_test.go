package series

import (
	"math"
	"testing"
	"time"

	"fulcrum/stats"
)

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// observed is a reading of histograms in which these durations were observed.
func observed(h *stats.Histogram, durations ...time.Duration) (s stats.Summary) {
	for _, d := range durations {
		h.Observe(d)
	}
	s.Add(h)
	return s
}

// near reports whether a quantile is as near to the truth as histograms are.
func near(ms float32, d time.Duration) bool {
	return math.Abs(float64(ms)-d.Seconds()*1000) <= d.Seconds()*1000/4
}

func TestASampleIsWhatHappenedSinceTheReadingBefore(t *testing.T) {
	var m Meter
	var h stats.Histogram
	first := Reading{Begun: 1_000_000, Errors: 7, Received: 1 << 40, Sent: 1, Active: 3, Times: observed(&h, time.Hour, time.Hour)}
	s, _ := m.Sample(&first, time.Second)
	want(t, "what has happened at first", s, Sample{Active: 3})

	second := first
	second.Begun, second.Errors, second.Received, second.Active = 1_000_300, 8, 1<<40+3000, 5
	second.Times = observed(&h, 10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond, 800*time.Millisecond)
	s, times := m.Sample(&second, 2*time.Second)
	want(t, "the rate", s.Rate, 150)
	want(t, "errors", s.Errors, 0.5)
	want(t, "received", s.Received, 1500)
	want(t, "sent", s.Sent, 0)
	want(t, "active", s.Active, 5)
	want(t, "how many durations", times.Count(), 4)
	if !near(s.P50MS, 10*time.Millisecond) || !near(s.P99MS, 800*time.Millisecond) {
		t.Errorf("quantiles are %v and %v ms: those of before are not in it", s.P50MS, s.P99MS)
	}

	s, _ = m.Sample(&second, time.Second)
	want(t, "a quiet second", s, Sample{Active: 5})
	s, _ = m.Sample(&first, time.Second)
	want(t, "counts that go down", s, Sample{Active: 3})
	s, _ = m.Sample(&second, 0)
	want(t, "no time at all", s, Sample{Active: 5})
}

// What was counted elsewhere, and has come to the counts, has not happened here.
func TestWhatIsSkippedIsInNoSample(t *testing.T) {
	var m Meter
	var h stats.Histogram
	now := Reading{Begun: 3, Times: observed(&h, time.Second)}
	m.Sample(&now, time.Second)
	now.Begun, now.Errors, now.Times = 1_000_003, 500, observed(&h, time.Minute, time.Minute)
	m.Skip(&now)
	now.Begun, now.Active = 1_000_004, 1
	s, times := m.Sample(&now, time.Second)
	want(t, "the sample", s, Sample{Rate: 1, Active: 1})
	want(t, "how many durations", times.Count(), 0)
}

func TestATotalHasTheQuantilesOfAllTogether(t *testing.T) {
	var all Total
	want(t, "nothing", all.Sample(), Sample{})
	var fast, slow stats.Histogram
	quick := observed(&fast, time.Millisecond, time.Millisecond, time.Millisecond)
	late := observed(&slow, time.Second)
	all.Add(Sample{Rate: 3, Errors: 0.1, Active: 2, P50MS: 1}, &quick)
	all.Add(Sample{Rate: 1, Errors: 0.2, Sent: 9, P50MS: 1000}, &late)
	s := all.Sample()
	if !near(s.P50MS, time.Millisecond) || !near(s.P99MS, time.Second) {
		t.Errorf("quantiles are %v and %v ms, want about 1 and 1000", s.P50MS, s.P99MS)
	}
	s.P50MS, s.P99MS = 0, 0
	want(t, "the sum", s, Sample{Rate: 4, Errors: 0.3, Sent: 9, Active: 2})
}

func TestFiguresHaveThreeDigits(t *testing.T) {
	for x, rounded := range map[float64]float32{0: 0, 1.0 / 3: 0.333, 49.98765: 50, 123456789: 123000000, 12345: 12300, 1e-3 / 7: 0.000143} {
		want(t, "rounded", tidy(x), rounded)
	}
}

func TestARingKeepsTheLast(t *testing.T) {
	var r Ring
	want(t, "the last of none", r.Last(), Sample{})
	n := float32(0)
	add := func(times, keep int, oldest float32) {
		t.Helper()
		for range times {
			n++
			r.Add(Sample{Rate: n}, keep)
		}
		all := r.All()
		want(t, "length", len(all), int(n-oldest)+1)
		for i, s := range all {
			want(t, "a sample", s.Rate, oldest+float32(i))
		}
		want(t, "the last", r.Last().Rate, n)
	}
	add(3, 5, 1)
	add(9, 5, 8)  // goes round
	add(1, 7, 8)  // has room for more
	add(2, 7, 9)  // and for no more
	add(1, 3, 14) // has room for fewer
	add(4, 3, 18)
	add(1, 1, 21)
}
