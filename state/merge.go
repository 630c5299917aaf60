package state

import (
	"fmt"
	"strings"
)

// A Pool is a pool with its servers: as the config says, or as it is to run.
type Pool struct {
	Name    string
	Servers []Server
}

// A Server is a server of a Pool.
type Server struct {
	Address string
	Settings
	Source string // Configured or Uploaded; means nothing in what is given to Merge
}

// Merged is a config with a State applied over it.
type Merged struct {
	Pools []Pool // in the order of the config, in each its servers, then the uploaded ones by address
	State *State // what is still to be recorded: without what was Forgotten

	Differences []Difference // between the config and Pools
	Forgotten   []Difference // what was recorded and no longer means anything, with the reason
	Kept        []Difference // what is recorded of pools that the config does not have
}

// A Difference is what was recorded of a server, in words.
type Difference struct {
	Pool, Server string
	Text         string // such as "weight 5 instead of 1, draining"
}

// String returns it as a line.
func (d Difference) String() string {
	return fmt.Sprintf("pool %s, server %s: %s", d.Pool, d.Server, d.Text)
}

// Merge applies what was recorded over the pools of a config, each named once, with
// settings that are complete and without Draining. It changes neither. How many
// servers a pool may have is left to the caller.
func (s *State) Merge(pools []Pool) Merged {
	m := Merged{State: &State{}}
	recorded := make(map[string][]key)
	keys := s.keys()
	for _, k := range keys {
		recorded[k.pool] = append(recorded[k.pool], k)
	}
	for _, p := range pools {
		m.Pools = append(m.Pools, s.merge(&m, p, recorded[p.Name]))
		delete(recorded, p.Name)
	}
	for _, k := range keys {
		if _, left := recorded[k.pool]; left {
			r := s.records[k]
			m.State.put(k, r, true)
			m.Kept = append(m.Kept, k.difference("kept for when the config has the pool again: "+r.words(nil)))
		}
	}
	return m
}

// merge returns a pool as it is to run; keys are those of its records.
func (s *State) merge(m *Merged, p Pool, keys []key) Pool {
	running := Pool{Name: p.Name}
	named := make(map[string]bool, len(p.Servers))
	for _, c := range p.Servers {
		named[c.Address] = true
		k := key{p.Name, c.Address}
		r, known := s.records[k]
		if !known {
			running.Servers = append(running.Servers, Server{c.Address, c.Settings, Configured})
			continue
		}
		want := r.apply(c.Settings)
		if want != nil {
			running.Servers = append(running.Servers, Server{c.Address, *want, Configured})
		}
		left, differs := difference(&c.Settings, want)
		m.State.put(k, left, differs)
		if differs {
			m.Differences = append(m.Differences, k.difference(left.words(&c.Settings)))
		} else {
			m.Forgotten = append(m.Forgotten, k.difference("the config says the same now: "+r.words(nil)))
		}
	}
	for _, k := range keys {
		switch r := s.records[k]; {
		case named[k.server]:
		case r.uploaded:
			running.Servers = append(running.Servers, Server{k.server, *r.apply(Settings{}), Uploaded})
			m.State.put(k, r, true)
			m.Differences = append(m.Differences, k.difference(r.words(nil)))
		default:
			m.Forgotten = append(m.Forgotten, k.difference("the config no longer names it: "+r.words(nil)))
		}
	}
	return running
}

func (k key) difference(text string) Difference { return Difference{k.pool, k.server, text} }

// words says what a record differs in from what the config says, nil if that says
// nothing.
func (r record) words(config *Settings) string {
	var words []string
	known := config != nil
	if !known {
		config = &Settings{}
	}
	number := func(name string, n, instead int) {
		switch {
		case n == unset:
		case known:
			words = append(words, fmt.Sprintf("%s %d instead of %d", name, n, instead))
		default:
			words = append(words, fmt.Sprintf("%s %d", name, n))
		}
	}
	if r.uploaded {
		words = append(words, "uploaded")
	}
	if r.deleted {
		words = append(words, "deleted")
	}
	number("weight", r.weight, config.Weight)
	number("max_connections", r.maxConnections, config.MaxConnections)
	if r.draining {
		words = append(words, "draining")
	}
	if len(words) == 0 {
		return "no difference"
	}
	return strings.Join(words, ", ")
}
