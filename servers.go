package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"fulcrum/admin"
	"fulcrum/config"
)

var jsonFlag = &cli.BoolFlag{Name: "json", Usage: "print JSON, for machines"}

func serversCommand() *cli.Command {
	return &cli.Command{
		Name:  "servers",
		Usage: "list and change the servers of a running balancer",
		UsageText: `fulcrum servers list
fulcrum servers upload 10.0.0.3:80
fulcrum servers patch --weight 5 10.0.0.3:80
fulcrum servers drain 10.0.0.3:80
fulcrum servers undrain 10.0.0.3:80
fulcrum servers delete 10.0.0.3:80`,
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
				Name:         "get",
				Usage:        "show a server, and the ETag to change it by with --if-match",
				UsageText:    "fulcrum servers get [--pool web] 10.0.0.3:80",
				Flags:        adminFlags(poolFlag),
				OnUsageError: usage,
				Action:       getServer,
			},
			{
				Name:         "upload",
				Usage:        "add a server to a pool, or update its weight and max_connections",
				UsageText:    "fulcrum servers upload [--pool web] [--weight 2] [--max-connections 500] 10.0.0.3:80",
				Flags:        changeFlags(poolFlag, weightFlag(strconv.Itoa(config.DefaultWeight)), limitFlag("no limit")),
				OnUsageError: usage,
				Action:       changesServer(admin.Upload),
			},
			{
				Name:         "patch",
				Aliases:      []string{"set"},
				Usage:        "change the weight or max_connections of a server, and nothing else",
				UsageText:    "fulcrum servers patch [--pool web] [--weight 2] [--max-connections 500] 10.0.0.3:80",
				Flags:        changeFlags(poolFlag, weightFlag("as it is"), limitFlag("as it is")),
				OnUsageError: usage,
				Action:       changesServer(admin.Patch),
			},
			{
				Name:         "delete",
				Usage:        "take a server out of its pool once its work in flight has finished",
				UsageText:    "fulcrum servers delete [--pool web] [--force] 10.0.0.3:80",
				Flags:        changeFlags(poolFlag, &cli.BoolFlag{Name: "force", Usage: "close what is in flight now"}),
				OnUsageError: usage,
				Action:       changesServer(admin.Delete),
			},
			{
				Name:         "drain",
				Usage:        "keep new work away from a server, which stays in its pool",
				UsageText:    "fulcrum servers drain [--pool web] 10.0.0.3:80",
				Flags:        changeFlags(poolFlag),
				OnUsageError: usage,
				Action:       changesServer(admin.Drain),
			},
			{
				Name:         "undrain",
				Usage:        "give a server work again",
				UsageText:    "fulcrum servers undrain [--pool web] 10.0.0.3:80",
				Flags:        changeFlags(poolFlag),
				OnUsageError: usage,
				Action:       changesServer(admin.Undrain),
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

// tagged is a server with its ETag, as JSON.
type tagged struct {
	ETag string `json:"etag"`
	admin.Server
}

func getServer(c *cli.Context) error {
	address, err := oneArgument(c, "server's address")
	if err != nil {
		return err
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	pool := c.String("pool")
	if pool == "" {
		if pool, err = api.OnlyPool(c.Context); err != nil {
			return asMistake(err)
		}
	}
	server, etag, err := api.Server(c.Context, pool, address)
	if err != nil {
		return asMistake(err)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, tagged{etag, server})
	}
	if err := printServers(c.App.Writer, []admin.Pool{{Name: pool, Servers: []admin.Server{server}}}, time.Now()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "\nETag: %s\n", etag)
	return err
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
			fmt.Fprintf(table, "%s\t%s%s\t%s\t%d\t%s\t%d\t%d\t%s\t%s\n",
				p.Name, s.Address, origin(s.Source), standing(s, now), s.Weight, outOf(s.Active, s.MaxConnections), s.Total, s.Failures, seen(s), lastCheck(s.LastCheck, now))
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

// standing says why a server is ready or is not, and for how long.
func standing(s admin.Server, now time.Time) string {
	return s.State + " " + lasted(now.Sub(s.Since))
}

func lastCheck(c *admin.Check, now time.Time) string {
	if c == nil {
		return "none yet"
	}
	return fmt.Sprintf("%s (%.1f ms, %s ago)", c.Reason, c.TookMS, now.Sub(c.At).Round(time.Second))
}
