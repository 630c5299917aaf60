package config

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxUnixPath is how many bytes the kernel takes: sun_path of unix(7) less its
// closing zero.
const maxUnixPath = 107

// unixPath returns what stands behind "unix:", and whether s is meant as the
// address of a unix socket: with nothing but digits there it is a port, and
// unix the name of a host.
func unixPath(s string) (path string, ok bool) {
	scheme, path, found := strings.Cut(s, ":")
	ok = found && strings.EqualFold(scheme, "unix") && (path == "" || strings.Trim(path, "0123456789") != "")
	return path, ok
}

// parseUnix returns the canonical address of the unix socket at a path; s is
// what was given, for the error.
func parseUnix(s, name string) (address string, err error) {
	clean := path.Clean(name)
	switch {
	case !strings.HasPrefix(name, "/"):
		return "", fmt.Errorf("%s has no absolute path; use %s", quote(s), unixForm)
	case clean == "/":
		return "", fmt.Errorf("%s names no file; use %s", quote(s), unixForm)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", fmt.Errorf("%s has a character that cannot be printed; use another path", quote(s))
	case clean != name:
		return "", fmt.Errorf("%s is not the shortest form of its path; use %s", quote(s), quote("unix:"+clean))
	case len(name) > maxUnixPath:
		return "", fmt.Errorf("%s has a path of %d bytes; use at most %d", quote(s), len(name), maxUnixPath)
	}
	return "unix:" + name, nil
}
