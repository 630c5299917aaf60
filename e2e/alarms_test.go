package e2e_test

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

// An alarm is an alert rule, and what it has to say at the moment.
type alarm struct {
	Name, State       string
	Health, LastError string
	LastEvaluation    time.Time
	Alerts            []struct {
		Labels, Annotations map[string]string
		State               string
	}
}

// alarms returns the rules by name.
func (p *prometheus) alarms() map[string]alarm {
	p.w.Helper()
	var data struct{ Groups []struct{ Rules []alarm } }
	p.w.must(p.get("rules", nil, &data))
	all := make(map[string]alarm)
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			all[r.Name] = r
		}
	}
	return all
}

// evaluated waits until every rule was evaluated once more, and wants that to be well.
func (p *prometheus) evaluated() map[string]alarm {
	p.w.Helper()
	asked := time.Now()
	var all map[string]alarm
	p.w.eventually("every rule is evaluated", func() bool {
		all = p.alarms()
		for _, a := range all {
			if a.LastEvaluation.Before(asked) {
				return false
			}
		}
		return len(all) > 0
	})
	for name, a := range all {
		if a.Health != "ok" || a.LastError != "" {
			p.w.Errorf("rule %s is %s: %s", name, a.Health, a.LastError)
		}
	}
	return all
}

// awaitAlarm waits until a rule is pending, or firing, and says all these things of as
// many that it is about; without any, until it is inactive.
func (p *prometheus) awaitAlarm(name string, summaries ...string) {
	p.w.Helper()
	var found alarm
	defer func() {
		if p.w.ctx.Err() != nil {
			p.w.Errorf("it is %+v", found)
		}
	}()
	p.w.eventually(fmt.Sprintf("rule %s says %q", name, summaries), func() bool {
		all := p.alarms()
		if found = all[name]; found.Name == "" {
			p.w.Fatalf("there is no rule %s among %d", name, len(all))
		}
		var said []string
		for _, a := range found.Alerts {
			said = append(said, a.Annotations["summary"])
		}
		slices.Sort(said)
		slices.Sort(summaries)
		return slices.Equal(said, summaries) && (found.State == "inactive") == (len(summaries) == 0)
	})
}

// awaitCalm waits until no rule of these severities has anything to say.
func (p *prometheus) awaitCalm(severities ...string) {
	p.w.Helper()
	var raised []string
	defer func() {
		for _, r := range raised {
			p.w.Error(r)
		}
	}()
	p.w.eventually("no alarm is raised", func() bool {
		all := p.evaluated()
		raised = nil
		for name, a := range all {
			for _, about := range a.Alerts {
				if slices.Contains(severities, about.Labels["severity"]) {
					raised = append(raised, fmt.Sprintf("%s is %s: %v", name, about.State, about.Annotations))
				}
			}
		}
		return len(raised) == 0
	})
}

// When servers die the alarm about them is raised, and not before; when they are back
// it is called off. It tells when the balancer itself is gone.
func TestPrometheusRaisesTheAlarm(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	servers := w.nginxes("one", "two")
	config := httpOnly(addresses(servers)...)
	config["pools"].([]object)[0]["health"] = object{"interval": "400ms", "timeout": "400ms", "rise": 1, "fall": 2}
	b := w.balance(config)
	p := w.prometheus(w.scrapeConfig("fulcrum", b, ""))
	p.awaitUp()
	p.awaitCalm("critical", "warning")
	failed := func(server *peer) string {
		return "Server " + server.address + " of pool web has failed its checks for 5 minutes"
	}
	servers[0].kill()
	p.awaitAlarm("FulcrumServerUnhealthy", failed(servers[0]))
	p.awaitAlarm("FulcrumPoolWithoutServers")
	servers[1].kill()
	p.awaitAlarm("FulcrumServerUnhealthy", failed(servers[0]), failed(servers[1]))
	p.awaitAlarm("FulcrumPoolWithoutServers", "No server of pool web is ready")
	servers[0].start()
	p.awaitAlarm("FulcrumPoolWithoutServers")
	p.awaitAlarm("FulcrumServerUnhealthy", failed(servers[1]))
	servers[1].start()
	p.awaitAlarm("FulcrumServerUnhealthy")
	p.evaluated()
	b.signal(syscall.SIGTERM)
	p.awaitAlarm("FulcrumGone", b.admin+" cannot be asked: it does not run, or not let Prometheus in")
	p.evaluated()
}
