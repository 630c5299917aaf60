package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"fulcrum/admin"
	"fulcrum/admin/client"
	"fulcrum/events"
)

func eventsCommand() *cli.Command {
	return &cli.Command{
		Name:  "events",
		Usage: "show what has changed of a running balancer lately, and why",
		UsageText: `fulcrum events [--follow] [--pool web] [--limit 20] [--admin 127.0.0.1:9900] [--json]

   The oldest is the first. With --follow it goes on as things happen, also
   after a restart of the balancer; Ctrl-C ends it. JSON is one line for each.`,
		Flags: adminFlags(
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on as things happen"},
			&cli.StringFlag{Name: "pool", Usage: "only what concerns the pool of that `NAME`"},
			&cli.IntFlag{Name: "limit", Aliases: []string{"n"}, DefaultText: "all that are kept", Usage: "begin with the last `N`"}),
		OnUsageError: usage,
		Action:       showEvents,
	}
}

func showEvents(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if n := c.Int("limit"); n < 0 || n == 0 && c.IsSet("limit") {
		return usagef("--limit: %d is not allowed; use 1 or more", n)
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	tell := func(e events.Event) error { return printEvent(c.App.Writer, &e) }
	if c.Bool("json") {
		out := json.NewEncoder(c.App.Writer)
		out.SetEscapeHTML(false)
		tell = func(e events.Event) error { return out.Encode(&e) }
	}
	wanted := client.EventsWanted{Pool: c.String("pool"), Limit: c.Int("limit")}
	if c.Bool("follow") {
		return api.Follow(c.Context, wanted, tell)
	}
	answer, err := api.Events(c.Context, wanted)
	if err != nil {
		return err
	}
	for _, e := range answer.Events {
		if err := tell(e); err != nil {
			return err
		}
	}
	return nil
}

// printEvent prints an event in a line, and each of its details in one below.
func printEvent(w io.Writer, e *events.Event) error {
	var line strings.Builder
	fmt.Fprintf(&line, "%s  %-17s", e.At.Local().Format(time.DateTime), strings.ReplaceAll(string(e.Kind), "_", " "))
	for _, of := range []string{e.Pool, e.Server, e.Listener} {
		if of != "" {
			line.WriteString("  " + of)
		}
	}
	if e.Reason != "" {
		line.WriteString("  " + e.Reason)
	}
	if e.Was != "" {
		fmt.Fprintf(&line, " (was %s for %s)", e.Was, lasted(e.At.Sub(e.Since)))
	}
	if e.Count > 1 {
		fmt.Fprintf(&line, " (%d times)", e.Count)
	}
	for _, detail := range e.Details {
		line.WriteString("\n    " + detail)
	}
	_, err := fmt.Fprintln(w, line.String())
	return err
}

// lasted writes a duration as exactly as people want to know.
func lasted(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 48*time.Hour:
		return d.Round(time.Second).String()
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + " days"
}

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:  "explain",
		Usage: "show what a pool's algorithm sees now, and whom it would choose",
		UsageText: `fulcrum explain [--listener http] [--admin 127.0.0.1:9900] [--json] [POOL]

   Without POOL it is the only one, or the one that --listener feeds. Nothing is
   counted by it.`,
		Flags:        adminFlags(&cli.StringFlag{Name: "listener", Usage: "the pool that the listener of that `NAME` feeds"}),
		OnUsageError: usage,
		Action:       explain,
	}
}

func explain(c *cli.Context) error {
	if c.NArg() > 1 {
		return usagef("expected one pool's name behind the flags, got %d arguments; e.g. fulcrum explain web", c.NArg())
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	e, err := api.Explain(c.Context, c.Args().First(), c.String("listener"))
	if err != nil {
		return asMistake(err)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, e)
	}
	return printExplanation(c.App.Writer, &e, time.Now())
}

func printExplanation(w io.Writer, e *admin.Explanation, now time.Time) error {
	fed := "fed by no listener"
	if len(e.Listeners) > 0 {
		fed = "fed by " + strings.Join(e.Listeners, ", ")
	}
	fmt.Fprintf(w, "pool %s: %s, %s\n", e.Pool, e.Algorithm, fed)
	fmt.Fprintf(w, "next:    %s: %s\n", cmp.Or(e.Next, "none"), e.Why)
	queue := "nobody may wait"
	if e.Queue.Length > 0 {
		queue = fmt.Sprintf("%d wait, %d may", e.Queue.Waiting, e.Queue.Length)
	}
	fmt.Fprintf(w, "queue:   %s\n", queue)
	fmt.Fprintf(w, "retries: %d for each connection or request; %d left of all (%d%% of the last 10 s)\n\n", e.Retries.Attempts, e.Retries.Left, e.Retries.Percent)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SERVER\tSTATE\tSINCE\tWEIGHT\tACTIVE\tACTIVE/WEIGHT\tCAN BE CHOSEN")
	for _, s := range e.Servers {
		can := "yes"
		switch {
		case s.Excluded != "":
			can = "no: " + s.Excluded
		case s.Resolved == "":
			can = "yes, but its name leads nowhere"
		case s.Address == e.Next:
			can = "yes, and it is next"
		}
		fmt.Fprintf(table, "%s\t%s\t%s ago\t%d\t%s\t%.3g\t%s\n", s.Address, s.State, lasted(now.Sub(s.Since)), s.Weight,
			outOf(s.Active, s.MaxConnections), s.Score, can)
	}
	return table.Flush()
}

// outOf writes what is active, and how much may be.
func outOf(active int64, most int) string {
	if most == 0 {
		return strconv.FormatInt(active, 10)
	}
	return fmt.Sprintf("%d/%d", active, most)
}

func logLevelCommand() *cli.Command {
	return &cli.Command{
		Name:         "log-level",
		Usage:        "show or change the level of a running balancer's log",
		UsageText:    "fulcrum log-level [--admin 127.0.0.1:9900] [--json] [debug|info|warn|error]",
		Flags:        adminFlags(),
		OnUsageError: usage,
		Action:       logLevel,
	}
}

func logLevel(c *cli.Context) error {
	if c.NArg() > 1 {
		return usagef("expected one level behind the flags, got %d arguments; use debug, info, warn or error", c.NArg())
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	level := c.Args().First()
	if level == "" {
		level, err = api.LogLevel(c.Context)
	} else {
		err = api.SetLogLevel(c.Context, level)
	}
	if err != nil {
		return asMistake(err)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, admin.LogLevelAnswer{Level: level})
	}
	_, err = fmt.Fprintln(c.App.Writer, level)
	return err
}
