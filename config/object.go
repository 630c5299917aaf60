package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An object reads the members of a JSON object. Every key it is asked for is
// allowed; end reports the others.
type object struct {
	*problems
	at      *place
	allowed []string
}

// object returns nil, and reports it, if there is something else at the place.
func (p *problems) object(at *place, use string) *object {
	if at.node.kind != kindObject {
		p.addBad(at, "found %v; use %s", at.node, use)
		return nil
	}
	return &object{problems: p, at: at}
}

func (o *object) member(key string) *place {
	o.allowed = append(o.allowed, key)
	return o.at.member(key)
}

// typed returns the place of a key if there is a value of one of the kinds;
// another is reported.
func (o *object) typed(key, use string, kinds ...kind) *place {
	at := o.member(key)
	if !at.given() {
		return nil
	}
	if !slices.Contains(kinds, at.node.kind) {
		o.addBad(at, "found %v; use %s", at.node, use)
		return nil
	}
	return at
}

func (o *object) text(key, use string, to *string) {
	if at := o.typed(key, use, kindString); at != nil {
		*to = at.node.text
	}
}

func (o *object) flag(key string, to *bool) {
	if at := o.typed(key, "true or false", kindBool); at != nil {
		*to = at.node.text == "true"
	}
}

func (o *object) whole(key string, in fmt.Stringer, to *int) {
	at := o.typed(key, in.String(), kindNumber)
	if at == nil {
		return
	}
	n, err := strconv.Atoi(at.node.text)
	if err != nil {
		o.addBad(at, "%s is not allowed; use %v", clip(at.node.text), in)
		return
	}
	*to = n
}

func (o *object) duration(key string, in span, to *time.Duration) {
	at := o.typed(key, in.form, kindString, kindNumber)
	if at == nil {
		return
	}
	if at.node.kind == kindNumber {
		*to = seconds(at.node.text)
		return
	}
	d, err := time.ParseDuration(at.node.text)
	if err != nil {
		o.addBad(at, "%s is not a duration; use %s", quote(at.node.text), in.form)
		return
	}
	*to = d
}

// seconds returns the duration of a JSON number; what is too long for one
// becomes the longest.
func seconds(literal string) time.Duration {
	f, _ := strconv.ParseFloat(literal, 64)
	switch ns := math.Round(f * float64(time.Second)); {
	case ns >= math.MaxInt64:
		return math.MaxInt64
	case ns <= math.MinInt64:
		return math.MinInt64
	default:
		return time.Duration(ns)
	}
}

func (o *object) status(key string, to *[]StatusRange) {
	at := o.typed(key, statusForm, kindString)
	if at == nil {
		return
	}
	for part := range strings.SplitSeq(at.node.text, ",") {
		r, ok := parseStatus(strings.TrimSpace(part))
		if !ok || len(*to) == maxStatus {
			o.addBad(at, "%s is not allowed; use %s", quote(at.node.text), statusForm)
			*to = nil
			return
		}
		*to = append(*to, r)
	}
}

func parseStatus(s string) (r StatusRange, ok bool) {
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	if len(from) != 3 || len(to) != 3 {
		return r, false
	}
	low, errLow := strconv.ParseUint(from, 10, 16)
	high, errHigh := strconv.ParseUint(to, 10, 16)
	r = StatusRange{int(low), int(high)}
	return r, errLow == nil && errHigh == nil && r.valid()
}

func list[T any](o *object, key string, read func(*place) T) []T {
	at := o.typed(key, "an array", kindArray)
	if at == nil {
		return nil
	}
	return items(at, read)
}

// items reads the elements of an array.
func items[T any](at *place, read func(*place) T) []T {
	all := make([]T, len(at.node.items))
	for i := range all {
		all[i] = read(at.item(i))
	}
	return all
}

// end reports the keys that nothing asked for and those given more than once.
func (o *object) end() {
	seen := make(map[string]bool, len(o.allowed))
	for _, m := range o.at.node.members {
		switch {
		case !slices.Contains(o.allowed, m.key):
			o.addAt(m.at, o.at, "the key %s is not known; %sallowed are %s",
				quote(m.key), suggest(m.key, o.allowed), names(o.allowed))
		case seen[m.key]:
			o.addAt(m.at, o.at, "the key %s is given more than once; keep one of them", quote(m.key))
		}
		seen[m.key] = true
	}
}
