package admin

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"net/url"
	"strings"
)

// route is one path and one method that it answers to; GET includes HEAD. A segment
// of the path in braces stands for any text but none, which serve finds by that name
// with r.PathValue.
type route struct {
	method, path, purpose string // without a purpose it is not listed
	serve                 func(http.ResponseWriter, *http.Request) error
}

// all returns the routes in the order in which they are listed.
func (h *handler) all() []route {
	const (
		pool   = "/v1/pools/{pool}"
		server = pool + "/servers/{server}"
	)
	return []route{
		{http.MethodGet, "/", "this page; for browsers one that shows what happens", h.root},
		{http.MethodGet, "/servers", "every pool and its servers", h.servers},
		{http.MethodGet, "/listeners", "every listener and what went through it", h.listeners},
		{http.MethodGet, "/metrics", "the same and more, for Prometheus", h.scrape},
		{http.MethodGet, healthzPath, "200 while the balancer is fit to serve, else 503", h.healthz},
		{http.MethodGet, "/events", "the last changes and why; ?after=ID&limit=N&pool=…; with Accept: text/event-stream they stream", h.events},
		{http.MethodGet, "/explain", "what a pool's algorithm sees and whom it would choose; ?pool=… or ?listener=…", h.explain},
		{http.MethodGet, "/live", "what happens, each second: server-sent events", h.live},
		{http.MethodPost, "/upload_server", `{"pool": …, "server": …, "weight": …, "max_connections": …}`, h.upload},
		{http.MethodDelete, "/delete_server", "the same body, or ?pool=…&server=…; force=true closes now", h.delete},
		{http.MethodPost, "/reload", "go over to the config file as it is now; dry_run=true only says what that changes", h.reload},
		{http.MethodPost, "/drain", "take the balancer out of use; what is left after ?timeout=30s is closed", h.startDrain},
		{http.MethodPost, "/undrain", "end that", h.endDrain},
		{http.MethodPost, "/upgrade", "have a new process of the binary and config as they are now take over", h.upgrade},
		{http.MethodGet, profilePath, "Go's profiles, for go tool pprof; with write access only", h.profile(pprof.Index)},
		{http.MethodGet, profilePath + "{profile}", "one of them", h.profileNamed},
		{http.MethodGet, "/openapi.json", "what all of these take and answer, for programs", h.openAPI},

		{http.MethodGet, "/v1/pools", "every pool and its servers", h.servers},
		{http.MethodGet, pool, "a pool and its servers", h.getPool},
		{http.MethodPost, pool + "/drain", "keep new work away from the servers that it has now", h.changes(Drain)},
		{http.MethodPost, pool + "/undrain", "give them work again", h.changes(Undrain)},
		{http.MethodGet, pool + "/servers", "the servers of a pool", h.getServers},
		{http.MethodGet, server, "a server; its address with / as %2F", h.getServer},
		{http.MethodPut, server, `add or update it: {"weight": …, "max_connections": …}, both optional`, h.changes(Upload)},
		{http.MethodPatch, server, "the same body; what it does not say stays", h.changes(Patch)},
		{http.MethodDelete, server, "drain it, and then it is gone; force=true closes now", h.changes(Delete)},
		{http.MethodPost, server + "/drain", "keep new work away from it", h.changes(Drain)},
		{http.MethodPost, server + "/undrain", "give it work again", h.changes(Undrain)},
		{http.MethodGet, "/v1/listeners", "every listener and what went through it", h.listeners},
		{http.MethodGet, "/v1/listeners/{name}", "a listener", h.getListener},
		{http.MethodGet, "/v1/config", "the config as it runs", h.config},
		{http.MethodGet, "/v1/log_level", "the level of the log", h.logLevel},
		{http.MethodPut, "/v1/log_level", `{"level": "debug"}, info, warn or error`, h.setLogLevel},
		{http.MethodGet, "/v1/status", "version, uptime, whether the balancer drains and what is in flight, and the like", h.status},
	}
}

// dispatch finds the route by its exact path, as it was sent: no redirects, no other
// spellings.
func (h *handler) dispatch(w http.ResponseWriter, r *http.Request) error {
	path := r.URL.EscapedPath()
	var allowed []string
	for i := range h.routes {
		route := &h.routes[i]
		values, ok := route.match(path)
		if !ok {
			continue
		}
		if r.Method == route.method || r.Method == http.MethodHead && route.method == http.MethodGet {
			for name, escaped := range values {
				value, err := unescape(name, escaped)
				if err != nil {
					return err
				}
				r.SetPathValue(name, value)
			}
			return route.serve(w, r)
		}
		allowed = append(allowed, route.methods()...)
	}
	if allowed == nil {
		return h.unknown(path)
	}
	w.Header().Set("Allow", list(allowed))
	return &Refusal{http.StatusMethodNotAllowed,
		fmt.Sprintf("method %s is not allowed on %s; use %s", clip(r.Method), clip(path), list(allowed))}
}

// match reports whether a path is the route's, and what stands for its names in it,
// escaped as it was sent.
func (r *route) match(path string) (values map[string]string, ok bool) {
	if !strings.Contains(r.path, "{") {
		return nil, r.path == path
	}
	wanted, given := strings.Split(r.path, "/"), strings.Split(path, "/")
	if len(wanted) != len(given) {
		return nil, false
	}
	values = make(map[string]string)
	for i, segment := range wanted {
		name, named := strings.CutPrefix(segment, "{")
		switch {
		case named && given[i] != "":
			values[strings.TrimSuffix(name, "}")] = given[i]
		case segment != given[i]:
			return nil, false
		}
	}
	return values, true
}

// unescape returns the text of a segment of the path, which is escaped once.
func unescape(name, escaped string) (string, error) {
	text, err := url.PathUnescape(escaped)
	if err != nil {
		return "", Invalid("the path is not valid: %v", err)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", Invalid("%q is %s; it must have no control characters", name, clip(text))
	}
	_, err = bounded(name, text)
	return text, err
}

func (r *route) methods() []string {
	if r.method == http.MethodGet {
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{r.method}
}

// unknown says which paths there are: those under /v1 if it is one of them that was
// asked for, else the others.
func (h *handler) unknown(path string) error {
	const v1 = "/v1/"
	under := strings.HasPrefix(path, v1)
	var known []string
	for _, route := range h.routes {
		if route.purpose != "" && strings.HasPrefix(route.path, v1) == under {
			known = append(known, route.method+" "+route.path)
		}
	}
	if !under {
		known = append(known, "and those under "+v1+" that GET / lists")
	}
	return NotFound("path %s does not exist; use one of %s", clip(path), list(known))
}
