package config

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// everythingTCP says everything that can be said of a tcp listener and its
// pools, each value other than its default.
const everythingTCP = `{
	"io": "epoll",
	"listeners": [
		{
			"name": "tls", "protocol": "tcp", "address": ":443", "idle_timeout": "10m",
			"max_connections": 5000, "max_connections_per_client": 20, "half_closed_timeout": "1m",
			"tcp_keepalive": "90s", "tcp_user_timeout": 1.5,
			"accept_proxy": {"from": ["10.0.0.0/8", "192.0.2.1", "::1", "2001:DB8::/32", "::ffff:198.51.100.0/120", "0.0.0.0/0", "::/0"], "timeout": "1s"},
			"routes": [{"sni": "WWW.Example.com", "pool": "a"}, {"sni": "*.example.com", "pool": "b"}, {"sni": "*.com", "pool": "b"}],
			"hello_timeout": "2s",
			"access_log": "stdout"
		},
		{"name": "local", "protocol": "tcp", "address": "unix:/run/fulcrum.sock", "pool": "a", "max_connections": 10, "access_log": "/var/log/a.log"}
	],
	"pools": [
		{
			"name": "a",
			"servers": ["10.0.0.1:5432", "db.example.com:5432", "unix:/run/db.sock", {"address": "[::1]:5432", "source": "::1"}],
			"send_proxy": "v2", "queue": {"length": 7, "timeout": "3s"}, "on_unhealthy": "close", "resolve_interval": "1m",
			"source": ["10.0.0.8", "::ffff:10.0.0.9"], "tcp_keepalive": 30, "tcp_user_timeout": "10s"
		},
		{"name": "b", "send_proxy": "v1", "queue": {}, "source": "2001:db8::1"}
	],
	"admin": {"address": "unix:/run/fulcrum-admin.sock"}
}`

func addresses(all ...string) (ips []netip.Addr) {
	for _, s := range all {
		ips = append(ips, netip.MustParseAddr(s))
	}
	return ips
}

