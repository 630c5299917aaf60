package doctor

import (
	"strings"
	"testing"
)

// Groups of version 2 and 1, those of a machine and those that a container sees.
func TestCPUQuota(t *testing.T) {
	const service = "sys/fs/cgroup/system.slice/fulcrum.service/"
	v1 := func(folder, path, quota, period string) changed {
		return changed{
			"proc/self/cgroup":            "12:pids:/x\n4:cpu,cpuacct:" + path + "\n1:name=systemd:/x\n0::/x\n",
			folder + "/cpu.cfs_quota_us":  quota,
			folder + "/cpu.cfs_period_us": period,
		}
	}
	all(t, "cpu quota", []visit{
		{"none", nil, nil, OK, "there are 4 for event loops"},
		{"enough", changed{service + "cpu.max": "400000 100000\n"}, nil, OK, "4.00 processors, enough for 4 event loops"},
		{"too few", changed{service + "cpu.max": "150000 100000\n"}, nil, Warning, "may use 1.50 processors, but there will be 4 event loops|GOMAXPROCS=1|CPUQuota=400%|docker run --cpus=4"},
		{"of a group above", changed{"sys/fs/cgroup/system.slice/cpu.max": "200000 100000\n"}, nil, Warning, "may use 2.00 processors|GOMAXPROCS=2"},
		{"used up", changed{service + "cpu.max": "400000 100000\n", service + "cpu.stat": "usage_usec 1\nnr_periods 200\nnr_throttled 50\n"}, nil, Warning, "used that up in 25%|CPUQuota=500%"},
		{"never used up", changed{service + "cpu.max": "400000 100000\n", service + "cpu.stat": "nr_periods 200\nnr_throttled 1\n"}, nil, OK, "enough"},
		{"in a container", changed{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000"}, nil, Warning, "may use 0.50 processors|GOMAXPROCS=1"},
		{"in a container that sees names of outside", changed{"proc/self/cgroup": "0::/../../docker/abc\n", "sys/fs/cgroup/cpu.max": "100000 100000"}, nil, Warning, "1.00 processors"},
		{"version 1", v1("sys/fs/cgroup/cpu,cpuacct/a", "/a/b", "200000\n", "100000\n"), nil, Warning, "2.00 processors"},
		{"version 1, folder by one name", v1("sys/fs/cgroup/cpu", "/docker/abc", "100000\n", "100000\n"), nil, Warning, "1.00 processors"},
		{"version 1, no quota", v1("sys/fs/cgroup/cpu,cpuacct/a", "/a/b", "-1\n", "100000\n"), nil, OK, "no control group limits"},
		{"not a number", changed{service + "cpu.max": "lots 100000"}, nil, Unknown, `cpu.max says "lots 100000", and not a quota and its period`},
		{"no time at all", changed{service + "cpu.max": "100000 0"}, nil, Unknown, "cpu.max"},
		{"empty", changed{service + "cpu.max": ""}, nil, Unknown, "cpu.max"},
		{"version 1, no period", v1("sys/fs/cgroup/cpu", "/", "100000", gone), nil, Unknown, "cpu.cfs_period_us"},
		{"no groups", changed{"proc/self/cgroup": gone}, nil, Unknown, "/proc/self/cgroup"},
		{"garbage", changed{"proc/self/cgroup": "systemd"}, nil, Unknown, "and not the control groups"},
		{"a very deep group", changed{"proc/self/cgroup": "0::" + strings.Repeat("/a", 10000)}, nil, OK, "no control group limits"},
	})
	h := machine(changed{service + "cpu.max": "150000 100000\n"})
	h.Processors = 2
	expect(t, of("cpu quota", h, nil), Warning, "GOMAXPROCS=1|CPUQuota=200%")
	h = machine(changed{service + "cpu.max": "50000 100000\n"})
	h.Processors = 1
	expect(t, of("cpu quota", h, nil), Warning, "1 event loop | |docker run --cpus=1")
	if found := of("cpu quota", h, nil); strings.Contains(found[0].Do, "GOMAXPROCS") {
		t.Errorf("advises what is so already: %q", found[0].Do)
	}
}

func TestMemoryLimit(t *testing.T) {
	const service = "sys/fs/cgroup/system.slice/fulcrum.service/"
	limited := conf(t, strings.ReplaceAll(web, "1000", "100000"), pair, "")
	v1 := changed{
		"proc/self/cgroup":                           "4:memory:/docker/abc\n",
		"sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n",
		"sys/fs/cgroup/memory/memory.oom_control":    "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
	}
	all(t, "memory limit", []visit{
		{"none", nil, limited, OK, "no control group limits the memory"},
		{"enough", changed{service + "memory.max": "4294967296"}, limited, OK, "may have 4 GiB"},
		{"too little", changed{service + "memory.max": "1073741824"}, limited, Warning, "may have 1 GiB|100000 in all, may take some 3.1 GiB|MemoryMax=3189M|docker run --memory=3189m"},
		{"little, without a limit of connections", changed{service + "memory.max": "33554432"}, nil, Warning, "may have 32 MiB, but a balancer may take some 64 MiB before|MemoryMax=256M"},
		{"of a group above", changed{"sys/fs/cgroup/system.slice/memory.max": "1048576"}, limited, Warning, "may have 1 MiB"},
		{"killed", changed{service + "memory.max": "4294967296", service + "memory.events": "oom 1\noom_kill 1\n"}, limited, Warning, "has ended processes in it for want of memory (1 so far)|MemoryMax=8192M"},
		{"version 1", v1, nil, Warning, "may have 64 MiB|(2 so far)"},
		{"version 1, no limit", changed{"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, limited, OK, "no control group limits"},
		{"not a number", changed{service + "memory.max": "-5"}, limited, Unknown, `memory.max says "-5", and not a limit in bytes`},
		{"no groups", changed{"proc/self/cgroup": gone}, limited, Unknown, "/proc/self/cgroup"},
	})
}
