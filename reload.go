package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func reloadCommand() *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "have a running balancer go over to its config file as it is now",
		UsageText: `fulcrum reload [--dry-run] [--admin 127.0.0.1:9900] [--json]

   Prints what changes. A file with a mistake in it changes nothing.`,
		Flags:        adminFlags(&cli.BoolFlag{Name: "dry-run", Usage: "only say what would change"}),
		OnUsageError: usage,
		Action:       reload,
	}
}

func reload(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	answer, err := api.Reload(c.Context, c.Bool("dry-run"))
	if err != nil {
		return asMistake(err)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, answer)
	}
	changes := answer.Changes
	switch {
	case len(changes) > 0:
	case answer.DryRun:
		changes = []string{"nothing would change"}
	default:
		changes = []string{"nothing has changed"}
	}
	_, err = fmt.Fprintln(c.App.Writer, strings.Join(changes, "\n"))
	return err
}
