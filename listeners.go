package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"fulcrum/admin"
)

func listenersCommand() *cli.Command {
	return &cli.Command{
		Name:         "listeners",
		Usage:        "show every listener of a running balancer and what went through it",
		UsageText:    "fulcrum listeners [--admin 127.0.0.1:9900] [--json]\nfulcrum listeners get web",
		Flags:        adminFlags(),
		OnUsageError: usage,
		Action:       listListeners,
		Subcommands: []*cli.Command{{
			Name:         "get",
			Usage:        "show one listener",
			UsageText:    "fulcrum listeners get [--admin 127.0.0.1:9900] [--json] web",
			Flags:        adminFlags(),
			OnUsageError: usage,
			Action:       getListener,
		}},
	}
}

func getListener(c *cli.Context) error {
	name, err := oneArgument(c, "listener's name")
	if err != nil {
		return err
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	listener, err := api.Listener(c.Context, name)
	if err != nil {
		return asMistake(err)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, listener)
	}
	return printListeners(c.App.Writer, []admin.ListenerInfo{listener})
}

func listListeners(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	listeners, err := api.Listeners(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, listeners)
	}
	return printListeners(c.App.Writer, listeners)
}

// printListeners prints the tables that people read, one for each protocol. The
// durations are what half of the connections or requests, and all but one in a
// hundred, stayed within.
func printListeners(w io.Writer, listeners []admin.ListenerInfo) error {
	var tcp, http []admin.ListenerInfo
	for _, l := range listeners {
		if l.TCP != nil {
			tcp = append(tcp, l)
		}
		if l.HTTP != nil {
			http = append(http, l)
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(tcp) > 0 {
		printTCP(table, tcp)
	}
	if len(tcp) > 0 && len(http) > 0 {
		fmt.Fprintln(table)
	}
	if len(http) > 0 {
		printHTTP(table, http)
	}
	return table.Flush()
}

func printTCP(table io.Writer, listeners []admin.ListenerInfo) {
	fmt.Fprintln(table, "TCP LISTENER\tADDRESS\tPOOL\tACCEPTED\tACTIVE\tTO UPSTREAM\tTO CLIENT\tCONNECT\tFIRST BYTE\tDURATION")
	for _, l := range listeners {
		t := l.TCP
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", l.Name, l.Address, fed(l), t.Accepted, t.Active,
			size(t.ToUpstream), size(t.ToClient), spread(t.Connect), spread(t.FirstByte), spread(t.Duration))
	}
}

// printHTTP prints each listener's routes below it: they are a part of what went
// through it.
func printHTTP(table io.Writer, listeners []admin.ListenerInfo) {
	fmt.Fprintln(table, "HTTP LISTENER\tADDRESS\tPOOL\tOPEN\tREQUESTS\tACTIVE\t4XX\t5XX\tRETRIES\tRECEIVED\tSENT\tFIRST BYTE\tDURATION")
	for _, l := range listeners {
		open := "-"
		if c := l.HTTP.Connections; c != nil {
			open = strconv.FormatInt(c.Open, 10)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", l.Name, l.Address, cmp.Or(l.Pool, "-"), open, requests(l.HTTP))
		for _, r := range l.Routes {
			fmt.Fprintf(table, "  %s%s\t\t%s\t\t%s\n", cmp.Or(r.Host, "*"), r.Path, destination(r), requests(r.HTTP))
		}
	}
}

// requests writes the columns that listeners and routes have in common.
func requests(t *admin.HTTPTraffic) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s", t.Requests, t.Active, t.Statuses["4xx"], t.Statuses["5xx"], t.Retries,
		size(t.Received), size(t.Sent), spread(t.FirstByte), spread(t.Duration))
}

// destination names where the requests of a route go; "*" is what they asked for.
func destination(r admin.Route) string {
	to := r.Redirect
	if to == nil {
		return r.Pool
	}
	where := to.Path
	if to.Scheme != "" || to.Host != "" {
		where = cmp.Or(to.Scheme, "*") + "://" + cmp.Or(to.Host, "*") + to.Path
	}
	return strconv.Itoa(to.Status) + " " + where
}

// fed names the pools that a tcp listener feeds.
func fed(l admin.ListenerInfo) string {
	switch {
	case len(l.Routes) == 0:
		return l.Pool
	case l.Pool == "":
		return count(len(l.Routes), "route")
	}
	return l.Pool + " and " + count(len(l.Routes), "route")
}

// size writes a number of bytes in at most four digits.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	value, unit := float64(n), -1
	for value >= 999.5 && unit < len(units)-1 {
		value /= 1000
		unit++
	}
	if value < 9.95 {
		return fmt.Sprintf("%.1f %cB", value, units[unit])
	}
	return fmt.Sprintf("%.0f %cB", value, units[unit])
}

// spread writes the median and the 99th percentile.
func spread(d admin.Durations) string {
	if d.Count == 0 {
		return "-"
	}
	return span(d.P50MS) + "/" + span(d.P99MS)
}

// span writes milliseconds in a unit that needs few digits.
func span(ms float64) string {
	switch {
	case ms < 0.9995:
		return fmt.Sprintf("%.0f µs", 1e3*ms)
	case ms < 9.95:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 999.5:
		return fmt.Sprintf("%.0f ms", ms)
	case ms < 60e3:
		return fmt.Sprintf("%.1f s", ms/1e3)
	}
	return fmt.Sprintf("%.0f min", ms/60e3)
}
