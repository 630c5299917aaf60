package doctor

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"fulcrum/config"
)

// fastClocks are those that are read without a system call.
var fastClocks = []string{"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "riscv_clocksource", "timebase", "stp"}

// clock looks at how long it takes to read the clock, and whether it is right.
func clock(h *Host, _ *config.Config) (findings []Finding) {
	const folder = "sys/devices/system/clocksource/clocksource0/"
	source, err := h.text(folder + "current_clocksource")
	switch {
	case err != nil:
		findings = unknown(err)
	case slices.Contains(fastClocks, source):
		findings = fine("the time is read from %q, without a system call", source)
	default:
		findings = []Finding{{
			Level: Warning,
			What:  fmt.Sprintf("the time is read from %.40q, by a system call", source),
			Why:   "it is read for every request, several times; that takes up to a microsecond each, instead of some nanoseconds",
			Do:    "dmesg | grep -i -e clocksource -e tsc   # why the kernel does not trust a faster one",
		}}
		others, _ := h.text(folder + "available_clocksource")
		if i := slices.IndexFunc(fastClocks, func(fast string) bool { return slices.Contains(strings.Fields(others), fast) }); i >= 0 {
			findings[0].Do += "\necho " + fastClocks[i] + " >/" + folder + "current_clocksource"
		}
	}
	right, err := h.Synchronised()
	switch {
	case err != nil:
		findings = append(findings, unknown(fmt.Errorf("whether the clock is synchronised cannot be asked: %w", err))...)
	case !right:
		findings = append(findings, Finding{
			Level: Warning,
			What:  "nothing keeps the clock right",
			Why:   "lines of access logs cannot be laid beside those of servers, and certificates may seem to have expired, or not to be valid yet",
			Do:    "timedatectl set-ntp true   # or: apt-get install chrony; in a virtual machine its host may do it unseen",
		})
	default:
		findings = append(findings, fine("the clock is kept right")...)
	}
	return findings
}

// synchronised asks the kernel whether something keeps its clock right. It changes
// nothing.
func synchronised() (bool, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, err
}

// ioUring looks at whether the kernel has io_uring and lets this process use it. The
// setting came with the same release, 6.6, as the least that event loops need.
func ioUring(h *Host, c *config.Config) []Finding {
	const name = "kernel.io_uring_disabled"
	f := Finding{Level: Info, Why: "event loops work over epoll then, which costs some more processor time"}
	instead := ""
	if c != nil && c.IO == config.IOUring {
		f = Finding{Level: Problem, Why: `the config says "io": "io_uring", and where that cannot be used the balancer does not start`}
		instead = `"io": "auto"   # in the config` + "\n"
	} else if c != nil && c.IO == config.IOEpoll {
		return fine("the config asks for epoll")
	}
	disabled, err := h.number(setting(name))
	switch {
	case absent(err):
		f.What = "the kernel is older than 6.6, or has no io_uring"
		f.Do = instead + "uname -r   # a newer kernel brings it"
	case err != nil:
		return unknown(err)
	case disabled == 1:
		f.Level = min(f.Level, Warning)
		f.What = name + " is 1: only root and one group may use io_uring"
		f.Do = instead + "sysctl kernel.io_uring_group   # which? have the balancer's user in it, or let everybody:\n" + set(name, 0)
	case disabled != 0:
		f.What = fmt.Sprintf("%s is %d: nobody may use io_uring", name, disabled)
		f.Do = instead + set(name, 0)
	case h.filtered():
		f.Level = min(f.Level, Warning)
		f.What = "the kernel has io_uring, but a filter of system calls (seccomp) is upon this process, which may forbid it"
		f.Do = instead + "fulcrum listeners --json   # says what a running balancer uses\ndocker run --security-opt seccomp=...   # with a profile that allows io_uring_setup, io_uring_enter and io_uring_register"
	default:
		return fine("the kernel has io_uring and lets anybody use it")
	}
	return []Finding{f}
}

// filtered reports whether there is a filter of system calls upon this process.
func (h *Host) filtered() bool {
	text, err := h.text("proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(text) {
		if mode, found := strings.CutPrefix(line, "Seccomp:"); found {
			return strings.TrimSpace(mode) == "2"
		}
	}
	return false
}
