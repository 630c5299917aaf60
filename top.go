package main

import (
	"os"
	"strconv"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"fulcrum/top"
)

func topCommand() *cli.Command {
	return &cli.Command{
		Name:  "top",
		Usage: "watch a running balancer: its pools and servers, how they are and why, and how much goes through",
		UsageText: `fulcrum top [--once] [--admin 127.0.0.1:9900] [--json]

   It takes the whole terminal and moves once a second; ? shows the keys, by which
   servers are also drained, and q ends it. With --once it prints one screen,
   as wide as COLUMNS says, or JSON. There are no colours with NO_COLOR, and no
   characters but ASCII where the locale has no others.`,
		Flags:        adminFlags(&cli.BoolFlag{Name: "once", Usage: "print one screen, for any output"}),
		OnUsageError: usage,
		Action:       runTop,
	}
}

func runTop(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	terminal := isTerminal(c.App.Writer)
	switch {
	case c.Bool("json") && !c.Bool("once"):
		return usagef("--json goes with --once only; give both")
	case !terminal && !c.Bool("once"):
		return usagef("top takes a terminal for its output; use --once without one")
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	look := top.LookOf(os.Getenv)
	switch {
	case !c.Bool("once"):
		return top.Run(c.Context, api, c.App.Writer, look)
	case c.Bool("json"):
		now, err := top.Now(c.Context, api)
		if err != nil {
			return err
		}
		return printJSON(c.App.Writer, now)
	}
	look.Colour = look.Colour && terminal
	return top.Once(c.Context, api, c.App.Writer, look, columns(c.App.Writer))
}

// columns returns how wide an output is, 80 if nothing else is known.
func columns(out any) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if file, ok := out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
	}
	return 80
}
