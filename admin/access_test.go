package admin

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fulcrum/certtest"
)

const (
	opsSecret     = mark + "-of-the-operators"
	metricsSecret = mark + "-of-the-metrics"
)

// file returns the path of a file with that text.
func file(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newAccess(t *testing.T, o AccessOptions) *Access {
	t.Helper()
	a, err := NewAccess(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// tokens is an Access with a token that may change things and one that may not.
func tokens(t *testing.T) AccessOptions {
	t.Helper()
	t.Setenv("METRICS_TOKEN", metricsSecret)
	return AccessOptions{Tokens: []TokenSource{
		{Name: "ops", File: file(t, " \t"+opsSecret+"\r\n")},
		{Name: "metrics", ReadOnly: true, Env: "METRICS_TOKEN"},
	}}
}

func TestTokensAreFound(t *testing.T) {
	a := newAccess(t, tokens(t))
	for secret, name := range map[string]string{opsSecret: "ops", metricsSecret: "metrics", "": "", opsSecret + " ": "", opsSecret[1:]: ""} {
		found := ""
		if token := a.find(secret); token != nil {
			found = token.name
		}
		if found != name {
			t.Errorf("%q is the token of %q, want %q", secret, found, name)
		}
	}
}

// Everything that is wrong is said at once, and no secret with it.
func TestAllProblemsOfAnAccess(t *testing.T) {
	certs := certtest.NewAuthority(t)
	certificate, _ := certs.Issue("admin")
	_, another := certs.Issue("another")
	t.Setenv("SHORT_TOKEN", mark)
	t.Setenv("SAME_TOKEN", opsSecret)
	o := tokens(t)
	o.Certificate, o.Key, o.ClientCA = certificate, another, another
	for name, text := range map[string]string{
		"short":  mark + "-15-bytes",
		"long":   mark + strings.Repeat("x", 1024),
		"huge":   mark + strings.Repeat("x", 1<<20),
		"blank":  mark + " with a blank",
		"latin":  mark + "-with-an-\xe4",
		"empty":  "",
		"binary": "\x00" + opsSecret,
	} {
		o.Tokens = append(o.Tokens, TokenSource{Name: name, File: file(t, text)})
	}
	o.Tokens = append(o.Tokens,
		TokenSource{Name: "gone", File: "/nowhere/at/all"},
		TokenSource{Name: "folder", File: t.TempDir()},
		TokenSource{Name: "unset", Env: "UNSET_TOKEN"},
		TokenSource{Name: "variable", Env: "SHORT_TOKEN"},
		TokenSource{Name: "same", Env: "SAME_TOKEN"})
	_, err := NewAccess(o)
	if err == nil {
		t.Fatal("no error")
	}
	wantNoSecret(t, "the error", err.Error())
	for _, part := range []string{
		"14 errors", `admin: token "short": /`, "a token must have 16 to 1024 bytes", `token "long"`, `token "huge"`, `token "empty"`,
		`token "blank": `, "a token must have nothing but visible characters of ASCII", `token "latin"`, `token "binary"`,
		`admin: token "gone": open /nowhere/at/all: no such file`, `token "folder": read`,
		`token "unset": environment variable UNSET_TOKEN is not set`, `token "variable": environment variable SHORT_TOKEN: a token must have`,
		`token "same": it is the same as token "ops"; use another one`,
		"admin: tls: certificate \"" + certificate + "\" with key \"" + another + `": tls: private key does not match public key`,
		"admin: tls: client_ca: " + another + " has no certificate in PEM",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in %s", part, err)
		}
	}
}

// Whatever the config says: what strangers can reach asks them who they are.
func TestStrangersAreAskedForSomething(t *testing.T) {
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	certs := certtest.NewAuthority(t)
	certificate, key := certs.Issue("admin")
	encrypted := AccessOptions{Certificate: certificate, Key: key}
	for _, a := range []*Access{nil, newAccess(t, AccessOptions{}), newAccess(t, encrypted)} {
		if _, err := New(Options{Listener: listener, Controller: &fake{}, Access: a}); err == nil ||
			!strings.Contains(err.Error(), listener.Addr().String()+": others can reach it, and nobody would be asked who they are") {
			t.Errorf("error is %v", err)
		}
	}
	encrypted.ClientCA = certs.File
	both := tokens(t)
	both.Certificate, both.Key = certificate, key
	for i, o := range []AccessOptions{tokens(t), encrypted, both} {
		a := newAccess(t, o)
		if err := a.guards(listener.Addr()); err != nil {
			t.Error(err)
		}
		if plain := i == 0; a.exposes(listener.Addr()) != plain {
			t.Errorf("%d: exposes its tokens: %t", i, !plain)
		}
	}
}

func TestHosts(t *testing.T) {
	certificate, key := certtest.NewAuthority(t).Issue("admin", "*.inside.example", "lb.example")
	a := newAccess(t, AccessOptions{Certificate: certificate, Key: key, Hosts: []string{"admin.example", "::2"}})
	for _, host := range []string{
		"", "localhost", "LocalHost:9900", "localhost.", "127.0.0.1", "127.0.0.1:9900", "10.1.2.3:80", "[::1]", "[::1]:9900",
		"admin.example", "ADMIN.example.:1", "lb.example", "a.inside.example:9900",
	} {
		if !a.knows(host) {
			t.Errorf("%q is not known", host)
		}
	}
	for _, host := range []string{
		"evil.example", "localhost.evil.example:9900", "evil.localhost", "127.0.0.1.evil.example", "127.1", "0x7f000001", "2130706433",
		"x.admin.example", "example", "a.b.inside.example", "inside.example", "admin.example:1:2", "localhost:9900:evil", "127.0.0.1:9900.evil.example",
	} {
		if a.knows(host) {
			t.Errorf("%q is known", host)
		}
	}
}
