// Package metrics shows Prometheus what the balancer counts.
//
//	handler := metrics.NewHandler(metrics.Options{Source: …})
//
// The handler answers every GET with all there is, in the text format, OpenMetrics or
// protobuf as the client asks, compressed if it takes that; ?name[]=… chooses
// metrics. Nothing is kept between two scrapes: at each one the Source is asked, which
// sums up what event loops and pools count anyway. So a metric costs nothing until it
// is asked for, and a counter goes down only if what it is about was gone in between.
//
// Labels have values from the config, of uploaded servers, and from lists in the code;
// nothing that a client sends comes to be one. docs/metrics.md in the repository
// explains each metric, and is held against what is shown by a test.
//
// Of what a listener did with a server only what has happened is shown: a pair of
// them that has met, and endings that have come. There may be ten thousand servers in
// a pool.
package metrics

import (
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"fulcrum/stats"
)

// atOnce is how many scrapes there may be at the same time; more are answered 503.
const atOnce = 3

// Options say where metrics come from.
type Options struct {
	Source  Source
	Causes  []string // the names of TCP.Ended
	Endings []string // the names of HTTP.Ended
	Logger  *slog.Logger
}

// A Source is asked at each scrape, by several goroutines at once. What it yields is
// looked at until the next is asked for, and not kept.
type Source struct {
	Balancer  func() Balancer
	Listeners iter.Seq[*Listener]
	Pools     iter.Seq[*Pool]
}

// A Balancer is what there is one of.
type Balancer struct {
	Ready       bool
	Reloads     Reloads
	StateErrors int64
	Loops       []Loop
	AccessLogs  []AccessLog
}

// Reloads are those since the start, without those that were only tried.
type Reloads struct {
	Applied, Refused int64
	LastRefused      bool
	LastApplied      time.Time // the start counts
}

// A Loop is an event loop.
type Loop struct {
	Turns, AcceptPauses int64
	CPU, Queued         time.Duration
}

// An AccessLog is one file, or stdout or stderr.
type AccessLog struct {
	Path    string
	Dropped int64 // records
}

// A Listener is a tcp listener or an http listener.
type Listener struct {
	Name, Protocol, Address, IO string

	TCP    *TCP    // nil: it is an http listener
	HTTP   *HTTP   // nil: it is a tcp listener
	Routes []Route // of an http listener
}

// A Route is one of an http listener's.
type Route struct {
	Name string
	HTTP HTTP
}

// A Pool is a pool with its servers.
type Pool struct {
	Name, Algorithm string
	Queued          int
	Retries         int64
	Servers         iter.Seq[*Server]
}

// A Server is one of a pool's.
type Server struct {
	Address                  string
	Ready, Healthy, Draining bool
	Weight, MaxConnections   int
	Active                   int64
	Chosen, Failures         int64
	Check                    *Check // nil: it has not been checked, or is not to be
	Seen                     []Seen
}

// A Check is what checks have found of a server.
type Check struct {
	Ended, Failed, Changes int64
	LastTook               time.Duration
	LastEnded              time.Time
}

// Seen is what a listener has seen of a server.
type Seen struct {
	Listener string
	TCP      *TCP  // nil: it is an http listener
	HTTP     *HTTP // nil: it is a tcp listener
}

// TCP is what has gone through a tcp listener, or from one to a server.
type TCP struct {
	Connections, Active          int64
	Ended                        []int64 // in the order of Options.Causes
	ToUpstream, ToClient         int64   // bytes
	Connect, FirstByte, Duration *stats.Summary
	Added                        *stats.Summary // nil: not known, as of a server
}

// HTTP is what has gone through an http listener, by a route, or from a listener to a
// server.
type HTTP struct {
	Connections, Open            int64 // of clients; of a listener only
	Requests, Active             int64
	Ended                        []int64 // in the order of Options.Endings
	Answers                      []int64 // by the first digit of the status
	Received, Sent               int64   // bytes
	Retries, Connects, Reuses    int64
	Connect, FirstByte, Duration *stats.Summary
	Added                        *stats.Summary // nil: not known, as of a route or server
}

// NewHandler returns what answers scrapes. How long one may take to send is for the
// http.Server to limit.
func NewHandler(o Options) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		&collector{o},
		collectors.NewBuildInfoCollector(),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		Registry:            registry,
		ErrorLog:            complaints{o.Logger},
		ErrorHandling:       promhttp.ContinueOnError, // of one that is wrong the others need not be
		MaxRequestsInFlight: atOnce,
		EnableOpenMetrics:   true,
	})
}

// complaints logs what goes wrong in a scrape.
type complaints struct{ log *slog.Logger }

func (c complaints) Println(words ...any) {
	c.log.Warn("metrics are not shown whole", "error", fmt.Sprint(words...))
}
