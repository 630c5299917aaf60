// Package route finds which of a listener's rules an http request is for, by its
// Host and the path of its target.
//
// New makes a Table of the rules, once; Find asks it for every request, allocates
// nothing and may be called from everywhere at once. Nothing is rewritten: the
// target goes to the server as it came.
//
// The rules of exactly that host come first, then those for names below one
// ("*.example.com") from the longest to the shortest, then those for any host. The
// first of these groups with a path for the request decides, by its longest one. So
// a host with no rule for a path leaves it to the less exact ones.
//
// Hosts are compared without regard to case, port and one final dot. An IPv6
// address has no brackets in a rule and is compared as text, so it is found if the
// client writes it as RFC 5952 does. A host of over 255 bytes is nobody's.
//
// "/api" is for /api and all below it, "/api/" only for what is below it, the path
// /api/ included. Paths are compared name by name, with regard to case; an escaped
// unreserved character is the character (RFC 3986, section 6.2.2.2: %61 is a).
// Every path is at or below "/"; the target "*" has none and is for rules without a
// path only.
//
// # What could be read in two ways
//
// A server may read another path than this package does, and so be given what a
// rule sends elsewhere. With a rule for a path (more than "/"), Find therefore
// answers ErrAmbiguous to what no ordinary client sends and what leads some servers
// anywhere, wherever in the path it is:
//   - names of dots only, and of dots and blanks: .. and . are steps in the tree;
//     clients take them before they ask. So too when they are escaped, once or
//     twice, beside a backslash, or before parameters (..;x is .. to Java);
//   - control characters, also escaped: %00 ends a path for some;
//   - a % that begins no escape: some leave it out, some read %u0061;
//   - what is escaped three times.
//
// The rest is in wide use, and only refused where it matters, that is where the most
// liberal reading leads on to a name in a rule and the strict one does not:
//   - %2F, a backslash and %5C may be a slash: /api%2Fx is refused for "/api", /x%2Fapi
//     is not;
//   - parameters may be left out: /api;v=1 is refused, /shop;jsessionid=1 is not;
//   - %3F and %23 may end the path: /api%3F is refused, /C%23 is not;
//   - an escape may be decoded twice: /%2561pi is refused, /100%25 and /feature%252Fx
//     are not;
//   - other escapes may be their character: /%40me is refused for "/@me", /caf%C3%A9
//     is not;
//   - an empty name may be nothing, or the first two slashes begin a host: //api and
//     //x/api are refused, //x and /x//api are not. With rules for both "/api" and
//     "/api/v2", /api//v2 and /api//x/v2 are refused.
//
// Left to who writes the rules are servers that ignore case, a final slash or dots and
// blanks at the end of a name, and those that take overlong UTF-8.
//
// This package imports nothing of ours.
package route

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// ErrAmbiguous: what the client asks for could be one rule's here and another's to
// a server.
var ErrAmbiguous = errors.New("the path can be read in two ways")

const (
	maxHost = 255 // bytes of a host that a rule can be for
	maxName = 255 // bytes between two slashes of a rule's path

	none = -1
)

// A Rule says what requests it is for.
type Rule struct {
	Host string // a name in lower case, an address, or "*.name" for all below it; "": any
	Path string // begins with "/"; "": any
}

// A Table finds rules. It never changes.
type Table struct {
	exact map[string]*node
	below map[string]*node // by the part behind "*."
	any   *node
	paths bool // some rule is for less than all paths
}

// A node is a name in the paths of the rules for one host; the root is what every
// path begins with.
type node struct {
	children map[string]*node
	here     int // index of the rule whose path ends with this name; of the root: that has none
	under    int // of that which has a slash behind it
}

func newNode() *node { return &node{children: map[string]*node{}, here: none, under: none} }

// New makes a table of rules, which Find tells by their index. Two with the same
// host and path are an error, and so is a path that could be read in two ways or
// has a name of over 255 bytes.
func New(rules []Rule) (*Table, error) {
	t := &Table{exact: map[string]*node{}, below: map[string]*node{}, any: newNode()}
	for i, r := range rules {
		slot, err := t.root(r.Host).slot(r.Path)
		if err != nil {
			return nil, err
		}
		if *slot != none {
			return nil, fmt.Errorf("host %q and path %q have a rule already; keep one of them", r.Host, r.Path)
		}
		*slot = i
		t.paths = t.paths || len(r.Path) > 1
	}
	return t, nil
}

