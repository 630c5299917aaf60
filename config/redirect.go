package config

import (
	"slices"
	"strconv"
	"strings"
)

// codes is the numbers that are allowed, in order.
type codes []int

var redirects = codes{301, 302, 303, 307, 308}

func (c codes) String() string {
	all := make([]string, len(c))
	for i, code := range c {
		all[i] = strconv.Itoa(code)
	}
	return "one of " + strings.Join(all, ", ")
}

func (p *problems) redirect(at *place) *Redirect {
	r := &Redirect{}
	if o := p.object(at, `an object such as {"scheme": "https"}`); o != nil {
		o.text("scheme", "one of "+names(RedirectSchemes()), &r.Scheme)
		o.text("host", authorityForm, &r.Host)
		o.text("path", targetForm, &r.Path)
		o.whole("status", redirects, &r.Status)
		o.end()
	}
	return r
}

func (p *problems) completeRedirect(r *Redirect, at *place) {
	if at.bad() {
		return
	}
	scheme, host, path, status := at.member("scheme"), at.member("host"), at.member("path"), at.member("status")
	if *r == (Redirect{Status: r.Status}) && !scheme.given() && !host.given() && !path.given() {
		p.add(at, "leads nowhere; use at least one of scheme, host and path")
	}
	p.oneOf(scheme, &r.Scheme, RedirectSchemes(), "")
	if (r.Host != "" || host.given()) && !host.bad() {
		canonical, ok := parseAuthority(r.Host)
		if !ok {
			p.add(host, "%s is not allowed; use %s", quote(r.Host), authorityForm)
		}
		r.Host = canonical
	}
	if (r.Path != "" || path.given()) && !path.bad() && !validTarget(r.Path) {
		p.add(path, "%s is not allowed; use %s", quote(r.Path), targetForm)
	}
	if r.Status == 0 && (!status.given() || status.bad()) {
		r.Status = DefaultRedirectStatus
	}
	if !slices.Contains(redirects, r.Status) {
		p.add(status, "%s is not allowed; use %v", status.show(r.Status), redirects)
	}
}

// validTarget reports whether s can stand in a Location behind scheme and host,
// or alone without being taken for a host: RFC 3986 section 4.2.
func validTarget(s string) bool { return validPath(s) && !strings.HasPrefix(s, "//") }
