package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"fulcrum/config"
)

func TestPools(t *testing.T) {
	pool := func(name, servers string) string { return `{"name": "` + name + `", "servers": [` + servers + `]}` }
	all(t, "pools", []visit{
		{"as it should be", nil, conf(t, web+","+db, pair, ""), OK, "more than one server"},
		{"one server", nil, conf(t, web, pool("p", `"a:1"`), ""), Warning, `pool p has one server|"servers"|fulcrum servers upload --pool p ADDRESS`},
		{"nobody feeds it", nil, conf(t, web, pair+","+pool("q", `"a:1", "b:1"`), ""), Warning, "pool q is fed by no listener"},
		{"several", nil, conf(t, web, pair+","+pool("q", "")+","+pool("r", ""), ""), Warning, `pools q, r are fed by no listener|"pool": "q"`},
		{"by a route", nil, conf(t, `{"name": "web", "protocol": "http", "address": ":80", "pool": "p", "routes": [{"path": "/x", "pool": "q"}]}`, pair+","+pool("q", `"a:1", "b:1"`), ""), OK, "fed"},
		{"no servers yet", nil, conf(t, web, pool("p", ""), ""), Info, "pool p has no servers|fulcrum servers upload --pool p ADDRESS"},
		{"the same in two", nil, conf(t, web+`,{"name": "l", "protocol": "tcp", "address": ":81", "pool": "q"}`, pool("p", `"a:1", "b:1", "c:1"`)+","+pool("q", `"b:1", "c:1"`), ""), Info, "servers b:1, c:1 are in more than one pool, such as p, q"},
	})
	many := ""
	for i := range 12 {
		many += "," + pool("q"+string(rune('a'+i)), "")
	}
	expect(t, of("pools", machine(nil), conf(t, web, pair+many, "")), Warning, "pools qa, qb, qc, qd, qe, qf, qg, qh and 4 more are fed")
}

// A balancer that is its own server.
func TestCircles(t *testing.T) {
	for _, c := range []struct {
		listener, server string
		circle           bool
	}{
		{":80", "127.0.0.1:80", true},
		{"0.0.0.0:80", "localhost:80", true},
		{"[::]:80", "[::1]:80", true},
		{"127.0.0.1:80", "localhost:80", true},
		{"localhost:80", "127.0.0.1:80", true},
		{"10.0.0.1:80", "10.0.0.1:80", true},
		{"unix:/a", "unix:/a", true},
		{"127.0.0.2:80", "127.0.0.1:80", false},
		{"localhost:80", "127.0.0.2:80", false},
		{"127.0.0.2:80", "localhost:80", false},
		{":80", "127.0.0.1:81", false},
		{":80", "10.0.0.1:80", false},
		{"unix:/a", "unix:/b", false},
		{"unix:/a", "127.0.0.1:80", false},
		{":80", "unix:/a", false},
	} {
		conf := conf(t, `{"name": "web", "protocol": "http", "address": "`+c.listener+`", "pool": "p"}`, `{"name": "p", "servers": ["`+c.server+`", "b:1"]}`, "")
		found := of("pools", machine(nil), conf)
		if circle := worst(found) == Problem; circle != c.circle {
			t.Errorf("listener %s, server %s: %+v", c.listener, c.server, found)
		}
	}
	// What another listener feeds is no circle but a detour.
	detour := conf(t, strings.ReplaceAll(db, `"p"`, `"q"`)+","+web, `{"name": "q", "servers": ["127.0.0.1:80", "b:1"]},`+pair, "")
	if found := of("pools", machine(nil), detour); worst(found) != OK {
		t.Errorf("found %+v", found)
	}
}

func TestHealth(t *testing.T) {
	with := func(listener, health string) *config.Config {
		return conf(t, listener, `{"name": "p", "servers": ["a:1", "b:1"], "health": `+health+`}`, "")
	}
	all(t, "health", []visit{
		{"as it should be", nil, conf(t, web, pair, ""), OK, "within 20s"},
		{"by the defaults", nil, conf(t, db, `{"name": "p", "servers": ["a:1"]}`, ""), OK, "within 20s"},
		{"none", nil, with(web, "false"), Warning, `pool p checks no server|take "health": false out`},
		{"http by a connect", nil, with(web, "{}"), Info, `pool p carries http|"health": {"path": "/health"}`},
		{"tcp by a connect", nil, with(db, "{}"), OK, "within"},
		{"just soon enough", nil, with(db, `{"interval": "6s", "timeout": "2s", "fall": 3}`), OK, "within"},
		{"too slow", nil, with(db, `{"interval": "6s", "timeout": "2001ms", "fall": 3}`), Warning, `pool p takes up to 20.001s to notice that a server hangs: 3 failed checks, one every 6s|"health": {"interval": "5s", "timeout": "2s", "fall": 3}`},
		{"too many failures", nil, with(db, `{"interval": "1s", "timeout": "500ms", "fall": 60}`), Warning, `1m0.5s|"health": {"interval": "1s", "timeout": "500ms", "fall": 3}`},
		{"a single check", nil, with(db, `{"rise": 1, "fall": 1}`), Info, "pool p goes by a single check"},
		{"a single failure", nil, with(db, `{"rise": 2, "fall": 1}`), OK, "within"},
	})
}

