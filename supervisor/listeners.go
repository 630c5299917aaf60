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
	tcp    *l4.Listener // nil if it is an http listener
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
		l.protocol, err = r.newHTTP(c)
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (r *running) newHTTP(c *config.Listener) (protocol, error) {
	to, err := r.httpUpstream(c.Pool)
	if err != nil {
		return nil, err
	}
	address, err := resolveListen(c.Address)
	if err != nil {
		return nil, err
	}
	proxy, err := httpproxy.New(httpproxy.Options{
		Name:          c.Name,
		Address:       address,
		Loops:         r.loops,
		Default:       to,
		IdleTimeout:   c.IdleTimeout,
		HeaderTimeout: c.HeaderTimeout,
		Logger:        r.log,
	})
	if err != nil {
		return nil, err
	}
	return httpListener{proxy}, nil
}

func (r *running) httpUpstream(name string) (*httpproxy.Upstream, error) {
	p, err := r.pool(name)
	if err != nil {
		return nil, err
	}
	return &httpproxy.Upstream{
		Pool:            p.Pool,
		ConnectTimeout:  p.config.ConnectTimeout,
		ResponseTimeout: p.config.ResponseTimeout,
		CheckWait:       p.checkWait(),
		QueueTimeout:    p.queueTimeout(),
		Socket:          p.socket(),
	}, nil
}

type httpListener struct{ *httpproxy.Proxy }

func (l httpListener) Address() string          { return written(l.Addr()) }
func (l httpListener) Stop(ctx context.Context) { l.Proxy.Stop(ctx) }
func (l httpListener) Abandon()                 { l.Proxy.Stop(context.Background()) }
