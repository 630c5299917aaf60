package doctor

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"fulcrum/config"
)

const (
	perConnection = 2        // descriptors and tracked connections: the client's and the server's side
	otherUses     = 100      // descriptors for all else: listening sockets, health checks, logs
	held          = 32 << 10 // bytes of a connection, both sockets and what is in their buffers, on average and by a rule of thumb
)

// connections returns how many connections the listeners that have a limit may have
// together, and which have none.
func connections(c *config.Config) (most int64, unlimited []string) {
	if c == nil {
		return 0, nil
	}
	for _, l := range c.Listeners {
		most += int64(l.MaxConnections)
		if l.MaxConnections == 0 {
			unlimited = append(unlimited, l.Name)
		}
	}
	return most, unlimited
}

// feeds reports whether connections or requests of a listener are for a pool.
func feeds(l config.Listener, pool string) bool {
	return l.Pool == pool || slices.ContainsFunc(l.Routes, func(r config.Route) bool { return r.Pool == pool })
}

// feeders returns the listeners of a pool.
func feeders(c *config.Config, pool string) (all []config.Listener) {
	for _, l := range c.Listeners {
		if feeds(l, pool) {
			all = append(all, l)
		}
	}
	return all
}

// byHTTP reports whether an http listener feeds a pool.
func byHTTP(c *config.Config, pool string) bool {
	return slices.ContainsFunc(c.Listeners, func(l config.Listener) bool {
		return l.Protocol == config.ProtocolHTTP && feeds(l, pool)
	})
}

// A load is what comes to the server of a pool that has the most to do, for each
// address that it is connected to from.
type load struct {
	spread  int64 // connections at the same time, when every server is there
	oneDown int64 // and when the busiest of the others is not
}

// heaviest returns the load of the busiest server of a pool on the ports of this
// machine, and whether it is bounded at all.
func heaviest(c *config.Config, p config.Pool) (worst load, bounded bool) {
	var most, weights, heavy, second int64
	for _, l := range feeders(c, p.Name) {
		most += int64(l.MaxConnections)
		if l.MaxConnections == 0 {
			most = -1
			break
		}
	}
	for _, s := range p.Servers {
		w := int64(s.Weight)
		weights += w
		second = max(second, min(heavy, w))
		heavy = max(heavy, w)
	}
	bounded = true
	for _, s := range p.Servers {
		if strings.HasPrefix(s.Address, "unix:") {
			continue
		}
		var its load
		other := heavy
		if int64(s.Weight) == heavy {
			other = second
		}
		limit := int64(s.MaxConnections)
		if most < 0 && limit == 0 {
			bounded = false
			continue
		}
		its.spread = within(limit, share(most, int64(s.Weight), weights))
		its.oneDown = within(limit, share(most, int64(s.Weight), weights-other))
		from := int64(max(len(s.Source), 1))
		if len(s.Source) == 0 {
			from = int64(max(len(p.Source), 1))
		}
		worst.spread = max(worst.spread, (its.spread+from-1)/from)
		worst.oneDown = max(worst.oneDown, (its.oneDown+from-1)/from)
	}
	return worst, bounded
}

// share returns what falls to a weight, rounded up; a negative number means no limit.
func share(most, weight, weights int64) int64 {
	if most < 0 || weights < 1 {
		return -1
	}
	return (most*weight + weights - 1) / weights
}

// within applies a limit, 0: none, to a number, negative: none.
func within(limit, n int64) int64 {
	if n < 0 || limit > 0 && limit < n {
		return limit
	}
	return n
}

// local reports whether nobody but this machine can connect to an address to listen on.
func local(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	ip, notIP := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || notIP == nil && ip.IsLoopback())
}

// portOf returns the port of an address to listen on, 0 if it has none of its own.
func portOf(address string) int64 {
	_, port, err := net.SplitHostPort(address)
	if err != nil || strings.HasPrefix(address, "unix:") {
		return 0
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0
	}
	return int64(n)
}
