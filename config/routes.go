package config

import (
	"strings"
)

// completeRoutes checks the routes of a listener. one checks a route by itself
// and returns what it is for, and whether that is known and allowed.
func (p *problems) completeRoutes(routes []Route, at *place, pools poolNames, one func(*Route, *place, poolNames) (string, bool)) {
	seen := make(map[string]int, len(routes))
	for i := range routes[:p.atMost(at, len(routes), maxRoutes)] {
		item := at.item(i)
		if item.bad() {
			continue
		}
		what, ok := one(&routes[i], item, pools)
		if !ok {
			continue
		}
		if first, taken := seen[what]; taken {
			shown := "everything"
			if what != "" {
				shown = quote(what)
			}
			p.add(item, "is for %s, as %v is; keep one of them", shown, at.item(first))
			continue
		}
		seen[what] = i
	}
}

// tcpRoute checks a route of a tcp listener.
func (p *problems) tcpRoute(r *Route, at *place, pools poolNames) (sni string, ok bool) {
	p.refuse(at, "only a route of an http listener has it",
		setting{"host", r.Host != ""},
		setting{"path", r.Path != ""},
		setting{"strip_prefix", r.StripPrefix},
		setting{"request_headers", r.RequestHeaders != nil},
		setting{"response_headers", r.ResponseHeaders != nil},
		setting{"redirect", r.Redirect != nil})
	p.reference(at.member("pool"), r.Pool, pools)
	where := at.member("sni")
	if !p.required(where, r.SNI, sniForm) {
		return "", false
	}
	if sni = strings.ToLower(r.SNI); !validSNI(sni) {
		p.add(where, "%s is not allowed; use %s", quote(r.SNI), sniForm)
		return "", false
	}
	r.SNI = sni
	return sni, true
}

// validSNI reports whether a client may ask for the name, in lower case, or for
// one below it if it begins with "*.": RFC 6066 section 3, by which no name
// ends in a dot.
func validSNI(s string) bool {
	name := strings.TrimPrefix(s, "*.")
	return !strings.HasSuffix(name, ".") && isHostName(name)
}
