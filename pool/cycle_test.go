package pool

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func weighted(weights ...int64) []candidate {
	all := make([]candidate, len(weights))
	for i, w := range weights {
		all[i].weight = w
	}
	return all
}

// unevenness returns by how much the turns of the worst-off server can differ
// from its share, over windows of any length, those across the end of the
// cycle included. It is the distance between the most and the least that a
// server is ahead of its share after any number of turns.
func unevenness(weights []int64, order []uint32) (worst float64) {
	var all int64
	for _, w := range weights {
		all += w
	}
	taken := make([]float64, len(weights))
	most, least := make([]float64, len(weights)), make([]float64, len(weights))
	for at, i := range order {
		share := float64(weights[i]) / float64(all)
		least[i] = min(least[i], taken[i]-share*float64(at))
		taken[i]++
		most[i] = max(most[i], taken[i]-share*float64(at+1))
	}
	for i := range weights {
		worst = max(worst, most[i]-least[i])
	}
	return worst
}

func TestUnevenness(t *testing.T) {
	same(t, "taking turns", unevenness([]int64{1, 1}, []uint32{0, 1, 0, 1}), 0.5)
	same(t, "all at once", unevenness([]int64{1, 1}, []uint32{0, 0, 1, 1}), 1)
	same(t, "heaped", unevenness([]int64{1, 1}, []uint32{0, 0, 0, 0, 1, 1, 1, 1}), 2)
}

func TestEveryServerHasItsTurnsInTheCycle(t *testing.T) {
	for _, story := range []struct{ weights, turns []int64 }{
		{[]int64{5, 1, 1}, []int64{5, 1, 1}},
		{[]int64{3, 2}, []int64{3, 2}},
		{[]int64{256, 128, 64}, []int64{4, 2, 1}},
		{[]int64{10, 10, 10, 10}, []int64{1, 1, 1, 1}},
		{[]int64{256, 255}, []int64{256, 255}},
	} {
		turns := make([]int64, len(story.weights))
		for _, i := range cycle(weighted(story.weights...)) {
			turns[i]++
		}
		same(t, "turns", turns, story.turns)
	}
	same(t, "turns of nobody", len(cycle(nil)), 0)
}

// No window of turns, wherever it begins and ends, gives a server two more or
// two less than its share: all pools of up to four servers and weights to 9.
func TestTurnsAreSpreadEvenlyInSmallPools(t *testing.T) {
	var try func(weights []int64)
	try = func(weights []int64) {
		if len(weights) > 0 {
			if u := unevenness(weights, cycle(weighted(weights...))); u > 2 {
				t.Fatalf("weights %v: up to %.2f turns from the share", weights, u)
			}
		}
		if len(weights) == 4 {
			return
		}
		for w := int64(1); w <= 9; w++ {
			try(append(weights[:len(weights):len(weights)], w))
		}
	}
	try(nil)
}

// With many servers of any weights a window may be off by a few turns, not more.
func TestTurnsAreSpreadEvenly(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		heaviest := 1 + random.Int64N(256)
		weights := make([]int64, 1+random.IntN(40))
		for i := range weights {
			weights[i] = 1 + random.Int64N(heaviest)
			if random.IntN(2) == 0 {
				weights[i] = 1
			}
		}
		if u := unevenness(weights, cycle(weighted(weights...))); u > 4 {
			t.Fatalf("weights %v: up to %.2f turns from the share", weights, u)
		}
	}
}

func TestALargeCycleIsMadeQuickly(t *testing.T) {
	const bound = 3 * time.Second // with the race detector on a slow machine; it takes a fraction
	weights := make([]int64, 1000)
	for i := range weights {
		weights[i] = 1 + rand.Int64N(256)
	}
	weights[0], weights[1] = 255, 256 // no common divisor
	began := time.Now()
	order := cycle(weighted(weights...))
	if took := time.Since(began); took > bound {
		t.Errorf("%d turns took %v", len(order), took)
	}
	// Too many turns for one cycle: each server's are rounded down, but not to none.
	if len(order) > maxTurns {
		t.Errorf("%d turns, at most %d are allowed", len(order), maxTurns)
	}
	var all int64
	for _, w := range weights {
		all += w
	}
	turns := make([]int64, len(weights))
	for _, i := range order {
		turns[i]++
	}
	for i, w := range weights {
		same(t, fmt.Sprintf("turns of weight %d", w), turns[i], max(1, w*maxTurns/all))
	}
}
