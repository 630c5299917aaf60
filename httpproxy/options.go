package httpproxy

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"fulcrum/accesslog"
	"fulcrum/loop"
	"fulcrum/pool"
	"fulcrum/proxyproto"
)

// Options say what to serve and how patiently. Of a limit or duration zero means
// the default that is named at the field.
type Options struct {
	Name    string
	Address net.Addr // a *net.TCPAddr, without an IP for every address of the machine, or a *net.UnixAddr
	Loops   []*loop.Loop

	// Sockets listen on Address already, opened by another process; they stay the
	// caller's. None: New opens some. They are Borrowed if that process keeps them, to
	// serve who comes when this one is gone: Stop leaves them to it then.
	Sockets  []int
	Borrowed bool

	Routes  []Route
	Default *Upstream // where requests go that no route is for; nil: they are answered 404

	IdleTimeout   time.Duration // of a client between two requests, within a body, or of a tunnel; 60s
	HeaderTimeout time.Duration // for a request's head; 30s
	MinBodyRate   int           // bytes of a request's body per second, on average after its first seconds; 0: any

	MaxConnections int // open at a time, exactly; more wait in the kernel's queue; 0: no limit
	MaxPerClient   int // open at a time from one IPv4 address or IPv6 /64; more are answered 429; 0: no limit

	// AcceptProxy are the networks whose clients must begin with a PROXY header; what
	// others send is HTTP. IPv4 networks are in IPv4 form.
	AcceptProxy        []netip.Prefix
	AcceptProxyTimeout time.Duration // for the whole header; 5s

	Forwarded Forwarded      // what becomes of what clients say of others
	Trusted   []netip.Prefix // whose clients are believed, with ForwardedReplace

	MaxHeaderBytes int   // of a request's head, start line included; 16384. Of an answer's as well, or 65536 if that is more
	MaxHeaders     int   // fields of a request's head; 256. Of an answer's as well, or 500 if that is more
	MaxBodyBytes   int64 // of a request; 0: any

	Socket    loop.SocketOptions // of the clients' sockets
	AccessLog *accesslog.Log     // gets a record for each request; nil: none. Its owner closes it, after Stop
	Combined  bool               // the records are in the combined format, not JSON
	Resting   func(err error)    // told, on a loop, that nothing is accepted until descriptors are free again; nil: nobody is
	Logger    *slog.Logger       // nil: slog.Default
}

// An Upstream is a pool and how its servers are connected to.
type Upstream struct {
	Pool            *pool.Pool
	ConnectTimeout  time.Duration      // for one connection to a server; 5s
	ResponseTimeout time.Duration      // from the end of the request to the answer's head; 60s
	CheckWait       time.Duration      // how long a request waits for the first checks of a pool in which no server is ready yet; 5s
	QueueTimeout    time.Duration      // how long a request waits in the queue of a pool in which every ready server is full; 0 for a pool without a queue
	Host            string             // of all requests, in place of their own; ServerHost: the server's address; "": their own
	SendProxy       proxyproto.Version // of the header that tells servers who the client is, whose own their connections are then; 0: none
	Socket          loop.SocketOptions // of the sockets to servers; the Source is the server's

	KeepNone bool          // no connection is used for a second request
	KeepFor  time.Duration // how long an idle connection is kept; 30s
	MaxAge   time.Duration // of a connection when it is used again; 1h
	MaxIdle  int           // connections kept for each server and loop; 256
}

// ServerHost as the Host of an Upstream is the address of the server that gets
// the request.
const ServerHost = "server"

// complete checks the options and fills in what was left out.
func (o *Options) complete() error {
	if o.Address == nil || o.Default == nil && len(o.Routes) == 0 || len(o.Loops) == 0 {
		return fmt.Errorf("http listener %q needs an address, somewhere for requests to go, and loops", o.Name)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Logger = o.Logger.With("listener", o.Name)
	d := defaults{listener: o.Name}
	fill(&d, "idle_timeout", &o.IdleTimeout, 60*time.Second)
	fill(&d, "header_timeout", &o.HeaderTimeout, 30*time.Second)
	fill(&d, "max_connections", &o.MaxConnections, 0)
	fill(&d, "max_connections_per_client", &o.MaxPerClient, 0)
	fill(&d, "accept_proxy timeout", &o.AcceptProxyTimeout, 5*time.Second)
	fill(&d, "min_body_rate", &o.MinBodyRate, 0)
	fill(&d, "max_header_bytes", &o.MaxHeaderBytes, 16<<10)
	fill(&d, "max_headers", &o.MaxHeaders, 256)
	fill(&d, "max_body_bytes", &o.MaxBodyBytes, 0)
	o.Default.complete(&d)
	for _, r := range o.Routes {
		r.Upstream.complete(&d)
	}
	return d.err
}

func (u *Upstream) complete(d *defaults) {
	if u == nil {
		return
	}
	fill(d, "connect_timeout", &u.ConnectTimeout, 5*time.Second)
	fill(d, "response_timeout", &u.ResponseTimeout, 60*time.Second)
	fill(d, "check wait", &u.CheckWait, 5*time.Second)
	fill(d, "queue timeout", &u.QueueTimeout, 0)
	fill(d, "keeping time", &u.KeepFor, 30*time.Second)
	fill(d, "max_age", &u.MaxAge, time.Hour)
	fill(d, "max_idle", &u.MaxIdle, 256)
}

// upstreamOf returns an upstream that is that pool's, nil if there is none.
func (o *Options) upstreamOf(p *pool.Pool) *Upstream {
	return o.upstreamWhose(func(of *pool.Pool) bool { return of == p })
}

// upstreamNamed returns an upstream whose pool has that name, nil if there is none.
func (o *Options) upstreamNamed(name string) *Upstream {
	return o.upstreamWhose(func(of *pool.Pool) bool { return of.Name() == name })
}

func (o *Options) upstreamWhose(is func(*pool.Pool) bool) *Upstream {
	if o.Default != nil && is(o.Default.Pool) {
		return o.Default
	}
	for _, r := range o.Routes {
		if r.Upstream != nil && is(r.Pool) {
			return r.Upstream
		}
	}
	return nil
}

func (o *Options) listen() (sockets []int, bound net.Addr, err error) {
	if len(o.Sockets) > 0 {
		return loop.Inherit(o.Sockets, len(o.Loops))
	}
	return loop.Bind(o.Address, len(o.Loops), o.Socket)
}

// sendsProxy reports whether some servers are told by a PROXY header who the client
// is.
func (o *Options) sendsProxy() bool {
	return o.Default != nil && o.Default.SendProxy != 0 ||
		slices.ContainsFunc(o.Routes, func(r Route) bool { return r.Upstream != nil && r.SendProxy != 0 })
}

// defaults keeps the first error of what is filled in.
type defaults struct {
	listener string
	err      error
}

// fill puts the standard in the place of a zero.
func fill[N ~int | ~int64](d *defaults, name string, value *N, standard N) {
	if *value < 0 && d.err == nil {
		d.err = fmt.Errorf("http listener %q: %s is %v; it must not be negative", d.listener, name, *value)
	}
	if *value == 0 {
		*value = standard
	}
}
