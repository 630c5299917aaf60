package main

import (
	"context"
	"sync"
)

// openers is how many connections are being opened at a time.
const openers = 64

// idle opens connections, has each carry one message so that both its ends
// exist, leaves them alone for the window and reads what they cost the proxy.
// Then each must carry another message.
func (st *stage) idle(ctx context.Context) (sample, error) {
	memory, descriptors, err := st.proxyMemory()
	if err != nil {
		return sample{}, err
	}
	var failed tally
	sc := st.task.Scenario
	d := st.dialer(st.deadline())
	workers := make([]worker, sc.Connections)
	for i := range workers {
		workers[i] = sc.newWorker(d)
	}
	forEach(workers, &failed, once)
	result, err := st.window(ctx, func() {}, func() {})
	if err == nil {
		var after int
		if _, after, err = st.proxyMemory(); err == nil {
			result.ConnectionMemory = float64(result.Memory-memory) / float64(sc.Connections)
			result.ConnectionDescriptors = float64(after-descriptors) / float64(sc.Connections)
		}
		forEach(workers, &failed, once)
	}
	forEach(workers, &failed, worker.close)
	result.Units = float64(sc.Connections)
	failed.into(&result)
	return result, err
}

func once(w worker) error {
	_, err := w.work()
	return err
}

// forEach does something with each worker, several at a time, and collects errors.
func forEach(workers []worker, failed *tally, do func(worker) error) {
	queue := make(chan worker, len(workers))
	for _, w := range workers {
		queue <- w
	}
	close(queue)
	var running sync.WaitGroup
	for range openers {
		running.Go(func() {
			for w := range queue {
				if err := do(w); err != nil {
					failed.add(err)
				}
			}
		})
	}
	running.Wait()
}
