package admin

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
)

// LogLevelAnswer is the body of GET and PUT /v1/log_level.
type LogLevelAnswer struct {
	Level string `json:"level"` // debug, info, warn or error
	DryAnswer
}

var logLevelFields = []string{"level"}

// ParseLevel returns the level of the log that has a name.
func ParseLevel(name string) (slog.Level, error) {
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if levelName(l) == name {
			return l, nil
		}
	}
	return 0, fmt.Errorf("%q is not known; use debug, info, warn or error", name)
}

func levelName(l slog.Level) string { return strings.ToLower(l.String()) }

func (h *handler) logLevel(w http.ResponseWriter, _ *http.Request) error {
	level, err := h.level()
	if err != nil {
		return err
	}
	name := levelName(level.Level())
	return answerTagged(w, ETagOf([]byte(name)), LogLevelAnswer{Level: name})
}

func (h *handler) setLogLevel(w http.ResponseWriter, r *http.Request) error {
	next, condition, dryRun, err := readLogLevel(w, r)
	if err != nil {
		return err
	}
	level, err := h.level()
	if err != nil {
		return err
	}
	h.leveling.Lock()
	defer h.leveling.Unlock()
	was, name := level.Level(), levelName(next)
	if err := condition.Holds(ETagOf([]byte(levelName(was)))); err != nil {
		return err
	}
	if dryRun {
		return answerTagged(w, ETagOf([]byte(levelName(was))), LogLevelAnswer{levelName(was), DryAnswer{levelChanges(was, next), true}})
	}
	level.Set(min(next, was)) // the log takes what follows, if it did or will
	h.changed(r, "log level changed", "level", name)
	level.Set(next)
	return answerTagged(w, ETagOf([]byte(name)), LogLevelAnswer{Level: name})
}

func levelChanges(was, next slog.Level) []string {
	if was == next {
		return nil
	}
	return []string{fmt.Sprintf("log level from %s to %s", levelName(was), levelName(next))}
}

// readLogLevel reads the request of PUT /v1/log_level.
func readLogLevel(w http.ResponseWriter, r *http.Request) (level slog.Level, c Condition, dryRun bool, err error) {
	query, body, err := readChange(w, r, dryParams)
	if err != nil {
		return 0, c, false, err
	}
	if c, err = readCondition(r); err != nil {
		return 0, c, false, err
	}
	if len(body) == 0 {
		return 0, c, false, Invalid(`the body is empty; send a JSON object such as {"level": "debug"}`)
	}
	if err := wantJSON(r, Upload); err != nil {
		return 0, c, false, err
	}
	said, err := decode(body, logLevelFields)
	if err != nil {
		return 0, c, false, err
	}
	if said.level == nil {
		return 0, c, false, Invalid(`field "level" is missing; use debug, info, warn or error`)
	}
	if level, err = ParseLevel(*said.level); err != nil {
		return 0, c, false, Invalid(`field "level": %v`, err)
	}
	return level, c, or(query.dryRun, false), nil
}

// level returns the level of the log, if it can be changed.
func (h *handler) level() (*slog.LevelVar, error) {
	if level := h.controller.LogLevel(); level != nil {
		return level, nil
	}
	return nil, Conflict("the level of this balancer's log cannot be changed")
}
