package config

import (
	"strings"
)

func (p *problems) completeRoutes(l *Listener, at *place, pools poolNames) {
	routes, hello := at.member("routes"), at.member("hello_timeout")
	seen := make(map[string]int, len(l.Routes))
	for i := range l.Routes[:p.atMost(routes, len(l.Routes), maxRoutes)] {
		r, at := &l.Routes[i], routes.item(i)
		if at.bad() {
			continue
		}
		p.reference(at.member("pool"), r.Pool, pools)
		where := at.member("sni")
		if !p.required(where, r.SNI, sniForm) {
			continue
		}
		name := strings.ToLower(r.SNI)
		if !validSNI(name) {
			p.add(where, "%s is not allowed; use %s", quote(r.SNI), sniForm)
			continue
		}
		if first, ok := seen[name]; ok {
			p.add(where, "%s is already the sni of %v; keep one of them", quote(r.SNI), routes.item(first))
			continue
		}
		seen[name] = i
		r.SNI = name
	}
	switch {
	case len(l.Routes) > 0 || routes.bad():
		p.duration(hello, &l.HelloTimeout, durations, DefaultHelloTimeout)
	case !hello.bad() && (hello.given() || l.HelloTimeout != 0):
		p.add(hello, "only a listener with routes waits for a ClientHello; add routes or leave it out")
	}
}

// validSNI reports whether a client may ask for the name, in lower case, or for
// one below it if it begins with "*.": RFC 6066 section 3, by which no name
// ends in a dot.
func validSNI(s string) bool {
	name := strings.TrimPrefix(s, "*.")
	return !strings.HasSuffix(name, ".") && isHostName(name)
}
