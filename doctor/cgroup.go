package doctor

import (
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"

	"fulcrum/config"
)

// A group is the folder of a control group in which a controller may set limits.
type group struct {
	folder string
	v2     bool
}

const maxDepth = 64 // of groups in groups

// groups returns this process's control group for a controller and all those above
// it, each of which may set a limit. Some of the folders may not be there: in a
// container those of the machine are not, and its own is at the top.
func (h *Host) groups(controller string) (all []group, err error) {
	const name = "proc/self/cgroup"
	text, err := h.text(name)
	if err != nil {
		return nil, err
	}
	understood := false
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		understood = true
		var roots []string
		v2 := fields[0] == "0" && fields[1] == ""
		switch {
		case v2:
			roots = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
		case strings.Contains(","+fields[1]+",", ","+controller+","):
			roots = []string{"sys/fs/cgroup/" + fields[1], "sys/fs/cgroup/" + controller}
		}
		in := path.Clean("/" + fields[2])
		for depth := 0; depth < maxDepth; depth++ {
			for _, root := range roots {
				all = append(all, group{path.Join(root, in), v2})
			}
			if in == "/" {
				break
			}
			in = path.Dir(in)
		}
	}
	if !understood {
		return nil, strange(name, text, "the control groups of this process")
	}
	return all, nil
}

// A quota is the part of the processors that a group may use.
type quota struct {
	processors float64
	throttled  float64 // the share of periods in which it was used up
	group      group
}

// cpuQuota compares the processors that the process is let have with those that it
// has a loop for.
func cpuQuota(h *Host, _ *config.Config) []Finding {
	least, err := h.leastQuota()
	if err != nil {
		return unknown(err)
	}
	loops := float64(h.Processors)
	const why = "a loop that has used its share up stands still for what is left of a tenth of a second, with all its connections"
	whole := max(math.Floor(least.processors), 1)
	f := Finding{Level: Warning, Why: why}
	switch {
	case math.IsInf(least.processors, 1):
		return fine("no control group limits the processors; there are %d for event loops", h.Processors)
	case least.processors < loops-0.01:
		f.What = fmt.Sprintf("the control group may use %.2f processors, but there will be %s", least.processors, plural(int64(h.Processors), "event loop"))
		f.Do = fmt.Sprintf("GOMAXPROCS=%.0f   # in its environment: as many loops\nCPUQuota=%d%%   # in the [Service] of a unit: systemctl edit fulcrum\ndocker run --cpus=%d",
			whole, 100*h.Processors, h.Processors)
		if whole == loops {
			f.Do = strings.SplitN(f.Do, "\n", 2)[1]
		}
	case least.throttled > 0.01:
		f.What = fmt.Sprintf("the control group may use %.2f processors, and had used that up in %.0f%% of the time it was busy", least.processors, 100*least.throttled)
		f.Do = fmt.Sprintf("CPUQuota=%.0f%%   # in the [Service] of a unit: systemctl edit fulcrum\ndocker run --cpus=%.0f", 100*(whole+1), whole+1)
	default:
		return fine("the control group may use %.2f processors, enough for %s", least.processors, plural(int64(h.Processors), "event loop"))
	}
	return []Finding{f}
}

// leastQuota returns the strictest quota, an infinite one if there is none.
func (h *Host) leastQuota() (least quota, err error) {
	groups, err := h.groups("cpu")
	if err != nil {
		return least, err
	}
	least.processors = math.Inf(1)
	for _, g := range groups {
		processors, err := h.quotaOf(g)
		if err != nil {
			return least, err
		}
		if processors < least.processors {
			least = quota{processors: processors, group: g}
		}
	}
	if math.IsInf(least.processors, 1) {
		return least, nil
	}
	if counts, err := h.keyed(least.group.folder + "/cpu.stat"); err == nil && counts["nr_periods"] > 0 {
		least.throttled = float64(counts["nr_throttled"]) / float64(counts["nr_periods"])
	}
	return least, nil
}

