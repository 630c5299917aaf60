package supervisor

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"fulcrum/config"
	"fulcrum/pool"
	"fulcrum/state"
)

// differences says in words what a config changes of another; servers says what it
// does to the servers of a pool that stays, which is not up to the config alone.
func differences(was, next *config.Config, servers func(pool string) []string) (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	compare(say, "listener", was.Listeners, next.Listeners, func(l config.Listener) string { return l.Name })
	pools := func(p config.Pool) string { return p.Name }
	for _, p := range shared(was.Pools, next.Pools, pools) {
		all = append(all, servers(p.next.Name)...)
		compareMembers(say, fmt.Sprintf("pool %q", p.next.Name), p.was, p.next, "Servers")
	}
	compareNames(say, "pool", was.Pools, next.Pools, pools)
	switch {
	case was.Admin == nil && next.Admin != nil:
		say("admin added")
	case was.Admin != nil && next.Admin == nil:
		say("admin removed")
	case was.Admin != nil:
		compareMembers(say, "admin", *was.Admin, *next.Admin)
	}
	compareMembers(say, "config", *was, *next, "Listeners", "Pools", "Admin", "File")
	return all
}

// compare tells those of a kind that were added, removed or changed.
func compare[T any](say func(string, ...any), kind string, was, next []T, name func(T) string) {
	compareNames(say, kind, was, next, name)
	for _, both := range shared(was, next, name) {
		compareMembers(say, fmt.Sprintf("%s %q", kind, name(both.next)), both.was, both.next)
	}
}

// compareMembers tells which members of a struct are others, and of those that have a
// short value also from what to what.
func compareMembers[T any](say func(string, ...any), of string, was, next T, but ...string) {
	before, after := reflect.ValueOf(was), reflect.ValueOf(next)
	var changed []string
	for i := range before.NumField() {
		name, a, b := before.Type().Field(i).Name, before.Field(i), after.Field(i)
		if slices.Contains(but, name) || reflect.DeepEqual(a.Interface(), b.Interface()) {
			continue
		}
		what := config.MemberName(name)
		switch a.Kind() {
		case reflect.String:
			what += fmt.Sprintf(" from %q to %q", a, b)
		case reflect.Bool, reflect.Int, reflect.Int64:
			what += fmt.Sprintf(" from %v to %v", a, b)
		}
		changed = append(changed, what)
	}
	if len(changed) > 0 {
		say("%s changed: %s", of, strings.Join(changed, ", "))
	}
}

// compareNames tells those of a kind that were added or removed.
func compareNames[T any](say func(string, ...any), kind string, was, next []T, name func(T) string) {
	before, after := byName(was, name), byName(next, name)
	for _, one := range was {
		if _, stays := after[name(one)]; !stays {
			say("%s %q removed", kind, name(one))
		}
	}
	for _, one := range next {
		if _, known := before[name(one)]; !known {
			say("%s %q added", kind, name(one))
		}
	}
}

// pair is the same thing in two configs.
type pair[T any] struct{ was, next T }

// shared returns what both have, in the order of the next.
func shared[T any](was, next []T, name func(T) string) (both []pair[T]) {
	before := byName(was, name)
	for _, one := range next {
		if other, known := before[name(one)]; known {
			both = append(both, pair[T]{other, one})
		}
	}
	return both
}

func byName[T any](all []T, name func(T) string) map[string]T {
	m := make(map[string]T, len(all))
	for _, one := range all {
		m[name(one)] = one
	}
	return m
}

// serverChanges says in words what commit does to the servers of a pool that is kept.
// It is called with Supervisor.changes held.
func (p *poolInUse) serverChanges(s *Supervisor, wanted []state.Server) (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	called := func(address string) string { return fmt.Sprintf("pool %q: server %q", p.Name(), address) }
	for _, server := range p.unwanted(s, wanted) {
		if !server.Status().Leaving {
			say("%s removed", called(server.Address()))
		}
	}
	address := func(c config.Server) string { return c.Address }
	before, after := byName(p.kept.config.Servers, address), byName(p.config.Servers, address)
	for _, want := range wanted {
		of, server := called(want.Address), p.Find(want.Address)
		if server == nil || server.Status().Leaving {
			say("%s added", of)
			continue
		}
		said := len(all)
		compareMembers(say, of, effectOf(server.Spec()), effectOf(p.specWanted(s, want)))
		next, names := after[want.Address]
		was, named := before[want.Address]
		switch {
		case names && !named:
			say("%s is named by the config now", of)
		case len(all) == said && (was.Weight != next.Weight || was.MaxConnections != next.MaxConnections):
			say("%s changed in the config, but stays as the operator changed it", of)
		}
	}
	return all
}

// effect is what a spec says of a server, with the names that a config has for it.
type effect struct {
	Weight, MaxConnections int
	Draining               bool
	Source                 string
}

func effectOf(s pool.ServerSpec) effect {
	return effect{s.Weight, s.MaxConnections, s.Draining, strings.Trim(fmt.Sprint(s.Sources), "[]")}
}
