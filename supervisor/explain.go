package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"fulcrum/admin"
	"fulcrum/pool"
)

// Explain says what the algorithm of a pool sees now and whom it would choose. "" as
// the pool is the one that the listener feeds by default.
func (s *Supervisor) Explain(poolName, listener string) (admin.Explanation, error) {
	now := s.current.Load()
	if listener != "" {
		var err error
		if poolName, err = now.poolOf(listener, poolName); err != nil {
			return admin.Explanation{}, err
		}
	}
	p, err := s.findPool(poolName)
	if err != nil {
		return admin.Explanation{}, err
	}
	of := p.Explain()
	e := admin.Explanation{
		Pool:      p.Name(),
		Listeners: now.feeders(p.Name()),
		Algorithm: of.Algorithm,
		Next:      of.Next,
		Why:       why(&of),
		Servers:   make([]admin.ExplainedServer, len(of.Servers)),
		Queue:     admin.ExplainedQueue{Waiting: of.Queued, Length: of.QueueLength},
		Retries:   admin.ExplainedRetries{Attempts: of.Retries.Attempts, Percent: of.Retries.Percent, Left: of.RetriesLeft},
	}
	for i := range of.Servers {
		e.Servers[i] = explained(&of.Servers[i])
	}
	return e, nil
}

func explained(s *pool.Explained) admin.ExplainedServer {
	server := admin.ExplainedServer{
		Address:        s.Address,
		State:          s.Standing.String(),
		Since:          s.Since,
		Reason:         s.Reason,
		Weight:         s.Weight,
		MaxConnections: s.MaxConnections,
		Active:         s.Active,
		Score:          s.Score,
	}
	if s.Resolved != nil {
		server.Resolved = written(s.Resolved)
	}
	switch {
	case s.Full:
		server.Excluded = "it is at its max_connections"
	case s.Standing == pool.Unhealthy:
		server.Excluded = "not healthy: " + s.Reason
	case !s.Ready:
		server.Excluded = s.Standing.String()
	}
	return server
}

// why says in words why a pool would choose as it would.
func why(e *pool.Explanation) string {
	free, least := 0, 0
	var next float64
	for _, s := range e.Servers {
		if s.Address == e.Next {
			next = s.Score
		}
	}
	for _, s := range e.Servers {
		if !s.Ready || s.Full {
			continue
		}
		free++
		if s.Score == next {
			least++
		}
	}
	switch {
	case errors.Is(e.Err, pool.ErrFull) && e.Queued > 0:
		return fmt.Sprintf("%d wait, and whatever place is free or freed is for them", e.Queued)
	case e.Err != nil:
		return e.Err.Error()
	case free == 1:
		return "no other one can be chosen"
	case e.Algorithm == pool.RoundRobin:
		return fmt.Sprintf("of the %d that can be chosen it has its turn", free)
	case least == 1:
		return fmt.Sprintf("of the %d that can be chosen it has the least active by weight", free)
	}
	return fmt.Sprintf("of the %d that have the least active by weight it has its turn", least)
}

// poolOf returns the pool that a listener feeds by default, or the named one if it
// feeds that.
func (r *running) poolOf(listener, pool string) (string, error) {
	var names []string
	for _, l := range r.listeners {
		names = append(names, l.config.Name)
		if l.config.Name != listener {
			continue
		}
		switch {
		case pool == "" && l.config.Pool == "":
			return "", admin.Invalid("listener %q has no pool but those of its routes; say which pool", listener)
		case pool != "" && !feeds(l.config, pool):
			return "", admin.Invalid("listener %q does not feed pool %q", listener, pool)
		}
		return cmp.Or(pool, l.config.Pool), nil
	}
	return "", admin.NotFound("listener %q does not exist; use one of: %s", listener, strings.Join(names, ", "))
}

// feeders returns the names of the listeners that feed a pool.
func (r *running) feeders(pool string) []string {
	names := []string{}
	for _, l := range r.listeners {
		if feeds(l.config, pool) && !slices.Contains(names, l.config.Name) {
			names = append(names, l.config.Name)
		}
	}
	return names
}
