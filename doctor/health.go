package doctor

import (
	"fmt"
	"time"

	"fulcrum/config"
)

// slowDetection is how long it may take until a server that does not answer any more
// is no longer chosen. The defaults stay below it.
const slowDetection = 20 * time.Second

// health looks at how, and how soon, pools notice that a server is down.
func health(_ *Host, c *config.Config) (findings []Finding) {
	var off, connects, nervous []string
	for _, p := range c.Pools {
		check := p.Health
		if check == nil || check.Off {
			off = append(off, p.Name)
			continue
		}
		if check.Path == "" && byHTTP(c, p.Name) {
			connects = append(connects, p.Name)
		}
		if check.Fall == 1 && check.Rise == 1 {
			nervous = append(nervous, p.Name)
		}
		if f, slow := detection(p); slow {
			findings = append(findings, f)
		}
	}
	add := func(level Level, names []string, one, more, why, do string) {
		findings = append(findings, about("pool", names, level, one, more, why, do)...)
	}
	add(Warning, off, "checks no server", "check no server",
		"a server that hangs, or answers nothing but errors, gets its share of clients for ever", `take "health": false out of it, which means a check every 5s`)
	add(Info, connects, "carries http, but is checked by a connect", "carry http, but are checked by a connect",
		"a server that accepts connections and answers every request with an error counts as healthy", `"health": {"path": "/health"}   # a path that says how the server is`)
	add(Info, nervous, "goes by a single check", "go by a single check",
		"one lost packet takes a server out, and the next one brings it back before it is fit", `"health": {"rise": 2, "fall": 3}`)
	if len(findings) == 0 {
		return fine("every pool notices within %v that a server is down", slowDetection)
	}
	return findings
}

// detection says how long it takes a pool to notice that a server hangs, if that is
// long.
func detection(p config.Pool) (Finding, bool) {
	check := p.Health
	after := time.Duration(check.Fall)*check.Interval + check.Timeout
	if after <= slowDetection {
		return Finding{}, false
	}
	interval, fall := check.Interval, min(check.Fall, config.DefaultFall)
	if interval*time.Duration(fall)+check.Timeout > slowDetection {
		interval = config.DefaultHealthInterval
	}
	timeout := min(check.Timeout, interval, config.DefaultHealthTimeout)
	return Finding{
		Level: Warning,
		What: fmt.Sprintf("pool %s takes up to %v to notice that a server hangs: %d failed checks, one every %v, the last one after %v",
			p.Name, after, check.Fall, check.Interval, check.Timeout),
		Why: "until then clients are sent there, and wait",
		Do:  fmt.Sprintf(`in pool %s: "health": {"interval": "%v", "timeout": "%v", "fall": %d}`, p.Name, interval, timeout, fall),
	}, true
}
