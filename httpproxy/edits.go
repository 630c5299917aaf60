package httpproxy

import (
	"slices"
	"strings"
)

// Edits change the fields of a message that goes out, of those that came as well
// as of those that are written by the proxy itself, such as X-Forwarded-For. First
// all of the names in Remove are taken out, then those in Set, which are then
// written at the end; those in Add are written there besides.
//
// Names mean the same in upper and lower case, and a "-" in Remove and Set takes
// out what has a "_" in its place too, as some servers do not tell these apart.
// Host, Expect and what frames a message or concerns a connection cannot be
// changed, and neither can trailer sections: such edits, and those with anything
// that cannot be in a field, are ignored.
type Edits struct {
	Set    []Field // of several with one name, the last
	Add    []Field
	Remove []string
}

// A Field is one line of a head.
type Field struct{ Name, Value string }

// edits are Edits made ready for every message. They do not change.
type edits struct {
	dropped []string // names in lower case
	kinds   kinds    // those of the dropped
	tail    []byte   // what is written instead and besides
}

// compile returns nil if nothing is to be done.
func (e *Edits) compile() *edits {
	if e == nil {
		return nil
	}
	c := &edits{}
	for _, name := range e.Remove {
		c.drop(name)
	}
	for i, f := range e.Set {
		later := slices.ContainsFunc(e.Set[i+1:], func(g Field) bool { return strings.EqualFold(f.Name, g.Name) })
		if f.canEdit() && !later {
			c.drop(f.Name)
			c.tail = appendField(c.tail, f.Name, f.Value)
		}
	}
	for _, f := range e.Add {
		if f.canEdit() {
			c.tail = appendField(c.tail, f.Name, f.Value)
		}
	}
	if len(c.dropped) == 0 && len(c.tail) == 0 {
		return nil
	}
	return c
}

func (e *edits) drop(name string) {
	if (Field{Name: name}).canEdit() {
		e.dropped = append(e.dropped, strings.ToLower(name))
		e.kinds |= 1 << kindOf([]byte(name))
	}
}

// canEdit reports whether a field is well-formed and none that a message depends
// on.
func (f Field) canEdit() bool {
	name := []byte(f.Name)
	k := kindOf(name)
	return isToken(name) && isValue([]byte(f.Value)) && (k == ordinary || claims.has(k))
}

// drops reports whether fields of a name do not go out.
func (e *edits) drops(name []byte) bool {
	if e == nil {
		return false
	}
	for _, lower := range e.dropped {
		if isLike(name, lower) {
			return true
		}
	}
	return false
}

// dropsKind is drops for a kind that has one name.
func (e *edits) dropsKind(k kind) bool { return e != nil && e.kinds.has(k) }

// append writes what comes instead and besides.
func (e *edits) append(dst []byte) []byte {
	if e == nil {
		return dst
	}
	return append(dst, e.tail...)
}
