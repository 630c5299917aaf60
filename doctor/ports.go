package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"fulcrum/config"
)

const (
	portRange     = "net.ipv4.ip_local_port_range"
	reservedPorts = "net.ipv4.ip_local_reserved_ports"
)

const (
	usualPorts = 28232            // of the range that Linux has unless told otherwise
	widest     = "1024 65535"     // of the ranges that anybody may use
	widestSize = 65535 - 1024 + 1 // ports
)

// A span is a range of ports, both ends included.
type span struct{ first, last int64 }

// portsToConnectFrom returns the range that the kernel takes ports from, those in it
// that it leaves alone, and how many are left.
func (h *Host) portsToConnectFrom() (all span, reserved []span, count int64, err error) {
	name := setting(portRange)
	ends, err := h.numbers(name, 2)
	if err != nil {
		return all, nil, 0, err
	}
	all = span{ends[0], ends[1]}
	if all.first < 0 || all.last > 65535 || all.first > all.last {
		return all, nil, 0, strange(name, fmt.Sprint(ends), "a range of ports")
	}
	reserved = h.reserved()
	count = all.last - all.first + 1
	next := all.first
	for _, r := range reserved {
		first, last := max(r.first, next), min(r.last, all.last)
		if first <= last {
			count -= last - first + 1
			next = last + 1
		}
	}
	return all, reserved, count, nil
}

// reserved returns the ports that are not given to those who ask for any, in order.
// Kernels without such a list have none.
func (h *Host) reserved() (all []span) {
	text, err := h.text(setting(reservedPorts))
	if err != nil {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 16)
		last, err2 := strconv.ParseUint(to, 10, 16)
		if err == nil && err2 == nil && first <= last {
			all = append(all, span{int64(first), int64(last)})
		}
	}
	slices.SortFunc(all, func(a, b span) int { return int(a.first - b.first) })
	return all
}

// ports compares how many connections there can be from an address of this machine to
// one server with how many there may have to be.
func ports(h *Host, c *config.Config) (findings []Finding) {
	all, reserved, count, err := h.portsToConnectFrom()
	if err != nil {
		return unknown(err)
	}
	wider := set(portRange, widest)
	if _, numbers := endangered(c, span{1024, 65535}, reserved); len(numbers) > 0 {
		wider = reserve(numbers, reserved) + "\n" + wider
	}
	if count < usualPorts {
		findings = append(findings, Finding{
			Level: Warning,
			What:  fmt.Sprintf("the %d ports of %s, %d to %d, are fewer than usual", count, portRange, all.first, all.last),
			Why:   "each connection to a server takes one, and keeps it for a minute after the balancer has closed it first: to one server there can be so many at the same time, from each address of this machine",
			Do:    wider,
		})
	}
	if c != nil {
		findings = append(findings, portsOfPools(c, count, wider)...)
	}
	if len(findings) == 0 {
		return fine("%d connections to each server are possible at the same time, from each address of this machine", count)
	}
	return findings
}

// portsOfPools compares what the pools may need with how many ports there are. wider
// are the commands that make them more.
func portsOfPools(c *config.Config, count int64, wider string) (findings []Finding) {
	const why = "each connection from an address of this machine to a server takes a port of its own; without one it fails as if the server were down"
	var unbounded []string
	for _, p := range c.Pools {
		needs, bounded := heaviest(c, p)
		f := Finding{Why: why, Do: morePorts(p.Name, max(needs.spread, needs.oneDown), count, wider)}
		switch {
		case needs.spread > count:
			f.Level = Problem
			f.What = fmt.Sprintf("pool %s may need %d connections to one server from one address, but there are %d ports", p.Name, needs.spread, count)
		case needs.oneDown > count:
			f.Level = Warning
			f.What = fmt.Sprintf("pool %s may need %d connections to one server from one address once another server is down, but there are %d ports", p.Name, needs.oneDown, count)
		case !bounded:
			unbounded = append(unbounded, p.Name)
			continue
		default:
			continue
		}
		findings = append(findings, f)
	}
	what := fmt.Sprintf(" %d connections to one server from one address at the same time, and nothing keeps clients from needing more", count)
	return append(findings, about("pool", unbounded, Info, "can have"+what, "can have"+what, why, `give the listeners, or the servers, a "max_connections"`)...)
}

// morePorts says how a pool comes to as many connections to one server.
func morePorts(pool string, needed, count int64, wider string) string {
	if needed <= widestSize {
		return wider
	}
	room := max(count, widestSize)
	addresses := fmt.Sprintf(`in pool %s: "source": [...], with %d times as many addresses of this machine as now`, pool, (needed+room-1)/room)
	if count >= widestSize {
		return addresses
	}
	return wider + "\nand " + addresses
}

// listenerPorts looks for listeners whose ports the kernel may give to somebody else.
func listenerPorts(h *Host, c *config.Config) []Finding {
	if c == nil {
		return nil
	}
	all, reserved, _, err := h.portsToConnectFrom()
	if err != nil {
		return unknown(err)
	}
	names, numbers := endangered(c, all, reserved)
	if len(names) == 0 {
		return fine("no listener's port is one that the kernel gives to others")
	}
	return []Finding{{
		Level: Warning,
		What: fmt.Sprintf("%s a port from %d to %d, which the kernel gives to connections that go out",
			those("listener", names, "has", "have"), all.first, all.last),
		Why: "while one of these has the port, the listener cannot be opened: a start fails with \"address already in use\"",
		Do:  reserve(numbers, reserved),
	}}
}

// endangered returns the listeners whose ports are in a range and not reserved, and
// these ports.
func endangered(c *config.Config, all span, reserved []span) (names, numbers []string) {
	if c == nil {
		return nil, nil
	}
	look := func(name, address string) {
		port := portOf(address)
		within := func(s span) bool { return s.first <= port && port <= s.last }
		if port != 0 && within(all) && !slices.ContainsFunc(reserved, within) {
			names = append(names, name)
			if number := strconv.FormatInt(port, 10); !slices.Contains(numbers, number) {
				numbers = append(numbers, number)
			}
		}
	}
	for _, l := range c.Listeners {
		look(l.Name, l.Address)
	}
	if c.Admin != nil {
		look("admin", c.Admin.Address)
	}
	return names, numbers
}

// reserve returns the commands that keep the kernel from giving away more ports than
// those that it keeps already.
func reserve(numbers []string, reserved []span) string {
	for _, r := range reserved {
		text := strconv.FormatInt(r.first, 10)
		if r.last > r.first {
			text += "-" + strconv.FormatInt(r.last, 10)
		}
		numbers = append(numbers, text)
	}
	return set(reservedPorts, strings.Join(numbers, ","))
}
