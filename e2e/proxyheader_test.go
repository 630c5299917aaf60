package e2e_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// proxiedNginxConfig tells clients what the PROXY header says.
const proxiedNginxConfig = `daemon off; master_process off; pid %[1]s/pid; error_log stderr warn;
events { worker_connections 1024; }
http {
  log_format told "$proxy_protocol_addr|$uri|$status"; access_log %[1]s/access.log told; default_type text/plain;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server {
    listen %[2]s proxy_protocol%[3]s;
    location / { return 200 "$proxy_protocol_addr:$proxy_protocol_port to $proxy_protocol_server_addr:$proxy_protocol_server_port"; }
  }
}
`

// proxiedNginx starts an http server that wants a PROXY header, and returns
// where it logs. more goes behind its listen directive.
func (w *world) proxiedNginx(more string) (p *peer, log string) {
	w.Helper()
	folder := w.TempDir()
	p = &peer{w: w, name: "nginx behind PROXY headers", address: w.freeAddress()}
	config := filepath.Join(folder, "nginx.conf")
	w.must(os.WriteFile(config, fmt.Appendf(nil, proxiedNginxConfig, folder, p.address, more), 0o600))
	p.begin = func() *process {
		return w.start(w.command("nginx", "-p", folder, "-c", config, "-e", "stderr"))
	}
	p.start()
	return p, filepath.Join(folder, "access.log")
}

// httpCheck has checks ask for a path that nobody else asks for.
func httpCheck() object { return object{"path": "/checked", "interval": "200ms"} }

// sends is a config with a tcp listener that begins every connection to a
// server with a PROXY header, and checks the server by HTTP.
func sends(io, version, server string) object {
	return object{
		"io":        io,
		"listeners": []object{{"name": "db", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "db"}},
		"pools":     []object{{"name": "db", "servers": []string{server}, "send_proxy": version, "health": httpCheck()}},
	}
}

// accepts is a config with a tcp listener that wants a PROXY header from some
// networks and passes it on.
func accepts(io, server string, from ...string) object {
	config := sends(io, "v2", server)
	config["listeners"].([]object)[0]["accept_proxy"] = object{"from": from, "timeout": "300ms"}
	return config
}

// askVia sends a request on a connection, behind what goes before it.
func (w *world) askVia(conn net.Conn, before string) (body string) {
	w.Helper()
	_, err := io.WriteString(conn, before+"GET / HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n")
	w.must(err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	w.must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	w.must(err)
	return string(text)
}

// dialFrom connects from an address of this machine.
func (w *world) dialFrom(source, address string) *net.TCPConn {
	w.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := d.DialContext(w.ctx, "tcp", address)
	w.must(err)
	conn.SetDeadline(w.deadline())
	w.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// told is what nginx says of a client that connected without a header of its own.
func told(conn net.Conn) string {
	return fmt.Sprintf("%s to %s", conn.LocalAddr(), conn.RemoteAddr())
}

// headerV2 returns a PROXY header for TCP over IPv4 (proxy-protocol.txt, section 2.2).
func headerV2(source, destination netip.AddrPort) string {
	b := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c")
	b = append(b, source.Addr().AsSlice()...)
	b = append(b, destination.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, source.Port())
	b = binary.BigEndian.AppendUint16(b, destination.Port())
	return string(b)
}

// TestSendProxy: nginx learns the address of every client, and the checks, which
// are no client's, pass without one.
func TestSendProxy(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			overEachIO(t, 20*time.Second, func(w *world, io string) {
				server, log := w.proxiedNginx("")
				config := sends(io, version, server.address)
				path := filepath.Join(w.socketFolder(), "listener.sock")
				config["listeners"] = append(config["listeners"].([]object),
					object{"name": "unix", "protocol": "tcp", "address": "unix:" + path, "pool": "db"},
					object{"name": "any", "protocol": "tcp", "address": ":0", "pool": "db"})
				b := w.balance(config)
				_, port, err := net.SplitHostPort(b.listeners["any"])
				w.must(err)
				hosts := []string{b.listeners["db"], "127.0.0.1:" + port}
				if w.hasIPv6() {
					hosts = append(hosts, "[::1]:"+port)
				}
				for _, address := range hosts {
					conn := w.dial(address)
					want := strings.NewReplacer("[", "", "]", "").Replace(told(conn))
					if got := w.askVia(conn, ""); got != want {
						w.Errorf("nginx was told %q, want %q", got, want)
					}
				}
				conn, err := new(net.Dialer).DialContext(w.ctx, "unix", path)
				w.must(err)
				defer conn.Close()
				if got := w.askVia(conn, ""); got != ": to :" {
					w.Errorf("nginx was told %q of the client of a unix socket, want nothing", got)
				}
				var checks string
				w.eventually("nginx has logged a check that passed", func() bool {
					text, err := os.ReadFile(log)
					w.must(err)
					checks = string(text)
					return strings.Contains(checks, "|/checked|200\n")
				})
				if strings.Contains(checks, ".1|/checked|") {
					w.Errorf("checks have the address of a client: %s", checks)
				}
			})
		})
	}
}

