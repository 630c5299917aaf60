package supervisor

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"fulcrum/admin"
	"fulcrum/config"
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

// Upload adds a server to a pool or updates it. One that is being deleted comes
// back with its counts, as if new.
func (s *Supervisor) Upload(ctx context.Context, r admin.UploadRequest) (created bool, poolName string, err error) {
	for {
		p, address, err := s.find(r.Pool, r.Server)
		if err != nil {
			return false, "", err
		}
		spec, err := p.spec(ctx, address, r)
		if err != nil {
			return false, "", err
		}
		created, current, err := s.uploadTo(p, spec)
		if current {
			return created, p.Name(), err
		}
	}
}

// uploadTo is Upload to a pool, unless a reload has put another in its place by now.
func (s *Supervisor) uploadTo(p *poolInUse, spec pool.ServerSpec) (created, current bool, err error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	switch {
	case s.current.Load().find(p.Name()) != p:
		return false, false, nil
	case s.stopping.Load():
		return false, true, errStopping
	case p.Find(spec.Address) == nil && len(p.Servers()) >= config.MaxServers:
		return false, true, admin.Conflict("pool %q has %d servers already, the most that are allowed", p.Name(), config.MaxServers)
	}
	want := settings(spec.Weight, spec.MaxConnections)
	if err := s.record(p, spec.Address, &want); err != nil {
		return false, true, err
	}
	revived := s.comesBack(p, spec.Address)
	_, created = p.Upload(spec)
	p.reconcile()
	return created || revived, true, nil
}

// spec returns what an upload asks for, once it is known that the server can be
// connected to. One whose address is known already stays there: of several that
// its name has, a second look-up might give another.
func (p *poolInUse) spec(ctx context.Context, address string, r admin.UploadRequest) (pool.ServerSpec, error) {
	spec := pool.ServerSpec{
		Address:        address,
		Weight:         r.Weight,
		MaxConnections: r.MaxConnections,
		Sources:        sourcesOf(p.config, p.configured(address)),
	}
	if known := p.Find(address); known != nil {
		spec.Resolved = known.Resolved()
	}
	if spec.Resolved != nil {
		return spec, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	var err error
	if spec.Resolved, err = resolve.Address(ctx, address); err != nil {
		return spec, admin.Invalid("%v", err)
	}
	to, ok := spec.Resolved.(*net.TCPAddr)
	if !ok || len(spec.Sources) == 0 {
		return spec, nil
	}
	source, ip := spec.Sources[0], to.AddrPort().Addr().Unmap()
	if source.Is4() != ip.Is4() {
		return spec, admin.Invalid("server %q leads to %v, which is %s, but connections to it come from %v (source), which is %s",
			address, ip, family(ip), source, family(source))
	}
	return spec, nil
}

func family(ip netip.Addr) string {
	if ip.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// Delete drains a server and removes it from its pool once nothing is in flight
// on it, or the pool's drain_timeout is over, or at once if r.Force is set.
func (s *Supervisor) Delete(_ context.Context, r admin.DeleteRequest) (poolName string, err error) {
	s.changes.Lock() // first: a reload may put another pool in the place of what is found
	defer s.changes.Unlock()
	p, address, err := s.find(r.Pool, r.Server)
	if err != nil {
		return "", err
	}
	if s.stopping.Load() {
		return "", errStopping
	}
	server := p.Find(address)
	if server == nil {
		return "", admin.NotFound("pool %q has no server %q; %s", p.Name(), address, existing(p))
	}
	if err := s.record(p, address, nil); err != nil {
		return "", err
	}
	leaving := s.beginRemoval(p, server)
	if r.Force && !leaving.forced {
		leaving.forced = true
		close(leaving.force)
	}
	return p.Name(), nil
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
	for closing || server.Active() > 0 {
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
	s.removed(ctx, p, server)
}

// removed ends a removal, unless the server was uploaded again at that moment.
func (s *Supervisor) removed(ctx context.Context, p *poolInUse, server *pool.Server) {
	s.changes.Lock()
	defer s.changes.Unlock()
	if ctx.Err() != nil || !p.RemoveDrained(server) {
		return
	}
	delete(s.removals, serverKey{p.Pool, server.Address()})
	now := s.current.Load()
	if next := now.find(p.Name()); next != nil && next.Pool == p.Pool {
		next.reconcile()
	}
	for _, l := range now.listeners {
		l.Forget(server)
	}
	s.log.Info("server is gone", "pool", p.Name(), "server", server.Address())
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

// Ready reports whether the balancer takes traffic.
func (s *Supervisor) Ready() (ok bool, reason string) {
	if s.stopping.Load() {
		return false, "stopping"
	}
	return true, ""
}

// find returns the pool that is meant and the server's address in its one form.
func (s *Supervisor) find(name, server string) (p *poolInUse, address string, err error) {
	var names []string
	pools := s.current.Load().pools
	for _, known := range pools {
		names = append(names, known.Name())
		if known.Name() == name || name == "" && len(pools) == 1 {
			p = known
		}
	}
	switch {
	case len(names) == 0:
		return nil, "", admin.NotFound("there is no pool")
	case p == nil && name == "":
		return nil, "", admin.Invalid("pool is missing; use one of: %s", strings.Join(names, ", "))
	case p == nil:
		return nil, "", admin.NotFound("pool %q does not exist; use one of: %s", name, strings.Join(names, ", "))
	}
	address, err = config.ParseServer(server)
	if err != nil {
		return nil, "", admin.Invalid("server: %v", err)
	}
	return p, address, nil
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
