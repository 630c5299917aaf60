package supervisor

import (
	"context"

	"fulcrum/config"
	"fulcrum/httpproxy"
	"fulcrum/l4"
	"fulcrum/pool"
)

// listener is a tcp or http listener with its config.
type listener struct {
	config *config.Listener
	tcp    *l4.Listener     // nil if it is an http listener
	http   *httpproxy.Proxy // nil if it is a tcp listener
	protocol
}

// protocol is what the supervisor needs of a listener of either kind.
type protocol interface {
	Address() string
	Start()
	Stop(ctx context.Context)
	Abandon()
	CloseServer(s *pool.Server)
	Forget(s *pool.Server)
}

func (r *running) newListener(c *config.Listener) (made *listener, err error) {
	l := &listener{config: c}
	if c.Protocol == config.ProtocolTCP {
		l.tcp, err = r.newTCP(c)
		l.protocol = tcpListener{l.tcp}
	} else {
		l.http, err = r.newHTTP(c)
		l.protocol = httpListener{l.http}
	}
	if err != nil {
		return nil, err
	}
	return l, nil
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
