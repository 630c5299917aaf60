package supervisor

import (
	"fulcrum/config"
	"fulcrum/l4"
	"fulcrum/loop"
)

type tcpListener struct{ *l4.Listener }

func (l tcpListener) Address() string { return written(l.Listener.Address()) }

func (r *running) newTCP(c *config.Listener) (*l4.Listener, error) {
	o := l4.Options{
		Name:              c.Name,
		Loops:             r.loops,
		HelloTimeout:      c.HelloTimeout,
		MaxConnections:    c.MaxConnections,
		MaxPerClient:      c.MaxConnectionsPerClient,
		IdleTimeout:       c.IdleTimeout,
		HalfClosedTimeout: c.HalfClosedTimeout,
		Socket:            loop.SocketOptions{Keepalive: c.TCPKeepalive, UserTimeout: c.TCPUserTimeout},
		Logger:            r.log,
	}
	if a := c.AcceptProxy; a != nil {
		o.AcceptProxy, o.AcceptProxyTimeout = a.From, a.Timeout
	}
	if err := r.route(c, &o); err != nil {
		return nil, err
	}
	var err error
	if o.AccessLog, err = r.accessLog(c.AccessLog); err != nil {
		return nil, err
	}
	if o.Address, err = resolveListen(c.Address); err != nil {
		return nil, err
	}
	return l4.New(o)
}

// route says which pools a listener feeds. Routes to the same pool share what
// there is to say of it.
func (r *running) route(c *config.Listener, o *l4.Options) (err error) {
	known := make(map[string]*l4.Upstream)
	upstream := func(name string) *l4.Upstream {
		if known[name] == nil && err == nil {
			known[name], err = r.upstream(name)
		}
		return known[name]
	}
	if c.Pool != "" {
		o.Default = upstream(c.Pool)
	}
	for _, route := range c.Routes {
		o.Routes = append(o.Routes, l4.Route{SNI: route.SNI, Upstream: upstream(route.Pool)})
	}
	return err
}

func (r *running) upstream(name string) (*l4.Upstream, error) {
	p, err := r.pool(name)
	if err != nil {
		return nil, err
	}
	return &l4.Upstream{
		Pool:           p.Pool,
		ConnectTimeout: p.config.ConnectTimeout,
		CheckWait:      p.checkWait(),
		QueueTimeout:   p.queueTimeout(),
		SendProxy:      versionOf(p.config.SendProxy),
		Socket:         p.socket(),
	}, nil
}

// feeds reports whether a listener sends connections to a pool.
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
