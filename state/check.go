package state

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What values may be, as in a config.
const (
	maxName        = 64
	maxServer      = 512
	maxWeight      = 256
	maxConnections = 1000000
)

func checkVersion(n int) error {
	if n != version {
		return fmt.Errorf("version: %d is not known, only %d; another release of fulcrum may have written it", n, version)
	}
	return nil
}

func checkSource(source string) error {
	if source != Configured && source != Uploaded {
		return fmt.Errorf("source: %.80q is not known; use %q or %q", source, Configured, Uploaded)
	}
	return nil
}

func checkPool(name string) error {
	strange := func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("_.-", r)
	}
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, strange) {
		return fmt.Errorf("pool: %.80q is not allowed; use 1 to %d of the characters A-Z a-z 0-9 _ . -", name, maxName)
	}
	return nil
}

// checkServer leaves it to others whether it is an address. U+FFFD stands for bytes
// that were damaged.
func checkServer(address string) error {
	bad := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if address == "" || len(address) > maxServer || strings.ContainsFunc(address, bad) {
		return fmt.Errorf("server: %.80q is not allowed; use 1 to %d bytes of text that can be printed", address, maxServer)
	}
	return nil
}

func checkWeight(n int) error {
	if n < 1 || n > maxWeight {
		return fmt.Errorf("weight: %d is not allowed; use a whole number from 1 to %d", n, maxWeight)
	}
	return nil
}

func checkMaxConnections(n int) error {
	if n < 0 || n > maxConnections {
		return fmt.Errorf("max_connections: %d is not allowed; use a whole number from 0 to %d", n, maxConnections)
	}
	return nil
}
