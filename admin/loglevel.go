package admin

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
)

// LogLevelAnswer is the body of GET and PUT /v1/log_level, and of a PUT's request.
type LogLevelAnswer struct {
	Level string `json:"level"` // debug, info, warn or error
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
	return answer(w, http.StatusOK, LogLevelAnswer{levelName(level.Level())})
}

func (h *handler) setLogLevel(w http.ResponseWriter, r *http.Request) error {
	next, err := readLogLevel(w, r)
	if err != nil {
		return err
	}
	level, err := h.level()
	if err != nil {
		return err
	}
	// Said while the log still takes it, or takes it already.
	level.Set(min(next, level.Level()))
	h.changed(r, "log level changed", "level", levelName(next))
	level.Set(next)
	return answer(w, http.StatusOK, LogLevelAnswer{levelName(next)})
}

// readLogLevel reads the request of PUT /v1/log_level.
func readLogLevel(w http.ResponseWriter, r *http.Request) (slog.Level, error) {
	if _, err := parameters(r.URL.RawQuery, nil); err != nil {
		return 0, err
	}
	body, err := readBody(w, r)
	if err != nil {
		return 0, err
	}
	if len(body) == 0 {
		return 0, Invalid(`the body is empty; send a JSON object such as {"level": "debug"}`)
	}
	said, err := decode(body, logLevelFields)
	if err != nil {
		return 0, err
	}
	if said.level == nil {
		return 0, Invalid(`field "level" is missing; use debug, info, warn or error`)
	}
	level, err := ParseLevel(*said.level)
	if err != nil {
		return 0, Invalid(`field "level": %v`, err)
	}
	return level, nil
}

// level returns the level of the log, if it can be changed.
func (h *handler) level() (*slog.LevelVar, error) {
	if level := h.controller.LogLevel(); level != nil {
		return level, nil
	}
	return nil, Conflict("the level of this balancer's log cannot be changed")
}
