// Command fulcrum is a load balancer for TCP and HTTP. See README.md, or
// fulcrum --help.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"fulcrum/supervisor"
)

// Exit codes.
const (
	exitFailed = 1 // something went wrong while running
	exitUsage  = 2 // the command line or the config is wrong
)

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// run is the whole program: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	app := &cli.App{
		Name:                      "fulcrum",
		Usage:                     "a load balancer for TCP connections and HTTP requests",
		Version:                   supervisor.Version(),
		Description:               appDescription,
		Commands:                  withoutHelp(commands()),
		Action:                    unknownCommand,
		OnUsageError:              usage,
		ExitErrHandler:            func(*cli.Context, error) {}, // the exit code is chosen below
		Writer:                    stdout,
		ErrWriter:                 stderr,
		HideHelpCommand:           true,
		EnableBashCompletion:      true,
		DisableSliceFlagSeparator: true,
	}
	err := app.Run(args)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "fulcrum: %v\n", advised(err))
	var mistake *usageError
	if errors.As(err, &mistake) {
		return exitUsage
	}
	return exitFailed
}

func commands() []*cli.Command {
	return []*cli.Command{
		runCommand(), checkCommand(), doctorCommand(), tcpCommand(), httpCommand(), demoCommand(),
		serversCommand(), poolsCommand(), listenersCommand(), configCommand(), statusCommand(), stateCommand(),
		reloadCommand(), upgradeCommand(),
		drainCommand(), undrainCommand(),
		topCommand(), explainCommand(), eventsCommand(), logLevelCommand(),
		schemaCommand(), completionCommand(), manCommand(),
	}
}

const appDescription = `Examples:

   fulcrum demo --load
      three small servers, a balancer in front of them and some load, to look at
   fulcrum http --listen :8080 --server 10.0.0.1:80 --server 10.0.0.2:80
   fulcrum tcp --listen :5432 --server 10.0.0.1:5432 --server 10.0.0.2:5432
      a balancer without a config file
   fulcrum check --config config.json
   fulcrum run --config config.json
      validate a config file, run it
   fulcrum doctor
      what of this machine and the config will hurt, and what to change
   fulcrum servers list
   fulcrum listeners
      what the running balancer knows of its servers, and what went through it
   fulcrum servers drain 10.0.0.1:80
   fulcrum servers undrain 10.0.0.1:80
      keep new work away from a server while it is worked on
   fulcrum top
   fulcrum events --follow
   fulcrum explain web
      how it is, each second; what happens and why; whom the pool web would choose now
   fulcrum reload
      have it go over to its config file as it is now
   fulcrum drain --wait
      take it out of use and wait until nothing is left`

// usageError is a mistake in the command line or the config.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usage is the OnUsageError of the app and every command: what was wrong with a
// flag, and which there are.
func usage(c *cli.Context, err error, _ bool) error {
	var names []string
	for _, flag := range c.Command.VisibleFlags() {
		names = append(names, "--"+flag.Names()[0])
	}
	return usagef("%w; the flags of %s are %s", err, c.Command.HelpName, strings.Join(names, ", "))
}

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// unknownCommand is what the app does when the first argument is no command.
func unknownCommand(c *cli.Context) error {
	if c.NArg() == 0 {
		return cli.ShowAppHelp(c)
	}
	return unknown(c, "command")
}

// withoutHelp takes the command help away from commands: all have --help.
func withoutHelp(commands []*cli.Command) []*cli.Command {
	for _, c := range commands {
		c.HideHelpCommand = true
		withoutHelp(c.Subcommands)
	}
	return commands
}

// subcommands is what a command does that has nothing but subcommands.
func subcommands(c *cli.Context) error {
	if c.NArg() == 0 {
		return cli.ShowSubcommandHelp(c)
	}
	return unknown(c, "subcommand")
}

func unknown(c *cli.Context, what string) error {
	var names []string
	for _, command := range c.Command.Subcommands {
		names = append(names, command.Name)
	}
	return usagef("%s %q is not known; use one of: %s", what, c.Args().First(), strings.Join(names, ", "))
}

// noArguments refuses what is left of the command line behind the flags.
func noArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef("unexpected argument %q; everything is given by flags, see %s --help",
			c.Args().First(), c.Command.HelpName)
	}
	return nil
}
