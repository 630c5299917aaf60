package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// The protocols of a listener.
const (
	ProtocolTCP  = "tcp"
	ProtocolHTTP = "http"
)

// The algorithms of a pool.
const (
	AlgorithmLeastConnections = "least_connections"
	AlgorithmRoundRobin       = "round_robin"
)

// The ways in which event loops wait.
const (
	IOAuto  = "auto" // io_uring if the kernel has and permits it, else epoll
	IOEpoll = "epoll"
	IOUring = "io_uring"
)

// The versions of the PROXY protocol that a pool may send.
const (
	SendProxyV1 = "v1"
	SendProxyV2 = "v2"
)

// What happens to the connections on a server that is no longer healthy.
const (
	OnUnhealthyKeep  = "keep"
	OnUnhealthyClose = "close"
)

// Where an access log goes, other than to a file.
const (
	AccessLogStdout = "stdout"
	AccessLogStderr = "stderr"
)

// How the access log of an http listener is written.
const (
	AccessLogJSON     = "json"
	AccessLogCombined = "combined"
)

// What becomes of what a client says of who it asks for, in X-Forwarded-… and
// Forwarded.
const (
	ForwardedReplace = "replace" // discarded, and written anew
	ForwardedAppend  = "append"  // believed, and continued
	ForwardedOff     = "off"     // passed on as it is
)

// What a token of the admin listener is good for.
const (
	AccessRead  = "read"
	AccessWrite = "write" // and read
)

// RewriteHostServer has a pool's servers see their own address as Host.
const RewriteHostServer = "server"

// What is used where a Config says nothing.
const (
	DefaultAlgorithm          = AlgorithmLeastConnections
	DefaultWeight             = 1
	DefaultConnectTimeout     = 5 * time.Second
	DefaultResponseTimeout    = 60 * time.Second
	DefaultDrainTimeout       = 30 * time.Second
	DefaultIdleTimeoutTCP     = time.Hour
	DefaultIdleTimeoutHTTP    = 60 * time.Second
	DefaultHeaderTimeout      = 30 * time.Second
	DefaultShutdownTimeout    = 30 * time.Second
	DefaultHealthInterval     = 5 * time.Second
	DefaultHealthTimeout      = 2 * time.Second // or the interval, if that is shorter
	DefaultRise               = 2
	DefaultFall               = 3
	DefaultAdminAddress       = "127.0.0.1:9900"
	DefaultIO                 = IOAuto
	DefaultAcceptProxyTimeout = 5 * time.Second
	DefaultHelloTimeout       = 5 * time.Second
	DefaultQueueLength        = 1000
	DefaultQueueTimeout       = 10 * time.Second
	DefaultOnUnhealthy        = OnUnhealthyKeep
	DefaultResolveInterval    = 30 * time.Second
	DefaultForwarded          = ForwardedReplace
	DefaultMaxHeaderBytes     = 16 << 10
	DefaultMaxHeaders         = 256
	DefaultAccessLogFormat    = AccessLogJSON
	DefaultRedirectStatus     = 308
	DefaultRetryAttempts      = 7
	DefaultRetryPercent       = 20
	DefaultReuseIdleTimeout   = 30 * time.Second
	DefaultReuseMaxAge        = time.Hour
	DefaultReuseMaxIdle       = 256
	DefaultAccess             = AccessWrite
	DefaultState              = "state.json"
)

// Protocols returns the protocols that a listener may have.
func Protocols() []string { return []string{ProtocolTCP, ProtocolHTTP} }

// Algorithms returns the algorithms that a pool may have.
func Algorithms() []string { return []string{AlgorithmLeastConnections, AlgorithmRoundRobin} }

// IOs returns the ways in which event loops may wait.
func IOs() []string { return []string{IOAuto, IOEpoll, IOUring} }

// SendProxies returns the versions of the PROXY protocol that a pool may send.
func SendProxies() []string { return []string{SendProxyV1, SendProxyV2} }

// OnUnhealthies returns what a pool may do with the connections on a server
// that is no longer healthy.
func OnUnhealthies() []string { return []string{OnUnhealthyKeep, OnUnhealthyClose} }

// Forwardeds returns what an http listener may do with what clients claim.
func Forwardeds() []string { return []string{ForwardedReplace, ForwardedAppend, ForwardedOff} }

// AccessLogFormats returns how the access log of an http listener may be written.
func AccessLogFormats() []string { return []string{AccessLogJSON, AccessLogCombined} }

