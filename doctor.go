package main

import (
	"errors"
	"io/fs"

	"github.com/urfave/cli/v2"

	"fulcrum/config"
	"fulcrum/doctor"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "look at this machine and a config for what will hurt, and say what to change",
		UsageText: `fulcrum doctor [--config config.json] [--json]

   Nothing is changed, and no running balancer is needed. Without a config.json
   only the machine is looked at. Limits are those of who asks: ask as the user,
   and in the place, that the balancer runs in. The exit code is 1 if there is a
   warning or a problem.`,
		Flags:        []cli.Flag{configFlag, jsonFlag},
		OnUsageError: usage,
		Action:       examine,
	}
}

func examine(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	path := c.String(configFlag.Name)
	conf, err := config.Load(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !c.IsSet(configFlag.Name):
		path = ""
	case err != nil:
		return &usageError{err}
	}
	report := doctor.Examine(doctor.ThisHost(), conf)
	report.Config = path
	if c.Bool("json") {
		err = printJSON(c.App.Writer, report)
	} else {
		err = report.Print(c.App.Writer)
	}
	if err == nil && report.Worst >= doctor.Warning {
		err = errors.New("doctor: " + report.Summary())
	}
	return err
}
