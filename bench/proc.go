package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of times in /proc/PID/stat; Linux shows it to programs
// as 1/100 s on every machine.
const clockTick = 10 * time.Millisecond

// cpuReading is what the kernel has counted for a set of processes so far.
type cpuReading struct {
	threads map[int]time.Duration // by thread, exact
	ticks   time.Duration         // of all, ended threads included, in clock ticks
}

// readCPU reads the CPU time of processes.
func readCPU(pids []int) (cpuReading, error) {
	reading := cpuReading{threads: map[int]time.Duration{}}
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return cpuReading{}, err
		}
		_, ticks, err := parseStat(stat)
		if err != nil {
			return cpuReading{}, err
		}
		reading.ticks += ticks
		if err := readThreads(pid, reading.threads); err != nil {
			return cpuReading{}, err
		}
	}
	return reading, nil
}

func readThreads(pid int, threads map[int]time.Duration) error {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread may end at any time; since notices
		}
		thread, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return err
		}
		if threads[thread], err = parseSchedstat(text); err != nil {
			return err
		}
	}
	return nil
}

// since returns the CPU time that was used after an earlier reading: exact,
// unless a thread has ended in between or the kernel keeps no schedstat, when
// clock ticks have to do.
func (r cpuReading) since(before cpuReading) time.Duration {
	if len(r.threads) == 0 {
		return r.ticks - before.ticks
	}
	var used time.Duration
	for thread, time := range r.threads {
		used += time - before.threads[thread]
	}
	for thread := range before.threads {
		if _, lives := r.threads[thread]; !lives {
			return r.ticks - before.ticks
		}
	}
	return used
}

// parseStat reads /proc/PID/stat: the parent and the time in user and kernel mode.
func parseStat(text []byte) (parent int, cpu time.Duration, err error) {
	// The second field is the program's name in parentheses and may hold anything.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("/proc/PID/stat: %q has too few fields", text)
	}
	var numbers [3]int
	for i, field := range []int{1, 11, 12} {
		if numbers[i], err = strconv.Atoi(string(fields[field])); err != nil {
			return 0, 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
	}
	return numbers[0], time.Duration(numbers[1]+numbers[2]) * clockTick, nil
}

// parseSchedstat reads /proc/PID/task/TID/schedstat: the time on a CPU.
func parseSchedstat(text []byte) (time.Duration, error) {
	first, _, _ := strings.Cut(string(text), " ")
	ns, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/PID/task/TID/schedstat: %w", err)
	}
	return time.Duration(ns), nil
}

// parsePSS reads /proc/PID/smaps_rollup: the process's memory in bytes, with what it
// shares with other processes divided by their number.
func parsePSS(text []byte) (int64, error) {
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "Pss:" && fields[2] == "kB" {
			kb, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/PID/smaps_rollup: %w", err)
			}
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("/proc/PID/smaps_rollup: no Pss in %q", text)
}

// readMemory returns the memory of processes in bytes.
func readMemory(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		pss, err := parsePSS(text)
		if err != nil {
			return 0, err
		}
		sum += pss
	}
	return sum, nil
}

// countDescriptors returns how many descriptors processes have open.
func countDescriptors(pids []int) (int, error) {
	sum := 0
	for _, pid := range pids {
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			return 0, err
		}
		sum += len(files)
	}
	return sum, nil
}

// processTree returns a process and all that descend from it.
func processTree(root int) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // ended since the listing
		}
		parent, _, err := parseStat(text)
		if err != nil {
			return nil, err
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		children[parent] = append(children[parent], pid)
	}
	tree := []int{root}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i]]...)
	}
	return tree, nil
}

// ownCPU returns the CPU time that this process has used.
func ownCPU() (time.Duration, error) {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}
