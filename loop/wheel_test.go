package loop

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// alarm is a timer that a story set, and what it was promised.
type alarm struct {
	timer
	when  time.Duration // not to fire before this
	fires func(*alarm)
}

func (a *alarm) expired() { a.fires(a) }

// naive is the wheel beside the simplest thing that could be right: a list.
type naive struct {
	t      *testing.T
	random *rand.Rand
	wheel  wheel
	now    time.Duration
	alarms [40]alarm
	fired  int
	depth  int // how many alarms were set from within an expiry in this advance
}

func newNaive(t *testing.T, seed uint64) *naive {
	n := &naive{t: t, random: rand.New(rand.NewPCG(seed, 1))}
	for i := range n.alarms {
		n.alarms[i].owner, n.alarms[i].fires = &n.alarms[i], n.fire
	}
	return n
}

func (n *naive) fire(a *alarm) {
	n.fired++
	if a.set {
		n.t.Fatal("a timer is still set while it fires")
	}
	if n.now < a.when {
		n.t.Fatalf("fired at %v, %v early", n.now, a.when-n.now)
	}
	if n.depth++; n.depth < 20 {
		n.change()
	}
}

// change starts or stops one alarm, which may be set or not.
func (n *naive) change() {
	a := &n.alarms[n.random.IntN(len(n.alarms))]
	if n.random.IntN(4) == 0 {
		n.wheel.stop(&a.timer)
		return
	}
	a.when = n.now + n.span()
	n.wheel.start(&a.timer, a.when)
}

// span returns a time of any order of magnitude, up to beyond what the wheel
// holds in one turn.
func (n *naive) span() time.Duration {
	most := []time.Duration{1, tick, 3 * tick, time.Second, time.Minute, time.Hour, 40 * 24 * time.Hour, 300 * 24 * time.Hour}
	return time.Duration(n.random.Int64N(int64(most[n.random.IntN(len(most))]) + 1))
}

func (n *naive) advance(to time.Duration) {
	n.now, n.depth = to, 0
	n.wheel.advance(to)
	n.check()
}

// check compares what is set with the clock, and next with the list.
func (n *naive) check() {
	n.t.Helper()
	first, set := time.Duration(math.MaxInt64), false
	for i := range n.alarms {
		if a := &n.alarms[i]; a.set {
			set = true
			first = min(first, a.when)
			if n.now-tick >= a.when {
				n.t.Fatalf("at %v a timer for %v has not fired", n.now, a.when)
			}
		}
	}
	ms := n.wheel.next(n.now)
	switch wait := time.Duration(ms) * time.Millisecond; {
	case !set && ms != -1:
		n.t.Fatalf("next is %d with no timer set", ms)
	case set && ms < 0:
		n.t.Fatal("next is forever with a timer set")
	case set && n.now+wait-tick-time.Millisecond >= max(first, n.now):
		n.t.Fatalf("next sleeps until %v, past the timer of %v by more than a tick", n.now+wait, first)
	case ms > math.MaxInt32:
		n.t.Fatalf("next is %d ms, more than epoll takes", ms)
	}
}

func TestTimersFireNeverEarlyAndAtMostATickLate(t *testing.T) {
	for seed := range uint64(30) {
		n := newNaive(t, seed)
		for range 2000 {
			n.change()
			n.check()
			if n.random.IntN(3) == 0 {
				n.advance(n.now + n.span())
			}
		}
		if n.fired < 500 {
			t.Fatalf("only %d timers fired", n.fired)
		}
	}
}

// Who sleeps for as long as next says wakes up in time for every timer, and
// seldom for nothing.
func TestSleepingUntilNextMissesNothing(t *testing.T) {
	for seed := range uint64(20) {
		n := newNaive(t, seed)
		for range 200 {
			n.change()
		}
		wakeups := 0
		for ms := n.wheel.next(n.now); ms >= 0 && n.now < 300*24*time.Hour; ms = n.wheel.next(n.now) {
			n.depth = 20 // no more alarms
			n.now += time.Duration(ms) * time.Millisecond
			n.wheel.advance(n.now)
			n.check()
			if wakeups++; wakeups > len(n.alarms)*2*wheelLevels+20 {
				t.Fatalf("woken %d times for %d timers", wakeups, len(n.alarms))
			}
		}
	}
}

func TestATimerBeyondTheWheelFiresWhenItIsDue(t *testing.T) {
	const top = time.Duration(longest) * tick
	for _, begin := range []time.Duration{0, tick, 77 * time.Second, top - tick, top, top + tick, 5*top - 3*tick} {
		for _, after := range []time.Duration{0, 1, top - tick, top, top + 1, 3*top + time.Hour} {
			t.Run(fmt.Sprint(begin, " and ", after), func(t *testing.T) {
				n := newNaive(t, 1)
				n.depth = 20
				n.now = begin
				n.wheel.advance(begin)
				a := &n.alarms[0]
				a.when = begin + after
				n.wheel.start(&a.timer, a.when)
				if n.wheel.advance(max(a.when-1, begin)); !a.set {
					t.Fatal("fired early")
				}
				n.now = a.when + tick
				if n.wheel.advance(n.now); a.set {
					t.Fatal("did not fire")
				}
			})
		}
	}
}

func TestATimerForeverNeverFires(t *testing.T) {
	n := newNaive(t, 1)
	n.wheel.advance(time.Hour)
	n.now = time.Hour
	a := &n.alarms[0]
	a.when = math.MaxInt64
	n.wheel.start(&a.timer, a.when)
	n.advance(50 * 365 * 24 * time.Hour)
	if !a.set || n.fired > 0 {
		t.Fatal("a timer for the end of time has fired")
	}
}

// A timer that sets itself anew from its expiry fires once in a tick, so that
// the loop gets on.
func TestATimerMaySetItselfAnew(t *testing.T) {
	n := newNaive(t, 1)
	a := &n.alarms[0]
	a.fires = func(*alarm) {
		n.fired++
		n.wheel.start(&a.timer, n.now)
	}
	n.wheel.start(&a.timer, 0)
	for range 100 {
		n.now += tick
		n.wheel.advance(n.now)
	}
	if n.fired != 100 || !a.set {
		t.Fatalf("fired %d times in 100 ticks", n.fired)
	}
}

func TestStartingAndStoppingTimersKeepsNothing(t *testing.T) {
	n := newNaive(t, 1)
	for i := range n.alarms {
		n.wheel.start(&n.alarms[i].timer, n.span())
		n.wheel.start(&n.alarms[i].timer, n.span())
	}
	for i := range n.alarms {
		n.wheel.stop(&n.alarms[i].timer)
		n.wheel.stop(&n.alarms[i].timer)
	}
	n.check()
	if n.wheel != (wheel{}) {
		t.Fatal("something is left in the wheel")
	}
}
