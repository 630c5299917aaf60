package e2e_test

import (
	"net"
	"strings"
	"testing"
	"time"
)

// TestPortTaken: an address in use is named, and nothing is left half-started.
func TestPortTaken(t *testing.T) {
	for _, protocol := range []string{"tcp", "http", "admin"} {
		t.Run(protocol, func(t *testing.T) {
			w := newWorld(t, 20*time.Second)
			taken := w.listen().Addr().String()
			addresses := map[string]string{"tcp": w.freeAddress(), "http": w.freeAddress(), "admin": w.freeAddress()}
			addresses[protocol] = taken
			p := w.run(raceBinary, "run", "--config", w.configFile(object{
				"listeners": []object{
					{"name": "db", "protocol": "tcp", "address": addresses["tcp"], "pool": "db"},
					{"name": "web", "protocol": "http", "address": addresses["http"], "pool": "db"},
				},
				"pools": []object{{"name": "db", "servers": []string{"127.0.0.1:1"}}},
				"admin": object{"address": addresses["admin"]},
			}))
			log := p.stderr.String()
			if p.code() != 1 || !strings.Contains(log, taken) || !strings.Contains(log, "in use") {
				t.Errorf("exit code %d, want 1 and a message that %s is in use: %s", p.code(), taken, log)
			}
			if strings.Contains(log, "listening ") {
				t.Errorf("something was started before: %s", log)
			}
			for name, address := range addresses {
				if name == protocol {
					continue
				}
				l, err := net.Listen("tcp", address)
				if err != nil {
					t.Errorf("the other address is not free again: %v", err)
					continue
				}
				l.Close()
			}
		})
	}
}

// TestRunningTwice: two fulcrums do not share a port by accident.
func TestRunningTwice(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	b := w.balance(tcpOnly(w.echoServer()))
	p := w.run(raceBinary, "tcp", "--listen", b.listeners["db"], "--server", "127.0.0.1:1")
	if p.code() != 1 || !strings.Contains(p.stderr.String(), b.listeners["db"]) {
		t.Errorf("the second one: exit code %d, want 1 and the port in the message: %s", p.code(), p.stderr.String())
	}
	wantEcho(w, w.dial(b.listeners["db"]), "the first one goes on")
}

// TestMistakes: what is wrong with the command line or the config is said on
// stderr, all of it, and ends with exit code 2.
func TestMistakes(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	bad := w.configFile(object{
		"listeners": []object{{"name": "web", "protocol": "udp", "address": "127.0.0.1:0", "pool": "wbe"}},
		"pools":     []object{{"name": "web", "algorithm": "random", "servers": []object{{"address": "https://10.0.0.1:1", "weight": 0}}}},
		"shutdown":  1,
	})
	everything := []string{bad, "udp", "tcp", "wbe", "random", "round_robin", "https", "servers[0].weight", "256", `"shutdown"`}
	for _, test := range []struct {
		args []string
		says []string
	}{
		{[]string{"run", "--config", bad}, everything},
		{[]string{"run", "--check", "--config", bad}, everything},
		{[]string{"check", "--config", bad}, everything},
		{[]string{"check", "--config", bad + ".missing"}, []string{"missing", "no such file"}},
		{[]string{"run", "--confg", bad}, []string{"confg"}},
		{[]string{"rnu"}, []string{"rnu", "run", "check", "servers"}},
		{[]string{"tcp", "--listen", ":0"}, []string{"server"}},
		{[]string{"http", "--server", "127.0.0.1:1"}, []string{"listen"}},
		{[]string{"tcp", "--listen", "nonsense", "--server", "127.0.0.1:1"}, []string{"--listen", "nonsense"}},
		{[]string{"http", "--listen", ":0", "--server", "127.0.0.1:1", "--algorithm", "best"}, []string{"--algorithm", "best", "least_connections"}},
	} {
		p := w.run(raceBinary, test.args...)
		if p.code() != 2 {
			t.Errorf("fulcrum %v: exit code %d, want 2", test.args, p.code())
		}
		for _, word := range test.says {
			if !strings.Contains(p.stderr.String(), word) {
				t.Errorf("fulcrum %v: stderr does not say %q: %s", test.args, word, p.stderr.String())
			}
		}
	}
	if help := w.mustRun(raceBinary, "--help"); !strings.Contains(help, "fulcrum tcp --listen") {
		t.Errorf("--help has no example: %s", help)
	}
	if version := w.mustRun(raceBinary, "--version"); !strings.HasPrefix(version, "fulcrum version ") || len(version) < len("fulcrum version v")+1 {
		t.Errorf("--version prints %q", version)
	}
}
