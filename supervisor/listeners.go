package supervisor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"fulcrum/config"
	"fulcrum/events"
	"fulcrum/httpproxy"
	"fulcrum/l4"
	"fulcrum/pool"
)

// listener is a tcp or http listener with its config.
type listener struct {
	config   *config.Listener
	kept     *listener        // what it goes on from; nil: it is new
	commit   func()           // sets it going, or has it do what is new
	tcp      *l4.Listener     // nil if it is an http listener
	http     *httpproxy.Proxy // nil if it is a tcp listener
	borrowed bool             // the service manager keeps its sockets
	events   *events.Ring
	protocol
}

// protocol is what the supervisor needs of a listener of either kind.
type protocol interface {
	Address() string
	Start()
	Stop(ctx context.Context)
	Abandon()
	Drain(on bool)
	CloseAll()
	remaining(ctx context.Context) (connections, requests int64, oldest time.Duration, err error)
	CloseServer(s *pool.Server)
	Sockets() ([]int, error)
	Leave()
	Forget(s *pool.Server)
}

// prepareListener makes a listener, or has the one that there was at its address go
// on.
func (r *running) prepareListener(c *config.Listener, was *running) (l *listener, err error) {
	l = &listener{config: c, kept: was.listenerAt(c), events: r.events}
	if l.kept != nil && l.kept.config.Protocol != c.Protocol {
		return nil, fmt.Errorf("%s is served by %s listener %q; the protocol of an address cannot change while the balancer runs, restart it",
			c.Address, l.kept.config.Protocol, l.kept.config.Name)
	}
	if c.Protocol == config.ProtocolTCP {
		err = r.prepareTCP(l, was)
	} else {
		err = r.prepareHTTP(l, was)
	}
	if err != nil {
		return nil, err
	}
	if l.kept == nil {
		l.commit = l.Start
	} else {
		l.borrowed = l.kept.borrowed
	}
	return l, nil
}

// listenerAt returns the listener at the address that a config names.
func (r *running) listenerAt(c *config.Listener) *listener {
	for _, l := range r.listeners {
		if sameListener(l.config.Name, l.config.Address, c.Name, c.Address) {
			return l
		}
	}
	return nil
}

// sameListener reports whether two are the same, by their names and addresses in
// configs: those at one address are. Where the system picks the port, those of one name.
func sameListener(name, address, otherName, otherAddress string) bool {
	picked := strings.HasSuffix(address, ":0")
	return address == otherAddress && (!picked || name == otherName)
}

// upstreams returns what makes an upstream of a pool by its name, once for each
// pool, so that routes to the same one share it. That of "" is nil.
func upstreams[U any](pool func(name string) (*poolInUse, error), build func(*poolInUse) *U) func(string) (*U, error) {
	known := make(map[string]*U)
	return func(name string) (*U, error) {
		if known[name] != nil || name == "" {
			return known[name], nil
		}
		p, err := pool(name)
		if err != nil {
			return nil, err
		}
		known[name] = build(p)
		return known[name], nil
	}
}

// feeds reports whether a listener sends connections or requests to a pool.
func feeds(c *config.Listener, pool string) bool {
	if c.Pool == pool {
		return true
	}
	for _, route := range c.Routes {
		if route.Pool == pool {
			return true
		}
	}
	return false
}

// identity returns what stays of a listener through reloads.
func (l *listener) identity() any {
	if l.tcp != nil {
		return l.tcp
	}
	return l.http
}
