// Package state remembers what the operator changed while the balancer ran, in a
// file, so that a restart, a crash or a kill loses nothing that was answered.
//
//	{
//	  "version": 1,
//	  "servers": [
//	    {"pool": "web", "server": "10.0.0.1:80", "source": "config", "weight": 5},
//	    {"pool": "web", "server": "10.0.0.2:80", "source": "config", "deleted": true},
//	    {"pool": "web", "server": "10.0.0.3:80", "source": "config", "draining": true},
//	    {"pool": "web", "server": "10.0.0.4:80", "source": "uploaded", "weight": 2, "max_connections": 100}
//	  ]
//	}
//
// The file has a line for each server that is not as the config says, and in it
// only what differs: a weight that was changed stays over the config's, a
// max_connections that was not follows it. An operator may edit the file while no
// balancer runs, or reload afterwards: members in any order, blanks as you like, an
// uploaded server without weight and max_connections has 1 and no limit. Nothing
// that is not understood is passed over.
//
// Open reads the file, Lock makes it this process's to write, Change records.
// Set says what is to be recorded of a server, and Merge puts the config and the
// records together into the servers to run with:
//
//   - An uploaded server stays whatever the config says, until it is deleted. Once
//     the config names it, it is the config's; what differs stays as a change.
//   - What was changed of a server that the config names, its deletion and its
//     draining included, is forgotten when the config no longer names it: it is
//     gone, and new if it comes back.
//   - A change that the config has come to agree with is forgotten.
//   - The records of a pool that the config does not have are kept for when it is
//     back, so that a mistake in the config costs no upload.
//
// Change returns when the file is on disk: a new file, synced, takes the old one's
// place, and the directory is synced. Where that fails, file and State stay as they
// were. An absent file is an empty State and is first written when there is
// something to record, so a balancer of which nothing is changed needs no directory
// to write to.
//
// A lock on another file beside it, which stays there, keeps two balancers from
// writing the same one. In an upgrade the new process opens the file and prepares
// from what it says, the old one calls Unlock, and the new one Lock, which reads
// the file again in case the old one has changed it since. An old one that has to
// go on calls Lock again. Who edits the file by hand is not locked out: Change then
// refuses to write over it until Reload has read it.
package state

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Where a server comes from.
const (
	Configured = "config"   // the config names it
	Uploaded   = "uploaded" // it was uploaded, and the config does not name it
)

// unset is the weight and max_connections of a record that leaves it to the config.
const unset = -1

// A State is what was recorded. The zero State is empty. It is not safe for use by
// several goroutines.
type State struct {
	records map[key]record
}

// Settings are what an operator can say of a server.
type Settings struct {
	Weight         int // 1 to 256
	MaxConnections int // up to 1000000; 0 means no limit
	Draining       bool
}

type key struct{ pool, server string }

func (a key) compare(b key) int {
	return cmp.Or(strings.Compare(a.pool, b.pool), strings.Compare(a.server, b.server))
}

// A record is in what a server differs from the config.
type record struct {
	uploaded       bool
	deleted        bool // alone; never of one that is uploaded
	draining       bool
	weight         int // unset, but never of one that is uploaded
	maxConnections int // as weight
}

// Set records that a server of a pool is to be as want says; nil means that it is
// not to be in the pool. config is what the config says of it, nil if it does not
// name it, and its Draining is false. Pool and server are as the config spells
// them, and what want says is checked already. A server that is to be as the config
// says leaves no record.
func (s *State) Set(pool, server string, config, want *Settings) {
	r, differs := difference(config, want)
	s.put(key{pool, server}, r, differs)
}

func (s *State) put(k key, r record, differs bool) {
	if !differs {
		delete(s.records, k)
		return
	}
	if s.records == nil {
		s.records = make(map[key]record)
	}
	s.records[k] = r
}

// difference returns what has to be recorded so that apply makes want of config,
// and whether that is anything.
func difference(config, want *Settings) (r record, differs bool) {
	r = record{weight: unset, maxConnections: unset}
	switch {
	case want == nil:
		r.deleted = config != nil
		return r, r.deleted
	case config == nil:
		return record{uploaded: true, draining: want.Draining, weight: want.Weight, maxConnections: want.MaxConnections}, true
	}
	nothing := r
	r.draining = want.Draining
	if want.Weight != config.Weight {
		r.weight = want.Weight
	}
	if want.MaxConnections != config.MaxConnections {
		r.maxConnections = want.MaxConnections
	}
	return r, r != nothing
}

// apply returns how a server is to run that the config has these settings for; nil
// if it is not to.
func (r record) apply(config Settings) *Settings {
	if r.deleted {
		return nil
	}
	config.Draining = r.draining
	if r.weight != unset {
		config.Weight = r.weight
	}
	if r.maxConnections != unset {
		config.MaxConnections = r.maxConnections
	}
	return &config
}

func (s *State) clone() *State { return &State{maps.Clone(s.records)} }

func (s *State) equal(other *State) bool { return maps.Equal(s.records, other.records) }

// keys returns what there are records of, sorted by pool, then server.
func (s *State) keys() []key {
	return slices.SortedFunc(maps.Keys(s.records), key.compare)
}
