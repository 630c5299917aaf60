package config

import (
	"net/netip"
	"slices"
	"strings"
)

// httpRoute checks a route of an http listener. It is for a host and path one
// behind the other, of which only a path has slashes.
func (p *problems) httpRoute(r *Route, at *place, pools poolNames) (what string, ok bool) {
	p.refuse(at, "only a route of a tcp listener has it", setting{"sni", r.SNI != ""})
	p.action(r, at, pools)
	p.completeHeaders(r.RequestHeaders, at.member("request_headers"), true)
	p.completeHeaders(r.ResponseHeaders, at.member("response_headers"), false)
	host, path := at.member("host"), at.member("path")
	ok = !host.bad() && !path.bad()
	if (r.Host != "" || host.given()) && !host.bad() {
		canonical, valid := routeHost(r.Host)
		if !valid {
			p.add(host, "%s is not allowed; use %s", quote(r.Host), hostForm)
			ok = false
		}
		r.Host = canonical
	}
	if (r.Path != "" || path.given()) && !path.bad() && !validPrefix(r.Path) {
		p.add(path, "%s is not allowed; use %s", quote(r.Path), prefixForm)
		ok = false
	}
	if r.StripPrefix && r.Path == "" && !path.given() {
		p.add(at.member("strip_prefix"), "there is no path to take off; add a path or leave it out")
	}
	return r.Host + r.Path, ok
}

// action checks what becomes of the requests that a route is for.
func (p *problems) action(r *Route, at *place, pools poolNames) {
	pool, redirect := at.member("pool"), at.member("redirect")
	switch {
	case r.Redirect != nil:
		p.refuse(at, "a redirect goes to no server",
			setting{"pool", r.Pool != ""},
			setting{"strip_prefix", r.StripPrefix},
			setting{"request_headers", r.RequestHeaders != nil})
		p.completeRedirect(r.Redirect, redirect)
	case r.Pool == "" && !pool.given():
		p.add(at, "has neither a pool nor a redirect; use one of them")
	default:
		p.reference(pool, r.Pool, pools)
	}
}

// routeHost returns the one form of a host that requests may be for, and whether
// it is one. It has no final dot, for the dot of a request's is ignored.
func routeHost(s string) (host string, ok bool) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.String(), ip.Zone() == ""
	}
	host = strings.ToLower(s)
	return host, validSNI(host)
}

// validPrefix reports whether s is a path that nothing but itself can stand for,
// but for letters that are escaped in vain: RFC 3986 section 3.3, without what
// servers may take away or take for something else.
func validPrefix(s string) bool {
	if len(s) > maxPath || !strings.HasPrefix(s, "/") || strings.Contains(s, "//") || strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~!$&'()*+,=:@/", r))
	}) {
		return false
	}
	return !slices.ContainsFunc(strings.Split(s, "/"), func(segment string) bool {
		return len(segment) > maxSegment || segment != "" && strings.Trim(segment, ".") == ""
	})
}
