package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An authority issues certificates for servers.
type authority struct {
	w           *world
	file        string // its own certificate, PEM
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	issued      int64
}

func (w *world) authority() *authority {
	w.Helper()
	a := &authority{w: w, file: filepath.Join(w.TempDir(), "authority.pem")}
	a.certificate, a.key = a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a.file, "")
	return a
}

// issue signs a certificate, its own if there is none yet, and writes it and its
// key into files as PEM.
func (a *authority) issue(c *x509.Certificate, certificateFile, keyFile string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.w.must(err)
	a.issued++
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(a.issued), time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = c, key
	}
	signed, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	a.w.must(err)
	a.w.must(os.WriteFile(certificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), 0o600))
	if keyFile != "" {
		bare, err := x509.MarshalPKCS8PrivateKey(key)
		a.w.must(err)
		a.w.must(os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bare}), 0o600))
	}
	parsed, err := x509.ParseCertificate(signed)
	a.w.must(err)
	return parsed, key
}

// tlsServer starts an openssl s_server whose certificate has its name as the
// subject and is valid for the hosts, and which serves its name as a file.
func (a *authority) tlsServer(name string, hosts ...string) *peer {
	w := a.w
	w.Helper()
	folder := w.TempDir()
	certificate, key := filepath.Join(folder, "certificate.pem"), filepath.Join(folder, "key.pem")
	a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: hosts}, certificate, key)
	w.must(os.WriteFile(filepath.Join(folder, "name"), []byte(name), 0o600))
	p := &peer{w: w, name: name, address: w.freeAddress()}
	p.begin = func() *process {
		cmd := w.command("openssl", "s_server", "-quiet", "-accept", p.address, "-cert", certificate, "-key", key, "-WWW")
		cmd.Dir = folder
		return w.start(cmd)
	}
	p.start()
	return p
}

// TestRoutesByName: TLS clients reach the server that their route, or the
// default, leads to, and it is that server's TLS that they speak.
func TestRoutesByName(t *testing.T) {
	overEachIO(t, 40*time.Second, func(w *world, io string) {
		a := w.authority()
		b := w.balanceRoutes(io, "10s",
			a.tlsServer("exact", "www.example.test").address,
			a.tlsServer("below", "*.example.test").address,
			a.tlsServer("rest", "rest.test").address)
		for _, test := range []struct{ host, want string }{
			{"www.example.test", "exact"},
			{"other.example.test", "below"},
			{"rest.test", "rest"},
		} {
			if got := a.curl(b.listeners["routed"], test.host); got != test.want {
				w.Errorf("curl https://%s: %q, want %q", test.host, got, test.want)
			}
		}
		for _, test := range []struct {
			args []string
			want string
		}{
			{[]string{"-servername", "www.example.test"}, "exact"},
			{[]string{"-servername", "WWW.Example.Test"}, "exact"},
			{[]string{"-servername", "www.example.test", "-tls1_2"}, "exact"},
			{[]string{"-servername", "a.b.example.test"}, "below"},
			{[]string{"-servername", "example.test"}, "rest"},
			{[]string{"-noservername"}, "rest"},
		} {
			p := w.run("openssl", append([]string{"s_client", "-connect", b.listeners["routed"], "-CAfile", a.file, "-verify_return_error"}, test.args...)...)
			if out := p.stdout.String(); p.code() != 0 || !strings.Contains(out, "subject=CN = "+test.want+"\n") {
				w.Errorf("s_client %v: exit code %d, want the certificate of %q: %s", test.args, p.code(), test.want, out)
			}
		}
	})
}

// TestNamesWithoutRoute: a listener without a default serves its routes and
// refuses every other client.
func TestNamesWithoutRoute(t *testing.T) {
	overEachIO(t, 40*time.Second, func(w *world, io string) {
		a := w.authority()
		exact := a.tlsServer("exact", "www.example.test").address
		b := w.balanceRoutes(io, "300ms", exact, exact, exact)
		strict := b.listeners["strict"]
		if got := a.curl(strict, "www.example.test"); got != "exact" {
			w.Errorf("curl of a name with a route: %q, want %q", got, "exact")
		}
		for _, args := range [][]string{{"-servername", "rest.test"}, {"-noservername"}} {
			p := w.run("openssl", append([]string{"s_client", "-connect", strict}, args...)...)
			if out := p.stdout.String(); p.code() == 0 || strings.Contains(out, "subject=") {
				w.Errorf("s_client %v: exit code %d, want to be refused: %s", args, p.code(), out)
			}
		}
		began := time.Now()
		for _, said := range []string{"GET / HTTP/1.1\r\nHost: e2e\r\n\r\n", "", "\x16\x03\x01\x02\x00\x01"} {
			conn := w.dial(strict)
			conn.Write([]byte(said))
			w.wantClosed(conn)
		}
		if took := time.Since(began); took < 600*time.Millisecond {
			w.Errorf("the one that said nothing and the one that stopped in the middle were closed within %s, want the hello_timeout of 300ms for each", took)
		}
		b.wantEnds("strict", map[string]int64{"unknown_name": 2, "no_hello": 3})
		w.eventually("the access log has the name without a route", func() bool {
			return strings.Contains(b.stdout.String(), `"sni":"rest.test","duration_ms"`)
		})
	})
}

