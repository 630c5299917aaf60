package admin

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"fulcrum/certtest"
)

// pair is a client's certificate.
func pair(t *testing.T, from *certtest.Authority, name string) []tls.Certificate {
	t.Helper()
	loaded, err := tls.LoadX509KeyPair(from.Issue(name))
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{loaded}
}

// over has a world's client speak TLS, trusting an authority.
func (w *world) over(trusted *certtest.Authority, own []tls.Certificate) {
	w.Helper()
	pool, err := ReadCertificates(trusted.File)
	if err != nil {
		w.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: own}, ForceAttemptHTTP2: true}
	w.Cleanup(transport.CloseIdleConnections)
	w.http.Transport = transport
	w.base = "https://" + w.Addr().String()
}

// fails expects that no request is answered.
func (w *world) fails(part string) {
	w.Helper()
	response, err := w.http.Get(w.base + "/healthz")
	if err == nil {
		response.Body.Close()
		w.Errorf("answered %s", response.Status)
	} else if !strings.Contains(err.Error(), part) {
		w.Errorf("error is %v, want %q", err, part)
	}
}

func TestTLS(t *testing.T) {
	certs := certtest.NewAuthority(t)
	o := tokens(t)
	o.Certificate, o.Key = certs.Issue("admin", "127.0.0.1", "lb.example")
	w := startWith(t, newAccess(t, o))
	plain := w.dial("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if status := answered(t, plain); status != 400 {
		t.Errorf("without TLS: status %d", status)
	}
	w.over(certs, nil)
	w.wantStatus(401, "GET", "/servers")
	response := w.wantStatus(201, "POST", "/upload_server", bearerOf(opsSecret)...)
	if response.ProtoMajor != 1 {
		t.Errorf("%s is spoken, of which a connection has more than one request at a time", response.Proto)
	}
	w.wantStatus(200, "GET", "/healthz", "Host", "lb.example:9900")
	w.wantStatus(421, "GET", "/healthz", "Host", "evil.example")
}

// With authorities for clients' certificates nobody else gets to ask anything.
func TestMutualTLS(t *testing.T) {
	certs, strangers := certtest.NewAuthority(t), certtest.NewAuthority(t)
	certificate, key := certs.Issue("admin", "127.0.0.1")
	w := startWith(t, newAccess(t, AccessOptions{Certificate: certificate, Key: key, ClientCA: certs.File}))
	w.over(certs, nil)
	w.fails("certificate required")
	w.over(certs, pair(t, strangers, "mallory"))
	w.fails("unknown certificate authority")
	w.wantChanges(0)
	w.over(certs, pair(t, certs, "alice"))
	w.wantStatus(201, "POST", "/upload_server")
	if got := w.log.lines(`msg="server uploaded" who=alice remote=127.0.0.1:`); len(got) != 1 {
		t.Errorf("logged %q", w.log.lines(""))
	}
	w.wantStatus(403, "POST", "/upload_server", "Origin", "https://evil.example")
}

// Who may come by a certificate needs a token as well, if there are some.
func TestMutualTLSAndTokens(t *testing.T) {
	certs := certtest.NewAuthority(t)
	o := tokens(t)
	o.Certificate, o.Key = certs.Issue("admin", "127.0.0.1")
	o.ClientCA = certs.File
	w := startWith(t, newAccess(t, o))
	w.over(certs, nil)
	w.fails("certificate required")
	w.over(certs, pair(t, certs, "alice"))
	w.wantStatus(401, "GET", "/servers")
	w.wantStatus(403, "POST", "/upload_server", bearerOf(metricsSecret)...)
	w.wantStatus(201, "POST", "/upload_server", bearerOf(opsSecret)...)
}

// A connection is worth what it has shown: one from before there was TLS, or with
// a certificate of authorities that are no longer asked for, ends.
func TestUpdateOfTLS(t *testing.T) {
	certs, next := certtest.NewAuthority(t), certtest.NewAuthority(t)
	certificate, key := certs.Issue("admin", "127.0.0.1")
	encrypted := AccessOptions{Certificate: certificate, Key: key}
	mutual, mutualNext := encrypted, encrypted
	mutual.ClientCA, mutualNext.ClientCA = certs.File, next.File
	w := start(t)
	w.wantStatus(200, "GET", "/servers")
	w.Update(newAccess(t, encrypted))
	response := w.wantStatus(421, "GET", "/servers")
	if !response.Close {
		t.Error("the connection is kept")
	}
	w.over(certs, pair(t, certs, "alice"))
	w.wantStatus(200, "GET", "/servers")
	w.Update(newAccess(t, encrypted)) // read anew, and the same
	w.wantStatus(200, "GET", "/servers")
	w.Update(newAccess(t, mutual))
	w.wantStatus(421, "POST", "/upload_server")
	w.wantStatus(200, "GET", "/servers")
	w.Update(newAccess(t, mutual))
	w.wantStatus(200, "GET", "/servers")
	w.Update(newAccess(t, mutualNext))
	w.wantStatus(421, "POST", "/upload_server")
	w.fails("unknown certificate authority")
	w.Update(newAccess(t, AccessOptions{}))
	w.fails("server gave HTTP response to HTTPS client")
	w.wantChanges(0)
}

// A client that begins TLS and says no more is let go, and does not keep Stop.
func TestSlowHandshakes(t *testing.T) {
	certs := certtest.NewAuthority(t)
	certificate, key := certs.Issue("admin", "127.0.0.1")
	a := newAccess(t, AccessOptions{Certificate: certificate, Key: key})
	w := startWith(t, a, func(l *Listener) { l.http.ReadHeaderTimeout = 50 * time.Millisecond })
	if _, err := io.Copy(io.Discard, w.dial("\x16\x03\x01")); err != nil {
		t.Errorf("the connection is not closed: %v", err)
	}
	other := startWith(t, a)
	other.dial("\x16\x03\x01")
	if err := other.Stop(soon(t)); err != nil {
		t.Error(err)
	}
}

// Whoever cannot even speak TLS does not fill the log.
func TestFailedHandshakesAreLoggedSparsely(t *testing.T) {
	certs := certtest.NewAuthority(t)
	certificate, key := certs.Issue("admin", "127.0.0.1")
	w := startWith(t, newAccess(t, AccessOptions{Certificate: certificate, Key: key}))
	for range 2 * maxSparse {
		conn := w.dial("GET /servers HTTP/1.1\r\nAuthorization: Bearer " + opsSecret + "\r\n\r\n")
		if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			response.Body.Close()
		}
		conn.Close()
	}
	if err := w.Stop(soon(t)); err != nil {
		t.Error(err)
	}
	if got := w.log.lines("TLS handshake error"); len(got) != maxSparse {
		t.Errorf("%d lines: %q", len(got), got)
	}
}

// No file that a message names is shown.
func TestKeysAreNotShown(t *testing.T) {
	certs := certtest.NewAuthority(t)
	certificate, key := certs.Issue("admin")
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []AccessOptions{
		{Certificate: key, Key: certificate}, {Certificate: key, Key: key}, {Certificate: certificate, Key: file(t, string(text[:60]))},
		{Certificate: certificate, Key: key, ClientCA: key},
	} {
		_, err := NewAccess(o)
		if err == nil || strings.Contains(err.Error(), string(text[30:50])) {
			t.Errorf("error is %v", err)
		}
	}
	if text := fmt.Sprintf("%+v", newAccess(t, tokens(t))); strings.Contains(text, mark) {
		t.Errorf("a dump has a secret: %s", text)
	}
}
