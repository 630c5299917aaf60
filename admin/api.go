// Package admin is the admin listener: the HTTP API by which an operator sees
// what the balancer does, changes servers and reloads the config. It stands apart
// from the listeners that carry traffic.
//
//	POST   /upload_server  add a server to a pool, or update it
//	DELETE /delete_server  drain a server, or with force=true close it now
//	POST   /reload         go over to the config file as it is now
//	POST   /drain          take the balancer out of use, with all that is in flight
//	POST   /undrain        end that
//	GET    /servers        every pool and its servers
//	GET    /listeners      every listener and what went through it
//	GET    /metrics        the same and more, for Prometheus
//	GET    /events         the last changes and why, or a stream of them
//	GET    /explain        what a pool's algorithm sees and whom it would choose
//	GET    /v1/log_level   the level of the log
//	PUT    /v1/log_level   change it
//	GET    /debug/pprof/   Go's profiles
//	GET    /healthz        200 while the balancer is fit to serve, else 503
//	GET    /openapi.json   all of the API for programs, by OpenAPI 3.1
//	GET    /live           what happens, each second, as server-sent events
//	GET    /               a page that shows it to browsers; else these routes as text, and those under /v1
//
// Under /v1 pools, servers and listeners are resources:
//
//	PATCH /v1/pools/web/servers/10.0.0.1:80
//	POST  /v1/pools/web/servers/unix:%2Frun%2Fapp.sock/drain
//
// Every change but an upgrade takes dry_run=true, which has it only say what it would
// change. Those of what has an ETag take If-Match with the one that a GET has answered,
// so that nobody overwrites what they have not seen. An ETag is of what changes alter,
// not of counts, so it stays as long as nobody changes anything.
//
// New takes over a bound net.Listener, Start serves on it, Stop ends that. What
// the API shows and changes is behind the Controller that the caller supplies;
// the package knows pools and servers only as the JSON types declared here.
//
// A request either changes everything it asks for or is refused and changes
// nothing. Every refusal is {"error": "…"} with a 4xx or 5xx status, except of
// what is not HTTP at all, which net/http answers in plain text. Bodies, header
// sizes, connections and the time that each may take are bounded. Every change is
// logged with who made it or tried to, once they were let in.
//
// Who is let in an Access says: all clients have a certificate if it has
// authorities for these, and a token if it has tokens, but for /healthz. Whoever
// has sent ten wrong tokens within a minute waits for its end. Without either, an
// address that others than this machine can reach is refused by New. Nobody is let
// in who asks for a host that is not this one, or whom a browser sends on behalf of
// another origin's page: so no page reaches the listener by DNS rebinding or by
// somebody else's browser.
package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"fulcrum/events"
)

// A Controller is what the admin listener shows and changes. Its methods are
// called from many goroutines at once and return soon after ctx has ended. An
// error that is (or wraps) a *Refusal is shown to the client; any other is
// logged and shown as an internal error.
type Controller interface {
	// Pools returns every pool with its servers, in the order of the config.
	// The answer belongs to the caller.
	Pools() []Pool

	// Listeners returns every listener, in the order of the config. The answer
	// belongs to the caller.
	Listeners() []ListenerInfo

	// Pool returns a pool with its servers, Server one of them; what does not exist
	// is refused as NotFound. The answers belong to the caller.
	Pool(name string) (Pool, error)
	Server(pool, server string) (Server, error)

	// Watch calls send with messages of GET /live, each a Live in JSON, until ctx ends,
	// send fails or the balancer stops.
	Watch(ctx context.Context, send func(message []byte) error) error

	// Config returns the config as it runs, in JSON and without secrets, and its entity
	// tag, which is another when what is left out is.
	Config() (text json.RawMessage, etag string)

	// Status returns what there is to say of the whole balancer.
	Status() Status

	// Change makes a change, or with c.DryRun only says what it would be. Whether
	// c.If holds is found out in the same moment. Without a pool in it the Controller
	// decides which is meant, or refuses.
	Change(ctx context.Context, c ServerChange) (Changed, error)

	// ReloadIf goes over to the config file as it is now if the condition holds of
	// the config that runs, or with dryRun only says what that would change: in words,
	// none if nothing.
	ReloadIf(ctx context.Context, c Condition, dryRun bool) (changes []string, err error)

	// Events returns the last events.
	Events() *events.Ring

	// Explain says what the algorithm of a pool sees now and whom it would choose.
	// "" as the pool is the one that is meant if there is but one, or that the
	// listener feeds by default; "" as the listener is none.
	Explain(pool, listener string) (Explanation, error)

	// LogLevel is the level of the log, nil if that cannot be changed.
	LogLevel() *slog.LevelVar

	// Ready reports whether the balancer is fit to serve, and if not, why.
	Ready() (ok bool, reason string)

	Drainer
	Upgrader
}

