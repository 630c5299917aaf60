package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"fulcrum/config"
	"fulcrum/supervisor"
	"fulcrum/systemd"
)

var configFlag = &cli.StringFlag{Name: "config", Aliases: []string{"c"}, Value: "config.json", Usage: "`FILE` to read"}

func runCommand() *cli.Command {
	return &cli.Command{
		Name:         "run",
		Usage:        "run the balancer that a config file describes",
		UsageText:    "fulcrum run [--config config.json] [--check]",
		Flags:        []cli.Flag{configFlag, &cli.BoolFlag{Name: "check", Usage: "only validate the config"}, logLevelFlag, logFormatFlag},
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			if c.Bool("check") {
				return check(c)
			}
			return runConfig(c)
		},
	}
}

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:         "check",
		Usage:        "validate a config file and report everything that is wrong with it",
		UsageText:    "fulcrum check [--config config.json]",
		Flags:        []cli.Flag{configFlag},
		OnUsageError: usage,
		Action:       check,
	}
}

func tcpCommand() *cli.Command {
	return &cli.Command{
		Name:  "tcp",
		Usage: "balance TCP connections without a config file",
		UsageText: `fulcrum tcp --listen :5432 --server 10.0.0.1:5432 --server 10.0.0.2:5432

   A server is taken in and out of use by whether it accepts connections.`,
		Flags:        balanceFlags(),
		OnUsageError: usage,
		Action:       func(c *cli.Context) error { return runFlags(c, config.ProtocolTCP) },
	}
}

func httpCommand() *cli.Command {
	return &cli.Command{
		Name:  "http",
		Usage: "balance HTTP requests without a config file",
		UsageText: `fulcrum http --listen :8080 --server 10.0.0.1:80 --server 10.0.0.2:80 --health-path /health

   Without --health-path a server is taken in and out of use by whether it
   accepts connections.`,
		Flags: append(balanceFlags(),
			&cli.StringFlag{Name: "health-path", Usage: "check servers by GET `PATH`, which must answer 200 to 399"}),
		OnUsageError: usage,
		Action:       func(c *cli.Context) error { return runFlags(c, config.ProtocolHTTP) },
	}
}

func balanceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "listen", Aliases: []string{"l"}, Usage: "`ADDRESS` that clients connect to: host:port, :port or unix:/path"},
		&cli.StringSliceFlag{Name: "server", Aliases: []string{"s"}, Usage: "`ADDRESS` of a server; repeat it for each"},
		&cli.StringFlag{Name: "algorithm", Value: config.DefaultAlgorithm, Usage: "`NAME`: " + strings.Join(config.Algorithms(), " or ")},
		&cli.StringFlag{Name: "admin", Usage: "`ADDRESS` of the admin listener, e.g. " + config.DefaultAdminAddress + " (default: none)"},
		logLevelFlag, logFormatFlag,
	}
}

// check validates the config file and says what it holds.
func check(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	conf, err := config.Load(c.String(configFlag.Name))
	if err != nil {
		return &usageError{err}
	}
	fmt.Fprintf(c.App.Writer, "%s is valid: %s\n", c.String(configFlag.Name), holds(conf))
	return nil
}

// holds says how much there is in a config.
func holds(conf *config.Config) string {
	servers := 0
	for _, p := range conf.Pools {
		servers += len(p.Servers)
	}
	return fmt.Sprintf("%s, %s, %s",
		count(len(conf.Listeners), "listener"), count(len(conf.Pools), "pool"), count(servers, "server"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func runConfig(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	log, level, err := newLogger(c)
	if err != nil {
		return err
	}
	load := func() (*config.Config, error) { return config.Load(c.String(configFlag.Name)) }
	conf, err := load()
	if err != nil {
		decline(err)
		return &usageError{err}
	}
	return balance(conf, load, log, level)
}

// runFlags balances as the flags of `fulcrum tcp` and `fulcrum http` say.
func runFlags(c *cli.Context, protocol string) error {
	if err := noArguments(c); err != nil {
		return err
	}
	log, level, err := newLogger(c)
	if err != nil {
		return err
	}
	if err := required(c, "listen", "server"); err != nil {
		return err
	}
	pool := config.Pool{Name: "servers", Algorithm: c.String("algorithm")}
	for _, address := range c.StringSlice("server") {
		pool.Servers = append(pool.Servers, config.Server{Address: address})
	}
	if path := c.String("health-path"); path != "" {
		pool.Health = &config.Health{Path: path}
	}
	conf := &config.Config{
		Listeners: []config.Listener{{Name: protocol, Protocol: protocol, Address: c.String("listen"), Pool: pool.Name}},
		Pools:     []config.Pool{pool},
	}
	if address := c.String("admin"); address != "" {
		conf.Admin = &config.Admin{Address: address}
	}
	if err := conf.Complete(); err != nil {
		return &usageError{errors.New(asFlags(err.Error(), len(pool.Servers)))}
	}
	return balance(conf, nil, log, level)
}

// required refuses a command line without these flags.
func required(c *cli.Context, names ...string) error {
	var missing []string
	for _, name := range names {
		if !c.IsSet(name) {
			missing = append(missing, "--"+name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	example, _, _ := strings.Cut(c.Command.UsageText, "\n")
	return usagef("%s must be given; e.g. %s", strings.Join(missing, " and "), example)
}

// asFlags rewrites places in a config to the flags that they were made from.
func asFlags(message string, servers int) string {
	pairs := []string{
		"listeners[0].address", "--listen",
		"pools[0].algorithm", "--algorithm",
		"pools[0].health.path", "--health-path",
		"admin.address", "--admin",
	}
	for i := range servers {
		place := fmt.Sprintf("pools[0].servers[%d]", i)
		flag := fmt.Sprintf("--server (number %d)", i+1)
		pairs = append(pairs, place+".address", flag, place, flag)
	}
	return strings.NewReplacer(pairs...).Replace(message)
}

// doing says what a balancer does: what the config holds, or drain until a deadline.
func doing(conf *config.Config, drainsUntil time.Time) string {
	if drainsUntil.IsZero() {
		return holds(conf)
	}
	return "draining until " + drainsUntil.Format(time.RFC3339)
}

// balance runs a balancer until it is told to stop. load reads its config anew; nil:
// there is no file. The level is what log is changed by.
func balance(conf *config.Config, load func() (*config.Config, error), log *slog.Logger, level *slog.LevelVar) error {
	signals := catchSignals()
	defer signals.release()
	heritage, err := inherited()
	if err != nil {
		return err
	}
	s, err := supervisor.StartWith(conf, heritage, log)
	if err != nil {
		return err
	}
	s.LevelBy(level)
	if load != nil {
		s.ReloadBy(load)
	}
	service := systemd.Ready(log, holds(conf), s.Answers)
	defer service.Close()
	s.OnStatus(func(c *config.Config, drainsUntil time.Time) { service.Status(doing(c, drainsUntil)) })
	s.UpgradeBy(successor, service.Replaced)
	s.Settled()
	signals.reloading = service.Reloading
	signals.serve(s, log)
	signals.replaced = s.Replaced()
	return signals.stopOn(func() {
		select {
		case <-s.Replaced(): // the service goes on
		default:
			service.Stopping(s.ShutdownTimeout())
		}
		s.Stop(context.Background())
	})
}
