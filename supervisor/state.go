package supervisor

import (
	"errors"
	"fmt"
	"net/http"

	"fulcrum/admin"
	"fulcrum/config"
	"fulcrum/pool"
	"fulcrum/state"
)

// Differences tells in lines what the state file of a config records over it: what
// differs, and what is kept or would be forgotten. A config without one has none.
func Differences(c *config.Config) (lines []string, err error) {
	m, err := merge(c)
	if err != nil {
		return nil, err
	}
	for _, all := range [][]state.Difference{m.Differences, m.Kept, m.Forgotten} {
		for _, d := range all {
			lines = append(lines, d.String())
		}
	}
	return lines, nil
}

// merge applies what the state file says now over a config.
func merge(c *config.Config) (state.Merged, error) {
	recorded := &state.State{}
	if c.State != "" {
		f, err := state.Open(c.State, config.ParseServer)
		if err != nil {
			return state.Merged{}, fmt.Errorf("state: %w", err)
		}
		recorded = f.State()
	}
	return recorded.Merge(configured(c)), nil
}

// configured returns what a config says of its pools' servers.
func configured(c *config.Config) []state.Pool {
	pools := make([]state.Pool, len(c.Pools))
	for i, p := range c.Pools {
		pools[i].Name = p.Name
		for _, s := range p.Servers {
			pools[i].Servers = append(pools[i].Servers, state.Server{Address: s.Address, Settings: settings(s.Weight, s.MaxConnections)})
		}
	}
	return pools
}

func settings(weight, maxConnections int) state.Settings {
	return state.Settings{Weight: weight, MaxConnections: maxConnections}
}

// openState opens the state file, nil if there is none, and with lock makes it this
// process's.
func (s *Supervisor) openState(path string, lock bool) (f *state.File, err error) {
	if path == "" {
		return nil, nil
	}
	if f, err = state.Open(path, config.ParseServer); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if lock {
		err = s.lockState(f)
	}
	return f, err
}

// lockState makes the state file this process's. Where nothing can be written it still
// is read; uploads are refused then.
func (s *Supervisor) lockState(f *state.File) error {
	err := f.Lock()
	if errors.Is(err, state.ErrUnwritable) {
		s.log.Warn("uploads and deletions will be refused until the state file can be written", "error", err)
		s.stateTrouble(err)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// checkState refuses what a reload cannot change.
func checkState(was, next *config.Config) error {
	if was.State != next.State {
		return fmt.Errorf("state: %q cannot become %q while the balancer runs; restart it", was.State, next.State)
	}
	return nil
}

// remember returns the pools of a config with what was recorded applied over them,
// and forgets what no longer means anything. It is called with changes held.
func (s *Supervisor) remember(c *config.Config) []state.Pool {
	if s.state == nil {
		return new(state.State).Merge(configured(c)).Pools
	}
	if err := s.state.Reload(); err != nil {
		s.stateErrors.Add(1)
		s.log.Error("the state file goes unread, what it said before is used", "error", err)
		s.stateTrouble(err)
	}
	m := s.state.State().Merge(configured(c))
	for _, d := range m.Kept {
		s.log.Info("state kept", "pool", d.Pool, "server", d.Server, "what", d.Text)
	}
	if len(m.Forgotten) == 0 {
		return m.Pools
	}
	for _, d := range m.Forgotten {
		s.log.Info("state forgotten", "pool", d.Pool, "server", d.Server, "what", d.Text)
	}
	if err := s.state.Change(func(to *state.State) error { *to = *m.State; return nil }); err != nil {
		s.stateErrors.Add(1)
		s.log.Error("what was forgotten is still in the state file", "error", err)
		s.stateTrouble(err)
	}
	return m.Pools
}

// record has changes of servers of a pool outlast the process. It is called with
// changes held, before they are made; after an error nothing is to change.
func (s *Supervisor) record(p *poolInUse, steps []step) error {
	if s.state == nil {
		return nil
	}
	says := make(map[string]*state.Settings, len(p.config.Servers))
	for _, c := range p.config.Servers {
		of := settings(c.Weight, c.MaxConnections)
		says[c.Address] = &of
	}
	err := s.state.Change(func(to *state.State) error {
		for _, step := range steps {
			to.Set(p.Name(), step.address, says[step.address], step.want)
		}
		return nil
	})
	if err != nil {
		s.stateTrouble(err)
	}
	switch {
	case errors.Is(err, state.ErrEdited):
		return admin.Conflict("%v", err)
	case err != nil:
		s.stateErrors.Add(1)
		s.log.Error("a change was refused, for it cannot be recorded", "error", err)
		return &admin.Refusal{Status: http.StatusInternalServerError, Reason: err.Error()}
	}
	return nil
}

// specOf returns what the pool is told of a server of the config or an uploaded one.
func (p *poolInUse) specOf(s state.Server) pool.ServerSpec {
	return pool.ServerSpec{
		Address:        s.Address,
		Resolved:       p.leads[s.Address],
		Weight:         s.Weight,
		MaxConnections: s.MaxConnections,
		Draining:       s.Draining,
		Sources:        sourcesOf(p.config, p.configured(s.Address)),
	}
}
