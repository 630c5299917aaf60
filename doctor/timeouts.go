package doctor

import (
	"fmt"
	"time"

	"fulcrum/config"
)

// patience is how long people and programs commonly wait for anything.
const patience = time.Minute

// timeouts looks for times that make no sense beside each other.
func timeouts(_ *Host, c *config.Config) (findings []Finding) {
	for _, l := range c.Listeners {
		findings = append(findings, listenerTimes(l)...)
	}
	for _, p := range c.Pools {
		findings = append(findings, checkTimes(c, p)...)
		findings = append(findings, poolTimes(c, p)...)
	}
	if len(findings) == 0 {
		return fine("the timeouts fit together")
	}
	return findings
}

func listenerTimes(l config.Listener) (findings []Finding) {
	if l.TCPKeepalive > 0 && l.TCPKeepalive >= l.IdleTimeout {
		findings = append(findings, Finding{
			Level: Warning,
			What:  fmt.Sprintf("listener %s probes its clients after %v of silence, but closes connections after %v", l.Name, l.TCPKeepalive, l.IdleTimeout),
			Why:   "no probe is ever sent, so clients that are gone are not noticed any sooner",
			Do:    fmt.Sprintf(`in listener %s: "tcp_keepalive" below %v, or a longer "idle_timeout"`, l.Name, l.IdleTimeout),
		})
	}
	if l.HalfClosedTimeout > l.IdleTimeout {
		findings = append(findings, Finding{
			Level: Warning,
			What:  fmt.Sprintf("listener %s lets connections that one side has ended be silent for %v, longer than whole ones (%v)", l.Name, l.HalfClosedTimeout, l.IdleTimeout),
			Why:   "of a side that has ended the other often is gone, too; such connections are to be closed sooner, not later",
			Do:    fmt.Sprintf(`in listener %s: "half_closed_timeout": "%v"`, l.Name, min(l.IdleTimeout, patience)),
		})
	}
	return findings
}

// checkTimes compares what a pool's checks let pass with what clients get.
func checkTimes(c *config.Config, p config.Pool) []Finding {
	if p.Health == nil || p.Health.Off {
		return nil
	}
	name, most := "connect_timeout", p.ConnectTimeout
	if p.Health.Path != "" && byHTTP(c, p.Name) {
		name, most = "response_timeout", p.ResponseTimeout
	}
	if p.Health.Timeout <= most {
		return nil
	}
	return []Finding{{
		Level: Warning,
		What:  fmt.Sprintf("pool %s has a health check of up to %v, but a %s of %v", p.Name, p.Health.Timeout, name, most),
		Why:   "a server that is slower than clients are let wait passes its checks, and goes on being chosen",
		Do:    fmt.Sprintf(`in pool %s: "health": {"timeout": "%v"}, or a longer "%s"`, p.Name, most, name),
	}}
}

func poolTimes(c *config.Config, p config.Pool) (findings []Finding) {
	add := func(level Level, why, do, what string, args ...any) {
		findings = append(findings, Finding{Level: level, What: fmt.Sprintf("pool %s ", p.Name) + fmt.Sprintf(what, args...), Why: why, Do: "in pool " + p.Name + ": " + do})
	}
	http := byHTTP(c, p.Name)
	if http && p.ConnectTimeout > p.ResponseTimeout {
		add(Warning, "to accept takes the kernel of a server no time at all; who does not within seconds is not there", `"connect_timeout": "5s"`,
			"waits longer for a server to accept (%v) than for its answer (%v)", p.ConnectTimeout, p.ResponseTimeout)
	}
	if p.Retries != nil {
		tries := min(1+p.Retries.Attempts, max(len(p.Servers), 1))
		if all := time.Duration(tries) * p.ConnectTimeout; all > patience {
			add(Info, "when the network to all of them is gone each is tried in turn; clients have given up long before", `a shorter "connect_timeout", or fewer "attempts" in "retries"`,
				"tries up to %d servers for %v each, %v in all", tries, p.ConnectTimeout, all)
		}
		if p.Retries.Attempts == 0 && len(p.Servers) > 1 {
			add(Info, "until the checks have noticed that a server is down, its share of clients is refused", `take "retries" out of it, which means the defaults`,
				"gives nobody to another server whom one did not take")
		}
	}
	if http && p.Reuse != nil && !p.Reuse.Off && p.Reuse.MaxAge < p.Reuse.IdleTimeout {
		add(Info, "the idle_timeout never counts", `"reuse": {"max_age": "1h"}, or a shorter "idle_timeout"`,
			"keeps connections to its servers for %v, and without a request for %v", p.Reuse.MaxAge, p.Reuse.IdleTimeout)
	}
	if p.DrainTimeout > c.ShutdownTimeout && len(feeders(c, p.Name)) > 0 {
		add(Info, "what a deleted server may finish, a stop of the balancer cuts off", fmt.Sprintf(`a shorter "drain_timeout", or "shutdown_timeout": "%v" at the top of the config`, p.DrainTimeout),
			"lets work in flight go on for %v, but a stop for no more than %v", p.DrainTimeout, c.ShutdownTimeout)
	}
	return findings
}
