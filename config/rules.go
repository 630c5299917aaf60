package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// MaxServers is how many servers a pool may have, from a config or uploaded.
const MaxServers = 10000

// How many of each a config may have.
const (
	maxListeners = 1000
	maxPools     = 1000
	maxStatus    = 32
	maxName      = 64
	maxPath      = 2048
	maxSegment   = 255
	maxNetworks  = 1000
	maxRoutes    = 1000
	maxSources   = 64
	maxFilePath  = 4095
	maxEdits     = 64
	maxField     = 256
	maxValue     = 4096
	maxTokens    = 100
	maxEnv       = 256
	maxHosts     = 100
)

// What values look like, for messages.
const (
	nameForm   = "1 to 64 of the characters A-Z a-z 0-9 _ . -"
	pathForm   = `a path that begins with "/", up to 2048 characters of ASCII without spaces or #`
	statusForm = `a string such as "200-399" or "200,301", up to 32 codes or ranges from 100 to 599`

	networkForm   = `a network such as "10.0.0.0/8" or an IP address without a zone`
	sniForm       = `a host name in ASCII such as "www.example.com", or "*.example.com" for every name below it`
	stateForm     = "the path of a file, or false for none"
	accessLogForm = `"stdout", "stderr" or the path of a file`

	hostForm      = `a host name in ASCII such as "www.example.com", "*.example.com" for every name below it, or an IP address, without a port`
	prefixForm    = `a path such as "/api", up to 2048 of the characters A-Z a-z 0-9 - . _ ~ ! $ & ' ( ) * + , = : @ /, each name in it up to 255 of them and not all dots, without "//"`
	fieldForm     = `the name of a header, 1 to 256 of the characters A-Z a-z 0-9 ! # $ % & ' * + - . ^ _ | ~ and backquote`
	valueForm     = "up to 4096 bytes, without control characters and without blanks at either end"
	authorityForm = `a host name or an IP address, IPv6 in brackets, with or without a port`
	rewriteForm   = `"server" or ` + authorityForm
	targetForm    = `a path that begins with one "/", with or without a query, up to 2048 characters of ASCII without spaces or #`
)

// bounds says which whole numbers are allowed, both ends included.
type bounds struct{ low, high int }

var (
	weights = bounds{1, 256}
	limits  = bounds{0, 1000000}
	streaks = bounds{1, 100}

	queueLengths = bounds{1, 100000}
	attempts     = bounds{0, 7}
	percents     = bounds{0, 100}
	idles        = bounds{1, 10000}
	bodyRates    = bounds{0, 1000000000}
	headerBytes  = bounds{1024, 262144}
	headerCounts = bounds{1, 1000}
	bodyBytes    = bounds{0, min(1<<50, math.MaxInt)} // an int has 32 bits on some machines
)

func (b bounds) String() string {
	return fmt.Sprintf("a whole number from %d to %d", b.low, b.high)
}

// span says which durations are allowed, both ends included.
type span struct {
	low, high, unit time.Duration
	form            string
}

// The kernel counts keepalive in seconds, to 32767, and the user timeout in
// milliseconds, to 1<<31 - 1: tcp(7).
var (
	durations = span{time.Millisecond, 720 * time.Hour, 1,
		`a duration from 1ms to 720h such as "1m30s", or a number of seconds`}
	keepalives = span{time.Second, 9 * time.Hour, time.Second,
		`a duration of whole seconds from 1s to 9h such as "1m30s", or a number of seconds`}
	userTimeouts = span{time.Millisecond, 596 * time.Hour, time.Millisecond,
		`a duration of whole milliseconds from 1ms to 596h such as "1m30s", or a number of seconds`}
)

// required reports whether there is a text at all to be checked.
func (p *problems) required(at *place, text, use string) bool {
	if text == "" && !at.bad() {
		found := "missing"
		if at.given() {
			found = "empty"
		}
		p.add(at, "%s; use %s", found, use)
	}
	return text != ""
}

// name checks the name of the listener or pool at a place. seen has the names
// before it and where they were.
func (p *problems) name(at *place, name string, seen map[string]string) {
	where := at.member("name")
	if !p.required(where, name, nameForm) {
		return
	}
	if !validName(name) {
		p.add(where, "%s is not allowed; use %s", quote(name), nameForm)
		return
	}
	if first, ok := seen[name]; ok {
		p.add(where, "%q is already the name of %s; use another one", name, first)
		return
	}
	seen[name] = at.String()
}

func validName(s string) bool {
	return len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '.' || r == '-')
	})
}

// duration puts the standard in the place of what is not given, and reports
// whether the outcome is known and allowed.
func (p *problems) duration(at *place, d *time.Duration, in span, standard time.Duration) bool {
	if *d == 0 && (!at.given() || at.bad()) {
		*d = standard
		return !at.bad()
	}
	if *d < in.low || *d > in.high || *d%in.unit != 0 {
		p.add(at, "%s is not allowed; use %s", at.show(*d), in.form)
		return false
	}
	return true
}

// oneOf puts the standard in the place of what is not given, and reports
// whether the outcome is one of those that are allowed. A standard of "" is
// what a Config says by saying nothing.
func (p *problems) oneOf(at *place, s *string, allowed []string, standard string) bool {
	if *s == "" && (!at.given() || at.bad()) {
		*s = standard
		return *s != ""
	}
	if !slices.Contains(allowed, *s) {
		p.add(at, "%s is not known; %suse one of %s", quote(*s), suggest(*s, allowed), names(allowed))
		return false
	}
	return true
}

// whole puts the standard in the place of what is not given, and checks it.
func (p *problems) whole(at *place, n *int, in bounds, standard int) {
	if *n == 0 && (!at.given() || at.bad()) {
		*n = standard
	}
	if *n < in.low || *n > in.high {
		p.add(at, "%s is not allowed; use %v", at.show(*n), in)
	}
}

// atMost reports more elements than are allowed and returns how many to look
// at.
func (p *problems) atMost(at *place, n, most int) int {
	if n > most {
		p.add(at, "%d of them are too many; use at most %d", n, most)
	}
	return min(n, most)
}

func (r StatusRange) valid() bool { return 100 <= r.From && r.From <= r.To && r.To <= 599 }

// validPath reports whether s can be sent as it is as the target of a request:
// RFC 9112 section 3.2.1, less strict about which visible characters it has.
func validPath(s string) bool {
	return len(s) <= maxPath && strings.HasPrefix(s, "/") &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' })
}
