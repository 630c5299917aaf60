package config

import (
	"fmt"
	"slices"
)

func (p *problems) completeHealth(h *Health, at *place) {
	if h.Off || at.bad() {
		return
	}
	interval, timeout := at.member("interval"), at.member("timeout")
	known := p.duration(interval, &h.Interval, durations, DefaultHealthInterval)
	standard := DefaultHealthTimeout
	if known {
		standard = min(standard, h.Interval)
	}
	if p.duration(timeout, &h.Timeout, durations, standard) && known && h.Timeout > h.Interval {
		p.add(timeout, "%s is not allowed; use at most the interval, which is %v", timeout.show(h.Timeout), h.Interval)
	}
	p.whole(at.member("rise"), &h.Rise, streaks, DefaultRise)
	p.whole(at.member("fall"), &h.Fall, streaks, DefaultFall)
	path, status := at.member("path"), at.member("status")
	if (h.Path != "" || path.given()) && !path.bad() && !validPath(h.Path) {
		p.add(path, "%s is not allowed; use %s", quote(h.Path), pathForm)
	}
	p.status(h, path, status)
}

func (p *problems) status(h *Health, path, status *place) {
	if len(h.Status) == 0 {
		if h.Path != "" {
			h.Status = []StatusRange{{200, 399}}
		}
		return
	}
	if h.Path == "" && !path.given() {
		p.add(status, "needs a path, for a check without one is a TCP connect; add a path or leave it out")
	}
	if len(h.Status) > maxStatus || slices.ContainsFunc(h.Status, func(r StatusRange) bool { return !r.valid() }) {
		p.add(status, "%s is not allowed; use %s", clip(fmt.Sprint(h.Status)), statusForm)
	}
}
