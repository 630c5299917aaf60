package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"
)

// changed is a balancer of which signals change something: it says what it was asked,
// and a reload waits for its outcome.
type changed struct {
	asked   chan string
	outcome chan error
}

func (c *changed) Reload(ctx context.Context, dryRun bool) ([]string, error) {
	c.asked <- "reload"
	select {
	case err := <-c.outcome:
		return []string{"one", "two"}, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *changed) Upgrade(context.Context) (int, error) {
	c.asked <- "upgrade"
	return 0, errors.New("no such binary")
}

func (c *changed) ReopenLogs() error {
	c.asked <- "reopen"
	return errors.New("read-only file system")
}

// received returns the next value.
func received[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("nothing within %v", patience)
	}
	return v
}

// signalled is a program that has signals caught and served, and what it logs.
func signalled(t *testing.T) (s *signals, c *changed, log func() string) {
	t.Helper()
	var text bytes.Buffer
	c = &changed{asked: make(chan string), outcome: make(chan error)}
	s = catchSignals()
	s.serve(c, slog.New(slog.NewTextHandler(&text, nil)))
	return s, c, func() string { s.release(); return text.String() }
}

func raise(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), signal); err != nil {
		t.Fatal(err)
	}
}

// The first signal lets work in flight finish, the second does not.
func TestStopSignals(t *testing.T) {
	s, _, log := signalled(t)
	stopped := 0
	raise(t, syscall.SIGTERM)
	if err := s.stopOn(func() { stopped++ }); err != nil || stopped != 1 {
		t.Errorf("one signal: error %v, stopped %d times", err, stopped)
	}
	raise(t, syscall.SIGINT)
	end, ended := make(chan struct{}), make(chan struct{})
	err := s.stopOn(func() { raise(t, syscall.SIGTERM); <-end; close(ended) })
	if !errors.Is(err, errKilled) {
		t.Errorf("two signals: error %v", err)
	}
	close(end)
	<-ended
	if got := log(); got != "" {
		t.Errorf("logged %q", got)
	}
}

// A service manager that stops the service tells the process that was replaced too,
// which is at it already: that does not cut off its work in flight, another one does.
func TestStopSignalsAfterBeingReplaced(t *testing.T) {
	s, _, _ := signalled(t)
	defer s.release()
	replaced := make(chan struct{})
	close(replaced)
	s.replaced = replaced
	signalled := func() {
		s.stop <- syscall.SIGTERM
		for end := time.Now().Add(patience); len(s.stop) > 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
	if err := s.stopOn(signalled); err != nil {
		t.Errorf("one signal: error %v", err)
	}
	end := make(chan struct{})
	defer close(end)
	if err := s.stopOn(func() { signalled(); signalled(); <-end }); !errors.Is(err, errKilled) {
		t.Errorf("two signals: error %v", err)
	}
}

// SIGHUP reloads, SIGUSR1 has logs reopened, SIGUSR2 another process take over, and what
// comes of it is logged.
func TestSignalsThatChange(t *testing.T) {
	s, c, log := signalled(t)
	raise(t, syscall.SIGUSR1)
	if got := received(t, c.asked); got != "reopen" {
		t.Errorf("SIGUSR1 asked to %s", got)
	}
	raise(t, syscall.SIGUSR2)
	if got := received(t, c.asked); got != "upgrade" {
		t.Errorf("SIGUSR2 asked to %s", got)
	}
	for _, outcome := range []error{nil, errors.New("2 problems\nconfig.json:1: one\nconfig.json:2: two")} {
		raise(t, syscall.SIGHUP)
		if got := received(t, c.asked); got != "reload" {
			t.Errorf("SIGHUP asked to %s", got)
		}
		c.outcome <- outcome
	}
	raise(t, syscall.SIGTERM)
	if err := s.stopOn(func() {}); err != nil {
		t.Error(err)
	}
	has(t, log(), `error="read-only file system"`, `error="no such binary"`, `msg="config reloaded" signal=SIGHUP changes=2`,
		"goes on as before", `problem="config.json:1: one"`, `problem="config.json:2: two"`)
}

// Signals that come during a reload stand for one more, and none of them is in the
// way of SIGTERM, which ends a reload that would not end.
func TestSignalsDuringAReload(t *testing.T) {
	s, c, log := signalled(t)
	raise(t, syscall.SIGHUP)
	received(t, c.asked)
	for range 20 {
		raise(t, syscall.SIGHUP)
	}
	c.outcome <- nil
	received(t, c.asked) // the one more, which has no outcome
	for range 20 {
		raise(t, syscall.SIGUSR1)
	}
	raise(t, syscall.SIGTERM)
	stopped := make(chan error, 1)
	go func() { stopped <- s.stopOn(func() {}) }()
	if err := received(t, stopped); err != nil {
		t.Error(err)
	}
	go func() {
		for range c.asked { // what is still served while it ends
		}
	}()
	text := log()
	close(c.asked)
	if n := strings.Count(text, "config reloaded"); n != 1 {
		t.Errorf("%d reloads are logged to have succeeded, want 1: %s", n, text)
	}
}
