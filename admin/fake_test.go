package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// fake is a Controller of one pool "web" that records what it was asked to do.
type fake struct {
	watched
	mu    sync.Mutex
	calls []any // of Change what was asked, of ReloadIf dryRun
	pool  Pool

	listeners []ListenerInfo

	notReady string
	upload   func(ctx context.Context) error // when set, asked before anything is changed
	changes  []string                        // of a reload
	reload   error
	messages chan string // for who watches
}

func (f *fake) Pools() []Pool {
	web, _ := f.Pool("web")
	return []Pool{web, {Name: "empty", Algorithm: "round_robin"}}
}

func (f *fake) Pool(name string) (Pool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if name != f.pool.Name {
		return Pool{}, NotFound("pool %q does not exist; use one of: web", name)
	}
	p := f.pool
	p.Servers = slices.Clone(p.Servers)
	return p, nil
}

func (f *fake) Server(pool, server string) (Server, error) {
	p, err := f.Pool(pool)
	if err != nil {
		return Server{}, err
	}
	i := slices.IndexFunc(p.Servers, func(s Server) bool { return s.Address == server })
	if i < 0 {
		return Server{}, NotFound("server %q is not in pool %q", server, pool)
	}
	return p.Servers[i], nil
}

func (f *fake) Listeners() []ListenerInfo { return f.listeners }

// Watch sends "first", and then what is to be told, if there is such a thing: to one of
// those who watch.
func (f *fake) Watch(ctx context.Context, send func([]byte) error) error {
	if err := send([]byte("first")); err != nil || f.messages == nil {
		return err
	}
	for {
		select {
		case m := <-f.messages:
			if err := send([]byte(m)); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fake) Config() (json.RawMessage, string) {
	const text = `{"listeners": [], "pools": []}`
	return json.RawMessage(text), ETagOf([]byte(text))
}

func (f *fake) Status() Status {
	ok, reason := f.Ready()
	return Status{Version: "v1", PID: 7, Started: time.Unix(0, 0).UTC(), UptimeSeconds: 1.5, Ready: ok, Reason: reason, Config: "config.json", IO: "epoll"}
}

func (f *fake) Ready() (bool, string) { return f.notReady == "", f.notReady }

func (f *fake) Change(ctx context.Context, c ServerChange) (Changed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, c)
	if f.upload != nil {
		if err := f.upload(ctx); err != nil {
			return Changed{}, err
		}
	}
	if c.Pool != "" && c.Pool != f.pool.Name {
		return Changed{}, NotFound("pool %q does not exist; use one of: web", c.Pool)
	}
	next := f.pool
	next.Servers = slices.Clone(next.Servers)
	done := Changed{Pool: f.pool.Name, Server: c.Server}
	var err error
	if c.Server == "" {
		err = f.changePool(&next, c, &done)
	} else {
		err = f.changeServer(&next, c, &done)
	}
	if err == nil && !c.DryRun {
		f.pool = next
	}
	return done, err
}

func (f *fake) changePool(p *Pool, c ServerChange, done *Changed) error {
	if err := c.If.Holds(p.ETag()); err != nil {
		return err
	}
	for i := range p.Servers {
		s := &p.Servers[i]
		if was := s.Draining; was != (c.Action == Drain) {
			s.Draining = !was
			done.Changes = append(done.Changes, fmt.Sprintf("%s: draining from %t to %t", s.Address, was, !was))
		}
	}
	done.ETag = p.ETag()
	return nil
}

func (f *fake) changeServer(p *Pool, c ServerChange, done *Changed) error {
	i := slices.IndexFunc(p.Servers, func(s Server) bool { return s.Address == c.Server })
	etag := ""
	if i >= 0 {
		etag = p.Servers[i].ETag()
	} else if c.Action != Upload {
		return NotFound("server %q is not in pool %q", c.Server, p.Name)
	}
	if i >= 0 && p.Servers[i].Deleting && c.Action != Upload && c.Action != Delete {
		return Conflict("server %q of pool %q is being deleted; upload it to keep it", c.Server, p.Name)
	}
	if err := c.If.Holds(etag); err != nil {
		return err
	}
	if done.Created = i < 0; done.Created {
		p.Servers, i = append(p.Servers, Server{Address: c.Server, Source: "uploaded"}), len(p.Servers)
	}
	s := &p.Servers[i]
	switch c.Action {
	case Upload:
		s.Weight, s.MaxConnections, s.Draining, s.Deleting = 1, 0, false, false
	case Delete:
		s.Draining, s.Deleting = true, true
	case Drain, Undrain:
		s.Draining = c.Action == Drain
	}
	s.Weight, s.MaxConnections = or(c.Weight, s.Weight), or(c.MaxConnections, s.MaxConnections)
	if c.DryRun || c.Action != Delete {
		done.ETag = s.ETag()
	}
	done.Changes = []string{fmt.Sprintf("%s of %s", c.Action, c.Server)}
	return nil
}

func (f *fake) ReloadIf(_ context.Context, c Condition, dryRun bool) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, etag := f.Config()
	if err := c.Holds(etag); err != nil {
		return nil, err
	}
	f.calls = append(f.calls, dryRun)
	return f.changes, f.reload
}

func (f *fake) asked() []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}
