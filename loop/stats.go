package loop

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Stats are a loop's counts since it was made.
type Stats struct {
	Turns  int64         // times that it took what had come in
	Pauses int64         // times that a listening socket of it rested for want of descriptors
	CPU    time.Duration // that its thread has used, in the kernel too; while it waits it uses none
	Queued time.Duration // that its thread was ready to run while others had the processors; 0: the kernel does not tell
}

// Stats may be called from any goroutine, until Stop. The loop does not notice.
func (l *Loop) Stats() Stats {
	s := Stats{Turns: l.turns.Load(), Pauses: l.pauses.Load()}
	var cpu unix.Timespec
	if unix.ClockGettime(threadClock(l.tid), &cpu) == nil {
		s.CPU = time.Duration(cpu.Nano())
	}
	s.Queued = queuedFor(l.tid)
	return s
}

// threadClock returns the clock of the processor time of one of this process's
// threads, which is numbered as clock_getcpuclockid(3) does it for processes, but
// with the bit for a thread.
func threadClock(tid int) int32 {
	const scheduled, ofThread = 2, 4
	return ^int32(tid)<<3 | scheduled | ofThread
}

// queuedFor returns how long a thread of this process has waited for a processor:
// proc(5) has it in schedstat, between the time that it ran and how often.
func queuedFor(tid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/schedstat", tid))
	var ran, queued int64
	if err == nil {
		_, err = fmt.Sscan(string(text), &ran, &queued)
	}
	if err != nil {
		return 0
	}
	return time.Duration(queued)
}
