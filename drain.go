package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"fulcrum/admin"
	"fulcrum/admin/client"
)

const (
	drainPoll  = 500 * time.Millisecond // between two looks at what remains
	closingFor = 5 * time.Second        // how long what is closed at the deadline may take
)

func drainCommand() *cli.Command {
	return &cli.Command{
		Name:  "drain",
		Usage: "take a running balancer out of use, letting what is in flight finish",
		UsageText: `fulcrum drain [--timeout 30s] [--wait] [--dry-run] [--admin 127.0.0.1:9900] [--json]

   /healthz says so from then on, so that what stands in front sends its clients
   elsewhere; whoever comes is still served, and http connections end with their
   next answer. What is left when the time is over is closed, WebSockets by a Close
   frame. Given again it changes the time that is left.`,
		Flags: adminFlags(
			&cli.DurationFlag{Name: "timeout", Usage: "close what is left after `TIME`", DefaultText: "the config's shutdown_timeout"},
			&cli.BoolFlag{Name: "wait", Usage: "until nothing is left, and fail if the drain is ended before"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only say until when it would be"}),
		OnUsageError: usage,
		Action:       drain,
	}
}

func undrainCommand() *cli.Command {
	return &cli.Command{
		Name:         "undrain",
		Usage:        "have a running balancer that drains go on as before",
		UsageText:    "fulcrum undrain [--dry-run] [--admin 127.0.0.1:9900] [--json]",
		Flags:        adminFlags(&cli.BoolFlag{Name: "dry-run", Usage: "only say what is in flight"}),
		OnUsageError: usage,
		Action:       undrain,
	}
}

func drain(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	request := admin.DrainRequest{DryRun: c.Bool("dry-run")}
	if c.IsSet("timeout") {
		timeout := c.Duration("timeout")
		request.Timeout = &timeout
	}
	if request.DryRun && c.Bool("wait") {
		return usagef("--wait and --dry-run exclude each other; give one of them")
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	answer, err := api.Drain(c.Context, request)
	if err != nil {
		return asMistake(err)
	}
	if c.Bool("wait") {
		if !c.Bool("json") {
			printDrain(c.App.Writer, answer)
		}
		if answer, err = awaitDrain(c.Context, api); err != nil {
			return err
		}
	}
	return tellDrain(c, answer)
}

func undrain(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	answer, err := api.Undrain(c.Context, c.Bool("dry-run"))
	if err != nil {
		return asMistake(err)
	}
	return tellDrain(c, answer)
}

func tellDrain(c *cli.Context, answer admin.DrainAnswer) error {
	if c.Bool("json") {
		return printJSON(c.App.Writer, answer)
	}
	return printDrain(c.App.Writer, answer)
}

// awaitDrain waits until nothing remains, or until what remained has been closed.
// Whoever comes after that does not matter.
func awaitDrain(ctx context.Context, api *client.Client) (answer admin.DrainAnswer, err error) {
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for {
		now, err := api.Status(ctx)
		switch {
		case err != nil:
			return answer, err
		case !now.Draining:
			return answer, errors.New("somebody has ended the drain")
		case now.Remaining != nil && now.Remaining.Connections == 0, time.Since(*now.Deadline) > closingFor:
			return admin.DrainAnswer{DrainState: now.DrainState}, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return answer, ctx.Err()
		}
	}
}

// printDrain says in a line how it is about a drain.
func printDrain(w io.Writer, d admin.DrainAnswer) error {
	what := "not draining"
	if d.Draining {
		left := max(time.Until(*d.Deadline), 0)
		what = fmt.Sprintf("draining until %s (%v)", d.Deadline.Local().Format(time.DateTime), left.Round(time.Second))
	}
	if d.DryRun {
		what = "would be " + what
	}
	_, err := fmt.Fprintf(w, "%s; in flight: %s\n", what, inFlight(d.Remaining))
	return err
}

func inFlight(r *admin.Remaining) string {
	switch {
	case r == nil:
		return "not known, the event loops are busy"
	case r.Connections == 0:
		return "nothing"
	}
	text := fmt.Sprintf("%s, %s", count(int(r.Connections), "connection"), count(int(r.Requests), "request"))
	if r.OldestSeconds > 0 {
		text += fmt.Sprintf(", the oldest for %v", time.Duration(r.OldestSeconds*float64(time.Second)).Round(time.Second))
	}
	return text
}