func (w *world) hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// TestFulcrumBehindFulcrum: the client's address goes through two balancers to
// the server, and so does a check.
func TestFulcrumBehindFulcrum(t *testing.T) {
	overEachIO(t, 20*time.Second, func(w *world, io string) {
		server, _ := w.proxiedNginx("")
		back := w.balance(accepts(io, server.address, "127.0.0.0/8"))
		front := w.balance(sends(io, "v2", back.listeners["db"]))
		for range 20 {
			conn := w.dial(front.listeners["db"])
			if got := w.askVia(conn, ""); got != told(conn) {
				w.Fatalf("nginx was told %q, want %q", got, told(conn))
			}
		}
		if got := back.traffic("db").Ends["bad_proxy_header"]; got != 0 {
			w.Errorf("the second balancer found fault with %d headers of the first", got)
		}
	})
}

// TestAcceptProxy: what a peer in the list says of its client is believed, in
// either version and in pieces of any size.
func TestAcceptProxy(t *testing.T) {
	overEachIO(t, 20*time.Second, func(w *world, io string) {
		server, _ := w.proxiedNginx("")
		b := w.balance(accepts(io, server.address, "127.0.0.1"))
		db := b.listeners["db"]
		const v1 = "PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n"
		v2 := headerV2(netip.MustParseAddrPort("203.0.113.7:4711"), netip.MustParseAddrPort("198.51.100.1:443"))
		const want = "203.0.113.7:4711 to 198.51.100.1:443"
		for _, header := range []string{v1, v2} {
			if got := w.askVia(w.dial(db), header); got != want {
				w.Errorf("behind %q nginx was told %q, want %q", header, got, want)
			}
			if got := w.askVia(&inPieces{w.dial(db), len(header) + 3}, header); got != want {
				w.Errorf("behind %q in pieces nginx was told %q, want %q", header, got, want)
			}
		}
		const v1of6 = "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n"
		if got := w.askVia(w.dial(db), v1of6); got != "2001:db8::7:4711 to 2001:db8::1:443" {
			w.Errorf("behind %q nginx was told %q", v1of6, got)
		}
		conn := w.dial(db)
		if got := w.askVia(conn, "PROXY UNKNOWN\r\n"); got != told(conn) {
			w.Errorf("behind a header that tells nothing nginx was told %q, want the peer itself, %q", got, told(conn))
		}
		if got := w.mustRun("curl", "-sS", "--fail", "--haproxy-protocol", "http://"+db+"/"); !strings.HasPrefix(got, "127.0.0.1:") || !strings.HasSuffix(got, " to "+db) {
			w.Errorf("behind curl's header nginx was told %q", got)
		}
	})
}

