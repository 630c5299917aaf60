package state

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// An operator's day with one server of the config and one that is uploaded: what is
// recorded is only what differs.
func TestOnlyWhatDiffersIsRecorded(t *testing.T) {
	var s State
	config := &Settings{Weight: 1, MaxConnections: 100}

	s.Set("web", "a:1", config, &Settings{Weight: 5, MaxConnections: 100})
	wantRecords(t, &s, "a:1 source: config, weight: 5")
	s.Set("web", "a:1", config, &Settings{Weight: 5, Draining: true})
	wantRecords(t, &s, "a:1 source: config, weight: 5, max_connections: 0, draining: true")
	s.Set("web", "a:1", config, nil)
	wantRecords(t, &s, "a:1 source: config, deleted: true")
	s.Set("web", "a:1", config, &Settings{Weight: 1, MaxConnections: 100, Draining: true})
	wantRecords(t, &s, "a:1 source: config, draining: true")
	s.Set("web", "a:1", config, config)
	wantRecords(t, &s)

	s.Set("web", "b:1", nil, &Settings{Weight: 1})
	wantRecords(t, &s, "b:1 source: uploaded, weight: 1, max_connections: 0")
	s.Set("web", "b:1", nil, &Settings{Weight: 2, MaxConnections: 7, Draining: true})
	wantRecords(t, &s, "b:1 source: uploaded, weight: 2, max_connections: 7, draining: true")
	s.Set("web", "b:1", nil, nil)
	wantRecords(t, &s)
}

// Whatever an operator has made of whatever config is what Merge makes of it again,
// also when it has been written and read in between.
func TestMergeMakesWhatWasSet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	settings := func() *Settings {
		if random.IntN(4) == 0 {
			return nil
		}
		return &Settings{Weight: 1 + random.IntN(3), MaxConnections: random.IntN(3)}
	}
	for range 2000 {
		var s State
		config, running := Pool{Name: "web"}, []Server(nil)
		var uploaded []Server
		for i := range random.IntN(8) {
			server := "s:" + strconv.Itoa(i)
			said, want := settings(), settings()
			if want != nil {
				want.Draining = random.IntN(3) == 0
			}
			s.Set("web", server, said, want)
			if said != nil {
				config.Servers = append(config.Servers, Server{Address: server, Settings: *said})
			}
			switch {
			case want == nil:
			case said == nil:
				uploaded = append(uploaded, Server{server, *want, Uploaded})
			default:
				running = append(running, Server{server, *want, Configured})
			}
		}
		running = append(running, uploaded...)

		again := parsed(t, string(s.encode()))
		if !again.equal(&s) {
			t.Fatalf("written %v, read %v", s.records, again.records)
		}
		m := again.Merge([]Pool{config})
		if !slices.Equal(m.Pools[0].Servers, running) {
			t.Fatalf("merged\n%v\nwant\n%v", m.Pools[0].Servers, running)
		}
		if !m.State.equal(&s) || len(m.Differences) != len(s.records) || len(m.Forgotten)+len(m.Kept) > 0 {
			t.Fatalf("%v became %v; forgotten %v, kept %v", s.records, m.State.records, m.Forgotten, m.Kept)
		}
	}
}

func TestWhatIsWrittenIsSortedAndReadable(t *testing.T) {
	var s State
	s.Set("web", "unix:/run/a & b", nil, &Settings{Weight: 2, MaxConnections: 100})
	s.Set("web", "10.0.0.1:80", &Settings{Weight: 1}, &Settings{Weight: 5})
	s.Set("api", "[::1]:80", &Settings{Weight: 1}, &Settings{Weight: 1, Draining: true})
	s.Set("web", "10.0.0.2:80", &Settings{Weight: 1}, nil)
	const want = `{
  "version": 1,
  "servers": [
    {"pool": "api", "server": "[::1]:80", "source": "config", "draining": true},
    {"pool": "web", "server": "10.0.0.1:80", "source": "config", "weight": 5},
    {"pool": "web", "server": "10.0.0.2:80", "source": "config", "deleted": true},
    {"pool": "web", "server": "unix:/run/a \u0026 b", "source": "uploaded", "weight": 2, "max_connections": 100}
  ]
}
`
	if got := string(s.encode()); got != want {
		t.Fatalf("written\n%s\nwant\n%s", got, want)
	}
	if !parsed(t, want).equal(&s) {
		t.Fatal("read as something else")
	}
	if got := string(new(State).encode()); got != "{\n  \"version\": 1,\n  \"servers\": []\n}\n" {
		t.Fatalf("an empty one is %q", got)
	}
}