// RedirectSchemes returns the schemes that a redirect may lead to.
func RedirectSchemes() []string { return []string{"http", "https"} }

// Accesses returns what a token of the admin listener may be good for.
func Accesses() []string { return []string{AccessRead, AccessWrite} }

// A Listener is an address that clients connect to, feeding a pool.
type Listener struct {
	Name                    string        // required, unique among the listeners
	Protocol                string        // required, one of Protocols
	Address                 string        // required, "host:port" or ":port" with an IP address or localhost, port 0: the system picks a free one; or "unix:/path"
	Pool                    string        // the name of one of the pools; required, but "" with Routes: a client that no route is for is refused
	Routes                  []Route       // at most 1000; none means that every client is for Pool
	IdleTimeout             time.Duration // tcp: no byte either way; http: between requests. 0 means DefaultIdleTimeoutTCP or DefaultIdleTimeoutHTTP
	MaxConnections          int           // accepting pauses at this many, up to 1000000; 0 means no limit
	MaxConnectionsPerClient int           // more from one IPv4 address or IPv6 /64 are closed, up to 1000000; 0 means no limit. Not with "unix:"
	TCPKeepalive            time.Duration // of silence until the client is probed, whole seconds from 1s to 9h; 0 means off. Not with "unix:"
	TCPUserTimeout          time.Duration // how long sent bytes may stay unacknowledged, 1ms to 596h; 0: as the kernel does. Not with "unix:"
	AcceptProxy             *AcceptProxy  // nil: no PROXY header is understood. Not with "unix:"
	AccessLog               string        // AccessLogStdout, AccessLogStderr or the path of a file; "" means none

	// For tcp only, and always zero on http.

	HalfClosedTimeout time.Duration // no byte for so long once one side has sent its end; 0 means IdleTimeout
	HelloTimeout      time.Duration // with Routes: until the ClientHello is complete; 0 means DefaultHelloTimeout. Always 0 without

	// For http only, and always zero on tcp.

	HeaderTimeout   time.Duration  // until a request's head is complete; 0 means DefaultHeaderTimeout
	Forwarded       string         // one of Forwardeds; "" means DefaultForwarded
	Trusted         []netip.Prefix // at most 1000, masked: whose claims are continued all the same. Only with ForwardedReplace. Not with "unix:"
	MinBodyRate     int            // bytes a second at which a request's body has to come, up to 1000000000; 0: any
	MaxHeaderBytes  int            // of a head, 1024 to 262144; 0 means DefaultMaxHeaderBytes
	MaxHeaders      int            // fields of a head, 1 to 1000; 0 means DefaultMaxHeaders
	MaxBodyBytes    int            // of a request, up to 1<<50; 0 means no limit
	AccessLogFormat string         // with AccessLog: one of AccessLogFormats; "" means DefaultAccessLogFormat. Always "" without
}

// AcceptProxy says which peers of a listener must begin with a PROXY header;
// the others must not.
type AcceptProxy struct {
	From    []netip.Prefix // required, at most 1000, masked; a single address is a network of its own
	Timeout time.Duration  // until the header is complete; 0 means DefaultAcceptProxyTimeout
}

// A Route says which clients of a tcp listener, or requests of an http listener,
// are for a pool.
type Route struct {
	SNI  string // tcp only, and required there, unique in the listener, in lower case once completed: a host name, or "*." and one for every name below it
	Pool string // the name of one of the pools; required without a Redirect

	// For http only. No two routes of a listener have both Host and Path in
	// common.

	Host            string    // in lower case once completed: as SNI, or an IP address without brackets; "" means any
	Path            string    // "/api" is for /api and all below it, "/api/" for all below it; "" means any
	StripPrefix     bool      // Path, which is required then, is taken off the target
	RequestHeaders  *Headers  // nil: none is changed. Not with a Redirect
	ResponseHeaders *Headers  // nil: none is changed
	Redirect        *Redirect // answers the requests; nil: they are for Pool
}

// Headers says which fields of a head are changed: those of Remove are removed,
// then those of Set replace all of their names, then those of Add are added. It
// names at most 64 in all, none that frames a message or concerns a connection.
type Headers struct {
	Set, Add []Header // in the order of the file; no name twice in Set
	Remove   []string // no name twice
}

// A Header is a field of a head.
type Header struct {
	Name  string // a token of up to 256 bytes
	Value string // up to 4096 bytes, none of them a control but tabs within; may be ""
}