// TestHelloInPieces: a ClientHello that is longer than usual and comes byte by
// byte leads to the same server, which gets all of it.
func TestHelloInPieces(t *testing.T) {
	overEachIO(t, 40*time.Second, func(w *world, io string) {
		a := w.authority()
		b := w.balanceRoutes(io, "20s",
			a.tlsServer("exact", "www.example.test").address,
			a.tlsServer("below", "*.example.test").address,
			a.tlsServer("rest", "rest.test").address)
		roots := x509.NewCertPool()
		roots.AddCert(a.certificate)
		var protocols []string
		for i := range 20 {
			protocols = append(protocols, fmt.Sprintf("%0200d", i))
		}
		conn := tls.Client(&inPieces{w.dial(b.listeners["routed"]), 6000}, &tls.Config{
			ServerName: "some.example.test", RootCAs: roots, NextProtos: protocols,
		})
		w.must(conn.HandshakeContext(w.ctx))
		if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "below" {
			w.Errorf("the certificate is of %q, want %q", got, "below")
		}
		conn.Close()
		w.eventually("the access log has the name", func() bool {
			return strings.Contains(b.stdout.String(), `"pool":"below","sni":"some.example.test","tried":1,`)
		})
	})
}

// TestPlainTextOnRoutes: who does not speak TLS is for the default pool.
func TestPlainTextOnRoutes(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	plain := w.nginx("plain").address
	b := w.balanceRoutes("auto", "10s", plain, plain, plain)
	if got := w.name(b.listeners["routed"]); got != "plain" {
		t.Errorf("GET / is answered by %q, want %q", got, "plain")
	}
}

// balanceRoutes runs two listeners with the same routes: "routed" has a default
// pool, "strict" has none.
func (w *world) balanceRoutes(io, helloTimeout, exact, below, rest string) *balancer {
	w.Helper()
	routes := []object{{"sni": "www.example.test", "pool": "exact"}, {"sni": "*.example.test", "pool": "below"}}
	return w.balance(object{
		"io": io,
		"listeners": []object{
			{"name": "routed", "protocol": "tcp", "address": "127.0.0.1:0", "routes": routes, "hello_timeout": helloTimeout, "access_log": "stdout", "pool": "rest"},
			{"name": "strict", "protocol": "tcp", "address": "127.0.0.1:0", "routes": routes, "hello_timeout": helloTimeout, "access_log": "stdout"},
		},
		"pools": []object{
			{"name": "exact", "servers": []string{exact}},
			{"name": "below", "servers": []string{below}},
			{"name": "rest", "servers": []string{rest}},
		},
	})
}

// curl asks a TLS server at an address for its name, as one that knows it under
// the name of a host, whose certificate has to be valid.
func (a *authority) curl(address, host string) string {
	a.w.Helper()
	return a.curlPath(address, host, "/name")
}

func (a *authority) curlPath(address, host, path string, more ...string) string {
	a.w.Helper()
	return a.w.mustRun("curl", append(more, "-sS", "--fail", "--cacert", a.file,
		"--connect-to", host+":443:"+address, "https://"+host+path)...)
}

// wantClosed reads until the end, which has to come without a byte.
func (w *world) wantClosed(conn net.Conn) {
	w.Helper()
	if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
		w.Errorf("read %q, %v; want to be closed without a word", got, err)
	}
}

// inPieces sends the first bytes one by one.
type inPieces struct {
	net.Conn
	left int
}

func (c *inPieces) Write(b []byte) (n int, err error) {
	for ; n < len(b) && c.left > 0; n++ {
		if _, err := c.Conn.Write(b[n : n+1]); err != nil {
			return n, err
		}
		c.left--
	}
	rest, err := c.Conn.Write(b[n:])
	return n + rest, err
}