func TestEverythingOfTCP(t *testing.T) {
	got := mustParse(t, everythingTCP)
	var from []netip.Prefix
	for _, s := range []string{"10.0.0.0/8", "192.0.2.1/32", "::1/128", "2001:db8::/32", "198.51.100.0/24", "0.0.0.0/0", "::/0"} {
		from = append(from, netip.MustParsePrefix(s))
	}
	health := standardHealth
	want := &Config{
		IO:              "epoll",
		ShutdownTimeout: 30 * time.Second,
		Admin:           &Admin{Address: "unix:/run/fulcrum-admin.sock"},
		Listeners: []Listener{{
			Name: "tls", Protocol: "tcp", Address: ":443", IdleTimeout: 10 * time.Minute,
			MaxConnections: 5000, MaxConnectionsPerClient: 20, HalfClosedTimeout: time.Minute,
			TCPKeepalive: 90 * time.Second, TCPUserTimeout: 1500 * time.Millisecond,
			AcceptProxy:  &AcceptProxy{from, time.Second},
			Routes:       []Route{{SNI: "www.example.com", Pool: "a"}, {SNI: "*.example.com", Pool: "b"}, {SNI: "*.com", Pool: "b"}},
			HelloTimeout: 2 * time.Second, AccessLog: "stdout",
		}, {
			Name: "local", Protocol: "tcp", Address: "unix:/run/fulcrum.sock", Pool: "a", MaxConnections: 10,
			IdleTimeout: time.Hour, HalfClosedTimeout: time.Hour, AccessLog: "/var/log/a.log",
		}},
		Pools: []Pool{{
			Name: "a", Algorithm: "least_connections", Health: &health,
			Servers: []Server{
				{Address: "10.0.0.1:5432", Weight: 1}, {Address: "db.example.com:5432", Weight: 1},
				{Address: "unix:/run/db.sock", Weight: 1}, {Address: "[::1]:5432", Weight: 1, Source: addresses("::1")},
			},
			ConnectTimeout: 5 * time.Second, ResponseTimeout: time.Minute, DrainTimeout: 30 * time.Second,
			Retries: standardRetries(), Reuse: &standardReuse,
			SendProxy: "v2", Queue: &Queue{7, 3 * time.Second}, OnUnhealthy: "close", ResolveInterval: time.Minute,
			Source: addresses("10.0.0.8", "10.0.0.9"), TCPKeepalive: 30 * time.Second, TCPUserTimeout: 10 * time.Second,
		}, {
			Name: "b", Algorithm: "least_connections", Health: &health,
			ConnectTimeout: 5 * time.Second, ResponseTimeout: time.Minute, DrainTimeout: 30 * time.Second,
			Retries: standardRetries(), Reuse: &standardReuse,
			SendProxy: "v1", Queue: &Queue{1000, 10 * time.Second}, OnUnhealthy: "keep", ResolveInterval: 30 * time.Second,
			Source: addresses("2001:db8::1"),
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDefaultsOfTCP(t *testing.T) {
	c := mustParse(t, fillTCP(`, "idle_timeout": "2h", "accept_proxy": {"from": ["::1"]}, "routes": [{"sni": "a", "pool": "p"}]`, `, "queue": {}`, "", ""))
	l := c.Listeners[0]
	if l.HalfClosedTimeout != 2*time.Hour || l.AcceptProxy.Timeout != 5*time.Second || l.HelloTimeout != 5*time.Second || *c.Pools[0].Queue != (Queue{1000, 10 * time.Second}) {
		t.Errorf("completed to %+v, %+v, %+v", l, l.AcceptProxy, c.Pools[0].Queue)
	}
}

// TestTCPFromGo builds what no file can say, with no file to point into.
func TestTCPFromGo(t *testing.T) {
	build := func() *Config {
		return &Config{
			Listeners: []Listener{{Name: "l", Protocol: ProtocolTCP, Address: ":1", Routes: []Route{{SNI: "A", Pool: "p"}}}},
			Pools:     []Pool{{Name: "p", Servers: []Server{{Address: "10.0.0.1:1"}}, SendProxy: SendProxyV1}},
		}
	}
	c := build()
	checkError(t, c.Complete(), "")
	if l := c.Listeners[0]; l.Routes[0].SNI != "a" || l.HelloTimeout != DefaultHelloTimeout {
		t.Errorf("completed to %+v", l)
	}

	c = build()
	l, p := &c.Listeners[0], &c.Pools[0]
	l.TCPKeepalive, l.AcceptProxy = time.Millisecond, &AcceptProxy{From: make([]netip.Prefix, 1)}
	p.Source = append(addresses("::1"), netip.Addr{})
	p.Servers[0].Source = addresses("10.0.0.2", "10.0.0.2", "::ffff:10.0.0.2")
	p.Queue = &Queue{Length: -1}
	c.Listeners = append(c.Listeners, Listener{Name: "h", Protocol: ProtocolHTTP, Address: "unix:/h", Pool: "p", HelloTimeout: 1, MaxConnections: -1})
	c.IO = "poll"
	checkError(t, c.Complete(), `9 problems
  listeners[0].tcp_keepalive: 1ms is not allowed; use `+keepalives.form+`
  listeners[0].accept_proxy.from[0]: invalid Prefix is not allowed; use a network such as "10.0.0.0/8" or an IP address without a zone
  listeners[1].max_connections: -1 is not allowed; use a whole number from 0 to 1000000
  listeners[1].hello_timeout: only a tcp listener has it; leave it out
  pools[0].source[1]: invalid IP is no address to connect from; use an IP address of this machine, without a zone
  pools[0].servers[0].source[1]: 10.0.0.2 is already given by pools[0].servers[0].source[0]; keep one of them
  pools[0].servers[0].source[2]: 10.0.0.2 is already given by pools[0].servers[0].source[0]; keep one of them
  pools[0].queue.length: -1 is not allowed; use a whole number from 1 to 100000
  io: "poll" is not known; did you mean "epoll"? use one of "auto", "epoll", "io_uring"`)
}
