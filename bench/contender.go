package main

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/template"

	"golang.org/x/sys/unix"
)

// The names of contenders; fulcrum may come under others too, see parseFulcrum.
const (
	direct       = "direct"
	haproxy      = "haproxy"
	nginx        = "nginx"
	caddy        = "caddy"
	reverseProxy = "reverseproxy"
	fulcrum      = "fulcrum"
)

// peers are those that ratios refer to: to the better of them in each scenario.
var peers = []string{haproxy, nginx}

// others are the contenders that no flag has to bring.
var others = []string{direct, haproxy, nginx, caddy, reverseProxy}

// A contender is a way from the client to the origin: a proxy, or none.
type contender struct {
	Name   string
	Binary string // of fulcrum, otherwise empty
	IO     string // what fulcrum is told to work by; "": what it chooses
}

// serves reports whether it can be measured in a scenario.
func (c contender) serves(sc scenario) bool {
	switch {
	case c.Name == caddy, c.Name == reverseProxy:
		return sc.Protocol == "http"
	case c.Name == direct:
		return sc.Load != idleLoad // it has no process to look at
	}
	return true
}

// ios are what fulcrum can be told to work by.
var ios = []string{"epoll", "io_uring"}

// parseFulcrum reads the --fulcrum flag, [NAME[:IO]=]FILE: a name tells two
// binaries apart that are measured in one run.
func parseFulcrum(flag string) (contender, error) {
	name, file, named := strings.Cut(flag, "=")
	if !named {
		name, file = fulcrum, flag
	}
	if name == "" || slices.Contains(others, name) || strings.ContainsAny(name, " |,") {
		return contender{}, fmt.Errorf("--fulcrum %q: the name must not be empty, one of %q or hold a space, comma or bar", flag, others)
	}
	_, io, told := strings.Cut(name, ":")
	if told && !slices.Contains(ios, io) {
		return contender{}, fmt.Errorf("--fulcrum %q: it cannot be told to work by %q; use one of %q", flag, io, ios)
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return contender{}, fmt.Errorf("--fulcrum %q: %w", flag, err)
	}
	if _, err := exec.LookPath(path); err != nil {
		return contender{}, fmt.Errorf("--fulcrum %q: %w", flag, err)
	}
	return contender{Name: name, Binary: path, IO: io}, nil
}

// A site is where a proxy is put for one measurement, and what its config needs.
type site struct {
	Protocol       string   // tcp or http
	Listen         string   // host:port
	Servers        []string // host:port of each
	Bulk           bool     // long streams: larger buffers and pipes pay
	Dir            string   // for the proxy's files
	Threads        int
	MaxConnections int
	Descriptors    int    // this process may have
	Root           bool   // so nginx needs no other user
	IO             string // what fulcrum is told to work by
	Module         string // nginx's stream module when it is not built in
}

//go:embed configs
var configFiles embed.FS

// configs are the files that the contenders are run with.
var configs = template.Must(template.ParseFS(configFiles, "configs/*"))

// headroom is how many connections more than a scenario has open a proxy
// must be able to carry: those that are ending, and health checks.
const headroom = 1000

// newSite completes a site that has its protocol, addresses and folder.
func newSite(s site, connections int) (site, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return s, fmt.Errorf("getrlimit: %w", err)
	}
	const most = 1 << 20 // some systems have no limit, and nginx allocates for each
	s.Descriptors = int(min(limit.Cur, most))
	s.MaxConnections = connections + headroom
	if need := s.WorkerConnections(); need > s.Descriptors {
		return s, fmt.Errorf("%d connections through a proxy need %d descriptors, the limit is %d: raise it (ulimit -n) or lower --idle",
			connections, need, s.Descriptors)
	}
	s.Threads = runtime.NumCPU()
	s.Root = os.Geteuid() == 0
	return s, nil
}

// WorkerConnections is nginx's limit per worker: one may get all connections,
// and each counts for both its ends.
func (s site) WorkerConnections() int { return 2*s.MaxConnections + 100 }

// writeConfig fills in one of the files in configs.
func (s site) writeConfig(name string) (string, error) {
	path := filepath.Join(s.Dir, name)
	file, err := os.Create(path)
	if err != nil {
		return "", fmt.Errorf("config of %s: %w", name, err)
	}
	if err := configs.ExecuteTemplate(file, name, s); err != nil {
		file.Close()
		return "", fmt.Errorf("config of %s: %w", name, err)
	}
	return path, file.Close()
}

// command returns the proxy's command line, having written its config.
func (c contender) command(s site) (*exec.Cmd, error) {
	switch c.Name {
	case haproxy:
		return configured(haproxy, s, "haproxy.cfg", "-db", "-f")
	case nginx:
		return nginxCommand(s)
	case caddy:
		return caddyCommand(s)
	case reverseProxy:
		me, err := self()
		args := append([]string{"reverse-proxy", "--listen", s.Listen}, s.Servers...)
		return exec.Command(me, args...), err
	default:
		s.IO = c.IO
		config, err := s.writeConfig("fulcrum.json")
		return exec.Command(c.Binary, "run", "--log-level", "warn", "--config", config), err
	}
}

// configured returns a command that ends in the path of its config.
func configured(name string, s site, config string, args ...string) (*exec.Cmd, error) {
	path, err := program(name)
	if err != nil {
		return nil, err
	}
	file, err := s.writeConfig(config)
	return exec.Command(path, append(args, file)...), err
}

var modulesPath = regexp.MustCompile(`--modules-path=(\S+)`)

func nginxCommand(s site) (*exec.Cmd, error) {
	path, err := program(nginx)
	if err != nil {
		return nil, err
	}
	about, err := exec.Command(path, "-V").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("nginx -V: %w", err)
	}
	if match := modulesPath.FindSubmatch(about); match != nil {
		module := filepath.Join(string(match[1]), "ngx_stream_module.so")
		if _, err := os.Stat(module); err == nil {
			s.Module = module
		}
	}
	return configured(nginx, s, "nginx.conf", "-e", "stderr", "-p", s.Dir, "-c")
}

// caddyCommand keeps what Caddy stores on disk in the site's folder.
func caddyCommand(s site) (*exec.Cmd, error) {
	cmd, err := configured(caddy, s, "caddy.json", "run", "--config")
	if err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), "HOME="+s.Dir, "XDG_CONFIG_HOME="+s.Dir, "XDG_DATA_HOME="+s.Dir)
	return cmd, nil
}

// version returns what the contender says of itself, for the report.
func (c contender) version() string {
	args := map[string][]string{haproxy: {"haproxy", "-v"}, nginx: {"nginx", "-v"}, caddy: {"caddy", "version"}}[c.Name]
	switch {
	case c.Binary != "":
		args = []string{c.Binary, "--version"}
	case c.Name == reverseProxy:
		return "net/http/httputil of " + runtime.Version()
	case args == nil:
		return "no proxy"
	}
	path := args[0]
	if c.Binary == "" {
		found, err := program(path)
		if err != nil {
			return "not installed"
		}
		path = found
	}
	out, err := exec.Command(path, args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("unknown: %v", err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}
