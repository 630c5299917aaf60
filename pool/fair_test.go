package pool

import (
	"math/rand/v2"
	"testing"
)

// However many are in flight, and in whatever order they end, each of several
// equal servers gets its share: no pattern keeps one from its turn.
func TestEqualServersShareWhateverTheRhythm(t *testing.T) {
	const rounds = 3000
	random := rand.New(rand.NewPCG(1, 2))
	ends := map[string]func(held []*Lease, flight int) []*Lease{
		"all at once": func(held []*Lease, flight int) []*Lease {
			if len(held) < flight {
				return held
			}
			for _, lease := range held {
				lease.Release(Served)
			}
			return nil
		},
		"oldest first": func(held []*Lease, flight int) []*Lease {
			if len(held) < flight {
				return held
			}
			held[0].Release(Served)
			return held[1:]
		},
		"any": func(held []*Lease, flight int) []*Lease {
			if len(held) < flight {
				return held
			}
			i := random.IntN(len(held))
			held[i].Release(Served)
			return append(held[:i], held[i+1:]...)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			for _, servers := range []int{2, 3, 5, 8} {
				for _, flight := range []int{1, 2, 3, 5, 8, 12} {
					w := start(t, LeastConnections, ones(servers)...)
					var held []*Lease
					for range rounds {
						held = end(append(held, w.must(nil)), flight)
					}
					for _, n := range w.totals() {
						if n*int64(servers) < rounds*7/10 {
							t.Fatalf("%d servers, %d in flight: chosen %v times", servers, flight, w.totals())
						}
					}
				}
			}
		})
	}
}
