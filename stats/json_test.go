package stats

import (
	"encoding/json"
	"testing"
	"time"
)

// What one process writes the next one goes on from, and the difference between two
// summaries is what came between.
func TestASummaryGoesOnElsewhere(t *testing.T) {
	var h Histogram
	for d := time.Nanosecond; d < 100*time.Hour; d *= 3 {
		h.Observe(d)
	}
	var before, after, back Summary
	before.Add(&h)
	text, err := json.Marshal(before)
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil || back != before {
		t.Errorf("read back as %+v, error %v", back, err)
	}
	h.Observe(time.Second)
	h.Observe(time.Minute)
	after.Add(&h)
	after.Minus(&before)
	if after.Count() != 2 || after.Sum() != 61*time.Second || after.Below(2*time.Second) != 1 {
		t.Errorf("between them: %d, %v", after.Count(), after.Sum())
	}
	back.Plus(&after)
	var all Summary
	all.Add(&h)
	if back != all {
		t.Errorf("together %+v, want %+v", back, all)
	}
	for _, wrong := range []string{`{"buckets":[[-1,1]]}`, `{"buckets":[[100000,1]]}`, `[]`} {
		if err := json.Unmarshal([]byte(wrong), &back); err == nil {
			t.Errorf("%s is read", wrong)
		}
	}
}
