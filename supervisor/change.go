package supervisor

import (
	"context"
	"fmt"
	"net"
	"strings"

	"fulcrum/admin"
	"fulcrum/config"
	"fulcrum/pool"
	"fulcrum/state"
)

// Change makes a change of one server, or of all servers of a pool, once it is
// recorded in the state file; with c.DryRun it only says what would change. A server
// that is being deleted comes back by an upload, with its counts, as if new; nothing
// else can be done with it but to delete it by force.
func (s *Supervisor) Change(ctx context.Context, c admin.ServerChange) (admin.Changed, error) {
	for {
		p, err := s.findPool(c.Pool)
		if err != nil {
			return admin.Changed{}, err
		}
		address, lead := "", net.Addr(nil)
		if c.Server != "" || !ofPool(c.Action) {
			if address, err = parseServer(c.Server); err != nil {
				return admin.Changed{}, err
			}
		}
		if c.Action == admin.Upload {
			if lead, err = p.lead(ctx, address); err != nil {
				return admin.Changed{}, err
			}
		}
		if done, current, err := s.change(p, address, lead, c); current {
			return done, err
		}
	}
}

// ofPool reports whether all servers of a pool can be changed so at once.
func ofPool(a admin.Action) bool { return a == admin.Drain || a == admin.Undrain }

// change is Change in a pool, unless a reload has put another in its place by now.
// Where the address leads is nil if that is to stay as it is.
func (s *Supervisor) change(p *poolInUse, address string, lead net.Addr, c admin.ServerChange) (done admin.Changed, current bool, err error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	switch {
	case s.current.Load().find(p.Name()) != p:
		return done, false, nil
	case s.upgrade.under:
		return done, true, errUpgrading
	case s.stopping.Load():
		return done, true, errStopping
	}
	steps, err := p.plan(address, c)
	if err != nil {
		return done, true, err
	}
	if err := c.If.Holds(p.etag(address)); err != nil {
		return done, true, err
	}
	done = admin.Changed{Pool: p.Name(), Server: address, Changes: p.words(steps, c.Force)}
	done.Created = c.Action == admin.Upload && (steps[0].was == nil || steps[0].leaving)
	if !c.DryRun {
		if err := s.record(p, steps); err != nil {
			return admin.Changed{}, true, err
		}
		for _, step := range steps {
			s.tellStep(p, step, c.Force)
		}
		if address == "" {
			p.takeAll(steps)
		} else {
			s.take(p, steps[0], lead, c.Force)
		}
		p.reconcile()
	}
	if c.DryRun || c.Action != admin.Delete {
		done.ETag = p.etag(address)
	}
	return done, true, nil
}

// A step is what becomes of one server.
type step struct {
	address   string
	was, want *state.Settings // nil: it is not in the pool
	leaving   bool            // it is being deleted
}

// plan returns what a change comes to, a step for each server. An address of "" is
// that of all but those that are being deleted.
func (p *poolInUse) plan(address string, c admin.ServerChange) (steps []step, err error) {
	if address == "" {
		for _, s := range p.Status() {
			if !s.Leaving {
				steps = append(steps, stepOf(s, c))
			}
		}
		return steps, nil
	}
	server := p.Find(address)
	switch {
	case server != nil:
	case c.Action != admin.Upload:
		return nil, p.unknown(address)
	case len(p.Servers()) >= config.MaxServers:
		return nil, admin.Conflict("pool %q has %d servers already, the most that are allowed", p.Name(), config.MaxServers)
	default:
		return []step{{address: address, want: wanted(state.Settings{}, c)}}, nil
	}
	one := stepOf(server.Status(), c)
	if one.leaving && c.Action != admin.Upload && c.Action != admin.Delete {
		return nil, admin.Conflict("server %q of pool %q is being deleted; upload it to keep it", address, p.Name())
	}
	return []step{one}, nil
}

func stepOf(s pool.Status, c admin.ServerChange) step {
	was := state.Settings{Weight: s.Weight, MaxConnections: s.MaxConnections, Draining: s.Draining}
	return step{address: s.Address, was: &was, want: wanted(was, c), leaving: s.Leaving}
}

// wanted returns what a change makes of a server.
func wanted(was state.Settings, c admin.ServerChange) *state.Settings {
	want := was
	switch c.Action {
	case admin.Upload:
		want = settings(config.DefaultWeight, 0)
	case admin.Drain:
		want.Draining = true
	case admin.Undrain:
		want.Draining = false
	case admin.Delete:
		return nil
	}
	if c.Weight != nil {
		want.Weight = *c.Weight
	}
	if c.MaxConnections != nil {
		want.MaxConnections = *c.MaxConnections
	}
	return &want
}

// words says what steps change, as a reload does.
func (p *poolInUse) words(steps []step, force bool) []string {
	all := []string{}
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, step := range steps {
		of := fmt.Sprintf("pool %q: server %q", p.Name(), step.address)
		switch {
		case step.want == nil && step.leaving && !force:
		case step.want == nil:
			say("%s removed", of)
		case step.was == nil || step.leaving:
			say("%s added", of)
		default:
			compareMembers(say, of, *step.was, *step.want)
		}
	}
	return all
}

// take makes a step. It is called with changes held.
func (s *Supervisor) take(p *poolInUse, next step, lead net.Addr, force bool) {
	switch {
	case next.want == nil:
		leaving := s.beginRemoval(p, p.Find(next.address))
		if force && !leaving.forced {
			leaving.forced = true
			close(leaving.force)
		}
	case next.leaving || next.was == nil || *next.was != *next.want || lead != nil:
		s.comesBack(p, next.address)
		spec := p.specOf(state.Server{Address: next.address, Settings: *next.want})
		spec.Resolved = lead
		p.Upload(spec)
	}
}

// takeAll makes steps of servers that stay, at the same moment.
func (p *poolInUse) takeAll(steps []step) {
	var specs []pool.ServerSpec
	for _, next := range steps {
		if *next.was != *next.want {
			spec := p.specOf(state.Server{Address: next.address, Settings: *next.want})
			spec.Resolved = nil // as before
			specs = append(specs, spec)
		}
	}
	p.UploadAll(specs)
}

// etag returns the entity tag of a server, "" if there is none, or with an address of
// "" that of the pool.
func (p *poolInUse) etag(address string) string {
	if address == "" {
		return p.describe().ETag()
	}
	server := p.Find(address)
	if server == nil {
		return ""
	}
	described := describe(server.Status(), p.configures(address))
	return described.ETag()
}

// findPool returns the pool that is meant.
func (s *Supervisor) findPool(name string) (*poolInUse, error) {
	pools := s.current.Load().pools
	if name == "" && len(pools) == 1 {
		return pools[0], nil
	}
	var names []string
	for _, p := range pools {
		if p.Name() == name {
			return p, nil
		}
		names = append(names, p.Name())
	}
	switch {
	case len(names) == 0:
		return nil, admin.NotFound("there is no pool")
	case name == "":
		return nil, admin.Invalid("pool is missing; use one of: %s", strings.Join(names, ", "))
	}
	return nil, admin.NotFound("pool %q does not exist; use one of: %s", name, strings.Join(names, ", "))
}

// parseServer returns a server's address in its one form.
func parseServer(written string) (address string, err error) {
	if address, err = config.ParseServer(written); err != nil {
		return "", admin.Invalid("server: %v", err)
	}
	return address, nil
}

// unknown refuses what names a server that the pool does not have.
func (p *poolInUse) unknown(address string) error {
	return admin.NotFound("pool %q has no server %q; %s", p.Name(), address, existing(p))
}