// What is advised against slow detection is not slow, and may stand in a config.
func TestHealthAdvice(t *testing.T) {
	for _, health := range []string{
		`{"interval": "720h", "timeout": "720h", "fall": 100}`, `{"interval": "19s", "timeout": "19s", "fall": 1}`,
		`{"interval": "21s", "timeout": "1ms", "fall": 1}`, `{"interval": "7s", "fall": 3}`, `{"interval": "300ms", "timeout": "300ms", "fall": 100}`,
	} {
		with := func(health string) *config.Config {
			return conf(t, db, `{"name": "p", "servers": ["a:1", "b:1"], "health": `+health+`}`, "")
		}
		found := of("health", machine(nil), with(health))
		if worst(found) != Warning {
			t.Fatalf("%s: %+v", health, found)
		}
		_, advice, _ := strings.Cut(found[0].Do, `"health": `)
		if again := of("health", machine(nil), with(advice)); worst(again) != OK && worst(again) != Info {
			t.Errorf("%s: %s is advised, of which it is said %+v", health, advice, again)
		}
	}
}

func TestTimeouts(t *testing.T) {
	listener := func(protocol, members string) *config.Config {
		return conf(t, `{"name": "l", "protocol": "`+protocol+`", "address": ":80", "pool": "p", `+members+`}`, pair, "")
	}
	pool := func(listener, members string) *config.Config {
		return conf(t, listener, `{"name": "p", "servers": ["a:1", "b:1"], `+members+`}`, "")
	}
	all(t, "timeouts", []visit{
		{"the defaults", nil, conf(t, web+","+db, pair, ""), OK, "fit together"},
		{"probes that never come", nil, listener("http", `"tcp_keepalive": "60s", "idle_timeout": "60s"`), Warning, "listener l probes its clients after 1m0s of silence, but closes connections after 1m0s"},
		{"probes in time", nil, listener("tcp", `"tcp_keepalive": "59s", "idle_timeout": "60s"`), OK, "fit"},
		{"half closed for longer", nil, listener("tcp", `"half_closed_timeout": "2h"`), Warning, `"half_closed_timeout": "1m0s"`},
		{"half closed for less", nil, listener("tcp", `"half_closed_timeout": "10s"`), OK, "fit"},
		{"checks let pass who does not connect", nil, pool(db, `"connect_timeout": "1s"`), Warning, `pool p has a health check of up to 2s, but a connect_timeout of 1s|"health": {"timeout": "1s"}`},
		{"checks let pass who does not answer", nil, pool(web, `"response_timeout": "5s", "health": {"path": "/", "timeout": "6s", "interval": "6s"}`), Warning, "but a response_timeout of 5s"},
		{"nothing is checked", nil, pool(db, `"connect_timeout": "1s", "health": false`), OK, "fit"},
		{"long to connect", nil, pool(web, `"connect_timeout": "20s", "response_timeout": "10s"`), Warning, "waits longer for a server to accept (20s) than for its answer (10s)"},
		{"over tcp there is no answer", nil, pool(db, `"connect_timeout": "20s", "response_timeout": "10s"`), OK, "fit"},
		{"many tries", nil, pool(db, `"connect_timeout": "31s"`), Info, "tries up to 2 servers for 31s each, 1m2s in all"},
		{"few tries", nil, pool(db, `"connect_timeout": "31s", "retries": {"attempts": 0}`), Info, "gives nobody to another server"},
		{"reuse ends before it counts", nil, pool(web, `"reuse": {"max_age": "10s", "idle_timeout": "20s"}`), Info, "for 10s, and without a request for 20s"},
		{"no reuse", nil, pool(web, `"reuse": false`), OK, "fit"},
		{"a stop cuts off", nil, pool(db, `"drain_timeout": "10m"`), Info, `no more than 30s|"shutdown_timeout": "10m0s"`},
	})
}

func TestTrust(t *testing.T) {
	http := func(address, members string) *config.Config {
		return conf(t, `{"name": "l", "protocol": "http", "address": "`+address+`", "pool": "p", `+members+`}`, pair, "")
	}
	all(t, "trust", []visit{
		{"nobody", nil, conf(t, web, pair, ""), OK, "nobody is believed"},
		{"some", nil, http(":80", `"trusted": ["10.0.0.0/8"], "accept_proxy": {"from": ["10.0.0.0/8"]}`), OK, "nobody"},
		{"everybody", nil, http(":80", `"trusted": ["10.0.0.0/8", "0.0.0.0/0"]`), Warning, `listener l trusts every address|"trusted": `},
		{"everybody by IPv6", nil, http(":80", `"trusted": ["::/0"]`), Warning, "trusts every address"},
		{"all PROXY headers", nil, http(":80", `"accept_proxy": {"from": ["::/0"]}`), Warning, "takes PROXY headers from every address"},
		{"all that they say", nil, http("10.0.0.1:80", `"forwarded": "append"`), Warning, `listener l believes everybody|"forwarded": "replace"`},
		{"of this machine", nil, http("127.0.0.1:80", `"forwarded": "append", "accept_proxy": {"from": ["0.0.0.0/0"]}`), OK, "nobody"},
		{"of a unix socket", nil, http("unix:/a", `"forwarded": "append"`), OK, "nobody"},
	})
}

