package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStatIsReadBehindTheName(t *testing.T) {
	const line = "42 (a) b (c d) S 7 42 42 0 -1 4194560 1 0 0 0 123 45 0 0 20 0 1 0 100 1 1\n"
	parent, cpu, err := parseStat([]byte(line))
	if err != nil || parent != 7 || cpu != 1680*time.Millisecond {
		t.Errorf("got parent %d, cpu %v, %v; want 7, 1.68s", parent, cpu, err)
	}
	for _, broken := range []string{"", "42 (a", "42 (a) S 7", "42 (a) S x 42 42 0 -1 4194560 1 0 0 0 123 45 0"} {
		if _, _, err := parseStat([]byte(broken)); err == nil {
			t.Errorf("%q was read", broken)
		}
	}
}

func TestSchedstatIsReadInNanoseconds(t *testing.T) {
	if cpu, err := parseSchedstat([]byte("1234567 52048 1\n")); err != nil || cpu != 1234567 {
		t.Errorf("got %v, %v", cpu, err)
	}
	if _, err := parseSchedstat([]byte("x")); err == nil {
		t.Error("a word was read")
	}
}

func TestPSSIsReadFromTheRollup(t *testing.T) {
	const text = "55d0-7ffd ---p 00000000 00:00 0   [rollup]\nRss:   2000 kB\nPss:    1234 kB\nPss_Anon:   99 kB\n"
	if pss, err := parsePSS([]byte(text)); err != nil || pss != 1234<<10 {
		t.Errorf("got %d, %v", pss, err)
	}
	for _, broken := range []string{"", "Rss: 1 kB\n", "Pss: many kB\n"} {
		if _, err := parsePSS([]byte(broken)); err == nil {
			t.Errorf("%q was read", broken)
		}
	}
}

func TestCPUTimeIsExactUnlessAThreadEnded(t *testing.T) {
	before := cpuReading{threads: map[int]time.Duration{1: 100, 2: 50}, ticks: 10 * time.Millisecond}
	for _, test := range []struct {
		name  string
		after map[int]time.Duration
		want  time.Duration
	}{
		{"the same threads", map[int]time.Duration{1: 130, 2: 55}, 35},
		{"a new thread counts from 0", map[int]time.Duration{1: 100, 2: 50, 3: 7}, 7},
		{"an ended thread leaves clock ticks", map[int]time.Duration{1: 130}, 20 * time.Millisecond},
		{"no schedstat leaves clock ticks", nil, 20 * time.Millisecond},
	} {
		after := cpuReading{threads: test.after, ticks: 30 * time.Millisecond}
		if got := after.since(before); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestThisProcessCanBeRead(t *testing.T) {
	pids := []int{os.Getpid()}
	before, err := readCPU(pids)
	if err != nil {
		t.Fatal(err)
	}
	own, err := ownCPU()
	if err != nil {
		t.Fatal(err)
	}
	for spun := own; spun < own+100*time.Millisecond; {
		if spun, err = ownCPU(); err != nil {
			t.Fatal(err)
		}
	}
	after, err := readCPU(pids)
	if err != nil {
		t.Fatal(err)
	}
	if used := after.since(before); used < 80*time.Millisecond || used > 10*time.Second {
		t.Errorf("100 ms were spun, %v read", used)
	}
	if memory, err := readMemory(pids); err != nil || memory < 1<<20 {
		t.Errorf("memory %d, %v; want a MiB at least", memory, err)
	}
	if n, err := countDescriptors(pids); err != nil || n < 3 {
		t.Errorf("%d descriptors, %v; want 3 at least", n, err)
	}
}

// A process is stopped with its workers, also if those outlive it.
func TestStopEndsTheWholeTree(t *testing.T) {
	for _, test := range []struct{ name, script string }{
		{"the master ends its workers", `trap 'kill $!; exit' TERM; sleep 60 & echo; wait`},
		{"the workers stay", `trap 'exit' TERM; (trap '' TERM; while :; do sleep 1; done) & echo; wait`},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", test.script)
			out, in, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			cmd.Stdout = in
			p, err := start(cmd)
			in.Close()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			tree, err := p.pids()
			if err != nil || len(tree) < 2 {
				t.Errorf("tree %v, %v; want the shell and its worker", tree, err)
			}
			p.stop()
			// The last of the tree to end closes the pipe.
			if err := out.SetReadDeadline(soon()); err != nil {
				t.Fatal(err)
			}
			if n, err := out.Read(make([]byte, 1)); n != 0 || os.IsTimeout(err) {
				t.Errorf("a worker lives on: %d, %v", n, err)
			}
			if err := p.failure(); err == nil {
				t.Error("a process that has ended is said to run")
			}
		})
	}
}

func TestTheEndOfTheOutputIsKept(t *testing.T) {
	p, err := start(exec.Command("sh", "-c", "yes filler | head -n 5000 >&2; echo the reason >&2; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	if !p.wait(time.Until(soon())) {
		t.Fatal("it did not end")
	}
	text := p.failure().Error()
	if !strings.HasSuffix(text, "the reason") || !strings.Contains(text, "exit status 3") || len(text) > tailSize+200 {
		t.Errorf("%d bytes, ending in %q", len(text), text[max(0, len(text)-40):])
	}
	if err := syscall.Kill(-p.cmd.Process.Pid, 0); err == nil {
		t.Error("its group still lives")
	}
}
