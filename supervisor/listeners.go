package supervisor

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"fulcrum/config"
	"fulcrum/httpproxy"
	"fulcrum/l4"
	"fulcrum/pool"
)

// checkSlack is how much longer than the timeout of a check a connection or
// request waits for the first check result.
const checkSlack = 500 * time.Millisecond

// listener is a tcp or http listener with its config.
type listener struct {
	config *config.Listener
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

func (r *running) newListener(c *config.Listener) (*listener, error) {
	p := r.pool(c.Pool)
	if p == nil {
		return nil, fmt.Errorf("pool %q does not exist", c.Pool)
	}
	var made protocol
	var err error
	if c.Protocol == config.ProtocolTCP {
		made, err = r.newTCP(c, p)
	} else {
		made, err = r.newHTTP(c, p)
	}
	if err != nil {
		return nil, err
	}
	return &listener{config: c, protocol: made}, nil
}

func (r *running) newTCP(c *config.Listener, p *poolInUse) (protocol, error) {
	address, err := resolveListen(c.Address)
	if err != nil {
		return nil, err
	}
	l, err := l4.New(l4.Options{
		Name:           c.Name,
		Address:        address,
		Pool:           p.Pool,
		Loops:          r.loops,
		IdleTimeout:    c.IdleTimeout,
		ConnectTimeout: p.config.ConnectTimeout,
		CheckWait:      p.config.Health.Timeout + checkSlack,
		Logger:         r.log,
	})
	if err != nil {
		return nil, err
	}
	return tcpListener{l}, nil
}

func (r *running) newHTTP(c *config.Listener, p *poolInUse) (protocol, error) {
	// Multipath TCP would not let the listener be drained (loop.RefuseHandshakes).
	var binding net.ListenConfig
	binding.SetMultipathTCP(false)
	socket, err := binding.Listen(context.Background(), "tcp", c.Address)
	if err != nil {
		return nil, err
	}
	proxy, err := httpproxy.New(httpproxy.Options{
		Name:            c.Name,
		Listener:        socket,
		Pool:            p.Pool,
		IdleTimeout:     c.IdleTimeout,
		HeaderTimeout:   c.HeaderTimeout,
		ConnectTimeout:  p.config.ConnectTimeout,
		ResponseTimeout: p.config.ResponseTimeout,
		CheckWait:       p.config.Health.Timeout + checkSlack,
		Logger:          r.log,
	})
	if err != nil {
		socket.Close()
		return nil, err
	}
	return httpListener{proxy}, nil
}

type tcpListener struct{ *l4.Listener }

func (l tcpListener) Forget(*pool.Server) {}

func (l tcpListener) Address() string {
	if a, ok := l.Listener.Address().(*net.UnixAddr); ok {
		return unixPrefix + a.Name
	}
	return l.Listener.Address().String()
}

type httpListener struct{ *httpproxy.Proxy }

func (l httpListener) Address() string          { return l.Addr().String() }
func (l httpListener) Stop(ctx context.Context) { l.Proxy.Stop(ctx) }
func (l httpListener) Abandon()                 { l.Proxy.Stop(context.Background()) }

// unixPrefix is what the address of a unix socket begins with in a config.
const unixPrefix = "unix:"

// resolveListen turns a listener's address into one to bind: "" as the host
// means every address of the machine.
func resolveListen(address string) (net.Addr, error) {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		return &net.UnixAddr{Name: path, Net: "unix"}, nil
	}
	to, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err // not to, which would be a nil in a net.Addr that is none
	}
	return to, nil
}
