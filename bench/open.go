package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// An openClient is one kept connection of the open loop: the pacer sends on it,
// a goroutine of its own reads the answers. It is at one place at a time: in the
// queue of idle clients, with the pacer, or in flight.
type openClient struct {
	conn    net.Conn
	request []byte
	want    []byte
	due     atomic.Int64 // when the request in flight was meant to be sent, since begin; 0 without one
	dead    bool         // its connection failed: not to be used again
	units   int64        // answers that came while it was measured
	latency histogram
}

// openLoad is a run of the open loop. A request's latency counts from the time
// it was meant to be sent, so that a proxy that stalls pays for all requests
// that had to wait for it, not only for those that it held. The rate counts
// answers when they come, as the CPU time is read, so that a proxy that cannot
// keep up shows less than was asked for, and its CPU time for a request is right.
type openLoad struct {
	interval time.Duration
	begin    time.Time
	measured time.Duration // since begin; latencies of requests meant for then or later count
	end      time.Duration // since begin; those of requests meant for then or later do not
	phase    atomic.Int32  // of the window
	clients  []*openClient
	idle     chan *openClient // has room for all
	live     int              // clients that are not dead; the pacer's
	unsent   histogram        // how long requests have waited that were never sent; the pacer's
	failed   tally
}

// catchUp is how long after the window requests are sent that were due in it.
const catchUp = time.Second

// open drives the clients of the open loop.
func (st *stage) open(ctx context.Context) (sample, error) {
	if st.task.Rate <= 0 {
		return sample{}, fmt.Errorf("the rate %g of %s is not more than 0", st.task.Rate, st.task.Scenario.Name)
	}
	load, err := st.openLoad()
	if err != nil {
		return sample{}, err
	}
	return st.drive(ctx, load)
}

// drive makes a load and closes its connections.
func (st *stage) drive(ctx context.Context, load *openLoad) (sample, error) {
	var running sync.WaitGroup
	over, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, c := range load.clients {
		running.Go(func() { c.run(load) })
	}
	running.Go(func() { load.pace(over) })
	result, err := st.window(ctx, func() { load.phase.Store(phaseMeasure) }, func() { load.phase.Store(phaseOver) })
	if err != nil {
		cancel()
	}
	running.Wait()
	if err != nil {
		return sample{}, err
	}
	units, latency := load.counted()
	result.count(float64(units), &latency)
	result.Asked = st.task.Rate
	load.failed.into(&result)
	return result, nil
}

// counted returns the answers that came while it was measured, and a latency for
// each request that was meant for then.
func (l *openLoad) counted() (units int64, latency histogram) {
	latency = l.unsent
	for _, c := range l.clients {
		units += c.units
		latency.merge(&c.latency)
	}
	return units, latency
}

// openLoad opens all connections. The load's time begins when they are open.
func (st *stage) openLoad() (*openLoad, error) {
	sc := st.task.Scenario
	d := st.dialer(st.deadline())
	load := &openLoad{
		interval: time.Duration(float64(time.Second) / st.task.Rate),
		idle:     make(chan *openClient, sc.Connections),
		live:     sc.Connections,
		measured: st.task.WarmUp,
		end:      st.task.WarmUp + st.task.Window,
	}
	for range sc.Connections {
		conn, err := d.dial()
		if err != nil {
			for _, c := range load.clients {
				err = errors.Join(err, c.conn.Close())
			}
			return nil, err
		}
		c := &openClient{conn: conn, request: sc.request(), want: pattern[:sc.Body]}
		load.clients = append(load.clients, c)
		load.idle <- c
	}
	load.begin = time.Now()
	return load, nil
}

// pace sends a request whenever one is due, late only when no client is idle. What
// it could not send in time to be measured has waited at least until now. At the end
// it waits for all answers and closes the connections; their deadline bounds that.
func (l *openLoad) pace(ctx context.Context) {
	// A thread of its own may sleep exactly; timers of the runtime come up to a
	// millisecond late. It must not end with this goroutine: what processes it has
	// started would be told to stop.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := setTimerSlack(1); err != nil {
		l.failed.add(err)
	}
	defer func() {
		if err := setTimerSlack(0); err != nil {
			l.failed.add(err)
		}
	}()
	due := l.interval
	for ; l.goesOn(due) && ctx.Err() == nil; due += l.interval {
		sleepUntil(l.begin.Add(due))
		for l.live > 0 && !l.send(<-l.idle, due) {
		}
	}
	for now := time.Since(l.begin); due < min(now, l.end); due += l.interval {
		if due >= l.measured {
			l.unsent.record(now - due)
		}
	}
	for l.live > 0 {
		c := <-l.idle
		c.conn.Close()
		l.live--
	}
}

// goesOn reports whether the request that is due then is still to be sent: while
// the window is open, and after it if its latency counts.
func (l *openLoad) goesOn(due time.Duration) bool {
	switch {
	case l.live == 0:
		return false
	case l.phase.Load() != phaseOver:
		return true
	}
	return due < l.end && time.Since(l.begin) < l.end+catchUp
}

// setTimerSlack says how much later than asked for this thread may be woken up, in
// nanoseconds; 0 stands for the default.
func setTimerSlack(ns uintptr) error {
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, ns, 0, 0, 0); err != nil {
		return fmt.Errorf("set the timer slack: %w", err)
	}
	return nil
}

func sleepUntil(t time.Time) {
	for {
		early := time.Until(t)
		if early <= 0 {
			return
		}
		pause := unix.NsecToTimespec(int64(early))
		// Interrupted by a signal it is called again.
		_ = unix.Nanosleep(&pause, nil)
	}
}

// send sends a request and reports whether the client could: if not it is dead.
func (l *openLoad) send(c *openClient, due time.Duration) bool {
	if c.dead {
		l.live--
		return false
	}
	c.due.Store(int64(due))
	if _, err := c.conn.Write(c.request); err != nil {
		c.conn.Close()
		if c.due.Swap(0) != 0 {
			l.failed.add(err)
			l.live--
		}
		// Otherwise its reader has noticed first and hands it back dead.
		return false
	}
	return true
}

// run reads answers until the connection ends.
func (c *openClient) run(l *openLoad) {
	buf := make([]byte, len(c.want)+maxHead)
	for {
		err := readAnswer(c.conn, buf, c.want)
		if err != nil {
			// Closed first: whatever the pacer sends from here on fails.
			c.conn.Close()
		}
		due := time.Duration(c.due.Swap(0))
		switch {
		case err != nil && due == 0:
			return
		case err == nil && due == 0:
			l.failed.add(errors.New("an answer came that nobody asked for"))
			c.conn.Close()
			return
		case err != nil:
			l.failed.add(err)
			c.dead = true
			l.idle <- c
			return
		}
		c.answered(l, due)
		l.idle <- c
	}
}

// answered counts an answer to the request that was due then.
func (c *openClient) answered(l *openLoad, due time.Duration) {
	if due >= l.measured && due < l.end {
		c.latency.record(time.Since(l.begin) - due)
	}
	if l.phase.Load() == phaseMeasure {
		c.units++
	}
}
