package doctor

import (
	"fmt"
	"strconv"
	"strings"

	"fulcrum/config"
)

// tcpMemory compares what all sockets of the machine may hold with what they hold and
// may come to hold.
func tcpMemory(h *Host, c *config.Config) []Finding {
	const name = "net.ipv4.tcp_mem"
	pages, err := h.numbers(setting(name), 3)
	if err != nil {
		return unknown(err)
	}
	used, err := h.socketPages()
	if err != nil {
		return unknown(err)
	}
	most, _ := connections(c)
	expected := most * held / h.PageSize
	pressure := pages[1]
	in := func(pages int64) string { return size(min(pages, 1<<40) * h.PageSize) }
	more := func(from int64) string {
		from = min(max(from, 0), 1<<40)
		return set(name, fmt.Sprintf("%d %d %d", 3*from/2, 2*from, 3*from))
	}
	f := Finding{
		Why: "from there on all sockets' buffers shrink and everything slows down, and soon after that connections are cut off",
		Do:  more(pressure) + "\nor more memory for the machine: from that come these numbers unless they are set",
	}
	switch {
	case used > pressure:
		f.Level = Problem
		f.What = fmt.Sprintf("sockets hold %s, more than the %s from which on the kernel saves", in(used), in(pressure))
	case float64(used) > 0.8*float64(pressure):
		f.Level = Warning
		f.What = fmt.Sprintf("sockets hold %s, close to the %s from which on the kernel saves", in(used), in(pressure))
	case expected > pressure:
		f.Level = Warning
		f.What = fmt.Sprintf("connections to the listeners' max_connections, %d in all, may hold some %s, more than the %s from which on the kernel saves",
			most, in(expected), in(pressure))
		f.Do = more(expected)
		if all, known := h.memory(); known && all/2 < most*held {
			f.Do = fmt.Sprintf("lower the listeners' max_connections to %d in all, for which half of the machine's %s are enough", all/2/held, size(all))
		}
	default:
		return append(fine("sockets hold %s, of the %s from which on the kernel saves", in(used), in(pressure)), cutOff(h)...)
	}
	return append([]Finding{f}, cutOff(h)...)
}

// memory returns how many bytes of memory the machine has, if that is known: MemTotal
// of the line "MemTotal: 16384 kB".
func (h *Host) memory() (bytes int64, known bool) {
	text, err := h.text("proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			return kilobytes << 10, err == nil && kilobytes > 0 && kilobytes < 1<<50
		}
	}
	return 0, false
}

// cutOff looks for connections that the kernel has ended for want of memory.
func cutOff(h *Host) []Finding {
	counts, err := h.tcpCounters()
	if n := counts["TCPAbortOnMemory"]; err == nil && n > 0 {
		return []Finding{{
			Level: Warning,
			What:  plural(n, "connection") + " cut off since boot for want of memory for sockets",
			Why:   "what was under way on them is lost",
			Do:    "nstat -az TcpExtTCPAbortOnMemory   # again a while later: does it go on?",
		}}
	}
	return nil
}

// socketPages returns how many pages TCP's sockets hold: mem of the line
// "TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 1".
func (h *Host) socketPages() (int64, error) {
	const name = "proc/net/sockstat"
	text, err := h.text(name)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		for i := 1; i+1 < len(fields) && fields[0] == "TCP:"; i += 2 {
			if n, err := strconv.ParseInt(fields[i+1], 10, 64); fields[i] == "mem" && err == nil {
				return n, nil
			}
		}
	}
	return 0, strange(name, text, "how much memory TCP holds")
}

const (
	leastMaximum = 1 << 20 // bytes, of a socket's buffer: 160 Mbit/s over 50 ms
	mostDefault  = 1 << 20 // bytes, that each socket begins with
)

// buffers looks at how large the buffers of a socket may become.
func buffers(h *Host, _ *config.Config) (findings []Finding) {
	for _, side := range []struct{ name, way string }{
		{"net.ipv4.tcp_rmem", "to be received"},
		{"net.ipv4.tcp_wmem", "to be sent"},
	} {
		bytes, err := h.numbers(setting(side.name), 3)
		if err != nil {
			findings = append(findings, unknown(err)...)
			continue
		}
		if bytes[2] < leastMaximum {
			findings = append(findings, Finding{
				Level: Warning,
				What:  fmt.Sprintf("no more than %s %s fit into a socket's buffer (%s)", size(bytes[2]), side.way, side.name),
				Why:   fmt.Sprintf("so much is under way at the most: over a distance of 50 ms one connection gets no faster than %.1f Mbit/s", float64(max(bytes[2], 0))*8/0.05/1e6),
				Do:    set(side.name, fmt.Sprintf("%d %d %d", bytes[0], bytes[1], 4<<20)),
			})
		}
		if bytes[1] > mostDefault {
			findings = append(findings, Finding{
				Level: Warning,
				What:  fmt.Sprintf("every socket begins with a buffer of %s %s (%s)", size(bytes[1]), side.way, side.name),
				Why:   "the kernel lets buffers grow by itself where that helps; so much from the start lets slow clients fill the memory",
				Do:    set(side.name, fmt.Sprintf("%d %d %d", min(bytes[0], 4096), 128<<10, max(bytes[2], 4<<20))),
			})
		}
	}
	const grow = "net.ipv4.tcp_moderate_rcvbuf"
	if on, err := h.number(setting(grow)); err == nil && on == 0 {
		findings = append(findings, Finding{
			Level: Warning,
			What:  grow + " is off",
			Why:   "buffers stay as small as they begin, and transfers over long distances slow",
			Do:    set(grow, 1),
		})
	}
	if len(findings) == 0 {
		return fine("sockets' buffers may grow as far as long distances need")
	}
	return findings
}
