package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/urfave/cli/v2"

	"fulcrum/admin"
	"fulcrum/admin/client"
)

var poolFlag = &cli.StringFlag{Name: "pool", Usage: "`NAME` of the pool; may be left out when there is only one"}

// changeFlags returns the flags of a command that changes servers, with others of
// its own.
func changeFlags(others ...cli.Flag) []cli.Flag {
	return adminFlags(append(others,
		&cli.BoolFlag{Name: "dry-run", Usage: "only say what would change"},
		&cli.StringFlag{Name: "if-match", Usage: "change nothing unless `ETAG` is what it has still, as servers get or pools list told"})...)
}

// weightFlag and limitFlag say what the server has without them.
func weightFlag(without string) cli.Flag {
	return &cli.IntFlag{Name: "weight", DefaultText: without, Usage: "the server's share relative to the others, 1 to 256"}
}

func limitFlag(without string) cli.Flag {
	return &cli.IntFlag{Name: "max-connections", DefaultText: without, Usage: "no more than `N` connections or requests in flight, 0 for no limit"}
}

// changesServer is the action of a command that changes the server whose address is
// its argument.
func changesServer(action admin.Action) cli.ActionFunc {
	return func(c *cli.Context) error {
		server, err := oneArgument(c, "server's address")
		if err != nil {
			return err
		}
		change := admin.ServerChange{Action: action, Pool: c.String("pool"), Server: server, Force: c.Bool("force")}
		if c.IsSet("weight") {
			change.Weight = new(c.Int("weight"))
			if *change.Weight < 1 {
				return usagef("--weight: %d is not allowed; use 1 to 256", *change.Weight)
			}
		}
		if c.IsSet("max-connections") {
			change.MaxConnections = new(c.Int("max-connections"))
		}
		if action == admin.Patch && change.Weight == nil && change.MaxConnections == nil {
			return usagef("there is nothing to change; give --weight or --max-connections")
		}
		return makeChange(c, change)
	}
}

// changesPool is the action of a command that changes the pool whose name is its
// argument.
func changesPool(action admin.Action) cli.ActionFunc {
	return func(c *cli.Context) error {
		pool, err := oneArgument(c, "pool's name")
		if err != nil {
			return err
		}
		return makeChange(c, admin.ServerChange{Action: action, Pool: pool})
	}
}

// makeChange has the balancer make a change and prints what came of it.
func makeChange(c *cli.Context, change admin.ServerChange) error {
	change.DryRun = c.Bool("dry-run")
	api, err := newClient(c)
	if err != nil {
		return err
	}
	answer, _, err := api.Change(c.Context, change, quotedTag(c.String("if-match")))
	if err != nil {
		return asMistake(err)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, answer)
	}
	text := outcomeOf(change, answer)
	if change.DryRun {
		text = strings.Join(answer.Changes, "\n")
		if text == "" {
			text = "nothing would change"
		}
	}
	_, err = fmt.Fprintln(c.App.Writer, text)
	return err
}

// quotedTag returns an ETag with the quotes that a shell may have taken off it.
func quotedTag(tag string) string {
	if tag == "" || tag == "*" || strings.Contains(tag, `"`) {
		return tag
	}
	return `"` + tag + `"`
}

// outcomeOf says what has come of a change.
func outcomeOf(c admin.ServerChange, a admin.ChangeAnswer) string {
	what := "" // of the server of the pool
	switch {
	case a.Created:
		return fmt.Sprintf("%s added to pool %s", a.Server, a.Pool)
	case c.Action == admin.Upload, c.Action == admin.Patch:
		return fmt.Sprintf("%s updated in pool %s", a.Server, a.Pool)
	case c.Action == admin.Delete && c.Force:
		what = "closed and deleted"
	case c.Action == admin.Delete:
		what = "draining, then deleted"
	case c.Action == admin.Drain:
		what = "draining"
	default:
		what = "takes new work"
	}
	if a.Server == "" {
		return fmt.Sprintf("pool %s: %s", a.Pool, what)
	}
	return fmt.Sprintf("%s of pool %s: %s", a.Server, a.Pool, what)
}

// asMistake marks what the balancer found wrong with a request as the user's
// mistake.
func asMistake(err error) error {
	if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.Status == http.StatusBadRequest {
		return &usageError{err}
	}
	return err
}

// oneArgument returns the one argument. Flags stand in front of it: behind it they
// would be taken for more arguments, which is refused.
func oneArgument(c *cli.Context, what string) (string, error) {
	if c.NArg() != 1 {
		example, _, _ := strings.Cut(c.Command.UsageText, "\n")
		return "", usagef("expected one %s behind the flags, got %d arguments; e.g. %s", what, c.NArg(), example)
	}
	if c.Args().First() == "" {
		return "", usagef("the %s is empty", what)
	}
	return c.Args().First(), nil
}