// root returns the root of the rules for a host.
func (t *Table) root(host string) *node {
	if host == "" {
		return t.any
	}
	roots := t.exact
	if parent, ok := strings.CutPrefix(host, "*."); ok {
		roots, host = t.below, parent
	}
	if roots[host] == nil {
		roots[host] = newNode()
	}
	return roots[host]
}

// slot returns where the rule for a path is kept.
func (n *node) slot(path string) (*int, error) {
	if path == "" {
		return &n.here, nil
	}
	rest, ok := strings.CutPrefix(path, "/")
	if !ok || !steady([]byte(rest)) {
		return nil, badPath(path)
	}
	var buf [maxName + 1]byte
	for rest != "" {
		name, size, plain := readName(&buf, []byte(rest))
		if !plain || len(name) == 0 || len(name) > maxName {
			return nil, badPath(path)
		}
		child := n.children[string(name)]
		if child == nil {
			child = newNode()
			n.children[string(name)] = child
		}
		if n = child; size == len(rest) {
			return &n.here, nil
		}
		rest = rest[size+1:]
	}
	return &n.under, nil
}

func badPath(path string) error {
	return fmt.Errorf("path %q is not read in the same way by every server; use names of at most %d bytes, "+
		"each behind one slash, none of dots only, without escapes, backslashes and %q", path, maxName, ";?#")
}

// Find returns the index of the rule for a request, -1 if there is none, and how
// many bytes at the beginning of target stand for its Path, without a final slash:
// target[covered:] is empty or begins with "/" or "?", maybe with several slashes.
// host is the value of Host, or nothing; target is in origin-form or "*". The error
// is nil or ErrAmbiguous.
func (t *Table) Find(host, target []byte) (rule, covered int, err error) {
	path := target
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		path = target[:i]
	}
	if t.paths && !steady(path) {
		return none, 0, ErrAmbiguous
	}
	var buf [maxHost]byte
	name := hostName(&buf, host)
	for group := t.exact[string(name)]; ; group = t.below[string(name)] {
		if group != nil {
			if rule, covered, err = group.find(path); rule != none || err != nil {
				return rule, covered, err
			}
		}
		dot := bytes.IndexByte(name, '.')
		if dot < 0 {
			return t.any.find(path)
		}
		name = name[dot+1:]
	}
}

// find is Find for the rules of one host.
func (n *node) find(path []byte) (rule, covered int, err error) {
	rule = n.here
	if len(path) == 0 || path[0] != '/' {
		return rule, 0, nil
	}
	if n.under != none {
		rule = n.under
	}
	var buf [maxName + 1]byte
	for at := 0; at+1 < len(path) && len(n.children) > 0; {
		rest := path[at+1:]
		name, size, plain := readName(&buf, rest)
		child := n.children[string(name)]
		if !plain || size == 0 {
			if child != nil || size == 0 && n.mayBeIn(rest) {
				return none, 0, ErrAmbiguous
			}
			break
		}
		if child == nil {
			break
		}
		n, at = child, at+1+size
		switch {
		case at < len(path) && n.under != none:
			rule, covered = n.under, at
		case n.here != none:
			rule, covered = n.here, at
		}
	}
	return rule, covered, nil
}

// mayBeIn reports whether a child's name is anywhere in path. Behind an empty name a
// server may begin anywhere: after a host, or within parameters.
func (n *node) mayBeIn(path []byte) bool {
	var buf [maxName + 1]byte
	for len(path) > 0 {
		name, size, _ := readName(&buf, path)
		if n.children[string(name)] != nil {
			return true
		}
		if path = path[size:]; len(path) > 0 {
			_, width, _ := decode(path)
			path = path[width:]
		}
	}
	return false
}

// hostName returns the name or the address in the value of Host, in lower case; none
// if it is too long for a rule.
func hostName(buf *[maxHost]byte, host []byte) []byte {
	if len(host) > 0 && host[0] == '[' {
		host, _, _ = bytes.Cut(host[1:], []byte("]"))
	} else {
		host, _, _ = bytes.Cut(host, []byte(":"))
		host = bytes.TrimSuffix(host, []byte("."))
	}
	if len(host) > len(buf) {
		return nil
	}
	for i, c := range host {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return buf[:len(host)]
}
