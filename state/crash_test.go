package state

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// With these set the test binary is a process that changes the state file at the path,
// from the step on that is given.
const (
	changerEnv = "FULCRUM_TEST_STATE"
	stepEnv    = "FULCRUM_TEST_STEP"
)

// step is the nth of the changes. Each alters something.
func step(s *State, n int) {
	server := fmt.Sprintf("s%d:80", n%40)
	round := n / 40
	config := &Settings{Weight: 1}
	want := &Settings{Weight: 2 + round%200, MaxConnections: n, Draining: n%3 == 0}
	switch {
	case n%2 == 0:
		s.Set("web", server, nil, want)
	case round%2 == 0:
		s.Set("web", server, config, nil)
	default:
		s.Set("web", server, config, want)
	}
}

// change changes the file and says so, line by line, until it is killed.
func change(path string) {
	f, err := Open(path, address)
	if err == nil {
		err = f.Lock()
	}
	n, _ := strconv.Atoi(os.Getenv(stepEnv))
	for ; err == nil; n++ {
		err = f.Change(func(s *State) error { step(s, n); return nil })
		if err == nil {
			fmt.Println(n)
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// A process that changes the file is killed again and again. Each time the file is
// valid and has everything that was answered, and at most the one change in hand more.
func TestKilledAtAnyMomentNothingAnsweredIsLost(t *testing.T) {
	path := fresh(t)
	var want State // after as many steps as there were
	steps, inHand, leftovers := 0, 0, 0
	for round := range 100 {
		answered := killed(t, path, steps, rand.IntN(12), time.Duration(rand.IntN(int(3*time.Millisecond))))
		for ; steps < answered; steps++ {
			step(&want, steps)
		}
		if _, err := os.Lstat(path + ".new"); err == nil {
			leftovers++
		}
		f := locked(t, path)
		if got := f.State(); !got.equal(&want) {
			step(&want, steps)
			steps++
			inHand++
			if !got.equal(&want) {
				t.Fatalf("round %d, %d changes answered: the file says\n%s", round, answered, got.encode())
			}
		}
		if _, err := os.Lstat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("a temporary file is left: %v", err)
		}
		f.Unlock()
	}
	t.Logf("%d changes; %d times one more was there than answered, %d times a temporary file", steps, inHand, leftovers)
}

// killed has a process go on from a step, kills it a moment after it has answered one
// change and so many after that, and returns the step after the last one answered.
func killed(t *testing.T, path string, from, after int, moment time.Duration) (next int) {
	t.Helper()
	changer(t, path, from, func(kill *time.Timer, _ *os.Process, answers *bufio.Scanner) {
		for next = from; answers.Scan(); next++ {
			if answers.Text() != strconv.Itoa(next) {
				t.Fatalf("it answered %q, want %d", answers.Text(), next)
			}
			if next == from+after {
				kill.Reset(moment)
			}
		}
	})
	if next == from {
		t.Fatal("it has changed nothing")
	}
	return next
}

// changer runs a process that changes the file for as long as listen listens to its
// answers, or until kill fires.
func changer(t *testing.T, path string, from int, listen func(kill *time.Timer, process *os.Process, answers *bufio.Scanner)) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), changerEnv+"="+path, stepEnv+"="+strconv.Itoa(from))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	listen(kill, cmd.Process, bufio.NewScanner(out))
}

// A limit on the size of files makes a write end in its middle.
func TestALimitOnTheSizeOfFiles(t *testing.T) {
	path := fresh(t)
	var want State
	changer(t, path, 0, func(_ *time.Timer, process *os.Process, answers *bufio.Scanner) {
		if err := unix.Prlimit(process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1500, Max: 1500}, nil); err != nil {
			t.Fatal(err)
		}
		for n := 0; answers.Scan() && answers.Text() == strconv.Itoa(n); n++ {
			step(&want, n)
		}
		wantError(t, errors.New(answers.Text()), nil, path, "the change is not recorded", "file too large")
	})
	wantOnDisk(t, path, &want)
}
