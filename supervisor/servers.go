package supervisor

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"fulcrum/admin"
	"fulcrum/events"
	"fulcrum/pool"
	"fulcrum/resolve"
)

// drainPoll is the time between two looks at whether a deleted server has finished.
const drainPoll = 20 * time.Millisecond

// serverKey identifies a server across pools.
type serverKey struct {
	pool    *pool.Pool
	address string
}

// removal is the draining of a deleted server, until it leaves its pool or is
// uploaded again.
type removal struct {
	cancel context.CancelFunc
	force  chan struct{} // closed to have its work closed now
	forced bool          // guarded by Supervisor.changes
}

// lead returns where the address of a server that is uploaded leads, once it is known
// that it can be connected to. One whose address is known already stays there: of
// several that its name has, a second look-up might give another.
func (p *poolInUse) lead(ctx context.Context, address string) (net.Addr, error) {
	if known := p.Find(address); known != nil && known.Resolved() != nil {
		return known.Resolved(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	resolved, err := resolve.Address(ctx, address)
	if err != nil {
		return nil, admin.Invalid("%v", err)
	}
	to, ok := resolved.(*net.TCPAddr)
	sources := sourcesOf(p.config, p.configured(address))
	if !ok || len(sources) == 0 {
		return resolved, nil
	}
	source, ip := sources[0], to.AddrPort().Addr().Unmap()
	if source.Is4() != ip.Is4() {
		return nil, admin.Invalid("server %q leads to %v, which is %s, but connections to it come from %v (source), which is %s",
			address, ip, family(ip), source, family(source))
	}
	return resolved, nil
}

func family(ip netip.Addr) string {
	if ip.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// beginRemoval drains a server, unless that has begun, and removes it in the end. It
// is called with changes held.
func (s *Supervisor) beginRemoval(p *poolInUse, server *pool.Server) *removal {
	key := serverKey{p.Pool, server.Address()}
	leaving := s.removals[key]
	if leaving == nil {
		p.Drain(server)
		ctx, cancel := context.WithCancel(context.Background())
		leaving = &removal{cancel: cancel, force: make(chan struct{})}
		s.removals[key] = leaving
		s.removing.Go(func() { s.remove(ctx, p, server, leaving) })
	}
	return leaving
}

// beginRemovals drains all servers of a pool that is going. It is called with changes
// held.
func (s *Supervisor) beginRemovals(p *poolInUse) {
	for _, server := range p.Servers() {
		s.beginRemoval(p, server)
	}
}

// comesBack ends the removal of a server, and reports whether it was under way. It
// is called with changes held, before the server is uploaded.
func (s *Supervisor) comesBack(p *poolInUse, address string) bool {
	key := serverKey{p.Pool, address}
	leaving := s.removals[key]
	if leaving != nil {
		leaving.cancel()
		delete(s.removals, key)
	}
	return leaving != nil
}

// remove waits for a draining server to finish and takes it out of its pool.
func (s *Supervisor) remove(ctx context.Context, p *poolInUse, server *pool.Server, r *removal) {
	deadline := time.NewTimer(p.config.DrainTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	closing, force := false, r.force
	for closing || server.Active() > 0 || !s.removed(ctx, p, server) {
		select {
		case <-ctx.Done():
			return
		case <-force:
			closing, force = true, nil
		case <-deadline.C:
			closing = true
		case <-tick.C:
		}
		if closing && ctx.Err() == nil {
			s.closeServer(server)
			closing = server.Active() > 0
		}
	}
}

// removed ends a removal, and reports false if that has to wait: while another process
// takes over, which may give connections back that it has no server for. One that was
// uploaded again at that moment stays.
func (s *Supervisor) removed(ctx context.Context, p *poolInUse, server *pool.Server) (over bool) {
	s.changes.Lock()
	defer s.changes.Unlock()
	switch {
	case ctx.Err() != nil:
		return true
	case s.upgrade.under:
		return false
	case !p.RemoveDrained(server):
		return true
	}
	delete(s.removals, serverKey{p.Pool, server.Address()})
	now := s.current.Load()
	if next := now.find(p.Name()); next != nil && next.Pool == p.Pool {
		next.reconcile()
	}
	for _, l := range now.listeners {
		l.Forget(server)
	}
	s.events.Add(events.Event{Kind: events.ServerGone, Pool: p.Name(), Server: server.Address()})
	s.log.Info("server is gone", "pool", p.Name(), "server", server.Address())
	return true
}

// cancelRemovals leaves the servers that still drain where they are.
func (s *Supervisor) cancelRemovals() {
	s.changes.Lock()
	for _, r := range s.removals {
		r.cancel()
	}
	s.changes.Unlock()
	s.removing.Wait()
}

// closeServer closes what is in flight on a server.
func (s *Supervisor) closeServer(server *pool.Server) {
	for _, l := range s.current.Load().listeners {
		l.CloseServer(server)
	}
	s.retiring.closeServer(server)
}

// existing names the servers of a pool, for a message.
func existing(p *poolInUse) string {
	const most = 20
	var names []string
	for _, s := range p.Servers() {
		names = append(names, s.Address())
	}
	switch n := len(names); {
	case n == 0:
		return "it has none"
	case n > most:
		return "it has " + strings.Join(names[:most], ", ") + ", …"
	default:
		return "it has " + strings.Join(names, ", ")
	}
}
