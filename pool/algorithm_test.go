package pool

import (
	"slices"
	"strings"
	"testing"
)

func TestLeastConnectionsFollowsTheCounts(t *testing.T) {
	w := start(t, LeastConnections, 1, 1, 1)
	w.acquire(1)
	w.want(1, 0, 0)
	w.acquire(2)
	w.want(1, 1, 1)
	w.acquire(3)
	w.want(2, 2, 2)
	w.release("bb")
	w.want(2, 0, 2)
	w.acquire(1) // b is the only one with the least
	w.want(2, 1, 2)
	w.acquire(1)
	w.want(2, 2, 2)
	w.release("aac")
	w.want(0, 2, 1)
	w.acquire(1)
	w.want(1, 2, 1)
	w.acquire(2)
	w.want(2, 2, 2)
}

func TestLeastConnectionsComparesActivePerWeight(t *testing.T) {
	w := start(t, LeastConnections, 4, 2, 1)
	w.acquire(7)
	w.want(4, 2, 1)
	w.acquire(7)
	w.want(8, 4, 2)
	w.release("aaaa") // 4/4, 4/2, 2/1
	w.acquire(4)
	w.want(8, 4, 2)
	w.release("bbc") // 8/4, 2/2, 1/1
	w.acquire(3)
	w.want(8, 4, 2)
}

func TestLeastConnectionsRotatesTiesByWeight(t *testing.T) {
	for _, story := range []struct {
		weights []int
		turns   string
	}{
		{[]int{1}, "aaaa"},
		{[]int{1, 1, 1}, "abcabcabc"},
		{[]int{1, 3}, "abbbabbb"},
		{[]int{3, 2, 1}, "abaabcabaabc"},
	} {
		w := start(t, LeastConnections, story.weights...)
		same(t, "turns", w.turns(len(story.turns)), story.turns)
	}
}

// The turns of a busy server go to those that are idle, about as many to each.
func TestLeastConnectionsSharesOutTheTurnsOfTheBusy(t *testing.T) {
	w := start(t, LeastConnections, 1, 1, 1)
	w.acquire(1)
	w.want(1, 0, 0)
	order := w.turns(600)
	for _, name := range []string{"b", "c"} {
		if n := strings.Count(order, name); n < 240 || n > 360 {
			t.Errorf("%s had %d of 600 turns, want about half", name, n)
		}
	}
}

func TestRoundRobinTakesTurns(t *testing.T) {
	for _, story := range []struct {
		weights []int
		turns   string
	}{
		{[]int{1}, "aaa"},
		{[]int{7}, "aaa"},
		{[]int{1, 1, 1, 1}, "abcdabcdabcd"},
		{[]int{64, 64, 64}, "abcabc"},
		{[]int{3, 2}, "ababaababa"},
		{[]int{5, 1, 1}, "aabaacaaabaaca"},
	} {
		w := start(t, RoundRobin, story.weights...)
		got := w.turns(len(story.turns))
		if period := len(story.turns) / 2; !rotated(story.turns[:period], got[:period]) {
			t.Errorf("weights %v: turns %s, want %s", story.weights, got, story.turns)
		}
	}
}

// rotated reports whether two cycles are the same but for where they begin.
func rotated(a, b string) bool { return len(a) == len(b) && strings.Contains(a+a, b) }

func TestRoundRobinDoesNotLookAtTheCounts(t *testing.T) {
	w := start(t, RoundRobin, 1, 1, 1)
	w.acquire(4)
	w.want(2, 1, 1)
	w.release("bc")
	w.want(2, 0, 0)
	w.acquire(3)
	w.want(3, 1, 1)
}

func TestWeightsMayChange(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		w := start(t, algorithm, 1, 1)
		w.acquire(4)
		w.want(2, 2)
		w.release("aabb")
		if _, created := w.Upload(ServerSpec{Address: "b", Weight: 3}); created {
			t.Fatal("an update made a new server")
		}
		w.acquire(8)
		w.want(2, 6)
	})
}

func TestATriedServerIsNotGivenAgain(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		w := start(t, algorithm, 9, 1, 4, 1, 2)
		for range 40 {
			var tried Tried
			var seen []*Server
			for tried.Len() < 5 {
				lease := w.must(&tried)
				if slices.Contains(seen, lease.Server()) {
					t.Fatalf("%q was given again", lease.Server().Address())
				}
				seen = append(seen, lease.Server())
				tried.Add(lease.Server())
				lease.Release(ConnectFailed)
			}
			w.wantErr(&tried, ErrNoneReady)
		}
		w.want(0, 0, 0, 0, 0)
	})
}

func TestTriedHoldsMaxTries(t *testing.T) {
	w := start(t, LeastConnections, ones(MaxTries+2)...)
	var tried Tried
	for i, s := range w.Servers() {
		tried.Add(s)
		same(t, "servers tried", tried.Len(), min(i+1, MaxTries))
	}
	var none *Tried
	if none.has(w.Servers()[0]) || (&Tried{}).has(nil) {
		t.Error("an empty Tried has a server")
	}
}

func TestAFullServerIsPassedOver(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		w := newWorld(t, algorithm)
		w.ready("a", 200, 2) // by its weight nearly all would be its
		w.ready("b", 1, 3)
		w.acquire(5)
		w.want(2, 3)
		w.wantErr(nil, ErrFull)
		w.release("b")
		w.acquire(1)
		w.want(2, 3)
		w.wantErr(nil, ErrFull)

		w.Upload(ServerSpec{Address: "a", MaxConnections: 3})
		w.acquire(1)
		w.want(3, 3)
		w.Upload(ServerSpec{Address: "a", MaxConnections: 1})
		w.release("a")
		w.wantErr(nil, ErrFull) // 2 are left of a lower limit
		w.release("aa")
		w.acquire(1)
		w.want(1, 3)
		w.Upload(ServerSpec{Address: "b"})
		w.acquire(50)
		w.want(1, 53)
	})
}

// A full server that has as many active as the others is not tied with them.
func TestAFullServerHasNoTurn(t *testing.T) {
	for full := range 3 {
		w := newWorld(t, LeastConnections)
		for i := range 3 {
			limit := 0
			if i == full {
				limit = 2
			}
			w.ready(letter(i), 1, limit)
		}
		w.acquire(6)
		w.want(2, 2, 2)
		w.acquire(8)
		want := []int64{6, 6, 6}
		want[full] = 2
		w.want(want...)
	}
}

// ErrFull tells of servers that may be had later; those that were tried are
// not among them.
func TestFullOrNone(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		w := newWorld(t, algorithm)
		full := w.ready("a", 1, 1)
		other := w.ready("b", 1, 0)
		var first, second Tried
		first.Add(other)
		lease := w.must(&first)
		same(t, "the one left", lease.Server().Address(), "a")
		w.wantErr(&first, ErrFull)
		second.Add(full)
		second.Add(other)
		w.wantErr(&second, ErrNoneReady)
		lease.Release(Served)
		w.want(0, 0)
	})
}
