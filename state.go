package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"fulcrum/config"
	"fulcrum/supervisor"
)

func stateCommand() *cli.Command {
	return &cli.Command{
		Name:         "state",
		Usage:        "show what the state file keeps of uploaded and deleted servers",
		UsageText:    "fulcrum state diff --config config.json",
		OnUsageError: usage,
		Action:       subcommands,
		Subcommands: []*cli.Command{{
			Name:  "diff",
			Usage: "print what the state file changes of the config, whether or not a balancer runs",
			UsageText: `fulcrum state diff [--config config.json] [--state state.json]

   That of the service of systemd is not beside its config:

   fulcrum state diff --config /etc/fulcrum/config.json --state /var/lib/fulcrum/state.json`,
			Flags:        []cli.Flag{configFlag, &cli.StringFlag{Name: "state", Usage: "state `FILE`", DefaultText: "as the config says"}},
			OnUsageError: usage,
			Action:       diffState,
		}},
	}
}

func diffState(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	conf, err := config.Load(c.String(configFlag.Name))
	if err != nil {
		return &usageError{err}
	}
	if file := c.String("state"); file != "" {
		conf.State = file
	}
	if conf.State == "" {
		return usagef("%s has no state file: its state is false", c.String(configFlag.Name))
	}
	lines, err := supervisor.Differences(conf)
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		lines = []string{"no differences"}
		if _, err := os.Lstat(conf.State); errors.Is(err, fs.ErrNotExist) {
			lines[0] += ": there is no " + conf.State
		}
	}
	_, err = fmt.Fprintln(c.App.Writer, strings.Join(lines, "\n"))
	return err
}
