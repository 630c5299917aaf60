package doctor

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"fulcrum/config"
)

// now is when the machines of these tests are looked at.
var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// healthy is a machine that nothing can be said against.
var healthy = map[string]string{
	"proc/self/limits":                                                  "Limit                     Soft Limit           Hard Limit           Units\nMax processes             100                  100                  processes\nMax open files            1024                 1048576              files\n",
	"proc/self/cgroup":                                                  "0::/system.slice/fulcrum.service\n",
	"proc/self/status":                                                  "Name:\tfulcrum\nSeccomp:\t0\nSeccomp_filters:\t0\n",
	"proc/sys/fs/nr_open":                                               "1048576\n",
	"proc/sys/fs/file-nr":                                               "1332\t0\t9223372036854775807\n",
	"proc/sys/net/core/somaxconn":                                       "4096\n",
	"proc/sys/net/ipv4/tcp_max_syn_backlog":                             "2048\n",
	"proc/sys/net/ipv4/tcp_syncookies":                                  "1\n",
	"proc/sys/net/ipv4/tcp_abort_on_overflow":                           "0\n",
	"proc/sys/net/ipv4/ip_local_port_range":                             "32768\t60999\n",
	"proc/sys/net/ipv4/ip_local_reserved_ports":                         "\n",
	"proc/sys/net/netfilter/nf_conntrack_max":                           "262144\n",
	"proc/sys/net/netfilter/nf_conntrack_count":                         "1000\n",
	"proc/sys/net/ipv4/tcp_mem":                                         "287901\t383868\t575802\n",
	"proc/sys/net/ipv4/tcp_rmem":                                        "4096\t131072\t6291456\n",
	"proc/sys/net/ipv4/tcp_wmem":                                        "4096\t16384\t4194304\n",
	"proc/sys/net/ipv4/tcp_moderate_rcvbuf":                             "1\n",
	"proc/sys/kernel/io_uring_disabled":                                 "0\n",
	"proc/meminfo":                                                      "MemTotal:       134217728 kB\nMemFree:          500000 kB\n",
	"proc/net/sockstat":                                                 "sockets: used 390\nTCP: inuse 374 orphan 0 tw 19981 alloc 374 mem 48432\nUDP: inuse 0 mem 0\n",
	"proc/net/netstat":                                                  "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPAbortOnMemory\nTcpExt: 0 0 0 0\nIpExt: InNoRoutes ListenDrops\nIpExt: 7 8\n",
	"proc/uptime":                                                       "86400.07 27755.73\n",
	"sys/fs/cgroup/system.slice/fulcrum.service/cpu.max":                "max 100000\n",
	"sys/fs/cgroup/system.slice/fulcrum.service/memory.max":             "max\n",
	"sys/fs/cgroup/system.slice/cpu.max":                                "max 100000\n",
	"sys/fs/cgroup/system.slice/memory.max":                             "max\n",
	"sys/devices/system/clocksource/clocksource0/current_clocksource":   "tsc\n",
	"sys/devices/system/clocksource/clocksource0/available_clocksource": "tsc hpet acpi_pm \n",
}

const gone = "(gone)"

// changed are the files of a machine in which some are other than on the healthy one.
type changed map[string]string

// machine returns a healthy machine with changes to its files.
func machine(changes changed) Host {
	tree := fstest.MapFS{}
	for _, files := range []map[string]string{healthy, changes} {
		for name, text := range files {
			tree[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o600}
		}
	}
	maps.DeleteFunc(tree, func(_ string, f *fstest.MapFile) bool { return string(f.Data) == gone })
	return Host{
		Root:         tree,
		Processors:   4,
		PageSize:     4096,
		Now:          now,
		Synchronised: func() (bool, error) { return true, nil },
		Writable:     func(string) error { return nil },
	}
}

// conf parses a config of listeners, pools and other members.
func conf(t *testing.T, listeners, pools, others string) *config.Config {
	t.Helper()
	c, err := config.Parse(fmt.Appendf(nil, `{"listeners": [%s], "pools": [%s]%s}`, listeners, pools, others))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Parts of configs that nothing can be said against.
const (
	web     = `{"name": "web", "protocol": "http", "address": ":80", "pool": "p", "max_connections": 1000}`
	db      = `{"name": "db", "protocol": "tcp", "address": ":5432", "pool": "p", "max_connections": 1000}`
	pair    = `{"name": "p", "servers": ["10.0.0.1:80", "10.0.0.2:80"], "health": {"path": "/health"}}`
	guarded = `, "state": "/var/lib/fulcrum/state.json", "admin": {"address": "unix:/run/fulcrum/admin.sock"}`
)

// of makes one check.
func of(name string, h Host, c *config.Config) []Finding {
	all := slices.Concat(ofHost, ofConfig)
	i := slices.IndexFunc(all, func(c check) bool { return c.name == name })
	return all[i].of(&h, c)
}

// expect expects one finding, with these parts in it, or none if the parts are gone.
func expect(t *testing.T, found []Finding, level Level, parts string) {
	t.Helper()
	var whole []string
	for _, f := range found {
		text := fmt.Sprintf("%v: %s | %s | %s", f.Level, f.What, f.Why, f.Do)
		whole = append(whole, text)
		missing := func(part string) bool { return !strings.Contains(text, part) }
		if f.Level == level && !slices.ContainsFunc(strings.Split(parts, "|"), missing) {
			return
		}
	}
	t.Errorf("no %v with %q among\n%s", level, parts, strings.Join(whole, "\n"))
}

// worst returns the worst level of some findings.
func worst(found []Finding) (level Level) {
	for _, f := range found {
		level = max(level, f.Level)
	}
	return level
}

// A visit is one check of a machine with a config, and what comes of it.
type visit struct {
	name    string
	changes changed
	config  *config.Config
	level   Level  // of the worst
	parts   string // of a finding of this level, separated by |
}

// all makes the visits to one check.
func all(t *testing.T, name string, visits []visit) {
	t.Helper()
	for _, v := range visits {
		t.Run(v.name, func(t *testing.T) {
			t.Helper()
			found := of(name, machine(v.changes), v.config)
			expect(t, found, v.level, v.parts)
			if got := worst(found); got != v.level {
				t.Errorf("the worst is %v, want %v: %+v", got, v.level, found)
			}
		})
	}
}

// unreadable is a machine on which a file cannot be opened.
type unreadable struct {
	fs.FS
	name string
}

func (u unreadable) Open(name string) (fs.File, error) {
	if name == u.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return u.FS.Open(name)
}
