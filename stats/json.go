package stats

import (
	"encoding/json"
	"fmt"
)

// summary is a Summary as JSON has it: only buckets with something in them.
type summary struct {
	Buckets [][2]int64 `json:"buckets,omitempty"` // number and count
	Micros  int64      `json:"micros,omitempty"`
}

// MarshalJSON writes the summary for another process, whose buckets are the same.
func (s Summary) MarshalJSON() ([]byte, error) {
	out := summary{Micros: s.micros}
	for i, n := range s.counts {
		if n != 0 {
			out.Buckets = append(out.Buckets, [2]int64{int64(i), n})
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON has written.
func (s *Summary) UnmarshalJSON(text []byte) error {
	var in summary
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	*s = Summary{micros: in.Micros}
	for _, b := range in.Buckets {
		if b[0] < 0 || b[0] >= buckets {
			return fmt.Errorf("bucket %d is not one of %d", b[0], buckets)
		}
		s.counts[b[0]] += b[1]
		s.count += b[1]
	}
	return nil
}

// Plus adds another summary.
func (s *Summary) Plus(o *Summary) { s.plus(o, 1) }

// Minus takes away what an earlier summary of the same had.
func (s *Summary) Minus(o *Summary) { s.plus(o, -1) }

func (s *Summary) plus(o *Summary, sign int64) {
	for i, n := range o.counts {
		s.counts[i] += sign * n
	}
	s.count += sign * o.count
	s.micros += sign * o.micros
}
