package doctor

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"fulcrum/config"
)

// files looks at the files that a config names: those to write can be written, those
// with secrets are not for everybody.
func files(h *Host, c *config.Config) (findings []Finding) {
	if c.State != "" && c.Admin != nil {
		folder := filepath.Dir(c.State)
		if err := h.Writable(folder); err != nil {
			findings = append(findings, Finding{
				Level: Warning,
				What:  fmt.Sprintf("this user cannot make files in %s, where the state file belongs: %v", folder, err),
				Why:   "servers cannot be uploaded or deleted: what would be lost at a restart is refused. The service of systemd has a folder and a user of its own",
				Do:    fmt.Sprintf("install -d -o USER %s   # the user that the balancer runs as\nor \"state\": the path of a file elsewhere; \"state\": false for none", folder),
			})
		}
	}
	if c.State == "" && c.Admin != nil {
		findings = append(findings, Finding{
			Level: Info,
			What:  "there is no state file",
			Why:   "servers that are uploaded or deleted are as the config says after a restart",
			Do:    `"state": "/var/lib/fulcrum/state.json"`,
		})
	}
	findings = append(findings, logs(h, c)...)
	findings = append(findings, secrets(h, c.Admin)...)
	if len(findings) == 0 {
		return fine("the files that the config names are as they should be")
	}
	return findings
}

// logs looks at whether access logs can be written.
func logs(h *Host, c *config.Config) (findings []Finding) {
	for _, l := range c.Listeners {
		if l.AccessLog == "" || l.AccessLog == config.AccessLogStdout || l.AccessLog == config.AccessLogStderr {
			continue
		}
		name, err := inRoot(l.AccessLog)
		if err != nil {
			findings = append(findings, unknown(err)...)
			continue
		}
		if _, err := fs.Stat(h.Root, name); err == nil {
			continue
		}
		folder := filepath.Dir(l.AccessLog)
		if err := h.Writable(folder); err != nil {
			findings = append(findings, Finding{
				Level: Warning,
				What:  fmt.Sprintf("this user cannot make the access log %s of listener %s: %v", l.AccessLog, l.Name, err),
				Why:   "the balancer does not start without it",
				Do:    fmt.Sprintf("install -d -o USER %s   # the user that the balancer runs as", folder),
			})
		}
	}
	return findings
}

// secrets looks at who can read tokens and keys.
func secrets(h *Host, a *config.Admin) (findings []Finding) {
	if a == nil {
		return nil
	}
	var paths []string
	for _, t := range a.Tokens {
		if t.File != "" {
			paths = append(paths, t.File)
		}
	}
	if a.TLS != nil {
		paths = append(paths, a.TLS.Key)
	}
	for _, path := range paths {
		name, err := inRoot(path)
		if err != nil {
			findings = append(findings, unknown(err)...)
			continue
		}
		info, err := fs.Stat(h.Root, name)
		switch {
		case err != nil:
			findings = append(findings, unknown(unread(name, err))...)
		case info.Mode().Perm()&0o007 != 0:
			findings = append(findings, Finding{
				Level: Warning,
				What:  fmt.Sprintf("%s is open to every user of this machine: its mode is %04o", path, info.Mode().Perm()),
				Why:   "who reads it can pass for one who may use the admin listener, or for the listener itself",
				Do:    "chmod o= " + path,
			})
		}
	}
	return findings
}
