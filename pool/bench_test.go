package pool

import (
	"fmt"
	"testing"
)

// crowd returns a pool of n ready servers with weights from 1 to heaviest.
func crowd(t testing.TB, algorithm string, n, heaviest int) *Pool {
	w := newWorld(t, algorithm)
	for i := range n {
		server, _ := w.Upload(ServerSpec{Address: fmt.Sprintf("s%d", i), Weight: 1 + i%heaviest})
		w.SetHealth(server, passed())
	}
	return w.Pool
}

// A connection's Tried lives as long as the connection, so one is made before
// the runs; choosing, passing over tried servers, being refused and releasing
// allocate nothing.
func TestAcquireAllocatesNothing(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm string) {
		p := crowd(t, algorithm, 5, 3)
		tried := new(Tried)
		var lease Lease
		var err error
		if n := testing.AllocsPerRun(200, func() {
			*tried = Tried{}
			for range 5 {
				lease, err = p.Acquire(tried)
				tried.Add(lease.Server())
				lease.Release(ConnectFailed)
			}
			_, err = p.Acquire(tried)
		}); n != 0 {
			t.Errorf("%v allocations for 6 acquires", n)
		}
		same(t, "the sixth", err, ErrNoneReady)
	})
}

func BenchmarkAcquire(b *testing.B) {
	for _, algorithm := range Algorithms() {
		for _, n := range []int{1, 10, 1000} {
			p := crowd(b, algorithm, n, 3)
			b.Run(fmt.Sprintf("%s/%d", algorithm, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					lease, _ := p.Acquire(nil)
					lease.Release(Served)
				}
			})
			b.Run(fmt.Sprintf("%s/%d/parallel", algorithm, n), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						lease, _ := p.Acquire(nil)
						lease.Release(Served)
					}
				})
			})
		}
	}
}
