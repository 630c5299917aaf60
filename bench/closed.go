package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// What clients do at a time. They work in all phases but the last.
const (
	phaseWarm    int32 = iota
	phaseMeasure       // what ends now counts
	phaseOver
)

// A client counts what its worker does.
type client struct {
	size    int64
	latency histogram
}

// errorPause keeps a client from spinning when every unit fails.
const errorPause = 5 * time.Millisecond

// run makes units until the phase is over.
func (c *client) run(ctx context.Context, w worker, phase *atomic.Int32, failed *tally) {
	pause := time.NewTimer(errorPause)
	defer pause.Stop()
	for phase.Load() != phaseOver {
		begin := time.Now()
		size, err := w.work()
		switch {
		case err != nil:
			failed.add(err)
			pause.Reset(errorPause)
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
		case phase.Load() == phaseMeasure:
			c.latency.record(time.Since(begin))
			c.size += size
		}
	}
	if err := w.close(); err != nil {
		failed.add(err)
	}
}

// closed drives the clients of a closed loop.
func (st *stage) closed(ctx context.Context) (sample, error) {
	sc := st.task.Scenario
	var phase atomic.Int32
	var failed tally
	var running sync.WaitGroup
	d := st.dialer(st.deadline())
	clients := make([]client, sc.Connections)
	for i := range clients {
		running.Go(func() { clients[i].run(ctx, sc.newWorker(d), &phase, &failed) })
	}
	result, err := st.window(ctx, func() { phase.Store(phaseMeasure) }, func() { phase.Store(phaseOver) })
	running.Wait()
	if err != nil {
		return sample{}, err
	}
	var size int64
	var latency histogram
	for i := range clients {
		size += clients[i].size
		latency.merge(&clients[i].latency)
	}
	result.count(float64(size)/float64(sc.PerUnit), &latency)
	failed.into(&result)
	return result, nil
}

// window waits for the end of the warm-up, calls begin, waits for the end of the
// window and calls end, also when ctx ended it or it failed.
func (st *stage) window(ctx context.Context, begin, end func()) (sample, error) {
	if err := wait(ctx, st.task.WarmUp); err != nil {
		end()
		return sample{}, err
	}
	before, err := st.read()
	begin()
	if err != nil {
		end()
		return sample{}, err
	}
	err = wait(ctx, st.task.Window)
	// Read first, as at the beginning, so that what the reading takes cancels out.
	after, failed := st.read()
	end()
	if err := errors.Join(err, failed); err != nil {
		return sample{}, err
	}
	result := st.sample(before, after)
	result.Memory, _, err = st.proxyMemory()
	return result, err
}

// wait returns after d, with an error if ctx ended before.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
