package state

import (
	"slices"
	"strings"
	"testing"
)

// web is a config with one pool and these servers, each with weight 1 and no limit.
func web(servers ...string) []Pool {
	p := Pool{Name: "web"}
	for _, s := range servers {
		p.Servers = append(p.Servers, Server{Address: s, Settings: Settings{Weight: 1}})
	}
	return []Pool{p}
}

// A record of each kind.
const (
	changed  = `{"pool": "web", "server": "a:1", "source": "config", "weight": 5}`
	deleted  = `{"pool": "web", "server": "b:1", "source": "config", "deleted": true}`
	drained  = `{"pool": "web", "server": "c:1", "source": "config", "draining": true}`
	uploaded = `{"pool": "web", "server": "d:1", "source": "uploaded", "weight": 2, "max_connections": 9}`
)

func wantDifferences(t *testing.T, what string, got []Difference, want ...string) {
	t.Helper()
	var lines []string
	for _, d := range got {
		lines = append(lines, strings.TrimPrefix(d.String(), "pool web, server "))
	}
	if !slices.Equal(lines, want) {
		t.Fatalf("%s\n%s\nwant\n%s", what, strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func wantServers(t *testing.T, p Pool, want ...Server) {
	t.Helper()
	if !slices.Equal(p.Servers, want) {
		t.Fatalf("servers %v, want %v", p.Servers, want)
	}
}

func TestMergeAppliesEveryKindOfRecord(t *testing.T) {
	m := parsed(t, file(uploaded, drained, deleted, changed)).Merge(web("c:1", "b:1", "a:1", "z:1"))
	wantServers(t, m.Pools[0],
		Server{"c:1", Settings{1, 0, true}, Configured},
		Server{"a:1", Settings{5, 0, false}, Configured},
		Server{"z:1", Settings{1, 0, false}, Configured},
		Server{"d:1", Settings{2, 9, false}, Uploaded})
	wantDifferences(t, "differences", m.Differences,
		"c:1: draining",
		"b:1: deleted",
		"a:1: weight 5 instead of 1",
		"d:1: uploaded, weight 2, max_connections 9")
	wantDifferences(t, "forgotten", m.Forgotten)
	wantDifferences(t, "kept", m.Kept)
}

func TestServersThatTheConfigRemovesAreGone(t *testing.T) {
	m := parsed(t, file(changed, deleted, drained, uploaded)).Merge(web())
	wantServers(t, m.Pools[0], Server{"d:1", Settings{2, 9, false}, Uploaded})
	wantDifferences(t, "forgotten", m.Forgotten,
		"a:1: the config no longer names it: weight 5",
		"b:1: the config no longer names it: deleted",
		"c:1: the config no longer names it: draining")

	// They are back as if new: nothing of them was kept.
	m = m.State.Merge(web("a:1", "b:1", "c:1"))
	wantServers(t, m.Pools[0],
		Server{"a:1", Settings{1, 0, false}, Configured},
		Server{"b:1", Settings{1, 0, false}, Configured},
		Server{"c:1", Settings{1, 0, false}, Configured},
		Server{"d:1", Settings{2, 9, false}, Uploaded})
}

// An operator writes what was uploaded into the config: first without its limit, then
// as it is.
func TestAnUploadedServerBecomesTheConfigs(t *testing.T) {
	config := web("d:1")
	config[0].Servers[0].Weight = 2
	m := parsed(t, file(uploaded)).Merge(config)
	wantServers(t, m.Pools[0], Server{"d:1", Settings{2, 9, false}, Configured})
	wantDifferences(t, "differences", m.Differences, "d:1: max_connections 9 instead of 0")
	wantRecords(t, m.State, "d:1 source: config, max_connections: 9")

	config[0].Servers[0].MaxConnections = 9
	last := m.State.Merge(config)
	wantDifferences(t, "differences", last.Differences)
	wantDifferences(t, "forgotten", last.Forgotten, "d:1: the config says the same now: max_connections 9")
	wantRecords(t, last.State)

	// From when the config names it, it is the config's to remove.
	wantServers(t, m.State.Merge(web()).Pools[0])
	wantServers(t, last.State.Merge(web()).Pools[0])
}

// What was not changed follows the config; what was changed stays over it.
func TestAChangeLeavesTheRestToTheConfig(t *testing.T) {
	config := web("a:1")
	config[0].Servers[0].Settings = Settings{Weight: 3, MaxConnections: 50}
	m := parsed(t, file(changed)).Merge(config)
	wantServers(t, m.Pools[0], Server{"a:1", Settings{5, 50, false}, Configured})
	wantDifferences(t, "differences", m.Differences, "a:1: weight 5 instead of 3")
}

// A pool is renamed by mistake, and back.
func TestTheRecordsOfAPoolThatIsMissingAreKept(t *testing.T) {
	s := parsed(t, file(changed, deleted, drained, uploaded))
	renamed := web("a:1", "b:1", "c:1")
	renamed[0].Name = "wbe"
	m := s.Merge(renamed)
	wantServers(t, m.Pools[0],
		Server{"a:1", Settings{1, 0, false}, Configured},
		Server{"b:1", Settings{1, 0, false}, Configured},
		Server{"c:1", Settings{1, 0, false}, Configured})
	wantDifferences(t, "kept", m.Kept,
		"a:1: kept for when the config has the pool again: weight 5",
		"b:1: kept for when the config has the pool again: deleted",
		"c:1: kept for when the config has the pool again: draining",
		"d:1: kept for when the config has the pool again: uploaded, weight 2, max_connections 9")
	wantDifferences(t, "differences", m.Differences)
	if !m.State.equal(s) {
		t.Fatal("the records are not what they were")
	}
	if back := m.State.Merge(web("a:1", "b:1", "c:1")); len(back.Differences) != 4 {
		t.Fatalf("back, it differs in %v", back.Differences)
	}
}

// A line that a repair has left with nothing to say does no harm.
func TestARecordThatSaysNothingIsForgotten(t *testing.T) {
	m := parsed(t, file(`{"pool": "web", "server": "a:1", "source": "config", "draining": false}`)).Merge(web("a:1"))
	wantDifferences(t, "forgotten", m.Forgotten, "a:1: the config says the same now: no difference")
	wantRecords(t, m.State)
}
