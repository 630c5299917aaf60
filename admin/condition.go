package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

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
