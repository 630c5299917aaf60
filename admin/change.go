package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// An Action is what a ServerChange does.
type Action string

// What can be done with a server; Drain and Undrain also with all of a pool.
const (
	Upload  Action = "upload"  // it is in its pool, with what is not said at its default
	Patch   Action = "patch"   // what is said of it changes
	Delete  Action = "delete"  // it drains, and then is gone
	Drain   Action = "drain"   // it gets no new work and stays, until Undrain or Upload
	Undrain Action = "undrain" // it gets work again
)

// A ServerChange says what to change of a server, or of all servers of a pool.
type ServerChange struct {
	Action         Action
	Pool           string // as the operator wrote it; "": not said
	Server         string // as the operator wrote it; "" with Drain or Undrain: all that the pool has now
	Weight         *int   // of Upload and Patch, 1 to 256; nil: not said
	MaxConnections *int   // of Upload and Patch, 0 (no limit) to 1000000; nil: not said
	Force          bool   // of Delete: what is in flight is closed now
	If             Condition
	DryRun         bool // only say what would change
}

// Changed says what came of a ServerChange, or would.
type Changed struct {
	Pool    string
	Server  string // in its one form; "": it was the pool's servers
	Created bool
	Changes []string // in words; none: it was so already
	ETag    string   // of the server or pool as it is now; "": there is none, or it is going
}

// ETag returns the entity tag of how the server is configured: other than Server it
// does not change by itself. It is strong by RFC 9110 section 8.8.3.
func (s *Server) ETag() string {
	hash := sha256.New()
	s.configuration(hash)
	return etag(hash.Sum(nil))
}

// ETag returns the entity tag of how all servers of the pool are configured.
func (p *Pool) ETag() string {
	hash := sha256.New()
	for i := range p.Servers {
		p.Servers[i].configuration(hash)
	}
	return etag(hash.Sum(nil))
}

func (s *Server) configuration(w io.Writer) {
	fmt.Fprintf(w, "%q %q %d %d %t %t\n", s.Address, s.Source, s.Weight, s.MaxConnections, s.Draining, s.Deleting)
}

// ETagOf returns the entity tag of a resource with this content.
func ETagOf(content []byte) string {
	sum := sha256.Sum256(content)
	return etag(sum[:])
}

func etag(sum []byte) string { return `"` + hex.EncodeToString(sum[:12]) + `"` }

// anyTag is what stands for every entity tag in a condition.
const anyTag = "*"

// A Condition is what has to hold of a server, pool or config for a change of it to
// be made. The zero Condition always holds.
type Condition struct {
	match []string // it has one of these entity tags, or it exists if that is anyTag; nil: not asked
	none  []string // it has none of these, or does not exist; nil: not asked
}

// Holds returns a Refusal with status 412 unless the Condition holds of what has an
// entity tag; "": it does not exist. RFC 9110 sections 13.1.1 and 13.1.2.
func (c Condition) Holds(etag string) error {
	among := func(tags []string) bool {
		return etag != "" && (slices.Contains(tags, anyTag) || slices.Contains(tags, etag))
	}
	switch {
	case c.match != nil && etag == "":
		return unmet("If-Match", c.match, "it does not exist")
	case c.match != nil && !among(c.match):
		return unmet("If-Match", c.match, "it was changed since: its ETag is "+etag+" now; GET it again, look at what is different, and send that one")
	case c.none != nil && among(c.none):
		return unmet("If-None-Match", c.none, "it exists, with the ETag "+etag)
	}
	return nil
}

func unmet(field string, tags []string, why string) error {
	return &Refusal{http.StatusPreconditionFailed, fmt.Sprintf("%s: %s does not hold: %s", field, shortened(list(tags)), why)}
}

// shortened is clip for what need not be quoted.
func shortened(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	return strings.ToValidUTF8(s[:maxQuoted], "") + "…"
}

// readCondition reads the condition of a request.
func readCondition(r *http.Request) (c Condition, err error) {
	if c.match, err = tags(r, "If-Match"); err == nil {
		c.none, err = tags(r, "If-None-Match")
	}
	return c, err
}

// tags returns the entity tags in a field, nil if there is none: RFC 9110 section
// 8.8.3. Those that are weak equal no tag of this listener's.
func tags(r *http.Request, field string) (all []string, err error) {
	given := r.Header.Values(field)
	if len(given) == 0 {
		return nil, nil
	}
	text := strings.Join(given, ",")
	if strings.Trim(text, space) == anyTag {
		return []string{anyTag}, nil
	}
	for rest := text; ; {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			break
		}
		tag, after, ok := cutTag(rest)
		if !ok {
			return nil, Invalid(`%s is %s; it must be *, or ETags as they were answered, in double quotes and with commas in between`, field, clip(text))
		}
		all, rest = append(all, tag), after
	}
	if all == nil {
		return nil, Invalid("%s is empty; leave it out, or give an ETag as it was answered", field)
	}
	return all, nil
}

// cutTag takes an entity tag from the beginning of a text.
func cutTag(s string) (tag, rest string, ok bool) {
	opaque := strings.TrimPrefix(s, "W/")
	if opaque == "" || opaque[0] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(opaque[1:], '"')
	if end < 0 || strings.ContainsFunc(opaque[1:1+end], func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", "", false
	}
	n := len(s) - len(opaque) + end + 2
	rest = strings.TrimLeft(s[n:], " \t")
	return s[:n], rest, rest == "" || rest[0] == ','
}
