package l4

import "strings"

// routes find the upstream for the name that a TLS client asks for.
type routes struct {
	exact     map[string]*Upstream
	below     map[string]*Upstream // by the part behind "*."
	otherwise *Upstream

	tellClients bool // some servers are told by a PROXY header who the client is
}

func newRoutes(o *Options) routes {
	r := routes{otherwise: o.Default, tellClients: o.Default != nil && o.Default.SendProxy != 0}
	if len(o.Routes) == 0 {
		return r
	}
	r.exact, r.below = map[string]*Upstream{}, map[string]*Upstream{}
	for _, route := range o.Routes {
		r.tellClients = r.tellClients || route.SendProxy != 0
		if parent, ok := strings.CutPrefix(route.SNI, "*."); ok {
			r.below[parent] = route.Upstream
		} else {
			r.exact[route.SNI] = route.Upstream
		}
	}
	return r
}

// needed reports whether a ClientHello is to be waited for.
func (r *routes) needed() bool { return r.exact != nil }

// find returns the route of that name, else the one for names below the longest
// of its parents, else the default, which may be nil.
func (r *routes) find(name string) *Upstream {
	if to := r.exact[name]; to != nil {
		return to
	}
	for parent := name; parent != ""; {
		_, parent, _ = strings.Cut(parent, ".")
		if to := r.below[parent]; to != nil {
			return to
		}
	}
	return r.otherwise
}
