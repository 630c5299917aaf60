package config

import (
	"reflect"
	"strings"
	"testing"
)

// everythingAdmin says all that can be said of an admin listener.
const everythingAdmin = `, "admin": {"address": "0.0.0.0:9900",
	"tokens": [{"name": "ops", "file": "/etc/fulcrum/ops.token"}, {"name": "metrics", "access": "read", "env": "METRICS_TOKEN"}],
	"tls": {"certificate": "/etc/fulcrum/admin.pem", "key": "/etc/fulcrum/admin.key", "client_ca": "ca.pem"},
	"hosts": ["LB.example", "lb.example.", "10.0.0.1"]}`

func TestAdmin(t *testing.T) {
	got := mustParse(t, fill("", "", "", everythingAdmin)).Admin
	want := &Admin{
		Address: "0.0.0.0:9900",
		Tokens: []Token{
			{Name: "ops", Access: "write", File: "/etc/fulcrum/ops.token"},
			{Name: "metrics", Access: "read", Env: "METRICS_TOKEN"},
		},
		TLS:   &AdminTLS{"/etc/fulcrum/admin.pem", "/etc/fulcrum/admin.key", "ca.pem"},
		Hosts: []string{"lb.example", "lb.example", "10.0.0.1"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// An address that others can reach needs to ask who they are.
func TestAdminOnOtherAddresses(t *testing.T) {
	const (
		token = `, "tokens": [{"name": "a", "env": "A"}]`
		mtls  = `, "tls": {"certificate": "a", "key": "b", "client_ca": "c"}`
		tls   = `, "tls": {"certificate": "a", "key": "b"}`
	)
	local := []string{"127.0.0.1:9900", "127.8.0.1:0", "[::1]:9900", "[::ffff:127.0.0.1]:9900", "localhost:9900", "unix:/run/a"}
	others := []string{":9900", "0.0.0.0:9900", "[::]:9900", "10.0.0.1:9900", "[2001:db8::1]:9900", "169.254.0.1:9900"}
	for _, address := range local {
		mustParse(t, fill("", "", "", `, "admin": {"address": "`+address+`"}`))
	}
	for _, address := range others {
		for _, members := range []string{token, mtls, token + tls, token + mtls} {
			mustParse(t, fill("", "", "", `, "admin": {"address": "`+address+`"`+members+`}`))
		}
		for _, members := range []string{``, tls, `, "tokens": []`} {
			_, err := Parse([]byte(fill("", "", "", `, "admin": {"address": "`+address+`"`+members+`}`)))
			if err == nil || !strings.Contains(err.Error(), `: admin.address: "`) || strings.Contains(err.Error(), "\n") ||
				!strings.Contains(err.Error(), "can be reached from elsewhere, and nobody would be asked who they are; "+
					`add tokens or a tls with a client_ca, or use a loopback address or "unix:/absolute/path"`) {
				t.Errorf("%s%s: error is %v", address, members, err)
			}
		}
	}
	c := mustParse(t, fill("", "", "", ""))
	c.Admin = &Admin{Address: ":9900"}
	if err := c.Complete(); err == nil || !strings.HasPrefix(err.Error(), `admin.address: ":9900" can be reached`) {
		t.Errorf("error is %v", err)
	}
}

// Somebody who writes the secret itself into the file does not read it again in
// the answer.
func TestASecretIsNotRepeated(t *testing.T) {
	const secret = "s3cr3t-s3cr3t-s3cr3t"
	for _, tokens := range []string{
		`"` + secret + `"`, `["` + secret + `"]`, `[["` + secret + `"]]`, `{"` + secret + `": 1}`,
		`[{"name": "a", "token": "` + secret + `"}]`, `[{"name": "a", "env": "` + secret + `"}]`,
	} {
		_, err := Parse([]byte(fill("", "", "", `, "admin": {"address": ":9900", "tokens": `+tokens+`}`)))
		if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "admin.tokens") ||
			strings.Contains(err.Error(), "elsewhere") {
			t.Errorf("%s: error is %v", tokens, err)
		}
	}
}
