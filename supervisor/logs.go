package supervisor

import (
	"errors"
	"path/filepath"

	"fulcrum/accesslog"
	"fulcrum/config"
)

// accessLog returns the log at a path, nil for "". Listeners that name the same
// one share it, those of the running before too.
func (r *running) accessLog(path string, was *running) (*accesslog.Log, error) {
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
	if l := was.logs[path]; l != nil {
		r.logs[path] = l
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
	for _, l := range s.current.Load().logs {
		problems = append(problems, l.Reopen())
	}
	return errors.Join(problems...)
}

// closeLogs closes the logs that others do not have too.
func (r *running) closeLogs(others *running) {
	for path, l := range r.logs {
		if others.logs[path] == l {
			continue
		}
		l.Close()
		if n := l.Dropped(); n > 0 {
			r.log.Warn("access log is incomplete", "path", path, "dropped", n)
		}
	}
}
