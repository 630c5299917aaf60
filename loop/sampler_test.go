package loop

import (
	"slices"
	"testing"
	"time"
)

// bench is a Sampler whose turns take as long as a test says.
type bench struct {
	*Sampler[int]
	told []time.Duration
}

func newBench() *bench {
	b := &bench{}
	b.Sampler = NewSampler[int](&Loop{}, func(d time.Duration) { b.told = append(b.told, d) })
	return b
}

// turn does what a loop does at the end of one.
func (b *bench) turn(took time.Duration) {
	laps := b.loop.laps
	b.loop.laps = nil
	for _, tell := range laps {
		tell(took)
	}
}

func (b *bench) want(t *testing.T, told ...time.Duration) {
	t.Helper()
	if !slices.Equal(b.told, told) {
		t.Errorf("told %v, want %v", b.told, told)
	}
	b.told = nil
}

func TestASamplerAddsUpTheTurns(t *testing.T) {
	b := newBench()
	b.Begin(1)
	b.Touch(1) // the same turn
	b.turn(5)
	b.turn(100) // nothing is done for it
	b.Touch(1)
	b.turn(7)
	b.Touch(2) // somebody else
	b.End(2)
	b.turn(100)
	b.want(t)
	b.End(1)
	b.Drop(1) // it was recycled in the turn in which it ended
	b.Touch(1)
	b.turn(11)
	b.want(t, 23)
	b.End(1)
	b.turn(100)
	b.want(t)
}

func TestASamplerMeasuresOneOfEveryFew(t *testing.T) {
	b := newBench()
	for work := range 3 * sampledOf {
		b.Begin(work + 1)
		b.End(work + 1)
		b.turn(time.Duration(work))
	}
	b.want(t, 0, sampledOf, 2*sampledOf)
}

// What never ends keeps nothing else from being measured.
func TestASamplerGivesUp(t *testing.T) {
	b := newBench()
	b.Begin(1)
	b.turn(100)
	for work := range sampledOf {
		b.Begin(work + 2)
	}
	b.End(1)
	b.turn(1)
	b.want(t)
	b.End(sampledOf + 1)
	b.turn(2)
	b.want(t, 3)
	for work := range sampledOf {
		b.Begin(work + 2)
	}
	b.Drop(sampledOf + 1)
	b.End(sampledOf + 1)
	b.turn(1)
	b.want(t)
}

// On a loop turns count as long as they took, and what is between them does not.
func TestASamplerOnALoop(t *testing.T) {
	const work, wait = 20 * time.Millisecond, 200 * time.Millisecond
	w := start(t)
	told := make(chan time.Duration, 1)
	began := time.Now()
	var s *Sampler[int]
	w.do(func() {
		s = NewSampler[int](w.Loop, func(d time.Duration) { told <- d })
		s.Begin(1)
		time.Sleep(work)
	})
	w.do(func() {}) // that turn is over
	time.Sleep(wait)
	w.do(func() {
		s.End(1)
		time.Sleep(work)
	})
	select {
	case d := <-told:
		if most := time.Since(began) - wait; d < 2*work || d > most {
			t.Errorf("told %v, want %v to %v", d, 2*work, most)
		}
	case <-time.After(patience):
		t.Fatal("nothing is told")
	}
}
