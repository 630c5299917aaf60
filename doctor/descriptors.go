package doctor

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"fulcrum/config"
)

// fewDescriptors is what is too little for a balancer of which nobody knows how many
// connections it is to have.
const fewDescriptors = 65536

// descriptors compares how many files this process may open with what the listeners
// need. Go raises the soft limit to the hard one, so the hard one counts.
func descriptors(h *Host, c *config.Config) []Finding {
	limit, err := h.openFiles()
	if err != nil {
		return unknown(err)
	}
	most, unlimited := connections(c)
	needed := perConnection*most + otherUses
	room := max(limit-otherUses, 0) / perConnection
	why := "each connection takes two, and when they run out no more are accepted. This is the limit of the process that looks; a service has that of its unit"
	switch {
	case needed > limit:
		return []Finding{{
			Level: Problem,
			What:  fmt.Sprintf("%d files may be open, but the listeners' max_connections, %d in all, need %d", limit, most, needed),
			Why:   why,
			Do:    h.raiseDescriptors(needed) + fmt.Sprintf("\nor lower the listeners' max_connections to %d in all", room),
		}}
	case limit < fewDescriptors && c == nil:
		return []Finding{{Level: Warning, What: fmt.Sprintf("%d files may be open, enough for %d connections", limit, room), Why: why, Do: h.raiseDescriptors(fewDescriptors)}}
	case limit < fewDescriptors && len(unlimited) > 0:
		return []Finding{{
			Level: Warning,
			What: fmt.Sprintf("%s, and the %d files that may be open are enough for %d connections in all",
				those("listener", unlimited, "has no max_connections", "have no max_connections"), limit, room),
			Why: why + ". With a limit the listeners share them as you want",
			Do:  h.raiseDescriptors(fewDescriptors) + "\nor give each listener a \"max_connections\"",
		}}
	case limit == math.MaxInt64:
		return fine("any number of files may be open")
	}
	return fine("%d files may be open, enough for %d connections", limit, room)
}

// raiseDescriptors returns the commands, one of which is to be chosen, that raise the
// limit of open files.
func (h *Host) raiseDescriptors(to int64) string {
	first := ""
	if most, err := h.number(setting("fs.nr_open")); err == nil && most < to {
		first = set("fs.nr_open", to) + "\n"
	}
	return first + fmt.Sprintf("ulimit -n %d   # in the shell that starts it, as root\nLimitNOFILE=%d   # in the [Service] of a unit: systemctl edit fulcrum\ndocker run --ulimit nofile=%d:%d", to, to, to, to)
}

// openFiles returns the hard limit of open files.
func (h *Host) openFiles() (int64, error) {
	const name = "proc/self/limits"
	text, err := h.text(name)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(line, "Max open files")
		fields := strings.Fields(rest)
		if !found || len(fields) < 2 {
			continue
		}
		if fields[1] == "unlimited" {
			return math.MaxInt64, nil
		}
		if limit, err := strconv.ParseInt(fields[1], 10, 64); err == nil && limit >= 0 {
			return limit, nil
		}
	}
	return 0, strange(name, text, "a limit of open files")
}

// machineDescriptors looks at what all processes together may open.
func machineDescriptors(h *Host, c *config.Config) []Finding {
	const name = "proc/sys/fs/file-nr"
	all, err := h.numbers(name, 3)
	if err != nil {
		return unknown(err)
	}
	open, limit := all[0], all[2]
	most, _ := connections(c)
	needed := perConnection*most + otherUses
	if float64(open)+float64(needed) <= 0.9*float64(limit) {
		return fine("%d files are open on the machine, of %d that may be", open, limit)
	}
	f := Finding{
		Level: Warning,
		What:  fmt.Sprintf("%d files are open on the machine, of %d that may be, and the listeners may need %d", open, limit, needed),
		Why:   "when they run out nobody on the machine can open a file or accept a connection",
		Do:    set("fs.file-max", max(2*(min(max(open, 0), 1<<40)+needed), 1<<20)),
	}
	if float64(open) > 0.9*float64(limit) {
		f.Level = Problem
	}
	return []Finding{f}
}
