package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"fulcrum/admin"
)

func poolsCommand() *cli.Command {
	return &cli.Command{
		Name:         "pools",
		Usage:        "list the pools of a running balancer, drain and undrain all servers of one",
		UsageText:    "fulcrum pools list\nfulcrum pools drain web\nfulcrum pools undrain web",
		OnUsageError: usage,
		Action:       subcommands,
		Subcommands: []*cli.Command{
			{
				Name:         "list",
				Usage:        "show every pool, how many of its servers are ready and what waits for one",
				UsageText:    "fulcrum pools list [--admin 127.0.0.1:9900] [--json]",
				Flags:        adminFlags(),
				OnUsageError: usage,
				Action:       listPools,
			},
			{
				Name:         "drain",
				Usage:        "keep new work away from the servers that a pool has now",
				UsageText:    "fulcrum pools drain [--dry-run] web",
				Flags:        changeFlags(),
				OnUsageError: usage,
				Action:       changesPool(admin.Drain),
			},
			{
				Name:         "undrain",
				Usage:        "give the servers of a pool work again",
				UsageText:    "fulcrum pools undrain [--dry-run] web",
				Flags:        changeFlags(),
				OnUsageError: usage,
				Action:       changesPool(admin.Undrain),
			},
		},
	}
}

// summary is a pool in JSON without its servers, which servers list tells.
type summary struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"`
	Servers   int    `json:"servers"`
	Ready     int    `json:"ready"`
	Draining  int    `json:"draining"`
	Active    int64  `json:"active"`
	Queued    int    `json:"queued"`
	ETag      string `json:"etag"`
}

func listPools(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	pools, err := api.List(c.Context)
	if err != nil {
		return err
	}
	all := make([]summary, len(pools))
	for i := range pools {
		all[i] = summaryOf(&pools[i])
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, all)
	}
	table := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "POOL\tALGORITHM\tSERVERS\tREADY\tDRAINING\tACTIVE\tQUEUED\tETAG")
	for _, p := range all {
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", p.Name, p.Algorithm, p.Servers, p.Ready, p.Draining, p.Active, p.Queued, p.ETag)
	}
	return table.Flush()
}

func summaryOf(p *admin.Pool) summary {
	sum := summary{Name: p.Name, Algorithm: p.Algorithm, Servers: len(p.Servers), Queued: p.Queued, ETag: p.ETag()}
	for _, s := range p.Servers {
		if s.Ready {
			sum.Ready++
		}
		if s.Draining {
			sum.Draining++
		}
		sum.Active += s.Active
	}
	return sum
}

func configCommand() *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "print the config that a balancer runs, complete with its defaults",
		UsageText: `fulcrum config [--admin 127.0.0.1:9900]

   Servers that were uploaded, and what was changed of others, are not in it: they
   are shown by servers list. The values of request headers are hidden.`,
		Flags:        adminFlags(),
		OnUsageError: usage,
		Action:       printConfig,
	}
}

func printConfig(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	config, err := api.Config(c.Context)
	if err != nil {
		return err
	}
	return printJSON(c.App.Writer, json.RawMessage(config))
}

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:         "status",
		Usage:        "show the version, the uptime and whether a running balancer is ready",
		UsageText:    "fulcrum status [--admin 127.0.0.1:9900] [--json]",
		Flags:        adminFlags(),
		OnUsageError: usage,
		Action:       showStatus,
	}
}

func showStatus(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	status, err := api.Status(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, status)
	}
	return printStatus(c.App.Writer, status)
}

func printStatus(w io.Writer, s admin.Status) error {
	ready := "yes"
	if !s.Ready {
		ready = "no: " + s.Reason
	}
	config := s.Config
	if config == "" {
		config = "no file"
	}
	uptime := time.Duration(s.UptimeSeconds * float64(time.Second)).Round(time.Second)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "ready\t%s\nversion\t%s\npid\t%d\nstarted\t%s (%s ago)\nconfig\t%s\nio\t%s\nin flight\t%s\n",
		ready, s.Version, s.PID, s.Started.Format(time.RFC3339), uptime, config, s.IO, inFlight(s.Remaining))
	if s.Draining {
		fmt.Fprintf(table, "draining until\t%s\n", s.Deadline.Format(time.RFC3339))
	}
	return table.Flush()
}