func TestAdmin(t *testing.T) {
	with := func(admin string) *config.Config { return conf(t, web, pair, admin) }
	tokens := `"tokens": [{"name": "ops", "file": "/etc/ops.token"}]`
	tls := `"tls": {"certificate": "/etc/admin.pem", "key": "/etc/admin.key"}`
	pem := func(left time.Duration) changed { return changed{"etc/admin.pem": certificateUntil(t, now.Add(left))} }
	const year = 365 * 24 * time.Hour
	reached := with(`, "admin": {"address": ":9900", ` + tokens + `, ` + tls + `}`)
	all(t, "admin", []visit{
		{"a unix socket", nil, with(guarded), OK, "unix:/run/fulcrum/admin.sock"},
		{"none", nil, with(""), Info, `no admin listener|"admin": {}`},
		{"anybody here", nil, with(`, "admin": {}`), Info, "at 127.0.0.1:9900 asks nobody"},
		{"those with tokens", nil, with(`, "admin": {` + tokens + `}`), OK, "for those who may"},
		{"those with certificates", pem(year), with(`, "admin": {"tls": {"certificate": "/etc/admin.pem", "key": "/etc/admin.key", "client_ca": "/etc/ca.pem"}}`), OK, "for those who may"},
		{"anybody here, by TLS", pem(year), with(`, "admin": {` + tls + `}`), Info, "asks nobody"},
		{"tokens in the clear", nil, with(`, "admin": {"address": ":9900", ` + tokens + `}`), Problem, "at :9900 can be reached from elsewhere without TLS|tokens go over the network"},
		{"from elsewhere", pem(year), reached, Info, "at :9900 can be reached from elsewhere"},
		{"expires", pem(20 * 24 * time.Hour), reached, Warning, "expires on 2026-01-22|/etc/admin.pem|fulcrum reload"},
		{"expired", pem(-time.Hour), reached, Problem, "has expired on 2026-01-02"},
		{"behind a key", changed{"etc/admin.pem": "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n" + certificateUntil(t, now.Add(-time.Hour))}, reached, Problem, "has expired"},
		{"no certificate", nil, reached, Unknown, "/etc/admin.pem cannot be read: file does not exist"},
		{"not PEM", changed{"etc/admin.pem": "x"}, reached, Unknown, "/etc/admin.pem holds no certificate"},
		{"not a certificate", changed{"etc/admin.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, reached, Unknown, "holds no certificate: x509"},
	})
}

func certificateUntil(t *testing.T, until time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-2 * 365 * 24 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestFiles(t *testing.T) {
	logged := strings.Replace(web, "{", `{"access_log": "/var/log/fulcrum.log", `, 1)
	secrets := conf(t, web, pair, `, "state": "/var/lib/fulcrum/state.json", "admin": {"tokens": [{"name": "ops", "file": "/etc/ops.token"}, {"name": "ci", "env": "CI"}]}`)
	readOnly := func(changes changed) Host {
		h := machine(changes)
		h.Writable = func(folder string) error { return errors.New(folder + " is read-only") }
		return h
	}
	expect(t, of("files", machine(changed{"etc/ops.token": "x"}), secrets), OK, "as they should be")
	expect(t, of("files", readOnly(changed{"etc/ops.token": "x"}), secrets), Warning, "cannot make files in /var/lib/fulcrum, where the state file belongs: /var/lib/fulcrum is read-only|install -d -o USER /var/lib/fulcrum")
	expect(t, of("files", readOnly(nil), conf(t, web, pair, "")), OK, "as they should be")
	expect(t, of("files", machine(nil), conf(t, web, pair, `, "admin": {}, "state": false`)), Info, `no state file|"state": `)

	expect(t, of("files", machine(nil), conf(t, logged, pair, "")), OK, "as they should be")
	expect(t, of("files", readOnly(nil), conf(t, logged, pair, "")), Warning, "access log /var/log/fulcrum.log of listener web: /var/log is read-only")
	expect(t, of("files", readOnly(changed{"var/log/fulcrum.log": ""}), conf(t, logged, pair, "")), OK, "as they should be")
	expect(t, of("files", readOnly(nil), conf(t, strings.ReplaceAll(logged, "/var/log/fulcrum.log", "stdout"), pair, "")), OK, "as they should be")

	expect(t, of("files", machine(nil), secrets), Unknown, "/etc/ops.token cannot be read")
	h := machine(changed{"etc/ops.token": "x"})
	h.Root.(fstest.MapFS)["etc/ops.token"].Mode = 0o644
	expect(t, of("files", h, secrets), Warning, "/etc/ops.token is open to every user of this machine: its mode is 0644|chmod o= /etc/ops.token")
	h.Root = unreadable{h.Root, "etc/ops.token"}
	expect(t, of("files", h, secrets), Unknown, "permission denied")
}
