package main

import (
	"fmt"
	"strings"
	"testing"

	"fulcrum/certtest"
)

const (
	opsSecret     = "s3cr3t-of-the-operators"
	metricsSecret = "s3cr3t-of-the-metrics"
)

// asked runs a command line against an admin listener; what it prints has no secret.
func asked(t *testing.T, at, command string, flags ...string) outcome {
	t.Helper()
	words := strings.Fields(command)
	n := min(2, len(words))
	o := fulcrum(t, append(append(words[:n:n], append([]string{"--admin", at}, flags...)...), words[n:]...)...)
	if strings.Contains(o.stdout+o.stderr, "s3cr3t") {
		t.Errorf("%s: printed a secret: %s%s", command, o.stdout, o.stderr)
	}
	return o
}

// The token comes from a file or the environment, and what a refusal means is said
// in the words of the command line.
func TestTokens(t *testing.T) {
	ops, metrics := written(t, opsSecret+"\n"), written(t, metricsSecret)
	at := guarded(t, `{"name": "web"}`, fmt.Sprintf(
		`, "tokens": [{"name": "ops", "file": %q}, {"name": "metrics", "access": "read", "file": %q}]`, ops, metrics))
	const give = "by --token-file FILE or in FULCRUM_TOKEN"
	t.Setenv(tokenVariable, "")
	for _, command := range []string{"servers list", "servers upload 127.0.0.1:1", "servers delete 127.0.0.1:1"} {
		asked(t, at, command).refused(exitFailed, "a token is needed", "(401 Unauthorized); give one "+give)
	}
	asked(t, at, "servers list", "--token-file", metrics).ok("(no servers)")
	asked(t, at, "servers upload 127.0.0.1:1", "--token-file", metrics).
		refused(exitFailed, `token "metrics" may only read; use one that has write access (403 Forbidden); give another one `+give)
	asked(t, at, "servers upload 127.0.0.1:1", "--token-file", ops).ok("added to pool web")
	fulcrum(t, "listeners", "--admin", at, "--token-file", ops).ok("web")

	t.Setenv(tokenVariable, opsSecret)
	asked(t, at, "servers delete 127.0.0.1:1").ok("draining")
	asked(t, at, "servers upload 127.0.0.1:2", "--token-file", metrics).refused(exitFailed, "may only read")
	t.Setenv(tokenVariable, opsSecret+"-of-yesterday")
	asked(t, at, "servers list").refused(exitFailed, "the token is not one of those that are allowed here (401 Unauthorized); give one "+give)
	asked(t, at, "servers list", "--token-file", written(t, "s3cr3t")).refused(exitUsage, "--token-file: /", "a token must have 16 to 1024 bytes")
	t.Setenv(tokenVariable, "s3cr3t with blanks")
	asked(t, at, "servers list").refused(exitUsage, "FULCRUM_TOKEN in the environment: a token must have nothing but visible")
}

func TestCertificates(t *testing.T) {
	t.Setenv(tokenVariable, "")
	certs := certtest.NewAuthority(t)
	certificate, key := certs.Issue("admin", "127.0.0.1")
	at := guarded(t, `{"name": "web"}`, fmt.Sprintf(`, "tls": {"certificate": %q, "key": %q, "client_ca": %q}`, certificate, key, certs.File))
	certificate, key = certs.Issue("alice")
	asked(t, "https://"+at, "servers list", "--ca", certs.File, "--cert", certificate, "--key", key).ok("(no servers)")
	asked(t, "https://"+at, "servers list", "--cert", certificate, "--key", key).
		refused(exitFailed, "unknown authority; if that is the balancer's own, give it by --ca FILE")
	asked(t, "https://"+at, "servers list", "--ca", certs.File).refused(exitFailed, "certificate required")
	asked(t, at, "servers list").refused(exitFailed, "speaks TLS; use https://"+at)
}