// ServersAnswer is the body of GET /servers.
type ServersAnswer struct {
	Pools []Pool `json:"pools"`
}

// PoolsAnswer is the body of GET /v1/pools.
type PoolsAnswer = ServersAnswer

// ServersOfPool is the body of GET /v1/pools/{pool}/servers.
type ServersOfPool struct {
	Servers []Server `json:"servers"`
}

// A Pool is a pool as GET /servers shows it.
type Pool struct {
	Name      string   `json:"name"`
	Algorithm string   `json:"algorithm"`
	Queued    int      `json:"queued"` // how many wait for a server
	Servers   []Server `json:"servers"`
}

// A Server is one server of a pool as GET /servers shows it.
type Server struct {
	Address        string `json:"address"`
	Source         string `json:"source"` // "config": it names the server; or "uploaded"
	Weight         int    `json:"weight"`
	MaxConnections int    `json:"max_connections"` // 0: no limit
	Healthy        bool   `json:"healthy"`         // false before the first check
	Draining       bool   `json:"draining"`        // no new work
	Deleting       bool   `json:"deleting"`        // draining, and then gone
	Ready          bool   `json:"ready"`

	State  string    `json:"state"`            // "ready", or why it is not: "not healthy", "draining" or "unchecked"
	Since  time.Time `json:"since"`            // when State began; RFC 3339 in JSON
	Reason string    `json:"reason,omitempty"` // ready or not healthy: what the check found that decided it

	Active    int64  `json:"active"`
	Total     int64  `json:"total"`
	Failures  int64  `json:"failures"`
	LastCheck *Check `json:"last_check"` // nil before the first check

	// What listeners of either protocol saw of the server, all of them together;
	// nil if none feeds its pool.
	TCP  *Traffic     `json:"tcp,omitempty"`
	HTTP *HTTPTraffic `json:"http,omitempty"`
}

// A Check is the result of one health check.
type Check struct {
	Passed bool      `json:"passed"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`      // when it ended; RFC 3339 in JSON
	TookMS float64   `json:"took_ms"` // milliseconds
}

// ListenersAnswer is the body of GET /listeners.
type ListenersAnswer struct {
	Listeners []ListenerInfo `json:"listeners"`
}

// A ListenerInfo is a listener as GET /listeners shows it.
type ListenerInfo struct {
	Name     string       `json:"name"`
	Protocol string       `json:"protocol"`
	Address  string       `json:"address"` // as bound: with the port that was picked for port 0
	Pool     string       `json:"pool"`    // "": what no route is for is refused
	Routes   []Route      `json:"routes,omitempty"`
	IO       string       `json:"io"`             // how its event loops wait
	TCP      *Traffic     `json:"tcp,omitempty"`  // nil if it is an http listener
	HTTP     *HTTPTraffic `json:"http,omitempty"` // nil if it is a tcp listener
}

// A Route sends the clients that ask for a TLS server name, or the requests for
// a host and path, to a pool or elsewhere.
type Route struct {
	SNI      string       `json:"sni,omitempty"`      // tcp only
	Host     string       `json:"host,omitempty"`     // http only; "": any
	Path     string       `json:"path,omitempty"`     // http only: of all that is below it; "": any
	Pool     string       `json:"pool,omitempty"`     // "" with a Redirect
	Redirect *Redirect    `json:"redirect,omitempty"` // http only; nil: to the pool
	HTTP     *HTTPTraffic `json:"http,omitempty"`     // nil on a tcp listener
}

// A Redirect is where clients are told to ask instead. What is "" stays as they
// asked.
type Redirect struct {
	Scheme string `json:"scheme,omitempty"`
	Host   string `json:"host,omitempty"`
	Path   string `json:"path,omitempty"`
	Status int    `json:"status"`
}

// Traffic is what has gone through a tcp listener, or to a server by way of tcp
// listeners.
type Traffic struct {
	Accepted   int64            `json:"accepted"` // connections: of a listener all, of a server those relayed to it
	Active     int64            `json:"active"`   // of these, open now
	ToUpstream int64            `json:"bytes_to_upstream"`
	ToClient   int64            `json:"bytes_to_client"`
	Ends       map[string]int64 `json:"ends"`       // how many connections ended in which way; those that are not in it are 0
	Connect    Durations        `json:"connect"`    // until the server had accepted
	FirstByte  Durations        `json:"first_byte"` // from then to the server's first byte
	Duration   Durations        `json:"duration"`   // from when the client was accepted to the end; of those relayed
}

