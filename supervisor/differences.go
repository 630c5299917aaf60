package supervisor

import (
	"fmt"
	"reflect"

	"fulcrum/config"
)

// differences says in words what a config changes of another.
func differences(was, next *config.Config) (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	compare(say, "listener", was.Listeners, next.Listeners, func(l config.Listener) string { return l.Name })
	for _, p := range shared(was.Pools, next.Pools, func(p config.Pool) string { return p.Name }) {
		of := fmt.Sprintf("pool %q: server", p.next.Name)
		compare(say, of, p.was.Servers, p.next.Servers, func(s config.Server) string { return s.Address })
		p.was.Servers, p.next.Servers = nil, nil
		if !reflect.DeepEqual(p.was, p.next) {
			say("pool %q changed", p.next.Name)
		}
	}
	compareNames(say, "pool", was.Pools, next.Pools, func(p config.Pool) string { return p.Name })
	if !reflect.DeepEqual(was.Admin, next.Admin) {
		say("admin changed")
	}
	if was.ShutdownTimeout != next.ShutdownTimeout {
		say("shutdown_timeout changed from %s to %s", was.ShutdownTimeout, next.ShutdownTimeout)
	}
	return all
}

// compare tells those of a kind that were added, removed or changed.
func compare[T any](say func(string, ...any), kind string, was, next []T, name func(T) string) {
	compareNames(say, kind, was, next, name)
	for _, both := range shared(was, next, name) {
		if !reflect.DeepEqual(both.was, both.next) {
			say("%s %q changed", kind, name(both.next))
		}
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
