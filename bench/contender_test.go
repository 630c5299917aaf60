package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConfigsNameEveryAddress(t *testing.T) {
	servers := []string{"127.0.0.1:7001", "127.0.0.1:7002"}
	files := map[string][]string{
		"tcp":  {"haproxy.cfg", "nginx.conf", "fulcrum.json"},
		"http": {"haproxy.cfg", "nginx.conf", "fulcrum.json", "caddy.json"},
	}
	for protocol, names := range files {
		for _, bulk := range []bool{false, true} {
			s, err := newSite(site{Protocol: protocol, Listen: "127.0.0.1:7000", Servers: servers, Bulk: bulk, Dir: t.TempDir(), Module: "/m.so"}, 64)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				path, err := s.writeConfig(name)
				if err != nil {
					t.Fatal(err)
				}
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for _, address := range append(servers, s.Listen) {
					if !strings.Contains(string(text), address) {
						t.Errorf("%s for %s does not have %s:\n%s", name, protocol, address, text)
					}
				}
				if filepath.Ext(name) == ".json" && !json.Valid(text) {
					t.Errorf("not JSON: %s", text)
				}
			}
		}
	}
}

func TestTooManyConnectionsForTheDescriptorsAreRefused(t *testing.T) {
	_, err := newSite(site{}, 10_000_000)
	if err == nil || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("got %v, want what to do about it", err)
	}
}

func TestContendersAreChosenByName(t *testing.T) {
	me, err := self()
	if err != nil {
		t.Fatal(err)
	}
	names := func(list string, fulcrums ...string) string {
		chosen, err := selectContenders(fulcrums, list)
		if err != nil {
			return err.Error()
		}
		var names []string
		for _, c := range chosen {
			names = append(names, c.Name)
		}
		return strings.Join(names, " ")
	}
	for _, test := range []struct{ got, want string }{
		{names(""), "direct haproxy nginx caddy reverseproxy"},
		{names("", me, "old="+me), "direct haproxy nginx caddy reverseproxy fulcrum old"},
		{names("old, nginx", "old="+me), "old nginx"},
		{names("", me, "fulcrum:epoll="+me), "direct haproxy nginx caddy reverseproxy fulcrum fulcrum:epoll"},
		{names("traefik"), `--contenders: "traefik" is not known; use some of direct, haproxy, nginx, caddy, reverseproxy`},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
	for _, wrong := range []string{"nginx=" + me, "caddy=" + me, "=" + me, "a b=" + me, "x:kqueue=" + me, "/does/not/exist"} {
		if _, err := parseFulcrum(wrong); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("--fulcrum %q: %v, want an error that carries it", wrong, err)
		}
	}
}

func TestAContenderIsMeasuredInWhatItCanDo(t *testing.T) {
	for _, test := range []struct{ contender, scenarios string }{
		{direct, "tcp-connect http-close"},
		{haproxy, "tcp-connect tcp-idle http-close"},
		{caddy, "http-close"},
		{reverseProxy, "http-close"},
		{fulcrum, "tcp-connect tcp-idle http-close"},
	} {
		var served []string
		for _, name := range []string{"tcp-connect", "tcp-idle", "http-close"} {
			if (contender{Name: test.contender}).serves(named(t, name)) {
				served = append(served, name)
			}
		}
		if got := strings.Join(served, " "); got != test.scenarios {
			t.Errorf("%s serves %q, want %q", test.contender, got, test.scenarios)
		}
	}
}

// What Caddy keeps on disk would otherwise stay behind in the home of who measures.
func TestCaddyStaysInItsFolder(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, caddy), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder)
	dir := t.TempDir()
	cmd, err := contender{Name: caddy}.command(site{Listen: "127.0.0.1:7000", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"} {
		if !slices.Contains(cmd.Environ(), name+"="+dir) {
			t.Errorf("%s is not %s", name, dir)
		}
	}
}

func TestScenariosHaveNamesOfTheirOwn(t *testing.T) {
	var names []string
	for _, sc := range scenarios(5000) {
		if slices.Contains(names, sc.Name) || sc.Title == "" || sc.Unit == "" || sc.Connections == 0 {
			t.Errorf("scenario %+v", sc)
		}
		names = append(names, sc.Name)
	}
	if !slices.Contains(names, rateFrom) {
		t.Errorf("%s, which the open loop's rate comes from, is not in %v", rateFrom, names)
	}
	if _, err := selectScenarios(scenarios(1), "^udp"); err == nil || !strings.Contains(err.Error(), "tcp-echo-64") {
		t.Errorf("got %v, want the names that exist", err)
	}
}