// HTTPTraffic is what has gone through an http listener, by one of its routes, or
// to a server by way of http listeners.
type HTTPTraffic struct {
	Connections *Connections     `json:"connections,omitempty"` // of clients; of a listener only
	Requests    int64            `json:"requests"`              // that were understood; of a server: given to it, again or for the first time
	Active      int64            `json:"active"`                // of these, not ended yet
	Endings     map[string]int64 `json:"endings"`               // how many ended in which way, of a listener also what was not understood; those that are not in it are 0
	Statuses    map[string]int64 `json:"statuses"`              // answers by class, from "1xx" (upgrades) to "5xx", of a server its own; those that are not in it are 0
	Received    int64            `json:"bytes_received"`        // of requests' bodies, and through tunnels to servers
	Sent        int64            `json:"bytes_sent"`            // of answers' bodies, and through tunnels to clients
	Retries     int64            `json:"retries"`               // times that a request was given to another server or sent again
	Connects    int64            `json:"connects"`              // connections to servers that were made for requests
	Reuses      int64            `json:"reuses"`                // requests that went on a kept connection
	Connect     Durations        `json:"connect"`               // of the connections that were made, until the server had accepted
	FirstByte   Durations        `json:"first_byte"`            // from sending the request to the head of the answer
	Duration    Durations        `json:"duration"`              // from the end of the request's head to the end of the answer
}

// Connections are those of the clients of an http listener.
type Connections struct {
	Accepted int64 `json:"accepted"`
	Open     int64 `json:"open"` // of these, now
}

// Durations sum up how long something took, in milliseconds.
type Durations struct {
	Count int64   `json:"count"`
	P50MS float64 `json:"p50_ms"` // half of them took no longer; 0 when there were none
	P99MS float64 `json:"p99_ms"`
}

// UploadAnswer is the body that answers a successful POST /upload_server.
type UploadAnswer struct {
	Pool    string `json:"pool"`
	Server  string `json:"server"`
	Created bool   `json:"created"` // false: the server was there and was updated
	DryAnswer
}

// DeleteAnswer is the body that answers a successful DELETE /delete_server.
type DeleteAnswer struct {
	Pool     string `json:"pool"`
	Server   string `json:"server"`
	Draining bool   `json:"draining"` // false: what was in flight is closed
	DryAnswer
}

// DryAnswer is what the answer to a change has more when nothing was changed.
type DryAnswer struct {
	Changes []string `json:"changes,omitempty"` // in words, that would have been made
	DryRun  bool     `json:"dry_run,omitempty"`
}

// ReloadAnswer is the body that answers a successful reload.
type ReloadAnswer struct {
	Changes []string `json:"changes"` // in words; none: there was nothing to change
	DryRun  bool     `json:"dry_run"` // true: nothing was changed
}

// ChangeAnswer is the body that answers a change under /v1.
type ChangeAnswer struct {
	Pool    string   `json:"pool"`
	Server  string   `json:"server,omitempty"`  // in its one form; "": the change was of all the pool's servers
	Created bool     `json:"created,omitempty"` // the server was not there before, or was being deleted
	Changes []string `json:"changes"`           // in words; none: it was so already
	DryRun  bool     `json:"dry_run"`           // true: nothing was changed
}

// Status is the body of GET /v1/status.
type Status struct {
	Version       string    `json:"version"` // of the build
	PID           int       `json:"pid"`
	Started       time.Time `json:"started"` // RFC 3339 in JSON
	UptimeSeconds float64   `json:"uptime_seconds"`
	Ready         bool      `json:"ready"`            // fit to serve
	Reason        string    `json:"reason,omitempty"` // why it is not
	Config        string    `json:"config,omitempty"` // the path of the config file; "": there is none
	IO            string    `json:"io"`               // how the event loops wait
	DrainState
}

// HealthAnswer is the body of GET /healthz.
type HealthAnswer struct {
	Status string `json:"status"` // "ok" or "unavailable"
	Reason string `json:"reason,omitempty"`
}

// ErrorAnswer is the body of every refusal.
type ErrorAnswer struct {
	Error string `json:"error"`
}

// A Refusal is an error that the client is shown, with the HTTP status that
// goes with it (4xx or 5xx).
type Refusal struct {
	Status int
	Reason string
}

func (r *Refusal) Error() string { return r.Reason }

// NotFound returns a Refusal with status 404.
func NotFound(format string, args ...any) error {
	return &Refusal{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

// Invalid returns a Refusal with status 400.
func Invalid(format string, args ...any) error {
	return &Refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// Conflict returns a Refusal with status 409.
func Conflict(format string, args ...any) error {
	return &Refusal{http.StatusConflict, fmt.Sprintf(format, args...)}
}
