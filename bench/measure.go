package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	originServers = 4                // so that a proxy has something to balance
	startTimeout  = 10 * time.Second // until a proxy has carried its first unit
	grace         = 5 * time.Second  // for the last units, after the window
)

// A task is one measurement, as the process that makes it is told.
type task struct {
	Scenario  scenario
	Contender contender
	Round     int
	Window    time.Duration // that is measured
	WarmUp    time.Duration // before it
	Rate      float64       // of the open loop, units per second
	Isolated  bool          // the process has a network namespace of its own
}

// A stage is an origin and, unless the client goes direct, a proxy in front of
// it, both fresh. Whoever raised it must strike it.
type stage struct {
	task    task
	origin  *process
	proxy   *process // nil when direct
	leave   io.Closer
	targets []string // that clients connect to
}

// measure makes one measurement, with files in dir.
func measure(ctx context.Context, t task, dir string) (result sample, err error) {
	st, err := raise(t, dir)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, st.strike()) }()
	// Without its servers and proxy no client waits for anything.
	stop := context.AfterFunc(ctx, st.kill)
	defer stop()
	if err := st.ready(ctx); err != nil {
		return sample{}, errors.Join(ctx.Err(), err)
	}
	switch t.Scenario.Load {
	case idleLoad:
		result, err = st.idle(ctx)
	case openLoop:
		result, err = st.open(ctx)
	default:
		result, err = st.closed(ctx)
	}
	if err := errors.Join(ctx.Err(), err); err != nil {
		return sample{}, err
	}
	if st.proxy != nil {
		return result, st.proxy.failure()
	}
	return result, nil
}

// raise starts the origin and the proxy.
func raise(t task, dir string) (*stage, error) {
	st := &stage{task: t}
	servers, err := st.startOrigin()
	if err != nil {
		return nil, err
	}
	if t.Contender.Name == direct {
		st.targets = servers
		return st, nil
	}
	if err := st.startProxy(servers, dir); err != nil {
		return nil, errors.Join(err, st.strike())
	}
	return st, nil
}

func (st *stage) startOrigin() (addresses []string, err error) {
	me, err := self()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(me, "origin", "--mode", st.task.Scenario.Mode, "--listeners", fmt.Sprint(originServers))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	defer out.Close()
	cmd.Stdout = in
	st.origin, err = start(cmd)
	in.Close()
	if err != nil {
		return nil, err
	}
	st.leave = stdin
	if err := out.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		return nil, errors.Join(fmt.Errorf("origin: %w", err), st.strike())
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("origin: its addresses: %w", err), st.strike())
	}
	return strings.Fields(line), nil
}

func (st *stage) startProxy(servers []string, dir string) error {
	listen, err := freeAddress()
	if err != nil {
		return err
	}
	s, err := newSite(site{
		Protocol: st.task.Scenario.Protocol, Listen: listen, Servers: servers, Dir: dir,
		Bulk: st.task.Scenario.bulk() || st.task.Scenario.Body >= large,
	}, st.task.Scenario.Connections)
	if err != nil {
		return err
	}
	cmd, err := st.task.Contender.command(s)
	if err != nil {
		return err
	}
	if st.proxy, err = start(cmd); err != nil {
		return err
	}
	st.targets = []string{listen}
	return nil
}

// freeAddress returns an address outside the range that the kernel takes
// ports for outgoing connections from.
func freeAddress() (string, error) {
	const first, last = 20000, 32000
	offset := os.Getpid() % (last - first)
	for i := range last - first {
		address := fmt.Sprintf("127.0.0.1:%d", first+(offset+i)%(last-first))
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", fmt.Errorf("no port from %d to %d is free on 127.0.0.1", first, last)
}

// ready returns when a unit of work has been done through the proxy.
func (st *stage) ready(ctx context.Context) error {
	begin := time.Now()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		w := st.task.Scenario.newWorker(st.dialer(begin.Add(startTimeout)))
		_, err := w.work()
		err = errors.Join(err, w.close())
		if err == nil {
			return nil
		}
		if st.proxy != nil && st.proxy.failure() != nil {
			return st.proxy.failure()
		}
		if time.Since(begin) > startTimeout {
			return fmt.Errorf("%s carried nothing within %v: %w", st.task.Contender.Name, startTimeout, err)
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (st *stage) dialer(deadline time.Time) *dialer {
	return &dialer{targets: st.targets, deadline: deadline}
}

// deadline is when everything that a client waits for has failed.
func (st *stage) deadline() time.Time {
	return time.Now().Add(st.task.WarmUp + st.task.Window + grace)
}

// kill stops the processes without waiting. Clients get errors.
func (st *stage) kill() {
	for _, p := range []*process{st.proxy, st.origin} {
		if p != nil {
			p.kill()
		}
	}
}

// strike stops the processes and returns the first wrong input that the
// origin was given.
func (st *stage) strike() error {
	if st.proxy != nil {
		st.proxy.stop()
	}
	st.leave.Close()
	if st.origin.wait(stopGrace) {
		if st.origin.err != nil {
			return st.origin.failure()
		}
		return nil
	}
	st.origin.stop()
	return fmt.Errorf("the origin did not end within %v", stopGrace)
}
