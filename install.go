package main

import (
	_ "embed"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"fulcrum/config"
)

// How a shell asks the program, by --generate-bash-completion, what may come next.
var (
	//go:embed packaging/fulcrum.bash
	bashCompletion string
	//go:embed packaging/fulcrum.zsh
	zshCompletion string
	//go:embed packaging/fulcrum.fish
	fishCompletion string
)

func schemaCommand() *cli.Command {
	return &cli.Command{
		Name:  "schema",
		Usage: "print a JSON Schema of config.json, by which editors complete and check it",
		UsageText: `fulcrum schema >config.schema.json

   An editor finds it by "$schema": "./config.schema.json" at the top of config.json.`,
		OnUsageError: usage,
		Action:       prints(func(*cli.Context) (string, error) { return config.Schema(), nil }),
	}
}

func manCommand() *cli.Command {
	return &cli.Command{
		Name:         "man",
		Usage:        "print the manual page",
		UsageText:    "fulcrum man >/usr/local/share/man/man8/fulcrum.8",
		OnUsageError: usage,
		Action:       prints(manual),
	}
}

// manual returns the page in the language of man(7): what --help says, and what
// it has no place for.
func manual(c *cli.Context) (string, error) {
	app := *c.App
	app.Description = strings.ReplaceAll("\n"+app.Description, "\n", "\n    ") + manSections
	return app.ToMan()
}

// manSections stand behind the examples, in Markdown.
const manSections = `

# EXIT STATUS

**0** after an orderly stop, **2** for a mistake in the command line or the config,
**1** for a failure at run time, and of **doctor** for a warning or a problem.

# SIGNALS

**SIGTERM**, **SIGINT**: stop accepting, let work in flight finish for as long as
shutdown_timeout says, and end; a second one ends at once.

**SIGHUP**: **run** goes over to its config file as it is now, and logs what has changed;
a file with a mistake in it changes nothing. **reload** does the same, and tells you.

**SIGUSR1**: open the files of the access logs anew, after they were renamed.

# FILES

**config.json**: what **run**, **check** and **doctor** read; **schema** prints what it may say.

`

func completionCommand() *cli.Command {
	shell := func(name, script, text string) *cli.Command {
		return &cli.Command{
			Name:         name,
			Usage:        "print what " + name + " completes command lines by",
			UsageText:    text,
			OnUsageError: usage,
			Action:       prints(func(*cli.Context) (string, error) { return script, nil }),
		}
	}
	return &cli.Command{
		Name:         "completion",
		Usage:        "print what a shell completes command lines by",
		UsageText:    "source <(fulcrum completion bash)\nsource <(fulcrum completion zsh)\nfulcrum completion fish | source",
		OnUsageError: usage,
		Action:       subcommands,
		Subcommands: []*cli.Command{
			shell("bash", bashCompletion, "source <(fulcrum completion bash)"),
			shell("zsh", zshCompletion, "source <(fulcrum completion zsh)"),
			shell("fish", fishCompletion, "fulcrum completion fish | source"),
		},
	}
}

// prints is the action of a command without arguments that prints a text.
func prints(text func(*cli.Context) (string, error)) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := noArguments(c); err != nil {
			return err
		}
		out, err := text(c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Command.Name, err)
		}
		_, err = io.WriteString(c.App.Writer, out)
		return err
	}
}
