package doctor

import (
	"fmt"

	"fulcrum/config"
)

// tracking looks at the table of the connections that the firewall remembers.
func tracking(h *Host, c *config.Config) []Finding {
	const name = "net.netfilter.nf_conntrack_max"
	limit, err := h.number(setting(name))
	if absent(err) {
		return fine("the firewall tracks no connections here")
	}
	if err != nil {
		return unknown(err)
	}
	count, err := h.number(setting("net.netfilter.nf_conntrack_count"))
	if err != nil {
		return unknown(err)
	}
	most, _ := connections(c)
	needed := perConnection * most
	f := Finding{
		Why: "when the table is full, new connections are dropped, those of clients as well as those to servers. Each that is balanced takes two entries",
		Do:  set(name, roundUp(max(2*min(max(count, limit, 0), 1<<40), needed))),
	}
	switch share := float64(count) / max(float64(limit), 1); {
	case limit == 0: // means none
		return fine("the table of tracked connections has no limit")
	case share > 0.95:
		f.Level = Problem
		f.What = fmt.Sprintf("the table of tracked connections is full: %d of %d", count, limit)
	case share > 0.8:
		f.Level = Warning
		f.What = fmt.Sprintf("the table of tracked connections is almost full: %d of %d", count, limit)
	case needed > limit:
		f.Level = Warning
		f.What = fmt.Sprintf("%s is %d, but the listeners' max_connections, %d in all, need %d", name, limit, most, needed)
	default:
		return fine("%d connections are tracked, of %d that may be", count, limit)
	}
	return []Finding{f}
}

// roundUp returns the power of two that is not below n.
func roundUp(n int64) int64 {
	power := int64(1)
	for power < n && power < 1<<40 {
		power *= 2
	}
	return power
}
