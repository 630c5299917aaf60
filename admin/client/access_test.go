package client

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fulcrum/admin"
	"fulcrum/certtest"
)

const secret = "s3cr3t-of-the-operators"

// access lets in who has the secret, over TLS when there is an authority, which
// clients need a certificate of.
func access(t *testing.T, certs *certtest.Authority) *admin.Access {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	o := admin.AccessOptions{Tokens: []admin.TokenSource{{Name: "ops", ReadOnly: true, File: path}}}
	if certs != nil {
		o.Certificate, o.Key = certs.Issue("admin", "127.0.0.1")
		o.ClientCA = certs.File
	}
	a, err := admin.NewAccess(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// wantStatus expects an answer of the listener, 200 or a refusal with that text.
func wantStatus(t *testing.T, err error, status int, says string) {
	t.Helper()
	refusal, refused := errors.AsType[*Error](err)
	switch {
	case status == 200 && err != nil, status != 200 && (!refused || refusal.Status != status || !strings.Contains(refusal.Message, says)):
		t.Errorf("got %v, want status %d", err, status)
	case err != nil && strings.Contains(err.Error(), secret):
		t.Errorf("the error has the secret: %v", err)
	}
}

func TestToken(t *testing.T) {
	address := serveOn(t, admin.Options{Controller: &fake{}, Access: access(t, nil)}, "tcp", "127.0.0.1:0")
	for token, status := range map[string]int{"": 401, secret: 200, secret + "x": 401} {
		c, err := New(Options{Address: address, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.List(t.Context())
		wantStatus(t, err, status, "token")
		_, _, err = c.Change(t.Context(), admin.ServerChange{Action: admin.Upload, Server: "a:1"}, "")
		if status == 200 {
			wantStatus(t, err, 403, `token "ops" may only read`)
		} else {
			wantStatus(t, err, 401, "token")
		}
	}
	c, err := New(Options{Address: address, Token: secret + "\r\nX: y"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.List(t.Context()); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("error is %v", err)
	}
}

func TestHTTPS(t *testing.T) {
	certs := certtest.NewAuthority(t)
	address := serveOn(t, admin.Options{Controller: &fake{}, Access: access(t, certs)}, "tcp", "127.0.0.1:0")
	certificate, key := certs.Issue("alice")
	list := func(o Options) error {
		t.Helper()
		o.Token = secret
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.List(t.Context())
		return err
	}
	wantStatus(t, list(Options{Address: "https://" + address, CA: certs.File, Certificate: certificate, Key: key}), 200, "")
	for says, o := range map[string]Options{
		"unknown authority":                  {Address: "https://" + address, Certificate: certificate, Key: key},
		"certificate required":               {Address: "https://" + address, CA: certs.File},
		"speaks TLS; use https://" + address: {Address: address},
	} {
		if err := list(o); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), secret) {
			t.Errorf("error is %v, want %q", err, says)
		}
	}
}

func TestCertificatesThatCannotBeUsed(t *testing.T) {
	certs := certtest.NewAuthority(t)
	certificate, key := certs.Issue("alice")
	for says, o := range map[string]Options{
		`"127.0.0.1:1" is not https`:            {Address: "127.0.0.1:1", CA: certs.File},
		`"unix:/a" is not https`:                {Address: "unix:/a", Certificate: certificate, Key: key},
		`"http://127.0.0.1:1" is not https`:     {Address: "http://127.0.0.1:1", Key: key},
		"authorities of the admin listener: op": {Address: "https://127.0.0.1:1", CA: "/nowhere"},
		"has no certificate in PEM":             {Address: "https://127.0.0.1:1", CA: key},
		`with the key ""`:                       {Address: "https://127.0.0.1:1", Certificate: certificate},
		`read the certificate ""`:               {Address: "https://127.0.0.1:1", Key: key},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: error is %v, want %q", o, err, says)
		}
	}
}
