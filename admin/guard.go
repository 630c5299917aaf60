package admin

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// guard decides who is let in. What one peer has done wrong outlives a change of
// the Access.
type guard struct {
	access   atomic.Pointer[Access]
	unix     bool // no browser comes by a unix socket
	log      *slog.Logger
	failures failures
}

// nobody is the name of a caller who was not asked for one.
const nobody = "-"

// A caller is who sends a request.
type caller struct {
	name     string // of its token, else of its certificate, else nobody
	remote   string // where it comes from
	readOnly bool
	stranger bool // has not shown a token, although there are some
}

type callerKey struct{}

// callerOf returns who sends a request that admit has let in; ok is false of all
// others.
func callerOf(r *http.Request) (c caller, ok bool) {
	c, ok = r.Context().Value(callerKey{}).(caller)
	return c, ok
}

// admit lets a request in, with its caller in its context, or refuses it. Without
// a token there is only /healthz, for the balancers in front of this one, and the page
// that asks for a token.
func (g *guard) admit(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	access, from := g.access.Load(), originOf(r)
	if !access.covers(from.access) {
		w.Header().Set("Connection", "close")
		return r, &Refusal{http.StatusMisdirectedRequest, "who may ask has changed since this connection was made; make a new one"}
	}
	if !g.unix && !access.knows(r.Host) {
		return r, &Refusal{http.StatusMisdirectedRequest,
			fmt.Sprintf("host %s is not one of this listener's; use its IP address, or add the name to admin.hosts in the config", clip(r.Host))}
	}
	if foreign(r) {
		return r, &Refusal{http.StatusForbidden, "a page of another origin is not answered here"}
	}
	c := caller{name: nobody, remote: from.remote, stranger: len(access.tokens) > 0}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		c.name = subject(r.TLS.PeerCertificates[0])
	}
	given := r.Header.Values("Authorization")
	if c.stranger && (len(given) > 0 || r.URL.EscapedPath() != healthzPath && !forPage(r)) {
		if err := g.login(w, access, &c, given); err != nil {
			return r, err
		}
	}
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c)), nil
}

// login finds out whose token a caller has: RFC 6750 section 2.1 and 3.
func (g *guard) login(w http.ResponseWriter, access *Access, c *caller, given []string) error {
	const realm = `Bearer realm="fulcrum"`
	if len(given) == 0 {
		w.Header().Set("WWW-Authenticate", realm)
		return &Refusal{http.StatusUnauthorized, "a token is needed; send Authorization: Bearer and the token"}
	}
	var found *token
	ok, failed, wait := g.failures.try(peerOf(c.remote), time.Now(), strings.Join(given, "\n"), func() bool {
		found = access.find(bearer(given))
		return found != nil
	})
	if ok {
		c.name, c.readOnly, c.stranger = found.name, found.readOnly, false
		return nil
	}
	if wait > 0 {
		seconds := int(math.Ceil(wait.Seconds()))
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		return &Refusal{http.StatusTooManyRequests, fmt.Sprintf("too many wrong tokens from there; try again in %d s", seconds)}
	}
	if failed == 1 || failed == maxFailures {
		g.log.Warn("admin login failed", "remote", c.remote, "failed", failed, "allowed", maxFailures, "within", failureWindow)
	}
	w.Header().Set("WWW-Authenticate", realm+`, error="invalid_token"`)
	return &Refusal{http.StatusUnauthorized, "the token is not one of those that are allowed here"}
}

// bearer returns the token that was given, "" if there is none or more than one.
func bearer(given []string) string {
	scheme, secret, _ := strings.Cut(given[0], " ")
	if len(given) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(secret, " ")
}

// may reports as an error that the caller may not use a method.
func (c caller) may(method string) error {
	if c.readOnly && !reads(method) {
		return c.mayNotWrite()
	}
	return nil
}

func (c caller) mayNotWrite() error {
	return &Refusal{http.StatusForbidden, fmt.Sprintf("token %q may only read; use one that has write access", c.name)}
}

// reads reports whether a method changes nothing.
func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// foreign reports whether a browser sends a request for a page of another origin
// than this one's: by Sec-Fetch-Site, which it does not send to every address, or
// by Origin, which it does not send with every request.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return !followed(r)
	}
	origin := r.Header.Get("Origin")
	_, host, _ := strings.Cut(origin, "://")
	return origin != "" && !strings.EqualFold(host, r.Host)
}

// followed reports whether a person has followed a link to the page: it gets a window
// of its own, in which nothing of the page that the link is on is left.
func followed(r *http.Request) bool {
	return r.URL.EscapedPath() == "/" && forPage(r) &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// peerOf returns what wrong tokens from an address are counted under: itself, but
// of IPv6 the /64, all of which one peer commonly has.
func peerOf(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	ip := at.Addr().Unmap()
	if ip.Is4() {
		return ip.String()
	}
	network, _ := ip.Prefix(64) // 64 bits are in range
	return network.String()
}
