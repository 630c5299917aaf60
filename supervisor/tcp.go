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
	if err := r.routeTCP(c, &o); err != nil {
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

// routeTCP says which pools a listener feeds.
func (r *running) routeTCP(c *config.Listener, o *l4.Options) (err error) {
	upstream := upstreams(r.pool, tcpUpstream)
	if o.Default, err = upstream(c.Pool); err != nil {
		return err
	}
	for _, from := range c.Routes {
		route := l4.Route{SNI: from.SNI}
		if route.Upstream, err = upstream(from.Pool); err != nil {
			return err
		}
		o.Routes = append(o.Routes, route)
	}
	return nil
}

func tcpUpstream(p *poolInUse) *l4.Upstream {
	return &l4.Upstream{
		Pool:           p.Pool,
		ConnectTimeout: p.config.ConnectTimeout,
		CheckWait:      p.checkWait(),
		QueueTimeout:   p.queueTimeout(),
		SendProxy:      versionOf(p.config.SendProxy),
		Socket:         p.socket(),
	}
}
