// Package demo serves `fulcrum demo`: three small servers of different speed
// in this process, on loopback, for the balancer to stand in front of, and a
// light load for it to carry.
//
// Start opens three HTTP and three TCP servers, named fast, steady and slow
// (Names), each on a port of its own:
//
//   - An HTTP server answers GET / with its name after its delay, GET /health
//     at once, and both with X-Served-By. POST /quit makes it go away: it stops
//     listening and drops its connections for ?seconds= (10 unless given, 1 to
//     300), then listens on the same port again.
//   - A TCP server greets with its name and echoes each line, with its name in
//     front, after its delay, until the line "bye". A client that ends its
//     sending direction still gets all its answers.
//
// Servers must be closed with Close, which waits for all they started.
// StartLoad drives requests and lines at two addresses, normally those of the
// balancer's listeners, and counts what came of it until Stop.
//
// The servers are for showing and trying out: anyone who can reach them can
// make an HTTP one go away. They listen on 127.0.0.1 only.
package demo

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// HealthPath is where an HTTP server answers 200 at once as long as it is
// there, for a health check.
const HealthPath = "/health"

// servedBy is the header in which an HTTP server gives its name.
const servedBy = "X-Served-By"

// kinds are the servers in the order in which all lists of them are.
var kinds = []kind{
	{"fast", 1 * time.Millisecond},
	{"steady", 10 * time.Millisecond},
	{"slow", 40 * time.Millisecond},
}

// kind is what tells one server from another.
type kind struct {
	name  string
	delay time.Duration // before each answer
}

// Names returns the names of the servers, in the order of HTTPAddresses and
// TCPAddresses.
func Names() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// Options are the settings of Start.
type Options struct {
	// Logger is told when an HTTP server goes away and comes back. Nil: nobody
	// is told.
	Logger *slog.Logger
}

// Servers are the running demo servers.
type Servers struct {
	http []*httpServer
	tcp  []*tcpServer

	stopping chan struct{} // closed by Close
	close    func() error
}

// Start opens all the servers, or none and returns an error. The caller must
// call Close.
func Start(o Options) (*Servers, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	anyPort := make([]string, 2*len(kinds))
	for i := range anyPort {
		anyPort[i] = "127.0.0.1:0"
	}
	listeners, err := listenAll(anyPort)
	if err != nil {
		return nil, err
	}
	s := &Servers{stopping: make(chan struct{})}
	s.close = sync.OnceValue(s.stop)
	for i, k := range kinds {
		s.http = append(s.http, startHTTP(k, listeners[i], s.stopping, o.Logger))
		s.tcp = append(s.tcp, startTCP(k, listeners[len(kinds)+i], tcpDefaults))
	}
	return s, nil
}

// listenAll opens all the addresses or none.
func listenAll(addresses []string) ([]net.Listener, error) {
	var open []net.Listener
	for _, address := range addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			for _, l := range open {
				l.Close()
			}
			return nil, fmt.Errorf("demo server on %q: %w", address, err)
		}
		open = append(open, l)
	}
	return open, nil
}

// HTTPAddresses returns the host:port of each HTTP server.
func (s *Servers) HTTPAddresses() []string {
	var all []string
	for _, h := range s.http {
		all = append(all, h.address)
	}
	return all
}

// TCPAddresses returns the host:port of each TCP server.
func (s *Servers) TCPAddresses() []string {
	var all []string
	for _, t := range s.tcp {
		all = append(all, t.address)
	}
	return all
}

// Close stops all the servers, those that are away included, and waits for
// them. Requests and lines in hand are answered first, for about two seconds
// at most; the error names the HTTP servers that had to drop connections after
// that. Closing again returns the same.
func (s *Servers) Close() error { return s.close() }

func (s *Servers) stop() error {
	close(s.stopping)
	for _, t := range s.tcp {
		t.interrupt()
	}
	for _, t := range s.tcp {
		t.wait()
	}
	var errs []error
	for _, h := range s.http {
		errs = append(errs, h.wait())
	}
	return errors.Join(errs...)
}
