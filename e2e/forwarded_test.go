package e2e_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestForwarded: nginx learns who asked for what as far as the listener's policy
// has it believe the client.
func TestForwarded(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	nginx := w.nginx("for $http_x_forwarded_for host $http_x_forwarded_host proto $http_x_forwarded_proto real $http_x_real_ip prefix $http_x_forwarded_prefix " +
		"forwarded $http_forwarded other $http_x_forwarded_other")
	web := func(name, forwarded string, more ...string) object {
		l := object{"name": name, "protocol": "http", "address": "127.0.0.1:0", "pool": "web", "forwarded": forwarded}
		if len(more) > 0 {
			l["trusted"] = more
		}
		return l
	}
	socket := filepath.Join(w.socketFolder(), "web")
	unix := web("unix", "append")
	unix["address"] = "unix:" + socket
	b := w.balance(object{
		"listeners": []object{
			web("replace", "replace"), web("trusting", "replace", "127.0.0.2", "127.1.0.0/16"),
			web("append", "append"), web("off", "off"), unix,
		},
		"pools": []object{{"name": "web", "servers": []string{nginx.address}}},
	})
	claims := []string{
		"-H", "X-Forwarded-For: 203.0.113.7, 198.51.100.1", "-H", "X-Forwarded-Host: www.example.test", "-H", "X-Forwarded-Proto: https",
		"-H", "X-Real-IP: 203.0.113.8", "-H", "X-Forwarded-Prefix: /a", "-H", `Forwarded: for="[2001:db8::7]";proto=https`, "-H", "X-Forwarded-Other: b",
	}
	const (
		nothing  = "for  host  proto  real  prefix  forwarded  other "
		replaced = "for $client host e2e proto http real  prefix  forwarded  other "
		appended = "for 203.0.113.7, 198.51.100.1, $client host www.example.test proto https real 203.0.113.8 prefix /a " +
			`forwarded for="[2001:db8::7]";proto=https, for=$client;host=e2e;proto=http other b`
		claimed = "for 203.0.113.7, 198.51.100.1 host www.example.test proto https real 203.0.113.8 prefix /a " +
			`forwarded for="[2001:db8::7]";proto=https other b`
		unknown = "for 203.0.113.7, 198.51.100.1 host www.example.test proto https real 203.0.113.8 prefix /a " +
			`forwarded for="[2001:db8::7]";proto=https, for=unknown;host=e2e;proto=http other b`
	)
	for _, test := range []struct{ listener, client, honest, liar string }{
		{"replace", "127.0.0.1", replaced, replaced},
		{"replace", "127.0.0.2", replaced, replaced},
		{"trusting", "127.0.0.1", replaced, replaced},
		{"trusting", "127.0.0.2", replaced, appended},
		{"trusting", "127.1.2.3", replaced, appended},
		{"append", "127.0.0.1", replaced, appended},
		{"off", "127.0.0.1", nothing, claimed},
		{"unix", "", "for  host e2e proto http real  prefix  forwarded  other ", unknown},
	} {
		var args []string
		if test.listener == "unix" {
			args = []string{"--unix-socket", socket, "http://e2e/"}
		} else {
			args = []string{"--interface", test.client, "--connect-to", "::" + b.listeners[test.listener], "http://e2e/"}
		}
		for name, story := range map[string]struct {
			args []string
			want string
		}{
			"who claims nothing": {args, test.honest},
			"who claims a lot":   {append(claims, args...), test.liar},
		} {
			want := strings.ReplaceAll(story.want, "$client", test.client)
			if got := w.curl(nil, story.args...); got != want {
				w.Errorf("listener %s, client %s %s: nginx got\n%s\nwant\n%s", test.listener, test.client, name, got, want)
			}
		}
	}
}

// TestRewriteHost: servers see the Host that their pool says, and in
// X-Forwarded-Host what was asked for.
func TestRewriteHost(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	nginx := w.nginx("$http_host for $http_x_forwarded_host")
	var listeners, pools []object
	for name, host := range map[string]string{"kept": "", "server": "server", "other": "WWW.Example.Test:8080"} {
		pool := object{"name": name, "servers": []string{nginx.address}}
		if host != "" {
			pool["rewrite_host"] = host
		}
		pools = append(pools, pool)
		listeners = append(listeners, object{"name": name, "protocol": "http", "address": "127.0.0.1:0", "pool": name})
	}
	b := w.balance(object{"listeners": listeners, "pools": pools})
	for _, test := range []struct{ pool, host, nobody string }{
		{"kept", "e2e:99", nginx.address},
		{"server", nginx.address, nginx.address},
		{"other", "www.example.test:8080", "www.example.test:8080"},
	} {
		if got, want := w.curlAs(b.listeners[test.pool], "http://e2e:99/"), test.host+" for e2e:99"; got != want {
			w.Errorf("pool %s: nginx got %q, want %q", test.pool, got, want)
		}
		if got, want := w.curlAs(b.listeners[test.pool], "http://e2e/", "--http1.0", "-H", "Host:"), test.nobody+" for "; got != want {
			w.Errorf("pool %s, without Host: nginx got %q, want %q", test.pool, got, want)
		}
	}
}
