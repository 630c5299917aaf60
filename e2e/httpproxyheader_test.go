package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// overHTTP has the first listener of a config speak HTTP, and its records go to
// a file.
func (w *world) overHTTP(config object) (log string) {
	log = filepath.Join(w.TempDir(), "access.log")
	listenerOf(config)["protocol"], listenerOf(config)["access_log"] = "http", log
	return log
}

// A keeper is a client that keeps its connection for more requests.
type keeper struct {
	net.Conn
	w  *world
	in *bufio.Reader
}

func (w *world) keeps(conn net.Conn) *keeper { return &keeper{conn, w, bufio.NewReader(conn)} }

// ask sends a request for a path and returns status and body of its answer, behind
// which the connection has to go on.
func (k *keeper) ask(path string) (status int, body string) {
	k.w.Helper()
	response := k.send("GET " + path + " HTTP/1.1\r\nHost: e2e\r\n\r\n")
	text, err := io.ReadAll(response.Body)
	k.w.must(err)
	if response.Close {
		k.w.Errorf("GET %s: %d with Connection: close", path, response.StatusCode)
	}
	return response.StatusCode, string(text)
}

// send sends any text and returns the answer to it.
func (k *keeper) send(text string) *http.Response {
	k.w.Helper()
	k.w.must(ignore(io.WriteString(k, text)))
	response, err := http.ReadResponse(k.in, nil)
	k.w.must(err)
	return response
}

// wantAnswer fails the test unless a path is answered 200 and with that body.
func (k *keeper) wantAnswer(path, want string) {
	k.w.Helper()
	if status, body := k.ask(path); status != 200 || body != want {
		k.w.Errorf("GET %s: %d %q, want 200 %q", path, status, body, want)
	}
}

// TestSendProxyOverHTTP: nginx is told of each request who the client is, though
// connections are kept: each is one client's alone. Checks pass, as nobody's.
func TestSendProxyOverHTTP(t *testing.T) {
	const clients, each = 4, 5
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			overEachIO(t, 20*time.Second, func(w *world, io string) {
				server, nginxLog := w.proxiedNginx("")
				config := sends(io, version, server.address)
				log := w.overHTTP(config)
				b := w.balance(config)
				var all []*keeper
				for i := range clients {
					all = append(all, w.keeps(w.dialFrom(fmt.Sprintf("127.0.0.%d", 1+i), b.listeners["db"])))
				}
				for range each {
					for _, k := range all {
						k.wantAnswer("/", told(k))
					}
				}
				w.eventually("nginx has logged a check that passed", func() bool {
					return strings.Contains(w.read(nginxLog), "|/checked|200\n")
				})
				if seen := w.read(nginxLog); strings.Contains(seen, ".1|/checked|") {
					w.Errorf("checks have the address of a client: %s", seen)
				}
				reused := make(map[string]int)
				w.eventually("every request has its record", func() bool {
					records := recordsAt[httpRecord](w, log)
					clear(reused)
					for _, r := range records {
						if *r.Reused {
							reused[r.Client]++
						}
					}
					return len(records) == clients*each
				})
				for _, k := range all {
					if n := reused[k.LocalAddr().String()]; n != each-1 {
						w.Errorf("%d of the client's %d requests went on a kept connection, want all but the first", n, each)
					}
				}
			})
		})
	}
}

// TestAcceptProxyOverHTTP: whom a peer in the list names is the client, of every
// request on the connection and in all that concerns clients. Who is not in the
// list speaks HTTP at once.
func TestAcceptProxyOverHTTP(t *testing.T) {
	overEachIO(t, 20*time.Second, func(w *world, io_ string) {
		config := accepts(io_, w.nginx("for $http_x_forwarded_for").address, "127.0.0.1")
		log := w.overHTTP(config)
		delete(poolOf(config), "send_proxy")
		listenerOf(config)["max_connections_per_client"] = 1
		b := w.balance(config)
		web := b.listeners["db"]
		introduced := func(header string) *keeper {
			conn := w.dial(web)
			w.must(ignore(io.WriteString(conn, header)))
			return w.keeps(conn)
		}
		v2 := headerV2(netip.MustParseAddrPort("203.0.113.7:4711"), netip.MustParseAddrPort("198.51.100.1:443"))
		first := introduced(v2)
		first.wantAnswer("/", "for 203.0.113.7")
		first.wantAnswer("/", "for 203.0.113.7")
		introduced("PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n").wantAnswer("/", "for 2001:db8::7")
		if got := introduced("PROXY TCP4 203.0.113.7 198.51.100.1 4712 443\r\n").send(""); got.StatusCode != 429 {
			w.Errorf("the second connection of 203.0.113.7 is answered %d, want 429", got.StatusCode)
		}
		if got := w.curl(nil, "--haproxy-protocol", "http://"+web+"/a"); got != "for 127.0.0.1" {
			w.Errorf("behind curl's header: got %q", got)
		}
		for _, bad := range []string{"GET / HTTP/1.1\r\nHost: e2e\r\n\r\n", "PROXY TCP4 203.0.113.7\r\n", "", "PROXY TCP4"} {
			w.wantClosed(introduced(bad))
		}
		w.keeps(w.dialFrom("127.0.0.2", web)).wantAnswer("/", "for 127.0.0.2")
		liar := w.keeps(w.dialFrom("127.0.0.3", web)).send("PROXY TCP4 203.0.113.9 198.51.100.1 4711 443\r\nGET / HTTP/1.1\r\nHost: e2e\r\n\r\n")
		if liar.StatusCode != 400 {
			w.Errorf("an outsider's header is answered %d, want 400", liar.StatusCode)
		}
		w.must(first.Close())
		w.eventually("there is room for 203.0.113.7 again", func() bool { return introduced(v2).send("GET / HTTP/1.1\r\nHost: e2e\r\n\r\n").StatusCode == 200 })
		w.eventually("the access log has the clients, and why others were closed", func() bool {
			counts := make(map[string]int)
			for _, r := range recordsAt[httpRecord](w, log) {
				counts[r.Client]++
				counts[r.Ended]++
			}
			return counts["203.0.113.7:4711"] >= 3 && counts["203.0.113.7:4712"] == 1 && counts["bad_proxy_header"] == 4 && counts["client_limit"] > 0
		})
	})
}

// TestHTTPBehindHTTP: who the client is goes through two balancers to the server,
// on kept connections too, and so do checks.
func TestHTTPBehindHTTP(t *testing.T) {
	overEachIO(t, 20*time.Second, func(w *world, io string) {
		behind := accepts(io, w.nginx("for $http_x_forwarded_for host $http_host uri $request_uri").address, "127.0.0.0/8")
		log := w.overHTTP(behind)
		delete(poolOf(behind), "send_proxy")
		back := w.balance(behind)
		config := sends(io, "v2", back.listeners["db"])
		w.overHTTP(config)
		front := w.balance(config)
		for i := range 3 {
			k := w.keeps(w.dialFrom(fmt.Sprintf("127.0.0.%d", 5+i), front.listeners["db"]))
			for range 3 {
				k.wantAnswer("/a", fmt.Sprintf("for 127.0.0.%d host e2e uri /a", 5+i))
			}
			w.eventually("the second balancer knows the client", func() bool {
				n := 0
				for _, r := range recordsAt[httpRecord](w, log) {
					if r.Client == k.LocalAddr().String() {
						n++
					}
				}
				return n == 3
			})
		}
		if log := front.stderr.String() + back.stderr.String(); strings.Contains(log, "unhealthy") || strings.Contains(log, "not healthy") {
			w.Errorf("checks failed: %s", log)
		}
	})
}
