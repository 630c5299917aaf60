// Package doctor looks at a machine, and at a config if there is one, as somebody
// would who has run balancers for years, and says what to change and why.
//
//	report := doctor.Examine(doctor.ThisHost(), conf)
//	report.Print(os.Stdout)
//
// Nothing is changed and nobody is asked: no balancer, no server, no name. What the
// kernel says is read below Host.Root, so that tests can put up a machine of files.
// Limits are those of the process that asks. A service has those of its unit, and is
// examined by running this as the service does.
//
// A file that is missing where it should be, or says what is not understood, is a
// Finding of the level Unknown and no error. What is absent on purpose on some
// machines, such as a table of tracked connections, is fine.
package doctor

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"fulcrum/config"
)

// A Level says how bad it is. Later ones are worse.
type Level int

const (
	OK      Level = iota // as it should be
	Info                 // worth knowing
	Unknown              // could not be found out
	Warning              // will hurt some day
	Problem              // hurts now, or as soon as the config's limits are reached
)

func (l Level) String() string {
	return [...]string{"ok", "info", "unknown", "warning", "problem"}[l]
}

// MarshalText has a Level written as its word.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// A Finding is what one check has found out.
type Finding struct {
	Check string `json:"check"` // the name of the check
	Level Level  `json:"level"`
	What  string `json:"what"`
	Why   string `json:"why,omitempty"` // it matters
	Do    string `json:"do,omitempty"`  // lines of commands, or changes to the config
}

// A Host is the machine as it is seen from this process.
type Host struct {
	Root         fs.FS                     // "/": of proc and sys, and of the files that a config names
	Processors   int                       // that Go uses: GOMAXPROCS
	PageSize     int64                     // in bytes
	Now          time.Time                 // by which certificates expire
	Synchronised func() (bool, error)      // whether something keeps the clock right
	Writable     func(folder string) error // nil if files can be made there
}

// ThisHost returns the machine that this process runs on.
func ThisHost() Host {
	return Host{
		Root:         os.DirFS("/"),
		Processors:   runtime.GOMAXPROCS(0),
		PageSize:     int64(os.Getpagesize()),
		Now:          time.Now(),
		Synchronised: synchronised,
		Writable:     func(folder string) error { return unix.Access(folder, unix.W_OK|unix.X_OK) },
	}
}

// A check looks at one thing. The config is nil if there is none.
type check struct {
	name string
	of   func(*Host, *config.Config) []Finding
}

// ofHost are the checks of a machine, some of which compare it with the config.
var ofHost = []check{
	{"descriptors", descriptors},
	{"descriptors of the machine", machineDescriptors},
	{"listen queue", listenQueue},
	{"handshakes", handshakes},
	{"listen overflows", overflows},
	{"ports to servers", ports},
	{"ports of listeners", listenerPorts},
	{"connection tracking", tracking},
	{"tcp memory", tcpMemory},
	{"socket buffers", buffers},
	{"cpu quota", cpuQuota},
	{"memory limit", memoryLimit},
	{"clock", clock},
	{"io_uring", ioUring},
}

// ofConfig are the checks that need a config.
var ofConfig = []check{
	{"pools", pools},
	{"health", health},
	{"timeouts", timeouts},
	{"trust", trust},
	{"admin", admin},
	{"files", files},
}

// Examine makes every check. Without a config (nil) only the machine is looked at.
// The worst findings come first.
func Examine(h Host, c *config.Config) Report {
	checks := ofHost
	if c != nil {
		checks = slices.Concat(ofHost, ofConfig)
	}
	report := Report{Findings: []Finding{}}
	for _, check := range checks {
		for _, f := range check.of(&h, c) {
			f.Check = check.name
			report.Findings = append(report.Findings, f)
			report.Worst = max(report.Worst, f.Level)
		}
	}
	slices.SortStableFunc(report.Findings, func(a, b Finding) int { return cmp.Compare(b.Level, a.Level) })
	return report
}

// fine is all that there is to say of what is as it should be.
func fine(format string, args ...any) []Finding {
	return []Finding{{Level: OK, What: fmt.Sprintf(format, args...)}}
}

// unknown is what becomes of a check that cannot be made.
func unknown(err error) []Finding {
	return []Finding{{Level: Unknown, What: err.Error()}}
}
