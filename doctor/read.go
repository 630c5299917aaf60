package doctor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

const maxFile = 1 << 20 // bytes that are read of a file

// text returns what a file says, without the white space at its ends.
func (h *Host) text(name string) (string, error) {
	// A pipe would have to be waited for.
	if info, err := fs.Stat(h.Root, name); err != nil {
		return "", unread(name, err)
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("/%s is no regular file", name)
	}
	f, err := h.Root.Open(name)
	if err != nil {
		return "", unread(name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return "", unread(name, err)
	}
	return strings.TrimSpace(string(data)), nil
}

func unread(name string, err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err
	}
	return fmt.Errorf("/%s cannot be read: %w", name, err)
}

// numbers returns the first n of the whole numbers that a file begins with.
func (h *Host) numbers(name string, n int) ([]int64, error) {
	text, err := h.text(name)
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(text)
	if len(fields) < n {
		return nil, strange(name, text, plural(n, "number"))
	}
	all := make([]int64, n)
	for i := range all {
		if all[i], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return nil, strange(name, text, plural(n, "number"))
		}
	}
	return all, nil
}

// number returns the whole number in a file.
func (h *Host) number(name string) (int64, error) {
	all, err := h.numbers(name, 1)
	if err != nil {
		return 0, err
	}
	return all[0], nil
}

// strange is the error of a file that is not what it should be.
func strange(name, text, wanted string) error {
	return fmt.Errorf("/%s says %.60q, and not %s", name, text, wanted)
}

// absent reports whether an error says that there is no such file.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// setting returns the file of a kernel's setting, such as net.core.somaxconn.
func setting(name string) string { return "proc/sys/" + strings.ReplaceAll(name, ".", "/") }

// set returns the commands that change a kernel's setting now and for the next boot.
func set(name string, value any) string {
	return fmt.Sprintf("sysctl -w %s='%v'\necho '%s = %v' >>/etc/sysctl.d/90-fulcrum.conf", name, value, name, value)
}

// keyed returns the numbers of a file that has lines of a word and a number, such as
// a control group's cpu.stat.
func (h *Host) keyed(name string) (map[string]int64, error) {
	text, err := h.text(name)
	if err != nil {
		return nil, err
	}
	all := make(map[string]int64)
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			all[key] = n
		}
	}
	return all, nil
}

const counters = "proc/net/netstat"

// tcpCounters returns the kernel's counts of what has happened to TCP since boot.
func (h *Host) tcpCounters() (map[string]int64, error) {
	text, err := h.text(counters)
	if err != nil {
		return nil, err
	}
	all := make(map[string]int64)
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "TcpExt:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i := 1; i < min(len(names), len(fields)); i++ {
			if n, err := strconv.ParseInt(fields[i], 10, 64); err == nil {
				all[names[i]] = n
			}
		}
	}
	return all, nil
}

// inRoot returns the name below Root of a file that a config names.
func inRoot(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if path == "/" {
		return ".", nil
	}
	return path[1:], nil
}
