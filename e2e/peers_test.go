package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A peer is a server program of its own that can be killed, stopped and started
// again on the same address.
type peer struct {
	*process
	w       *world
	name    string
	address string
	begin   func() *process
}

func (p *peer) start() {
	p.w.Helper()
	p.process = p.begin()
	p.silent = true
	p.w.eventually(p.name+" accepts connections", func() bool {
		conn, err := net.Dial("tcp", p.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// nginxConfig has one process without a master, so that one signal reaches all.
const nginxConfig = `daemon off; master_process off; pid %[1]s/pid; error_log stderr warn;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000; default_type text/plain;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server { listen %[2]s; location / { return 200 "%[3]s"; } }
}
`

// nginx starts an http server that answers everything with its name.
func (w *world) nginx(name string) *peer {
	w.Helper()
	folder := w.TempDir()
	p := &peer{w: w, name: name, address: w.freeAddress()}
	config := filepath.Join(folder, "nginx.conf")
	w.must(os.WriteFile(config, fmt.Appendf(nil, nginxConfig, folder, p.address, name), 0o600))
	p.begin = func() *process {
		return w.start(w.command("nginx", "-p", folder, "-c", config, "-e", "stderr"))
	}
	p.start()
	return p
}

// nginxes starts an nginx for each name.
func (w *world) nginxes(names ...string) []*peer {
	w.Helper()
	var all []*peer
	for _, name := range names {
		all = append(all, w.nginx(name))
	}
	return all
}

// redis starts a redis-server that knows its name, however often it is started again,
// under the key "name".
func (w *world) redis(name string) *peer {
	w.Helper()
	p := &peer{w: w, name: name, address: w.freeAddress()}
	host, port, err := net.SplitHostPort(p.address)
	w.must(err)
	folder := w.TempDir()
	p.begin = func() *process {
		return w.start(w.command("redis-server", "--bind", host, "--port", port, "--dir", folder, "--save", "", "--appendonly", "no"))
	}
	p.start()
	for _, command := range [][]string{{"SET", "name", name}, {"SAVE"}} {
		if out := w.redisCLI(p.address, command...); out != "OK\n" {
			w.Fatalf("redis-cli %s: %q", command, out)
		}
	}
	return p
}

func (w *world) redises(names ...string) []*peer {
	w.Helper()
	var all []*peer
	for _, name := range names {
		all = append(all, w.redis(name))
	}
	return all
}

// redisCLI runs one command through redis-cli.
func (w *world) redisCLI(address string, args ...string) string {
	w.Helper()
	host, port, err := net.SplitHostPort(address)
	w.must(err)
	return w.mustRun("redis-cli", append([]string{"-h", host, "-p", port}, args...)...)
}

// addresses returns the addresses of peers, for a config.
func addresses(peers []*peer) []string {
	var all []string
	for _, p := range peers {
		all = append(all, p.address)
	}
	return all
}

// tcpServer runs a server inside the test: serve is called for each connection,
// which is closed behind it. It returns its address.
func (w *world) tcpServer(serve func(conn *net.TCPConn)) string {
	w.Helper()
	l := w.listen()
	w.serve(l, serve)
	return l.Addr().String()
}

// serve is tcpServer on a listening socket, which it closes with the test.
func (w *world) serve(l net.Listener, serve func(conn *net.TCPConn)) {
	var all sync.WaitGroup
	w.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(w.deadline())
			all.Go(func() {
				stop := closeOn(w.ended(), conn)
				defer stop()
				serve(conn.(*net.TCPConn))
			})
		}
	})
}

// ended is closed when the test is over, before its servers are waited for.
func (w *world) ended() <-chan struct{} { return w.Context().Done() }

// closeOn closes a connection when done is closed, or when stop is called.
func closeOn(done <-chan struct{}, conn net.Conn) (stop func()) {
	stopped := make(chan struct{})
	go func() {
		select {
		case <-done:
		case <-stopped:
		}
		conn.Close()
	}()
	return func() { close(stopped) }
}

// echoServer sends back what it is sent.
func (w *world) echoServer() string {
	w.Helper()
	return w.tcpServer(func(conn *net.TCPConn) {
		io.Copy(struct{ io.Writer }{conn}, conn)
	})
}

// httpServer runs a handler inside the test.
func (w *world) httpServer(handler http.HandlerFunc) string {
	w.Helper()
	l := w.listen()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(l)
	}()
	w.Cleanup(func() {
		server.Close()
		<-served
	})
	return l.Addr().String()
}

// A gate is an http server that holds every request for /held until it is
// opened, and answers everything with its name.
type gate struct {
	address string
	arrived chan struct{} // one for each held request
	opened  chan struct{}
	open    func()
}

func (w *world) gate(name string) *gate {
	w.Helper()
	g := &gate{arrived: make(chan struct{}, 1000), opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	g.address = w.httpServer(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			g.arrived <- struct{}{}
			select {
			case <-g.opened:
			case <-r.Context().Done():
			case <-w.ended():
			}
		}
		io.WriteString(rw, name)
	})
	return g
}

// answer is what came of an http request.
type answer struct {
	status int
	body   string
	err    error
}

// get sends a request on a connection of its own and reads the answer.
func (w *world) get(address, path string) (a answer) {
	conn, err := new(net.Dialer).DialContext(w.ctx, "tcp", address)
	if err != nil {
		return answer{err: err}
	}
	defer conn.Close()
	conn.SetDeadline(w.deadline())
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n", path)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, string(body), err}
}

// name is get of a server's name.
func (w *world) name(address string) string {
	w.Helper()
	a := w.get(address, "/")
	if a.err != nil || a.status != 200 {
		w.Fatalf("GET / of %s: %+v", address, a)
	}
	return strings.TrimSpace(a.body)
}

// getLater sends a request in the background.
func (w *world) getLater(address, path string) <-chan answer {
	later := make(chan answer, 1)
	go func() { later <- w.get(address, path) }()
	return later
}

// receive takes the next value from a channel.
func receive[T any](w *world, what string, from <-chan T) T {
	w.Helper()
	select {
	case v := <-from:
		return v
	case <-w.ctx.Done():
		w.Fatalf("at the deadline still not: %s", what)
		panic("unreachable")
	}
}
