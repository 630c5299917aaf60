package admin

import (
	"net/http"
	"strings"

	"fulcrum/dashboard"
)

// root answers browsers with the page and everybody else with the list of routes.
func (h *handler) root(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Vary", "Accept")
	if wantsPage(r) {
		return page(dashboard.Page())(w, r)
	}
	return h.index(w, r)
}

// wantsPage reports whether who asks for / is a browser.
func wantsPage(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// forPage reports whether a request is for the page or a part of it. Nothing in them
// is secret, and without them nobody could be asked for a token.
func forPage(r *http.Request) bool {
	if !reads(r.Method) {
		return false
	}
	path := r.URL.EscapedPath()
	if path == "/" {
		return wantsPage(r)
	}
	for _, f := range dashboard.Parts() {
		if f.Path == path {
			return true
		}
	}
	return false
}

// parts returns the routes of what the page loads, which are not listed.
func parts() (all []route) {
	for _, f := range dashboard.Parts() {
		all = append(all, route{http.MethodGet, f.Path, "", page(f)})
	}
	return all
}

// page returns what answers with a part of the page. All that it may load is here, and
// nobody may show it within theirs.
func page(f dashboard.File) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		header := w.Header()
		header.Set("Content-Security-Policy", dashboard.Policy)
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		write(w, http.StatusOK, f.Type, f.Text)
		return nil
	}
}