// A Redirect sends clients elsewhere; at least one of Scheme, Host and Path is
// required.
type Redirect struct {
	Scheme string // one of RedirectSchemes; "" means as asked
	Host   string // in lower case once completed, with or without a port; "" means as asked, without its port if Scheme changes
	Path   string // with or without a query; "" means path and query as asked
	Status int    // 301, 302, 303, 307 or 308; 0 means DefaultRedirectStatus
}

// A Pool is a named set of servers that can serve the same traffic.
type Pool struct {
	Name            string        // required, unique among the pools
	Algorithm       string        // one of Algorithms; "" means DefaultAlgorithm
	Servers         []Server      // at most 10000; none is allowed, they can be uploaded later
	Health          *Health       // nil means a TCP connect at the defaults of Health
	ConnectTimeout  time.Duration // until a server has accepted; 0 means DefaultConnectTimeout
	ResponseTimeout time.Duration // http: until the head of the answer; 0 means DefaultResponseTimeout
	DrainTimeout    time.Duration // how long work in flight may go on at a server that was deleted; 0 means DefaultDrainTimeout
	SendProxy       string        // one of SendProxies; "" means none is sent
	Queue           *Queue        // nil: nobody waits when every ready server is full
	OnUnhealthy     string        // one of OnUnhealthies; "" means DefaultOnUnhealthy
	ResolveInterval time.Duration // between two look-ups of a server's name; 0 means DefaultResolveInterval
	Source          []netip.Addr  // to connect to servers from, in turn; at most 64 of one family. None: as the kernel chooses. Never for "unix:" servers
	TCPKeepalive    time.Duration // as a Listener's, towards the servers
	TCPUserTimeout  time.Duration // as a Listener's, towards the servers
	Retries         *Retries      // nil means those of DefaultRetryAttempts and DefaultRetryPercent
	Reuse           *Reuse        // http: nil means the defaults of Reuse
	RewriteHost     string        // http: what servers see as Host: RewriteHostServer, or a host with or without a port, in lower case once completed; "": what the client sent
}

// Retries says how often a connection or request that one server did not take
// may be given to another. A zero is one here, not a default.
type Retries struct {
	Attempts int // after the first, for each connection or request, 0 to 7
	Percent  int // of the pool's connections and requests that may be tried again, 0 to 100
}

// Reuse says how long connections to the servers are kept for more requests.
type Reuse struct {
	Off         bool          // each request has a connection of its own; the other fields mean nothing then
	IdleTimeout time.Duration // without a request; 0 means DefaultReuseIdleTimeout
	MaxAge      time.Duration // since it was made, after which no more requests are sent; 0 means DefaultReuseMaxAge
	MaxIdle     int           // without a request, to one server from one event loop, 1 to 10000; 0 means DefaultReuseMaxIdle
}

// Queue says who waits when every ready server of a pool is full.
type Queue struct {
	Length  int           // how many may wait, 1 to 100000; 0 means DefaultQueueLength
	Timeout time.Duration // how long each; 0 means DefaultQueueTimeout
}

// A Server is one address in a pool.
type Server struct {
	Address        string       // required, unique in the pool, all that ParseServer takes; in its canonical form once completed
	Weight         int          // its share relative to the others, 1 to 256; 0 means DefaultWeight
	MaxConnections int          // no more active than this, up to 1000000; 0 means no limit
	Source         []netip.Addr // none means the pool's; of the family of Address where that is an IP address. Not with "unix:"
}

// Health says how the servers of a pool are checked.
type Health struct {
	Off      bool          // no checks, servers count as healthy; the other fields mean nothing then
	Interval time.Duration // from the start of one check to that of the next; 0 means DefaultHealthInterval
	Timeout  time.Duration // at most Interval; 0 means DefaultHealthTimeout, or Interval if that is shorter
	Rise     int           // passes in a row until healthy, 1 to 100; 0 means DefaultRise
	Fall     int           // failures in a row until not healthy, 1 to 100; 0 means DefaultFall
	Path     string        // what an HTTP check asks for; "": the check is a TCP connect
	Status   []StatusRange // the answers that pass, at most 32; only with Path; none means 200-399
}

// A StatusRange is the HTTP status codes from From to To, both included, each
// from 100 to 599.
type StatusRange struct{ From, To int }

// String returns the range as it is written in a file: "200-399", "301".
func (r StatusRange) String() string {
	if r.From == r.To {
		return strconv.Itoa(r.From)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}
