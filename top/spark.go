package top

import (
	"time"

	"fulcrum/admin"
)

const (
	sparkStep   = 10 * time.Second // of a past, between its values
	sparkLength = 30
)

// A past is the rate of the last five minutes: the mean of each step. The zero value
// has been 0.
type past struct {
	step   int64 // the number of the last step, since 1970
	count  int   // how many samples are in the mean of that
	last   float32
	values [sparkLength]float32 // oldest first
}

// add takes in the rate at some time. What is older than the last step is known
// already, unless the clock was put back by more than all of the past.
func (p *past) add(at time.Time, rate float32) {
	step := at.Unix() / int64(sparkStep/time.Second)
	if step < p.step-sparkLength {
		*p = past{}
	}
	if step < p.step {
		return
	}
	p.advance(step)
	mean := &p.values[sparkLength-1]
	*mean = (*mean*float32(p.count) + rate) / float32(p.count+1)
	p.count++
	p.last = rate
}

// advance goes on to a step. What is not told meanwhile has stayed as it was.
func (p *past) advance(step int64) {
	by := step - p.step
	if by <= 0 {
		return
	}
	keep := max(sparkLength-int(min(by, sparkLength)), 0)
	copy(p.values[:keep], p.values[sparkLength-keep:])
	for i := keep; i < sparkLength; i++ {
		p.values[i] = p.last
	}
	p.values[sparkLength-1] = 0
	p.step, p.count = step, 0
}

// maxHistory is how many rows of a history are looked at.
const maxHistory = 3600

// take adds a sample, or the history that it is the end of.
func (p *past) take(at time.Time, s *admin.Sample, h *admin.History) {
	if h == nil || len(h.Rate) == 0 || h.Step < 1 || h.Step > maxHistory {
		p.add(at, s.Rate)
		return
	}
	rates := h.Rate[max(len(h.Rate)-maxHistory, 0):]
	for i, rate := range rates {
		before := len(rates) - 1 - i
		p.add(at.Add(-time.Duration(before*h.Step)*time.Second), rate)
	}
}

// until returns the past as it is at some time.
func (p past) until(at time.Time) past {
	if step := at.Unix() / int64(sparkStep/time.Second); step > p.step {
		p.advance(step)
		p.values[sparkLength-1] = p.last
	}
	return p
}

// columns returns the past as at most so many numbers of the same length of time each.
func (p *past) columns(most int) []float32 {
	if most < 1 {
		return nil
	}
	each := (sparkLength + most - 1) / most
	columns := make([]float32, 0, most)
	for end := sparkLength % each; end <= sparkLength; end += each {
		if end == 0 {
			continue
		}
		from := max(end-each, 0)
		var sum float32
		for _, v := range p.values[from:end] {
			sum += v
		}
		columns = append(columns, sum/float32(end-from))
	}
	return columns
}

// most is the highest value.
func (p *past) most() (most float32) {
	for _, v := range p.values {
		most = max(most, v)
	}
	return most
}
