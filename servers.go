package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"fulcrum/admin"
	"fulcrum/admin/client"
	"fulcrum/config"
)

var jsonFlag = &cli.BoolFlag{Name: "json", Usage: "print JSON, for machines"}

func serversCommand() *cli.Command {
	poolFlag := &cli.StringFlag{Name: "pool", Usage: "`NAME` of the pool; may be left out when there is only one"}
	return &cli.Command{
		Name:         "servers",
		Usage:        "list, upload and delete the servers of a running balancer",
		UsageText:    "fulcrum servers list\nfulcrum servers upload 10.0.0.3:80\nfulcrum servers delete 10.0.0.3:80",
		OnUsageError: usage,
		Action:       subcommands,
		Subcommands: []*cli.Command{
			{
				Name:         "list",
				Usage:        "show every pool and its servers",
				UsageText:    "fulcrum servers list [--admin 127.0.0.1:9900] [--json]",
				Flags:        adminFlags(),
				OnUsageError: usage,
				Action:       listServers,
			},
			{
				Name:      "upload",
				Usage:     "add a server to a pool, or update its weight and max_connections",
				UsageText: "fulcrum servers upload [--pool web] [--weight 2] [--max-connections 500] 10.0.0.3:80",
				Flags: adminFlags(poolFlag,
					&cli.IntFlag{Name: "weight", Value: config.DefaultWeight, Usage: "the server's share relative to the others, 1 to 256"},
					&cli.IntFlag{Name: "max-connections", DefaultText: "no limit", Usage: "no more than `N` connections or requests in flight"}),
				OnUsageError: usage,
				Action:       uploadServer,
			},
			{
				Name:      "delete",
				Usage:     "take a server out of its pool once its work in flight has finished",
				UsageText: "fulcrum servers delete [--pool web] [--force] 10.0.0.3:80",
				Flags: adminFlags(poolFlag,
					&cli.BoolFlag{Name: "force", Usage: "close what is in flight now"}),
				OnUsageError: usage,
				Action:       deleteServer,
			},
		},
	}
}

func listServers(c *cli.Context) error {
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
	if c.Bool("json") {
		return printJSON(c.App.Writer, pools)
	}
	return printServers(c.App.Writer, pools, time.Now())
}

func uploadServer(c *cli.Context) error {
	api, server, err := oneServer(c)
	if err != nil {
		return err
	}
	if weight := c.Int("weight"); weight < 1 {
		return usagef("--weight: %d is not allowed; use 1 to 256", weight)
	}
	answer, _, err := api.Change(c.Context, admin.ServerChange{
		Action:         admin.Upload,
		Pool:           c.String("pool"),
		Server:         server,
		Weight:         new(c.Int("weight")),
		MaxConnections: new(c.Int("max-connections")),
	}, "")
	if err != nil {
		return asMistake(err)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, answer)
	}
	what := "updated in"
	if answer.Created {
		what = "added to"
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s %s pool %s\n", answer.Server, what, answer.Pool)
	return err
}

func deleteServer(c *cli.Context) error {
	api, server, err := oneServer(c)
	if err != nil {
		return err
	}
	force := c.Bool("force")
	answer, _, err := api.Change(c.Context, admin.ServerChange{Action: admin.Delete, Pool: c.String("pool"), Server: server, Force: force}, "")
	if err != nil {
		return asMistake(err)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, answer)
	}
	what := "closed and deleted"
	if !force {
		what = "draining, then deleted"
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s of pool %s: %s\n", answer.Server, answer.Pool, what)
	return err
}

// asMistake marks what the balancer found wrong with a request as the user's
// mistake.
func asMistake(err error) error {
	if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.Status == http.StatusBadRequest {
		return &usageError{err}
	}
	return err
}

// oneServer returns the client and the one argument. Flags stand in front of it:
// behind it they would be taken for more arguments, which is refused.
func oneServer(c *cli.Context) (api *client.Client, server string, err error) {
	if c.NArg() != 1 {
		return nil, "", usagef("expected one server's address behind the flags, got %d arguments; e.g. %s", c.NArg(), c.Command.UsageText)
	}
	api, err = newClient(c)
	return api, c.Args().First(), err
}

func printJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

// printServers prints the table that people read.
func printServers(w io.Writer, pools []admin.Pool, now time.Time) error {
	// Where servers come from is of interest once some were uploaded.
	origin := func(string) string { return "" }
	if anyUploaded(pools) {
		origin = func(source string) string { return "\t" + source }
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "POOL\tSERVER"+origin("SOURCE")+"\tSTATE\tWEIGHT\tACTIVE\tTOTAL\tFAILURES\t5XX\tTO UPSTREAM\tTO CLIENT\tFIRST BYTE\tLAST CHECK")
	for _, p := range pools {
		if len(p.Servers) == 0 {
			fmt.Fprintf(table, "%s\t(no servers)\n", p.Name)
		}
		for _, s := range p.Servers {
			active := strconv.FormatInt(s.Active, 10)
			if s.MaxConnections > 0 {
				active += "/" + strconv.Itoa(s.MaxConnections)
			}
			fmt.Fprintf(table, "%s\t%s%s\t%s\t%d\t%s\t%d\t%d\t%s\t%s\n",
				p.Name, s.Address, origin(s.Source), state(s), s.Weight, active, s.Total, s.Failures, seen(s), lastCheck(s.LastCheck, now))
		}
	}
	return table.Flush()
}

func anyUploaded(pools []admin.Pool) bool {
	return slices.ContainsFunc(pools, func(p admin.Pool) bool {
		return slices.ContainsFunc(p.Servers, func(s admin.Server) bool { return s.Source == "uploaded" })
	})
}

// seen writes the columns of what went to a server: its answers of the class 5xx,
// the bytes to it and from it, and its times to the first byte. Bytes of both
// protocols are added up; times cannot be, and are those of http if there are both.
func seen(s admin.Server) string {
	if s.TCP == nil && s.HTTP == nil {
		return "-\t-\t-\t-"
	}
	failed, toUpstream, toClient, firstByte := "-", int64(0), int64(0), admin.Durations{}
	if t := s.TCP; t != nil {
		toUpstream, toClient, firstByte = t.ToUpstream, t.ToClient, t.FirstByte
	}
	if t := s.HTTP; t != nil {
		failed, firstByte = strconv.FormatInt(t.Statuses["5xx"], 10), t.FirstByte
		toUpstream += t.Received
		toClient += t.Sent
	}
	return strings.Join([]string{failed, size(toUpstream), size(toClient), spread(firstByte)}, "\t")
}

// state says in a word why a server is ready, or why not.
func state(s admin.Server) string {
	switch {
	case s.Draining:
		return "draining"
	case s.Ready:
		return "ready"
	case s.LastCheck == nil:
		return "unchecked"
	default:
		return "not healthy"
	}
}

func lastCheck(c *admin.Check, now time.Time) string {
	if c == nil {
		return "none yet"
	}
	return fmt.Sprintf("%s (%.1f ms, %s ago)", c.Reason, c.TookMS, now.Sub(c.At).Round(time.Second))
}