// quotaOf returns how many processors a group may use.
func (h *Host) quotaOf(g group) (float64, error) {
	none := math.Inf(1)
	var used, period string
	name := g.folder + "/cpu.max"
	if g.v2 {
		text, err := h.text(name)
		if absent(err) {
			return none, nil
		}
		if err != nil {
			return 0, err
		}
		used, period, _ = strings.Cut(text, " ")
		if used == "max" {
			return none, nil
		}
	} else {
		var err error
		name = g.folder + "/cpu.cfs_quota_us"
		if used, err = h.text(name); absent(err) || used == "-1" {
			return none, nil
		}
		if err != nil {
			return 0, err
		}
		if period, err = h.text(g.folder + "/cpu.cfs_period_us"); err != nil {
			return 0, err
		}
	}
	part, err := strconv.ParseUint(used, 10, 63)
	whole, err2 := strconv.ParseUint(period, 10, 63)
	if err != nil || err2 != nil || part == 0 || whole == 0 {
		return 0, strange(name, used+" "+period, "a quota and its period")
	}
	return float64(part) / float64(whole), nil
}

// memoryLimit compares the memory that the process is let have with what the
// listeners' connections may take.
func memoryLimit(h *Host, c *config.Config) []Finding {
	least, of, err := h.leastMemory()
	if err != nil {
		return unknown(err)
	}
	if least == math.MaxInt64 {
		return fine("no control group limits the memory")
	}
	most, _ := connections(c)
	needed := most*held + 64<<20
	const why = "when it is used up the kernel ends the process, and every connection with it"
	do := func(bytes int64) string {
		return fmt.Sprintf("MemoryMax=%dM   # in the [Service] of a unit: systemctl edit fulcrum\ndocker run --memory=%dm", bytes>>20, bytes>>20)
	}
	switch killed := h.killed(of); {
	case killed > 0:
		return []Finding{{
			Level: Warning,
			What:  fmt.Sprintf("the control group may have %s, and the kernel has ended processes in it for want of memory (%d so far)", size(least), killed),
			Why:   why,
			Do:    "journalctl -k --grep 'out of memory'   # which?\n" + do(max(needed, 2*min(least, 1<<50))),
		}}
	case needed > least && most == 0:
		return []Finding{{
			Level: Warning,
			What:  fmt.Sprintf("the control group may have %s, but a balancer may take some %s before there is a connection", size(least), size(needed)),
			Why:   why,
			Do:    do(max(needed, 256<<20)),
		}}
	case needed > least:
		return []Finding{{
			Level: Warning,
			What:  fmt.Sprintf("the control group may have %s, but the listeners' max_connections, %d in all, may take some %s", size(least), most, size(needed)),
			Why:   why,
			Do:    do(needed),
		}}
	}
	return fine("the control group may have %s", size(least))
}

// leastMemory returns the strictest limit, math.MaxInt64 if there is none, and whose
// it is.
func (h *Host) leastMemory() (least int64, of group, err error) {
	groups, err := h.groups("memory")
	if err != nil {
		return 0, of, err
	}
	least = math.MaxInt64
	for _, g := range groups {
		limit, err := h.limitOf(g)
		if err != nil {
			return 0, of, err
		}
		if limit < least {
			least, of = limit, g
		}
	}
	return least, of, nil
}

// limitOf returns how many bytes a group may have, math.MaxInt64 if there is no limit.
func (h *Host) limitOf(g group) (int64, error) {
	name := g.folder + "/memory.limit_in_bytes"
	if g.v2 {
		name = g.folder + "/memory.max"
	}
	text, err := h.text(name)
	if absent(err) || text == "max" {
		return math.MaxInt64, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, strange(name, text, "a limit in bytes")
	}
	if n >= 1<<60 { // as version 1 says it
		return math.MaxInt64, nil
	}
	return int64(n), nil
}

// killed returns how many processes of a group were ended for want of memory.
func (h *Host) killed(g group) int64 {
	name := g.folder + "/memory.oom_control"
	if g.v2 {
		name = g.folder + "/memory.events"
	}
	counts, err := h.keyed(name)
	if err != nil {
		return 0
	}
	return counts["oom_kill"]
}
