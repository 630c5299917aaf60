package supervisor

import (
	"context"
	"time"

	"fulcrum/config"
	"fulcrum/httpproxy"
	"fulcrum/loop"
)

type httpListener struct{ *httpproxy.Proxy }

func (l httpListener) Address() string          { return written(l.Addr()) }
func (l httpListener) Stop(ctx context.Context) { l.Proxy.Stop(ctx) }
func (l httpListener) Abandon()                 { l.Proxy.Stop(context.Background()) }

func (l httpListener) remaining(ctx context.Context) (connections, requests int64, oldest time.Duration, err error) {
	return l.Remaining(ctx)
}

// prepareHTTP makes the http listener, or prepares the one that is kept.
func (r *running) prepareHTTP(l *listener, was *running) error {
	o, err := r.httpOptions(l.config, was)
	if err != nil {
		return err
	}
	l.borrowed = o.Borrowed
	if l.kept != nil {
		l.http = l.kept.http
		l.commit, err = l.http.Update(o)
	} else {
		l.http, err = httpproxy.New(o)
	}
	l.protocol = httpListener{l.http}
	return err
}

func (r *running) httpOptions(c *config.Listener, was *running) (o httpproxy.Options, err error) {
	o = httpproxy.Options{
		Name:           c.Name,
		Loops:          r.loops,
		IdleTimeout:    c.IdleTimeout,
		HeaderTimeout:  c.HeaderTimeout,
		MinBodyRate:    c.MinBodyRate,
		MaxConnections: c.MaxConnections,
		MaxPerClient:   c.MaxConnectionsPerClient,
		Forwarded:      forwardedOf(c.Forwarded),
		Trusted:        c.Trusted,
		MaxHeaderBytes: c.MaxHeaderBytes,
		MaxHeaders:     c.MaxHeaders,
		MaxBodyBytes:   int64(c.MaxBodyBytes),
		Socket:         loop.SocketOptions{Keepalive: c.TCPKeepalive, UserTimeout: c.TCPUserTimeout},
		Combined:       c.AccessLogFormat == config.AccessLogCombined,
		Logger:         r.log,
		Resting:        r.resting(c.Name),
	}
	if a := c.AcceptProxy; a != nil {
		o.AcceptProxy, o.AcceptProxyTimeout = a.From, a.Timeout
	}
	if err := r.routeHTTP(c, &o); err != nil {
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

// routeHTTP says which pools a listener feeds.
func (r *running) routeHTTP(c *config.Listener, o *httpproxy.Options) (err error) {
	upstream := upstreams(r.pool, httpUpstream)
	if o.Default, err = upstream(c.Pool); err != nil {
		return err
	}
	for i := range c.Routes {
		from := &c.Routes[i]
		route := httpproxy.Route{
			Host:        from.Host,
			Path:        from.Path,
			Redirect:    (*httpproxy.Redirect)(from.Redirect),
			StripPrefix: from.StripPrefix,
			Request:     editsOf(from.RequestHeaders),
			Answer:      editsOf(from.ResponseHeaders),
		}
		if route.Upstream, err = upstream(from.Pool); err != nil {
			return err
		}
		o.Routes = append(o.Routes, route)
	}
	return nil
}

func httpUpstream(p *poolInUse) *httpproxy.Upstream {
	c := p.config
	return &httpproxy.Upstream{
		Pool:            p.Pool,
		ConnectTimeout:  c.ConnectTimeout,
		ResponseTimeout: c.ResponseTimeout,
		CheckWait:       p.checkWait(),
		QueueTimeout:    p.queueTimeout(),
		Host:            c.RewriteHost,
		SendProxy:       versionOf(c.SendProxy),
		Socket:          p.socket(),
		KeepNone:        c.Reuse.Off,
		KeepFor:         c.Reuse.IdleTimeout,
		MaxAge:          c.Reuse.MaxAge,
		MaxIdle:         c.Reuse.MaxIdle,
	}
}

func forwardedOf(policy string) httpproxy.Forwarded {
	switch policy {
	case config.ForwardedAppend:
		return httpproxy.ForwardedAppend
	case config.ForwardedOff:
		return httpproxy.ForwardedOff
	}
	return httpproxy.ForwardedReplace
}

func editsOf(h *config.Headers) *httpproxy.Edits {
	if h == nil {
		return nil
	}
	e := &httpproxy.Edits{Remove: h.Remove}
	for _, f := range h.Set {
		e.Set = append(e.Set, httpproxy.Field(f))
	}
	for _, f := range h.Add {
		e.Add = append(e.Add, httpproxy.Field(f))
	}
	return e
}
