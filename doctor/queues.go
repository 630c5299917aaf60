package doctor

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"fulcrum/config"
)

// queued is how many connections listeners ask the kernel to keep for each loop until
// they are accepted.
const queued = 4096

// listenQueue looks at how many connections may wait to be accepted.
func listenQueue(h *Host, _ *config.Config) []Finding {
	const name = "net.core.somaxconn"
	most, err := h.number(setting(name))
	if err != nil {
		return unknown(err)
	}
	findings := fine("%d connections may wait to be accepted, at each event loop", min(most, queued))
	if most < queued {
		findings = []Finding{{
			Level: Warning,
			What:  fmt.Sprintf("%s is %d; listeners ask for %d", name, most, queued),
			Why:   "so few connections may wait to be accepted; in a burst the others are dropped, and their clients wait a second or more until they try again",
			Do:    set(name, queued),
		}}
	}
	const reset = "net.ipv4.tcp_abort_on_overflow"
	if on, err := h.number(setting(reset)); err == nil && on != 0 {
		findings = append(findings, Finding{
			Level: Warning,
			What:  reset + " is on",
			Why:   "who comes when the queue is full is reset instead of being let in a moment later, also while a listener is at its max_connections",
			Do:    set(reset, 0),
		})
	}
	return findings
}

// handshakes looks at how many connections may be in the middle of their handshake.
// With SYN cookies the kernel goes on when there is no room for more.
func handshakes(h *Host, _ *config.Config) []Finding {
	const backlog, cookies = "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_syncookies"
	most, err := h.number(setting(backlog))
	if err != nil {
		return unknown(err)
	}
	if on, err := h.number(setting(cookies)); err != nil {
		return unknown(err)
	} else if on == 0 {
		return []Finding{{
			Level: Warning,
			What:  fmt.Sprintf("%s is off, and %s is %d", cookies, backlog, most),
			Why:   "anybody can fill the queue of handshakes with packets from false addresses, and nobody else is let in",
			Do:    set(cookies, 1),
		}}
	}
	if most < 1024 {
		return []Finding{{
			Level: Info,
			What:  fmt.Sprintf("%s is %d", backlog, most),
			Why:   "SYN cookies let connections in beyond that; they may lose options such as window scaling, and are slower over long distances then",
			Do:    set(backlog, queued),
		}}
	}
	return fine("%d handshakes may be under way, and SYN cookies help beyond", most)
}

// overflows looks for connections that were dropped since boot for want of room.
func overflows(h *Host, _ *config.Config) []Finding {
	counts, err := h.tcpCounters()
	if err != nil {
		return unknown(err)
	}
	full, known := counts["ListenOverflows"]
	dropped, alsoKnown := counts["ListenDrops"]
	if !known || !alsoKnown {
		return unknown(fmt.Errorf("/%s says nothing of ListenOverflows and ListenDrops", counters))
	}
	since := "boot"
	up, known := h.uptime()
	if known {
		since = fmt.Sprintf("boot, %v ago", up.Round(time.Second))
	}
	if full <= 0 && dropped <= 0 {
		return fine("no listener of the machine has dropped a connection since %s", since)
	}
	level := Warning
	if known && float64(max(full, dropped)) < up.Hours() {
		level = Info // fewer than one an hour
	}
	return []Finding{{
		Level: level,
		What:  fmt.Sprintf("%s dropped since %s, %d because a listen queue was full", plural(max(full, dropped), "connection"), since, full),
		Why:   "their clients waited a second or more until they tried again. Somebody on the machine accepts too slowly, or was at its max_connections",
		Do:    "nstat -az TcpExtListenOverflows TcpExtListenDrops   # again a while later: does it go on?\nss -ltn   # whose Recv-Q comes up to its Send-Q?",
	}}
}

// uptime returns how long ago the machine was started, if that is known and no
// nonsense.
func (h *Host) uptime() (time.Duration, bool) {
	text, err := h.text("proc/uptime")
	if err != nil {
		return 0, false
	}
	first, _, _ := strings.Cut(text, " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil || !(seconds > 0 && seconds < 1e9) {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}
