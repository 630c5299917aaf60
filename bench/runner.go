package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A runner makes all measurements of a run, one after another, each by a process of its own.
type runner struct {
	scenarios  []scenario
	contenders []contender
	rounds     int
	window     time.Duration
	warmUp     time.Duration
	rate       float64 // of the open loop, when no peer's maximum is known
	isolated   bool
	progress   io.Writer
	samples    []sample
}

// run measures every scenario: round by round each contender once, in an order
// that is rotated so that none always comes after the same other. A measurement
// that fails is a sample with an error; only the end of ctx ends the run.
func (r *runner) run(ctx context.Context) error {
	for _, sc := range r.scenarios {
		taking := slices.DeleteFunc(slices.Clone(r.contenders), func(c contender) bool { return !c.serves(sc) })
		rate := r.openRate()
		for round := range r.rounds {
			for i := range taking {
				c := taking[(i+round)%len(taking)]
				t := task{Scenario: sc, Contender: c, Round: round + 1, Window: r.window, WarmUp: r.warmUp, Rate: rate, Isolated: r.isolated}
				s, err := delegate(ctx, t)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					s = sample{Scenario: sc.Name, Contender: c.Name, Round: t.Round, Errors: 1, Error: err.Error()}
				}
				r.samples = append(r.samples, s)
				r.say(sc, s)
			}
		}
	}
	return nil
}

// openRate is half of what the slowest peer reached in the closed loop, if this
// run has measured that.
func (r *runner) openRate() float64 {
	var rates []float64
	for _, row := range summarize(r.samples) {
		if row.Scenario == rateFrom && slices.Contains(peers, row.Contender) && row.Rate > 0 {
			rates = append(rates, row.Rate)
		}
	}
	if len(rates) == 0 {
		return r.rate
	}
	return slices.Min(rates) / 2
}

// say tells what a measurement gave, for those who wait.
func (r *runner) say(sc scenario, s sample) {
	fmt.Fprintf(r.progress, "%-15s round %d  %-12s %12s  p99 %9s  CPU per %s %9s  errors %d %s\n",
		sc.Name, s.Round, s.Contender, rate(s.Rate, sc), span(float64(s.P99)), sc.Unit, span(s.cpuPerUnit()), s.Errors, s.Error)
}

// delegate has a fresh process make the measurement, so that nothing of an earlier
// one is left in the client either. With a network namespace of its own it has all
// ports to itself, and what stays in TIME_WAIT goes away with it.
func delegate(ctx context.Context, t task) (sample, error) {
	me, err := self()
	if err != nil {
		return sample{}, err
	}
	description, err := json.Marshal(t)
	if err != nil {
		return sample{}, fmt.Errorf("task: %w", err)
	}
	dir, err := os.MkdirTemp("", "fulcrum-bench-")
	if err != nil {
		return sample{}, fmt.Errorf("folder for the configs: %w", err)
	}
	defer os.RemoveAll(dir)
	var out bytes.Buffer
	cmd := exec.Command(me, "measure", "--dir", dir)
	cmd.Stdin = bytes.NewReader(description)
	cmd.Stdout = &out
	if t.Isolated {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	}
	p, err := start(cmd)
	if err != nil {
		return sample{}, err
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.interrupt()
	}
	if p.err != nil {
		return sample{}, p.failure()
	}
	var result sample
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		return sample{}, fmt.Errorf("result of a measurement: %w", err)
	}
	return result, nil
}

// runMeasure is the program of the process that makes one measurement: a task
// comes in, a sample goes out.
func runMeasure(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	var t task
	if err := json.NewDecoder(in).Decode(&t); err != nil {
		return fmt.Errorf("task: %w", err)
	}
	if t.Isolated {
		if err := raiseLoopback(); err != nil {
			return err
		}
	}
	result, err := measure(ctx, t, dir)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}

// raiseLoopback switches on the loopback interface, which is down in a new
// network namespace.
func raiseLoopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("raise the loopback interface: %w", err)
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("raise the loopback interface: %w", err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("raise the loopback interface: %w", err)
	}
	return nil
}

// mayIsolate reports whether this process may create network namespaces.
func mayIsolate() bool {
	path, err := exec.LookPath("true")
	if err != nil {
		return false
	}
	cmd := exec.Command(path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	return cmd.Run() == nil
}
