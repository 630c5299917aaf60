package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/urfave/cli/v2"

	"fulcrum/handover"
	"fulcrum/supervisor"
	"fulcrum/systemd"
)

func upgradeCommand() *cli.Command {
	return &cli.Command{
		Name:  "upgrade",
		Usage: "have a new process, of the binary and config as they are now, take over",
		UsageText: `fulcrum upgrade [--admin 127.0.0.1:9900] [--json]

   Nobody is refused, and what is open moves to the new process. If that does
   not come up, the old one goes on, and the reason is printed. Put the old
   binary back and upgrade again to roll back.`,
		Flags:        adminFlags(),
		OnUsageError: usage,
		Action:       upgradeBalancer,
	}
}

func upgradeBalancer(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	api, err := newClient(c)
	if err != nil {
		return err
	}
	answer, err := api.Upgrade(c.Context)
	if err != nil {
		return asMistake(err)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, answer)
	}
	_, err = fmt.Fprintf(c.App.Writer, "process %d has taken over\n", answer.PID)
	return err
}

// inherited returns what this process begins with: what the process has whose place it
// takes, or the sockets of the service manager.
func inherited() (*supervisor.Heritage, error) {
	link, err := handover.Inherited()
	if err != nil || link != nil {
		return &supervisor.Heritage{Link: link}, err
	}
	sockets, err := systemd.Sockets()
	if err != nil {
		return nil, fmt.Errorf("sockets of the service manager: %w", err)
	}
	h := &supervisor.Heritage{}
	for _, s := range sockets {
		h.Sockets = append(h.Sockets, supervisor.Inherited{Name: s.Name, Sockets: []int{s.Descriptor}, Borrowed: true})
	}
	return h, nil
}

// decline tells the process whose place this one was to take, if there is one, why that
// comes to nothing.
func decline(why error) {
	if link, err := handover.Inherited(); err == nil && link != nil {
		supervisor.Decline(link, why)
	}
}

// binary is where this program was found when it began: what is there by now takes over.
var binary, errBinary = os.Executable()

// successor is the command of the process that takes over.
func successor() (*exec.Cmd, error) {
	if errBinary != nil {
		return nil, fmt.Errorf("the path of this program is not known: %w", errBinary)
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, err
	}
	command := exec.Command(binary, os.Args[1:]...)
	command.Args[0] = os.Args[0]
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	for _, v := range os.Environ() {
		// The watchdog asks whichever process is the service.
		if !strings.HasPrefix(v, "WATCHDOG_PID=") {
			command.Env = append(command.Env, v)
		}
	}
	return command, nil
}
