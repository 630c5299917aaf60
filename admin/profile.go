package admin

import (
	"net/http"
	"net/http/pprof"
	runtimepprof "runtime/pprof"
	"strconv"
)

const (
	profilePath = "/debug/pprof/"
	maxProfile  = 60 // seconds
)

// profileNamed serves one of Go's profiles by its name.
func (h *handler) profileNamed(w http.ResponseWriter, r *http.Request) error {
	serve := http.HandlerFunc(pprof.Index)
	switch name := r.PathValue("profile"); name {
	case "cmdline":
		serve = pprof.Cmdline
	case "profile":
		serve = pprof.Profile
	case "symbol":
		serve = pprof.Symbol
	case "trace":
		serve = pprof.Trace
	default:
		if runtimepprof.Lookup(name) == nil {
			return NotFound("profile %s does not exist; GET %s lists those that do", clip(name), profilePath)
		}
	}
	return h.profile(serve)(w, r)
}

// profile serves from net/http/pprof who may change things: a profile slows the
// balancer down, and shows more than what it is configured to do. Those that go on for a
// while are bounded.
func (h *handler) profile(serve http.HandlerFunc) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if c, _ := callerOf(r); c.readOnly {
			return c.mayNotWrite()
		}
		if given := r.FormValue("seconds"); given != "" {
			if n, err := strconv.Atoi(given); err != nil || n < 1 || n > maxProfile {
				return Invalid("seconds is %s; it must be a whole number from 1 to %d", clip(given), maxProfile)
			}
		}
		ctx, done, err := h.lasting.begin(w, r)
		if err != nil {
			return err
		}
		defer done()
		serve(w, r.WithContext(ctx))
		return nil
	}
}