// TestAcceptProxyRefuses: a peer in the list that does not send a header, or a
// bad one, is closed and its bytes reach no server. Peers outside the list
// need none, and what they send is the server's.
func TestAcceptProxyRefuses(t *testing.T) {
	overEachIO(t, 20*time.Second, func(w *world, io string) {
		server, log := w.proxiedNginx("")
		b := w.balance(accepts(io, server.address, "127.0.0.2", "127.0.0.16/28", "2001:db8::/32"))
		db := b.listeners["db"]
		bad := []string{
			"GET /stranger HTTP/1.1\r\nHost: e2e\r\n\r\n",
			"PROXY TCP4 203.0.113.7 198.51.100.1 4711\r\nGET /stranger HTTP/1.1\r\nHost: e2e\r\n\r\n",
			"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\nGET /stranger HTTP/1.1\r\nHost: e2e\r\n\r\n",
			"\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c" + strings.Repeat("\x01", 12),
			"", "PROXY TCP4 203.0",
		}
		for i, text := range bad {
			conn := w.dialFrom([]string{"127.0.0.2", "127.0.0.31"}[i%2], db)
			_, err := conn.Write([]byte(text))
			w.must(err)
			w.wantClosed(conn)
		}
		b.wantEnds("db", map[string]int64{"bad_proxy_header": int64(len(bad))})
		for _, source := range []string{"127.0.0.1", "127.0.0.3", "127.0.0.32"} {
			conn := w.dialFrom(source, db)
			if got := w.askVia(conn, ""); got != told(conn) {
				w.Errorf("of an outsider nginx was told %q, want %q", got, told(conn))
			}
		}
		liar := w.dial(db)
		w.must(ignore(liar.Write([]byte("PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\nGET /liar HTTP/1.1\r\n\r\n"))))
		if answer, err := bufio.NewReader(liar).ReadString('\n'); err != nil || !strings.Contains(answer, " 400 ") {
			w.Errorf("an outsider's header is answered by %q, %v; want nginx to find fault with it", answer, err)
		}
		seen, err := os.ReadFile(log)
		w.must(err)
		if strings.Contains(string(seen), "stranger") || strings.Contains(string(seen), "203.0.113.7") {
			w.Errorf("nginx has seen what was to be refused: %s", seen)
		}
	})
}

// TestHeaderBeforeHello: a PROXY header goes before the ClientHello that a route
// is found by, and both reach a server that wants a header before its TLS.
func TestHeaderBeforeHello(t *testing.T) {
	overEachIO(t, 20*time.Second, func(w *world, io string) {
		a := w.authority()
		folder := w.TempDir()
		certificate, key := filepath.Join(folder, "certificate.pem"), filepath.Join(folder, "key.pem")
		a.issue(&x509.Certificate{DNSNames: []string{"www.example.test"}}, certificate, key)
		server, _ := w.proxiedNginx(fmt.Sprintf(" ssl; ssl_certificate %s; ssl_certificate_key %s", certificate, key))
		config := accepts(io, server.address, "127.0.0.1")
		config["pools"].([]object)[0]["health"] = object{}
		listener := config["listeners"].([]object)[0]
		delete(listener, "pool")
		listener["routes"] = []object{{"sni": "www.example.test", "pool": "db"}}
		b := w.balance(config)
		roots := x509.NewCertPool()
		roots.AddCert(a.certificate)
		for _, pieces := range []int{0, 100, 1000} {
			conn := &inPieces{w.dial(b.listeners["db"]), pieces}
			w.must(ignore(conn.Write([]byte("PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n"))))
			got := w.askVia(tls.Client(conn, &tls.Config{ServerName: "www.example.test", RootCAs: roots}), "")
			if want := "203.0.113.7:4711 to 198.51.100.1:443"; got != want {
				w.Errorf("with %d bytes sent one by one nginx was told %q, want %q", pieces, got, want)
			}
		}
		if got := a.curlPath(b.listeners["db"], "www.example.test", "/", "--haproxy-protocol"); !strings.HasPrefix(got, "127.0.0.1:") || !strings.HasSuffix(got, " to "+b.listeners["db"]) {
			w.Errorf("behind curl's header nginx was told %q", got)
		}
	})
}

func ignore(_ int, err error) error { return err }
