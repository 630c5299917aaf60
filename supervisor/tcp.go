package supervisor

import (
	"context"
	"time"

	"fulcrum/config"
	"fulcrum/l4"
	"fulcrum/loop"
)

type tcpListener struct{ *l4.Listener }

func (l tcpListener) Address() string { return written(l.Listener.Address()) }

// Drain has nothing to tell the clients of a tcp listener.
func (l tcpListener) Drain(bool) {}

func (l tcpListener) remaining(ctx context.Context) (connections, requests int64, oldest time.Duration, err error) {
	connections, oldest, err = l.Remaining(ctx)
	return connections, 0, oldest, err
}

// prepareTCP makes the tcp listener, or prepares the one that is kept.
func (r *running) prepareTCP(l *listener, was *running) error {
	o, err := r.tcpOptions(l.config, was)
	if err != nil {
		return err
	}
	l.borrowed = o.Borrowed
	if l.kept != nil {
		l.tcp = l.kept.tcp
		l.commit = func() { l.tcp.Update(o) }
	} else if l.tcp, err = l4.New(o); err != nil {
		return err
	}
	l.protocol = tcpListener{l.tcp}
	return nil
}

func (r *running) tcpOptions(c *config.Listener, was *running) (o l4.Options, err error) {
	o = l4.Options{
		Name:              c.Name,
		Loops:             r.loops,
		HelloTimeout:      c.HelloTimeout,
		MaxConnections:    c.MaxConnections,
		MaxPerClient:      c.MaxConnectionsPerClient,
		IdleTimeout:       c.IdleTimeout,
		HalfClosedTimeout: c.HalfClosedTimeout,
		Socket:            loop.SocketOptions{Keepalive: c.TCPKeepalive, UserTimeout: c.TCPUserTimeout},
		Logger:            r.log,
		Resting:           r.resting(c.Name),
	}
	if a := c.AcceptProxy; a != nil {
		o.AcceptProxy, o.AcceptProxyTimeout = a.From, a.Timeout
	}
	if err := r.routeTCP(c, &o); err != nil {
		return o, err
	}
	if o.AccessLog, err = r.accessLog(c.AccessLog, was); err != nil {
		return o, err
	}
	if in := r.heritage.find(c.Name, c.Address); in != nil {
		o.Sockets, o.Borrowed = in.Sockets, in.Borrowed
	}
	o.Address, err = resolveListen(c.Address)
	return o, err
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
