package main

import (
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"fulcrum/admin"
)

var (
	logLevelFlag  = &cli.StringFlag{Name: "log-level", Value: "info", Usage: "`LEVEL` of messages on stderr: debug, info, warn or error"}
	logFormatFlag = &cli.StringFlag{Name: "log-format", Value: "auto", Usage: "`FORMAT` of messages on stderr: text, json or auto, which is text on a terminal and json elsewhere"}
)

// newLogger returns the logger that --log-level and --log-format ask for, and what its
// level can be changed by.
func newLogger(c *cli.Context) (*slog.Logger, *slog.LevelVar, error) {
	level := new(slog.LevelVar)
	first, err := admin.ParseLevel(c.String(logLevelFlag.Name))
	if err != nil {
		return nil, nil, usagef("--log-level: %w", err)
	}
	level.Set(first)
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler
	switch format := c.String(logFormatFlag.Name); {
	case format == "text", format == "auto" && isTerminal(c.App.ErrWriter):
		handler = slog.NewTextHandler(c.App.ErrWriter, options)
	case format == "json", format == "auto":
		options.ReplaceAttr = inWords
		handler = slog.NewJSONHandler(c.App.ErrWriter, options)
	default:
		return nil, nil, usagef("--log-format: %q is not known; use text, json or auto", format)
	}
	return slog.New(handler), level, nil
}

// inWords has JSON say what text does: a duration with its unit, a word for what is a
// number to the program.
func inWords(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case error, encoding.TextMarshaler:
	case fmt.Stringer:
		a.Value = slog.StringValue(v.String())
	}
	return a
}

// isTerminal reports whether people read along: a terminal answers the question for
// its settings.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
