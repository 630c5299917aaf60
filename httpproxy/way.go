package httpproxy

import (
	"bytes"
	"cmp"
	"slices"

	"fulcrum/httpproxy/route"
)

// A Route says what becomes of the requests for some hosts and paths. Of those that
// a request is for the closest one counts; package route says which that is.
type Route struct {
	Host string // in lower case, or "*." and one; "": any
	Path string // at the front of the target; "": any

	*Upstream             // where they go; nil with a Redirect
	Redirect    *Redirect // what they are answered; nil: what a server says
	StripPrefix bool      // Path is taken off the target
	Request     *Edits    // of requests; nil: none
	Answer      *Edits    // of servers' answers and redirects; nil: none
}

// A Redirect answers requests with where to go instead.
type Redirect struct {
	Scheme string // "http" or "https"; "": as asked, of which the X-Forwarded-Proto of a client that is believed tells
	Host   string // with a port or not; "": the request's, without its port if the scheme is another
	Path   string // with a query or not; "": the request's, with its query
	Status int    // 301, 302, 303, 307 or 308
}

// Name is what records and metrics call the route: its host, or "*", and its path.
func (r *Route) Name() string { return cmp.Or(r.Host, "*") + r.Path }

// newTable returns what finds the routes, nil if there are none.
func newTable(routes []Route) (*route.Table, error) {
	if len(routes) == 0 {
		return nil, nil
	}
	rules := make([]route.Rule, len(routes))
	for i, r := range routes {
		rules[i] = route.Rule{Host: r.Host, Path: r.Path}
	}
	return route.New(rules)
}

// A way is where the requests of one route go, on one loop.
type way struct {
	name     string    // of the route; "": the requests that no route is for
	to       *Upstream // nil: nowhere
	redirect *Redirect // nil: to a server
	strips   bool      // the path of the route is taken off the target

	requestEdits, answerEdits *edits

	counts *counts
}

// newWays returns the ways of all routes, and last that of the other requests. Those
// of routes that there were before go on counting. It is called with the proxy's
// mutex held.
func (w *worker) newWays(next *plan) []way {
	before := make(map[string]*counts)
	for i := range w.ways {
		before[w.ways[i].name] = w.ways[i].counts
	}
	ways := make([]way, len(next.Routes)+1)
	for i := range next.Routes {
		r := &next.Routes[i]
		ways[i] = way{name: r.Name(), to: r.Upstream, redirect: r.Redirect, strips: r.StripPrefix,
			requestEdits: r.Request.compile(), answerEdits: r.Answer.compile()}
	}
	ways[len(next.Routes)].to = next.Default
	for i := range ways {
		way := &ways[i]
		if way.counts = before[way.name]; way.counts == nil {
			way.counts = new(counts)
		}
		delete(before, way.name)
	}
	for _, c := range before {
		w.gone = append(w.gone, c)
	}
	w.retireCounts()
	return ways
}

// retireCounts adds the counts of routes that are gone to the proxy's, once the last
// of their requests has ended.
func (w *worker) retireCounts() {
	w.gone = slices.DeleteFunc(w.gone, func(c *counts) bool {
		var sum Stats
		if c.addTo(&sum); sum.Active > 0 {
			return false
		}
		c.addTo(&w.p.retired)
		return true
	})
}

// find sets out on the request's way.
func (x *exchange) find() {
	rule := -1
	if t := x.plan.table; t != nil {
		var err error
		if rule, x.covered, err = t.Find(x.req.host, x.req.target); err != nil {
			x.fail(failure{code: 400, reason: err.Error(), ended: RefusedHead})
			return
		}
	}
	if rule < 0 {
		rule = len(x.w.ways) - 1
	}
	x.enter(&x.w.ways[rule])
	switch {
	case x.way.redirect != nil:
		x.redirect(x.way.redirect)
	case x.to == nil:
		x.fail(failure{code: 404, reason: "no route is for this host and path", ended: NoRoute})
	default:
		x.acquire()
	}
}

// redirect answers with where to go instead.
func (x *exchange) redirect(to *Redirect) {
	host := x.req.host
	if host == nil && to.Host == "" {
		x.fail(failure{code: 400, reason: errHost.Error(), ended: RefusedHead})
		return
	}
	asked := x.askedBy()
	scheme := cmp.Or(to.Scheme, asked)
	if scheme != asked {
		host = withoutPort(host)
	}
	out := append(x.out[:0], scheme...)
	out = append(out, "://"...)
	if to.Host != "" {
		out = append(out, to.Host...)
	} else {
		out = append(out, host...)
	}
	switch {
	case to.Path != "":
		out = append(out, to.Path...)
	case x.req.target[0] == '/':
		out = append(out, x.req.target...)
	default:
		out = append(out, '/')
	}
	x.out = out
	x.fail(failure{code: to.Status, reason: "it is elsewhere", ended: Redirected, location: out})
}

// askedBy returns the scheme by which the client asked.
func (x *exchange) askedBy() string {
	if x.c.trusted {
		for i := range x.req.fields {
			if f := &x.req.fields[i]; f.kind == forwardedProtoField && is(f.value, "https") {
				return "https"
			}
		}
	}
	return "http"
}

func withoutPort(host []byte) []byte {
	if i := bytes.LastIndexByte(host, ':'); i > bytes.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}
