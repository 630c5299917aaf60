package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"fulcrum/config"
	"fulcrum/demo"
	"fulcrum/supervisor"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "start three small servers and a balancer in front of them, to look at and try out",
		UsageText: `fulcrum demo [--load]

   Everything runs in this one process, on loopback and on ports that are free.
   Ctrl-C ends it.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "load", Usage: "also drive a light load, so that there is something to see"},
			&cli.StringFlag{Name: "admin", Usage: "`ADDRESS` of the admin listener (default: " + config.DefaultAdminAddress + ", or a free port if that is taken)"},
		},
		OnUsageError: usage,
		Action:       runDemo,
	}
}

func runDemo(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	signals := catchSignals()
	defer signals.release()
	out := c.App.Writer
	log := slog.New(eventLog{out: out, mu: new(sync.Mutex)})
	servers, err := demo.Start(demo.Options{Logger: log})
	if err != nil {
		return err
	}
	defer servers.Close()
	s, err := startDemo(servers, c.String("admin"), log)
	if err != nil {
		return err
	}
	web, echo := s.Listeners()[0].Address, s.Listeners()[1].Address
	printDemo(out, servers, web, echo, s.AdminAddress())
	stopLoad := func() {}
	if c.Bool("load") {
		load := demo.StartLoad(demo.LoadOptions{HTTPAddress: web, TCPAddress: echo})
		stopLoad = func() {
			load.Stop()
			printCounts(out, load.Counts())
		}
	}
	signals.serve(s, log)
	return signals.stopOn(func() {
		stopLoad()
		s.Stop(context.Background())
	})
}

// startDemo starts the balancer in front of the demo's servers.
func startDemo(servers *demo.Servers, admin string, log *slog.Logger) (*supervisor.Supervisor, error) {
	conf := demoConfig(servers, admin)
	if err := conf.Complete(); err != nil {
		return nil, usagef("%s", asFlags(err.Error(), 0))
	}
	s, err := supervisor.Start(conf, log)
	if admin == "" && errors.Is(err, syscall.EADDRINUSE) {
		return startDemo(servers, "127.0.0.1:0", log)
	}
	return s, err
}

func demoConfig(servers *demo.Servers, admin string) *config.Config {
	pool := func(name string, health config.Health, addresses []string) config.Pool {
		health.Interval, health.Rise, health.Fall = time.Second, 2, 2
		p := config.Pool{Name: name, Health: &health}
		for _, a := range addresses {
			p.Servers = append(p.Servers, config.Server{Address: a})
		}
		return p
	}
	return &config.Config{
		Listeners: []config.Listener{
			{Name: "web", Protocol: config.ProtocolHTTP, Address: "127.0.0.1:0", Pool: "web"},
			{Name: "echo", Protocol: config.ProtocolTCP, Address: "127.0.0.1:0", Pool: "echo"},
		},
		Pools: []config.Pool{
			pool("web", config.Health{Path: demo.HealthPath}, servers.HTTPAddresses()),
			pool("echo", config.Health{}, servers.TCPAddresses()),
		},
		Admin:           &config.Admin{Address: admin},
		ShutdownTimeout: 3 * time.Second,
	}
}

// printDemo says what was started and what to try.
func printDemo(w io.Writer, servers *demo.Servers, web, echo, admin string) {
	names, https, tcps := demo.Names(), servers.HTTPAddresses(), servers.TCPAddresses()
	slow := len(names) - 1
	fmt.Fprintf(w, "\nfulcrum balances, in this one process:\n\n")
	fmt.Fprintf(w, "  http   %-20s over", web)
	for i := range names {
		fmt.Fprintf(w, "  %s %s", names[i], https[i])
	}
	fmt.Fprintf(w, "\n  tcp    %-20s over", echo)
	for i := range names {
		fmt.Fprintf(w, "  %s %s", names[i], tcps[i])
	}
	fmt.Fprintf(w, "\n  admin  %s, with a dashboard: http://%s/\n\nTry, in another terminal:\n\n", admin, admin)
	try := func(what, command string, values ...any) {
		fmt.Fprintf(w, "  # %s\n  "+command+"\n", append([]any{what}, values...)...)
	}
	try("who answers?", `for i in 1 2 3 4 5 6; do curl -s http://%s/; done`, web)
	try("a line over tcp", `printf 'hello\nbye\n' | curl -s telnet://%s`, echo)
	try("every server, its state and its counts", `curl -s http://%s/servers`, admin)
	try(names[0]+" goes away for ten seconds: watch it leave and come back", `curl -s -X POST http://%s/quit`, https[0])
	try("delete "+names[slow]+", then upload it again", `curl -s -X DELETE http://%s/delete_server -d '{"pool": "web", "server": "%s"}'`, admin, https[slow])
	fmt.Fprintf(w, `  curl -s -X POST http://%s/upload_server -d '{"pool": "web", "server": "%s"}'`+"\n", admin, https[slow])
	fmt.Fprintf(w, "\nCtrl-C ends it. What happens meanwhile:\n\n")
}

// printCounts says what came of the load.
func printCounts(w io.Writer, c demo.Counts) {
	fmt.Fprintf(w, "\nload: %d requests answered, %d failed; %d lines echoed, %d failed\n", c.HTTPOK, c.HTTPFailed, c.TCPOK, c.TCPFailed)
	for _, name := range slices.Sorted(maps.Keys(c.Servers)) {
		fmt.Fprintf(w, "  %-8s answered %d\n", name, c.Servers[name])
	}
}

// eventLog prints one short line per event, for people who watch.
type eventLog struct {
	out   io.Writer
	mu    *sync.Mutex // guards out
	attrs []slog.Attr
}

func (e eventLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (e eventLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	e.attrs = append(slices.Clip(e.attrs), attrs...)
	return e
}

func (e eventLog) WithGroup(string) slog.Handler { return e }

func (e eventLog) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	fmt.Fprintf(&line, "%s  %-22s", r.Time.Format(time.TimeOnly), r.Message)
	write := func(a slog.Attr) bool {
		fmt.Fprintf(&line, "  %s=%v", a.Key, a.Value)
		return true
	}
	for _, a := range e.attrs {
		write(a)
	}
	r.Attrs(write)
	line.WriteByte('\n')
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := io.WriteString(e.out, line.String())
	return err
}
