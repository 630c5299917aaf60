package supervisor

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

// breakable is an echo whose checks fail once it is broken, though it goes on
// with the connections that it has.
func breakable(t *testing.T, name string) (address string, breakIt func()) {
	t.Helper()
	l := listen(t)
	serveEcho(t, l, name)
	return l.Addr().String(), func() { l.Close() }
}

// A server that is no longer healthy keeps its connections, or does not, as its
// pool says. Others keep theirs.
func TestOnUnhealthy(t *testing.T) {
	for _, says := range []string{"keep", "close"} {
		t.Run(says, func(t *testing.T) {
			a, breakA := breakable(t, "a")
			b := echo(t, "b")
			w := start(t, `{
			  "listeners": [
			    {"name": "one", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"},
			    {"name": "two", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}],
			  "pools": [{"name": "all", "algorithm": "round_robin", "servers": [%s], "on_unhealthy": %q,
			             "health": {"interval": "1s", "fall": 1}}]}`, quoted(a, b), says)
			w.ready(a, b)
			on := map[string][]*talk{}
			for i, listener := range []string{"one", "two"} {
				for len(on["a"]) <= i || len(on["b"]) <= i {
					c := dial(t, w.address(listener))
					name := c.say("hello")
					on[name] = append(on[name], c)
				}
			}
			breakA()
			eventually(t, "not healthy", func() bool { return !w.server(a).Healthy })
			for _, c := range on["a"] {
				if says == "close" {
					c.wantClosed()
				} else {
					c.say("still here")
				}
			}
			for _, c := range on["b"] {
				c.say("still here")
			}
			if says == "close" {
				eventually(t, "counted", func() bool { return w.server(a).TCP.Ends["drained"] == int64(len(on["a"])) })
			}
		})
	}
}

// sources returns where connections to a server come from.
func (w *world) sources(address string) (all []string) {
	w.t.Helper()
	s := w.current.Load().pools[0].Find(address)
	if s == nil {
		w.t.Fatalf("no server %q", address)
	}
	for range 4 {
		if source := s.Source(); source.IsValid() {
			all = append(all, source.String())
		}
	}
	return all
}

// A server's source is its own, or else the pool's, also when it is uploaded;
// one that it cannot be reached from is refused.
func TestSources(t *testing.T) {
	own, ofPool := []string{"127.0.0.5", "127.0.0.5", "127.0.0.5", "127.0.0.5"}, []string{"127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3"}
	w := start(t, `{
	  "listeners": [{"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}],
	  "pools": [{"name": "all", "source": ["127.0.0.2", "127.0.0.3"], "health": false,
	             "servers": [{"address": "127.0.0.1:1", "source": "127.0.0.5"}, "127.0.0.1:2", {"address": "[::1]:1", "source": "::1"}]}]}`)
	want := func(address string, want []string) {
		t.Helper()
		if got := w.sources(address); !slices.Equal(got, want) {
			t.Errorf("%s is connected to from %q, want %q", address, got, want)
		}
	}
	want("127.0.0.1:1", own)
	want("127.0.0.1:2", ofPool)
	for _, address := range []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "[::1]:1", "unix:/run/none.sock"} {
		if _, err := w.upload("all", address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	want("127.0.0.1:1", own)
	want("127.0.0.1:3", ofPool)
	want("unix:/run/none.sock", nil)
	w.delete("127.0.0.1:1", true)
	w.gone("127.0.0.1:1")
	if _, err := w.upload("all", "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	want("127.0.0.1:1", own)

	_, err := w.upload("all", "[::1]:2")
	wantRefusal(t, err, 400, `server "[::1]:2" leads to ::1, which is IPv6, but connections to it come from 127.0.0.2 (source), which is IPv4`)
	if w.server("[::1]:2") != nil {
		t.Error("uploaded all the same")
	}
}

// An upload of a known server leaves it where its name leads now.
func TestUploadLeavesAServerWhereItIs(t *testing.T) {
	useNames(t).known.Store(true)
	w := start(t, onePool, quoted("app.example:80"), "1m")
	p := w.current.Load().pools[0]
	s := p.Find("app.example:80")
	to := net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.9:80"))
	p.SetResolved(s, to)
	if done, err := w.Change(t.Context(), uploadOf("", "app.example:80", 2, 0)); done.Created || err != nil {
		t.Errorf("created %t, error %v", done.Created, err)
	}
	if s.Resolved() != net.Addr(to) {
		t.Errorf("leads to %v", s.Resolved())
	}
}
