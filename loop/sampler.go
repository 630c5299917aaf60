package loop

import "time"

// sampledOf is of how many pieces of work a Sampler measures one. It is a prime, so
// that it falls into step with no clients who take turns.
const sampledOf = 17

// A Sampler measures of one in every few pieces of work how long it was in the
// loop's hands: the sum of the turns in which something was done for it, whole
// turns, from when what had come in was known until the kernel had all that there
// was to send. What came between, the waiting for others, is not in it. So it is
// not too little, and too much by what the turn did for others after it: over many
// of them about as much as it is too little by the end of the turn before, in which
// it may have waited to be known of.
//
// A piece of work is whatever T identifies it by. One is measured at a time; its
// owner says Begin, Touch in each further turn, and End or Drop. For all others that
// costs no more than to compare. A Sampler belongs to the loop; its zero value is of
// no use.
type Sampler[T comparable] struct {
	loop    *Loop
	observe func(time.Duration)
	lap     func(took time.Duration)

	skip    int  // before the next one is measured
	of      T    // what is measured; the zero value: nothing
	touched bool // lap is called at the end of this turn
	over    bool // and that is the last of it
	spent   time.Duration
}

// NewSampler returns a Sampler that tells observe, on the loop, what it has measured.
func NewSampler[T comparable](l *Loop, observe func(time.Duration)) *Sampler[T] {
	s := &Sampler[T]{loop: l, observe: observe}
	s.lap = s.endLap
	return s
}

// Begin measures a piece of work, if it is one that is to be, from this turn on. One
// that was not ended by now is given up for it.
func (s *Sampler[T]) Begin(work T) {
	if s.skip > 0 {
		s.skip--
		return
	}
	if s.over {
		return
	}
	s.skip = sampledOf - 1
	s.of, s.spent = work, 0
	s.touch()
}

// Touch takes this turn in, once, if the work is measured.
func (s *Sampler[T]) Touch(work T) {
	if s.of == work {
		s.touch()
	}
}

// End is Touch for the last time: observe is told at the end of the turn.
func (s *Sampler[T]) End(work T) {
	if s.of == work {
		s.touch()
		s.over = true
	}
}

// Drop measures the work no further, unless it has ended: T may identify another
// one from now on.
func (s *Sampler[T]) Drop(work T) {
	if s.of == work && !s.over {
		s.forget()
	}
}

func (s *Sampler[T]) touch() {
	if !s.touched {
		s.touched = true
		s.loop.laps = append(s.loop.laps, s.lap)
	}
}

func (s *Sampler[T]) endLap(took time.Duration) {
	s.touched = false
	s.spent += took
	if s.over {
		s.over = false
		s.observe(s.spent)
		s.forget()
	}
}

func (s *Sampler[T]) forget() {
	var nothing T
	s.of = nothing
}

// tellLaps says how long the turn took, to those that want to know. What io_uring
// has to send is sent first; otherwise that would be part of the wait.
func (l *Loop) tellLaps() {
	if len(l.laps) == 0 {
		return
	}
	if l.ring != nil {
		l.ring.enter(0, 0, true)
	}
	took := time.Since(l.start) - l.now
	for i, tell := range l.laps {
		tell(took)
		l.laps[i] = nil
	}
	l.laps = l.laps[:0]
}
