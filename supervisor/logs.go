package supervisor

import (
	"errors"
	"path/filepath"

	"fulcrum/accesslog"
	"fulcrum/config"
)

// accessLog returns the log at a path, nil for "". Listeners that name the same
// one share it.
func (r *running) accessLog(path string) (*accesslog.Log, error) {
	switch path {
	case "":
		return nil, nil
	case config.AccessLogStdout, config.AccessLogStderr:
	default:
		path = filepath.Clean(path)
	}
	if l := r.logs[path]; l != nil {
		return l, nil
	}
	l, err := accesslog.Open(path, accesslog.Options{Logger: r.log})
	if err != nil {
		return nil, err
	}
	r.logs[path] = l
	return l, nil
}

// ReopenLogs opens the files of the access logs anew, after they were renamed. A
// log that cannot be reopened goes on in the old file; the error names it.
func (s *Supervisor) ReopenLogs() error {
	var problems []error
	for _, l := range s.running.logs {
		problems = append(problems, l.Reopen())
	}
	return errors.Join(problems...)
}

func (r *running) closeLogs() {
	for path, l := range r.logs {
		l.Close()
		if n := l.Dropped(); n > 0 {
			r.log.Warn("access log is incomplete", "path", path, "dropped", n)
		}
	}
}
