package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"fulcrum/admin"
)

func listenersCommand() *cli.Command {
	return &cli.Command{
		Name:         "listeners",
		Usage:        "show every listener of a running balancer and what went through it",
		UsageText:    "fulcrum listeners [--admin 127.0.0.1:9900] [--json]",
		Flags:        []cli.Flag{adminFlag(), jsonFlag},
		OnUsageError: usage,
		Action:       listListeners,
	}
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

// printListeners prints the table that people read. The durations are what half
// of the connections, and all but one in a hundred, stayed within.
func printListeners(w io.Writer, listeners []admin.ListenerInfo) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LISTENER\tPROTOCOL\tADDRESS\tPOOL\tIO\tACCEPTED\tACTIVE\tTO UPSTREAM\tTO CLIENT\tCONNECT\tFIRST BYTE\tDURATION")
	for _, l := range listeners {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t", l.Name, l.Protocol, l.Address, fed(l))
		if t := l.TCP; t == nil {
			fmt.Fprintln(table, strings.Join([]string{"-", "-", "-", "-", "-", "-", "-", "-"}, "\t"))
		} else {
			fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", l.IO, t.Accepted, t.Active,
				size(t.ToUpstream), size(t.ToClient), spread(t.Connect), spread(t.FirstByte), spread(t.Duration))
		}
	}
	return table.Flush()
}

// fed names the pools that a listener feeds.
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
