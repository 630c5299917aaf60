package loop

import (
	"math"
	"math/bits"
	"time"
)

const (
	tick        = 8 * time.Millisecond
	wheelBits   = 6
	wheelSlots  = 1 << wheelBits
	wheelLevels = 5 // 64^5 ticks of 8 ms: 99 days
	longest     = 1<<(wheelBits*wheelLevels) - 1
)

// wheel is a hierarchical timing wheel (Varghese and Lauck, "Hashed and
// Hierarchical Timing Wheels", 1987): setting and stopping a timer take constant
// time. Timers fire up to one tick late, never early.
type wheel struct {
	at     int64 // the tick up to which all timers have fired
	levels [wheelLevels]struct {
		used  uint64 // a bit for each slot that is not empty
		slots [wheelSlots]*timer
	}
}

// timer is set by embedding it; the zero value is not set.
type timer struct {
	owner      interface{ expired() }
	due        int64 // in ticks
	level      int8
	slot       int8
	set        bool
	next, prev *timer
}

// ticks rounds up; it cannot overflow.
func ticks(t time.Duration) int64 { return int64((t-1)/tick) + 1 }

// start sets the timer, anew if it was set before, to fire at or after when.
func (w *wheel) start(t *timer, when time.Duration) {
	w.stop(t)
	t.due = max(ticks(when), w.at+1)
	w.insert(t)
}

// insert files the timer under the highest bits in which its due time differs
// from now, as digits of base 64.
func (w *wheel) insert(t *timer) {
	due := min(t.due, w.at+longest)
	level := 0
	if diff := uint64(due ^ w.at); diff != 0 {
		level = min((bits.Len64(diff)-1)/wheelBits, wheelLevels-1)
	}
	slot := int(due>>(level*wheelBits)) % wheelSlots
	l := &w.levels[level]
	t.level, t.slot, t.set = int8(level), int8(slot), true
	t.prev, t.next = nil, l.slots[slot]
	if t.next != nil {
		t.next.prev = t
	}
	l.slots[slot] = t
	l.used |= 1 << slot
}

// stop unsets the timer if it is set.
func (w *wheel) stop(t *timer) {
	if !t.set {
		return
	}
	l := &w.levels[t.level]
	if t.prev != nil {
		t.prev.next = t.next
	} else if l.slots[t.slot] = t.next; t.next == nil {
		l.used &^= 1 << t.slot
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.next, t.prev, t.set = nil, nil, false
}

// advance fires every timer that is due by now, each unset before its owner
// is told.
func (w *wheel) advance(now time.Duration) {
	target := int64(now / tick)
	for w.at < target {
		next := w.nextTick()
		if next < 0 || next > target {
			w.at = target
			return
		}
		w.at = next
		w.cascade()
		for {
			t := w.levels[0].slots[w.at%wheelSlots]
			if t == nil {
				break
			}
			w.stop(t)
			t.owner.expired()
		}
	}
}

// cascade refiles the timers of the slots that begin at the current tick.
func (w *wheel) cascade() {
	for level := 1; level < wheelLevels; level++ {
		if w.at&(1<<(level*wheelBits)-1) != 0 {
			return
		}
		slot := (w.at >> (level * wheelBits)) % wheelSlots
		for t := w.levels[level].slots[slot]; t != nil; t = w.levels[level].slots[slot] {
			w.stop(t)
			w.insert(t)
		}
	}
}

// nextTick returns the first tick after the current one at which a timer fires
// or a slot must be cascaded, or -1 when no timer is set.
func (w *wheel) nextTick() int64 {
	for level := range wheelLevels {
		used := w.levels[level].used
		if used == 0 {
			continue
		}
		shift := level * wheelBits
		at := w.at >> shift
		// The slots after the current one, in the order in which they come.
		ahead := bits.RotateLeft64(used, -int((at+1)%wheelSlots))
		return (at + 1 + int64(bits.TrailingZeros64(ahead))) << shift
	}
	return -1
}

// next returns for how many milliseconds the loop may wait, no more than epoll
// can be told, or -1 when no timer is set.
func (w *wheel) next(now time.Duration) int {
	at := w.nextTick()
	if at < 0 {
		return -1
	}
	wait := time.Duration(at)*tick - now
	return int(min(max((wait+time.Millisecond-1)/time.Millisecond, 0), math.MaxInt32))
}
